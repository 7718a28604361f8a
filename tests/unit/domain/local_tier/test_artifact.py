"""The local model's artifact: small, exact, checked, without text."""

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


def told(model: LocalModel) -> list[tuple[Weights, float, float]]:
    estimates = (model.neighbourhood.estimate(query + " x") for query, _ in EXAMPLES)
    return [(it.weights, it.familiarity, it.risk) for it in estimates if it is not None]


def test_what_is_read_back_is_what_was_trained(artifact: bytes) -> None:
    read = unpack(artifact, MODALITIES)

    assert vars(read.gate) == vars(trained(400).gate)
    assert told(read) == told(trained(400))
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
@given(place=st.integers(0, 2**32 - 1), bit=st.integers(0, 7))
def test_any_flipped_bit_is_noticed(artifact: bytes, place: int, bit: int) -> None:
    damaged = bytearray(artifact)
    damaged[place % len(damaged)] ^= 1 << bit

    with pytest.raises(InvalidInputError, match="artifact is"):
        unpack(bytes(damaged), MODALITIES)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        pytest.param(lambda _: b"", "no local model", id="empty"),
        pytest.param(lambda _: b"{}", "no local model", id="JSON"),
        pytest.param(lambda it: b"SRLOCAL9" + it[8:], "another format version", id="version 9"),
        pytest.param(lambda it: it[:8], "damaged|cut off", id="header only"),
        pytest.param(lambda it: it[:-10], "cut off", id="end missing"),
        pytest.param(lambda it: it + b"x", "not alone", id="a byte too many"),
    ],
)
def test_foreign_and_cut_artifacts_are_refused(
    artifact: bytes, changed: Callable[[bytes], bytes], message: str
) -> None:
    with pytest.raises(InvalidInputError, match=message):
        unpack(changed(artifact), MODALITIES)


def test_other_modalities_are_refused(artifact: bytes) -> None:
    with pytest.raises(InvalidInputError, match="other modalities"):
        unpack(artifact, (*MODALITIES, "mood"))


def test_an_artifact_is_small_and_holds_no_text(artifact: bytes) -> None:
    payload = zlib.decompress(artifact[40:])

    assert len(artifact) <= 90 * len(EXAMPLES)  # terms repeat in larger sets: less per row
    assert not any(query.encode() in payload for query, _ in EXAMPLES)
    assert b"crowd" not in payload
