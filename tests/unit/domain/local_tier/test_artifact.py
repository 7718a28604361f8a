"""The local model's artifact: small, exact, with a checksum, without text."""

import zlib
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search_router.domain.errors import InvalidInputError
from search_router.domain.local_tier.artifact import pack, unpack, version_of
from search_router.domain.local_tier.local_model import LocalModel
from search_router.domain.local_tier.training import train
from search_router.domain.weights import Weights
from tests.unit.domain.local_examples import MODALITIES, labelled, trained

EXAMPLES = labelled(seed=1, count=400)


@pytest.fixture(scope="module")
def artifact() -> bytes:
    return pack(trained(400))


def estimates(model: LocalModel) -> list[tuple[Weights, float, float]]:
    found = (model.neighbourhood.estimate(query + " x") for query, _ in EXAMPLES)
    return [(it.weights, it.familiarity, it.risk) for it in found if it is not None]


def test_what_is_read_back_is_what_was_trained(artifact: bytes) -> None:
    read = unpack(artifact, MODALITIES)

    assert vars(read.gate) == vars(trained(400).gate)
    assert estimates(read) == estimates(trained(400))
    assert pack(read) == artifact


def test_a_closed_gate_stays_closed() -> None:
    closed = train(EXAMPLES[:20], MODALITIES, 0.045)

    assert vars(unpack(pack(closed), MODALITIES).gate) == vars(closed.gate)


def test_the_version_names_the_content(artifact: bytes) -> None:
    recompressed = artifact[:40] + zlib.compress(zlib.decompress(artifact[40:]), 1)

    assert version_of(artifact) == version_of(recompressed)
    assert vars(unpack(recompressed, MODALITIES).gate) == vars(trained(400).gate)
    assert version_of(pack(train(EXAMPLES[:-1], MODALITIES, 0.045))) != version_of(artifact)


@settings(max_examples=40, deadline=None)
@given(offset=st.integers(0, 2**32 - 1), bit=st.integers(0, 7))
def test_any_flipped_bit_is_detected(artifact: bytes, offset: int, bit: int) -> None:
    damaged = bytearray(artifact)
    damaged[offset % len(damaged)] ^= 1 << bit

    with pytest.raises(InvalidInputError, match=r"artifact (is|has)"):
        unpack(bytes(damaged), MODALITIES)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        pytest.param(lambda _: b"", "is not a local model", id="empty"),
        pytest.param(lambda _: b"{}", "is not a local model", id="JSON"),
        pytest.param(lambda it: b"SRLOCAL9" + it[8:], "another format version", id="version 9"),
        pytest.param(lambda it: it[:8], "damaged|truncated", id="header only"),
        pytest.param(lambda it: it[:-10], "truncated", id="end missing"),
        pytest.param(lambda it: it + b"x", "followed by other data", id="a byte too many"),
    ],
)
def test_invalid_artifacts_are_rejected(
    artifact: bytes, changed: Callable[[bytes], bytes], message: str
) -> None:
    with pytest.raises(InvalidInputError, match=message):
        unpack(changed(artifact), MODALITIES)


def test_other_modalities_are_rejected(artifact: bytes) -> None:
    with pytest.raises(InvalidInputError, match="other modalities"):
        unpack(artifact, (*MODALITIES, "mood"))


def test_an_artifact_is_small_and_holds_no_text(artifact: bytes) -> None:
    payload = zlib.decompress(artifact[40:])

    assert len(artifact) <= 90 * len(EXAMPLES)  # terms repeat in larger sets: less per row
    assert not any(query.encode() in payload for query, _ in EXAMPLES)
    assert b"crowd" not in payload
