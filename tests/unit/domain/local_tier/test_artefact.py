"""The local model's artefact: small, exact, checked, without text."""

import zlib
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search_router.domain.errors import InvalidInputError
from search_router.domain.local_tier.artefact import pack, unpack, version_of
from search_router.domain.local_tier.local_model import LocalModel
from search_router.domain.local_tier.training import train
from search_router.domain.weights import Weights
from tests.unit.domain.local_examples import MODALITIES, labelled, trained

EXAMPLES = labelled(seed=1, count=400)


@pytest.fixture(scope="module")
def artefact() -> bytes:
    return pack(trained(400))


def told(model: LocalModel) -> list[tuple[Weights, float, float]]:
    estimates = (model.neighbourhood.estimate(query + " x") for query, _ in EXAMPLES)
    return [(it.weights, it.familiarity, it.risk) for it in estimates if it is not None]


def test_what_is_read_back_is_what_was_trained(artefact: bytes) -> None:
    read = unpack(artefact, MODALITIES)

    assert vars(read.gate) == vars(trained(400).gate)
    assert told(read) == told(trained(400))
    assert pack(read) == artefact


def test_a_closed_gate_stays_closed() -> None:
    closed = train(EXAMPLES[:20], MODALITIES, 0.045)

    assert vars(unpack(pack(closed), MODALITIES).gate) == vars(closed.gate)


def test_the_version_names_the_content(artefact: bytes) -> None:
    recompressed = artefact[:40] + zlib.compress(zlib.decompress(artefact[40:]), 1)

    assert version_of(artefact) == version_of(recompressed)
    assert vars(unpack(recompressed, MODALITIES).gate) == vars(trained(400).gate)
    assert version_of(pack(train(EXAMPLES[:-1], MODALITIES, 0.045))) != version_of(artefact)


@settings(max_examples=40, deadline=None)
@given(place=st.integers(0, 2**32 - 1), bit=st.integers(0, 7))
def test_any_flipped_bit_is_noticed(artefact: bytes, place: int, bit: int) -> None:
    damaged = bytearray(artefact)
    damaged[place % len(damaged)] ^= 1 << bit

    with pytest.raises(InvalidInputError, match="artefact is"):
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
def test_foreign_and_cut_artefacts_are_refused(
    artefact: bytes, changed: Callable[[bytes], bytes], message: str
) -> None:
    with pytest.raises(InvalidInputError, match=message):
        unpack(changed(artefact), MODALITIES)


def test_other_modalities_are_refused(artefact: bytes) -> None:
    with pytest.raises(InvalidInputError, match="other modalities"):
        unpack(artefact, (*MODALITIES, "mood"))


def test_an_artefact_is_small_and_holds_no_text(artefact: bytes) -> None:
    payload = zlib.decompress(artefact[40:])

    assert len(artefact) <= 90 * len(EXAMPLES)  # terms repeat in larger sets: less per row
    assert not any(query.encode() in payload for query, _ in EXAMPLES)
    assert b"crowd" not in payload
