"""Serialises a local model: compact, with a checksum, without text.

    "SRLOCAL2" | SHA-256 of the payload | zlib(payload)
    payload = length of the header | header (JSON) | arrays

Ascending numbers are stored as gaps, fractions in half precision. Each array stores all its first
bytes, then all second bytes (the shuffle filter of HDF5), which halves the compressed size.
Queries and terms are hashes.
"""

from __future__ import annotations

import hashlib
import json
import math
import struct
import sys
import zlib
from array import array
from collections.abc import Iterable, Sequence
from itertools import accumulate

from search_router.domain.errors import InvalidInputError
from search_router.domain.local_tier.local_model import Gate, LocalModel
from search_router.domain.local_tier.neighbours import Neighbourhood, Posting
from search_router.domain.weights import Modalities

_MAGIC = b"SRLOCAL2"
_DIGEST_BYTES = 32
_TRAIN_AGAIN = "Upload the prompts again."
_LENGTH = struct.Struct("<I")
_MAX_PAYLOAD = 64 * 1024 * 1024  # 200,000 rows take 10 MB
_ARRAYS = (  # name, type code of `array`
    ("queries", "Q"),
    ("label_of", "I"),
    ("inverse_norms", "H"),
    ("densities", "H"),
    ("terms", "I"),
    ("squares", "H"),
    ("lengths", "B"),
    ("postings", "I"),
)


def pack(model: LocalModel) -> bytes:
    """Serialise a model; equal models give equal payloads."""
    hood = model.neighbourhood
    terms = sorted(hood.terms)
    entries = [hood.terms[term] for term in terms]
    postings = [row for length, _, at in entries for row in _gaps(hood.postings[at : at + length])]
    values: dict[str, Iterable[int]] = {
        "queries": _gaps(sorted(hood.row_of)),
        "label_of": hood.label_of,
        "inverse_norms": _halves(hood.inverse_norms),
        "densities": _halves(hood.densities),
        "terms": _gaps(terms),
        "squares": _halves([-square for _, square, _ in entries]),
        "lengths": [length for length, _, _ in entries],
        "postings": postings,
    }
    arrays = {name: array(code, values[name]) for name, code in _ARRAYS}
    header = {
        "modalities": hood.modalities,
        "labels": hood.labels,
        "unseen_square": hood.unseen_square,
        "gate": {**vars(model.gate), "least_familiarity": _finite(model.gate)},
        "sizes": {name: len(values) for name, values in arrays.items()},
    }
    text = json.dumps(header, sort_keys=True).encode("ascii")
    body = b"".join(_shuffled(arrays[name]) for name, _ in _ARRAYS)
    payload = _LENGTH.pack(len(text)) + text + body
    return _MAGIC + hashlib.sha256(payload).digest() + zlib.compress(payload, 9)


def version_of(artifact: bytes) -> str:
    """Return an artifact's version: 32 hex digits of its payload's SHA-256."""
    return artifact[len(_MAGIC) : len(_MAGIC) + _DIGEST_BYTES].hex()[:32]


def unpack(artifact: bytes, modalities: Modalities) -> LocalModel:
    """Restore a model; raises InvalidInputError for a damaged artifact or other modalities."""
    payload = _payload(artifact)
    (length,) = _LENGTH.unpack_from(payload)
    header = json.loads(payload[_LENGTH.size : _LENGTH.size + length])
    if tuple(header["modalities"]) != modalities:
        trained = ", ".join(header["modalities"])
        raise InvalidInputError(f"the local model has other modalities: {trained}. {_TRAIN_AGAIN}")
    arrays, start = {}, _LENGTH.size + length
    for name, code in _ARRAYS:
        end = start + array(code).itemsize * header["sizes"][name]
        arrays[name], start = _unshuffled(payload[start:end], code), end
    gate = {**header["gate"]}
    if gate["least_familiarity"] is None:
        gate["least_familiarity"] = math.inf
    terms, postings = _index(arrays)
    neighbourhood = Neighbourhood(
        modalities=modalities,
        labels=[tuple(label) for label in header["labels"]],
        label_of=arrays["label_of"],
        row_of={key: row for row, key in enumerate(accumulate(arrays["queries"]))},
        inverse_norms=_fractions(arrays["inverse_norms"]),
        densities=_fractions(arrays["densities"]),
        terms=terms,
        postings=postings,
        unseen_square=header["unseen_square"],
    )
    return LocalModel(neighbourhood, Gate(**gate))


def _payload(artifact: bytes) -> bytes:
    start = len(_MAGIC) + _DIGEST_BYTES
    if artifact[: len(_MAGIC)] != _MAGIC:
        other = artifact.startswith(_MAGIC[:-1])
        problem = "has another format version" if other else "is not a local model"
        raise InvalidInputError(f"the artifact {problem}. {_TRAIN_AGAIN}")
    unpacker = zlib.decompressobj()
    try:
        payload = unpacker.decompress(artifact[start:], _MAX_PAYLOAD)
    except zlib.error:
        raise InvalidInputError(f"the artifact is damaged. {_TRAIN_AGAIN}") from None
    if not unpacker.eof or unpacker.unused_data:
        raise InvalidInputError(
            f"the artifact is truncated or followed by other data. {_TRAIN_AGAIN}"
        )
    if hashlib.sha256(payload).digest() != artifact[len(_MAGIC) : start]:
        raise InvalidInputError(f"the artifact is damaged: its checksum differs. {_TRAIN_AGAIN}")
    return payload


def _index(arrays: dict[str, array[int]]) -> tuple[dict[int, Posting], array[int]]:
    lengths = arrays["lengths"]
    ends = list(accumulate(lengths))
    starts = [0, *ends[:-1]]
    squares = [-square for square in _fractions(arrays["squares"])]
    entries = zip(lengths, squares, starts, strict=True)
    terms = dict(zip(accumulate(arrays["terms"]), entries, strict=True))
    gaps, rows = arrays["postings"], array("I")
    for start, end in zip(starts, ends, strict=True):
        rows.extend(accumulate(gaps[start:end]))
    return terms, rows


def _gaps(rows: Sequence[int]) -> list[int]:
    return [row - before for row, before in zip(rows, [0, *rows], strict=False)]


def _finite(gate: Gate) -> float | None:
    return gate.least_familiarity if math.isfinite(gate.least_familiarity) else None


def _halves(fractions: Sequence[float]) -> array[int]:
    return array("H", struct.pack(f"={len(fractions)}e", *fractions))


def _fractions(halves: array[int]) -> tuple[float, ...]:
    return struct.unpack(f"={len(halves)}e", halves.tobytes())


def _shuffled(values: array[int]) -> bytes:
    raw = _little_endian(values).tobytes()
    return b"".join(raw[index :: values.itemsize] for index in range(values.itemsize))


def _unshuffled(data: bytes, code: str) -> array[int]:
    values: array[int] = array(code)
    count = len(data) // values.itemsize
    raw = bytearray(len(data))
    for index in range(values.itemsize):
        raw[index :: values.itemsize] = data[index * count : (index + 1) * count]
    values.frombytes(raw)
    return _little_endian(values)


def _little_endian(values: array[int]) -> array[int]:
    if sys.byteorder == "big":
        values.byteswap()
    return values
