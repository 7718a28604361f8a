"""Gzip without trust: members, truncation, damage and bombs."""

import random
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_router.domain.errors import InvalidInputError
from search_router.domain.streams import gunzip
from tests.records import gzipped

LIMIT = 1024**2
NOISE = random.Random(1).randbytes(100_000)  # noqa: S311 - data to pack


def chunked(body: bytes, size: int) -> Iterable[bytes]:
    return [body[start : start + size] for start in range(0, len(body), size)]


@given(
    st.lists(st.sampled_from([b"", b"a", b"line\n" * 1_000, NOISE]), min_size=1, max_size=4),
    st.sampled_from([1_000, 4_096, 65_536, 10**6]),
)
def test_several_members_unpack_to_their_join(members: list[bytes], chunk_bytes: int) -> None:
    packed = b"".join(gzipped(member) for member in members)

    assert b"".join(gunzip(chunked(packed, chunk_bytes), LIMIT)) == b"".join(members)


@given(st.integers(0, 3_000), st.sampled_from([1, 1_000, 10**6]))
def test_zero_padding_after_a_member_is_ignored(padding: int, chunk_bytes: int) -> None:
    packed = gzipped(b"query\n") + bytes(padding) + gzipped(b"more") + bytes(padding)

    assert b"".join(gunzip(chunked(packed, chunk_bytes), LIMIT)) == b"query\nmore"


def test_one_byte_at_a_time_is_enough() -> None:
    packed = gzipped(b"query\n" * 10) + gzipped(b"more")

    assert b"".join(gunzip(chunked(packed, 1), LIMIT)) == b"query\n" * 10 + b"more"


def test_nothing_unpacks_to_nothing() -> None:
    assert b"".join(gunzip([], LIMIT)) == b""


@given(st.integers(1, len(gzipped(NOISE)) - 1))
def test_every_truncation_is_noticed(length: int) -> None:
    with pytest.raises(InvalidInputError, match="truncated"):
        list(gunzip([gzipped(NOISE)[:length]], LIMIT))


@pytest.mark.parametrize(
    "packed",
    [
        b"plain text",
        gzipped(NOISE)[:-8] + bytes(8),
        gzipped(b"good") + b"trailing garbage",
        gzipped(NOISE)[:5_000] + bytes(100) + gzipped(NOISE)[5_100:],
    ],
    ids=["not gzip", "wrong checksum", "garbage behind", "hole inside"],
)
def test_damage_is_noticed(packed: bytes) -> None:
    with pytest.raises(InvalidInputError, match="damaged"):
        list(gunzip([packed], LIMIT))


def test_a_bomb_stops_at_the_ratio_long_before_it_is_unpacked() -> None:
    bomb = gzipped(bytes(64 * 1024**2))
    sizes: list[int] = []

    with pytest.raises(InvalidInputError, match="200 times"):
        sizes.extend(map(len, gunzip([bomb], 10**12)))

    assert sum(sizes) <= 16 * 1024**2


def test_the_size_limit_holds_over_all_members() -> None:
    packed = gzipped(NOISE) * 3

    with pytest.raises(InvalidInputError, match="more than 250000 bytes"):
        list(gunzip([packed], 250_000))
    assert sum(map(len, gunzip([packed], 300_000))) == 300_000


def test_pieces_stay_small() -> None:
    packed = gzipped(b"x" * 10**6)

    assert max(map(len, gunzip([packed], 10**6))) <= 64 * 1024
