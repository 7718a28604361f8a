"""The local model's artifact: small, exact, checked, without text."""

import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search_router.domain.errors import InvalidInputError
from search_router.domain.local_tier.artifact import pack, unpack, version_of
from search_router.domain.local_tier.local_model import LocalModel
from search_router.domain.local_tier.training import train
from search_router.domain.weights import Weights
from tests.unit.domain.local_examples import MODALITIES, labelled

EXAMPLES = labelled(seed=1, count=400)
MODEL = train(EXAMPLES, MODALITIES, 0.045)
ARTIFACT = pack(MODEL)


def told(model: LocalModel) -> list[tuple[Weights, float, float]]:
    estimates = (model.neighbourhood.estimate(query + " x") for query, _ in EXAMPLES)
    return [(it.weights, it.familiarity, it.risk) for it in estimates if it is not None]


def test_what_is_read_back_is_what_was_trained() -> None:
    read = unpack(ARTIFACT, MODALITIES)

    assert vars(read.gate) == vars(MODEL.gate)
    assert told(read) == told(MODEL)
    assert pack(read) == ARTIFACT


def test_a_closed_gate_stays_closed() -> None:
    closed = train(EXAMPLES[:20], MODALITIES, 0.045)

    assert vars(unpack(pack(closed), MODALITIES).gate) == vars(closed.gate)


def test_the_version_names_the_content() -> None:
    recompressed = ARTIFACT[:40] + zlib.compress(zlib.decompress(ARTIFACT[40:]), 1)

    assert version_of(ARTIFACT) == version_of(recompressed)
    assert vars(unpack(recompressed, MODALITIES).gate) == vars(MODEL.gate)
    assert version_of(pack(train(EXAMPLES[:-1], MODALITIES, 0.045))) != version_of(ARTIFACT)


@settings(max_examples=40, deadline=None)
@given(place=st.integers(0, len(ARTIFACT) - 1), bit=st.integers(0, 7))
def test_any_flipped_bit_is_noticed(place: int, bit: int) -> None:
    damaged = bytearray(ARTIFACT)
    damaged[place] ^= 1 << bit

    with pytest.raises(InvalidInputError, match="artifact is"):
        unpack(bytes(damaged), MODALITIES)


@pytest.mark.parametrize(
    ("artifact", "message"),
    [
        (b"", "no local model"),
        (b"{}", "no local model"),
        (b"SRLOCAL9" + ARTIFACT[8:], "another format version"),
        (ARTIFACT[:8], "damaged|cut off"),
        (ARTIFACT[:-10], "cut off"),
        (ARTIFACT + b"x", "not alone"),
    ],
)
def test_foreign_and_cut_artifacts_are_refused(artifact: bytes, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        unpack(artifact, MODALITIES)


def test_other_modalities_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="other modalities"):
        unpack(ARTIFACT, (*MODALITIES, "mood"))


def test_an_artifact_is_small_and_holds_no_text() -> None:
    payload = zlib.decompress(ARTIFACT[40:])

    assert len(ARTIFACT) <= 90 * len(EXAMPLES)  # terms repeat in larger sets: less per row
    assert not any(query.encode() in payload for query, _ in EXAMPLES)
    assert b"crowd" not in payload
