"""The check that no row was lost, doubled or changed: every input row against its result row."""

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from benchmarks.cloud import DATA, Cloud
from search_router.domain import naming

_SUM_TOLERANCE = 1e-9


@dataclass(frozen=True, slots=True)
class RowCheck:
    """Rows of the log, how many have no result row of their own, and how many only a fallback."""

    rows: int
    lost: int
    fallback: int


def check_rows(log: bytes, parts: Iterable[bytes], modalities: Iterable[str]) -> RowCheck:
    """Compare a JSONL log with the parts of its results, in input order, row by row."""
    names = tuple(modalities)
    rows = lost = fallback = 0
    results = (line for part in parts for line in part.splitlines())
    for row, line in zip_longest(_rows(log), results):
        rows += row is not None
        result = json.loads(line) if line is not None else {}
        lost += row is None or not _answers(row, result, names)
        fallback += result.get("status") == "fallback"
    return RowCheck(rows, lost, fallback)


def part_bodies(cloud: Cloud, log_id: str, splits: int) -> Iterator[bytes]:
    """Yield the parts of a routed log, in input order."""
    s3 = cloud.clients.client("s3")
    for split in range(splits):
        key = naming.part_key(log_id, split)
        yield s3.get_object(Bucket=DATA, Key=key)["Body"].read()


def _rows(log: bytes) -> Iterator[tuple[int, dict[str, Any]]]:
    offset = 0
    for line in log.splitlines(keepends=True):
        yield offset, json.loads(line)
        offset += len(line)


def _answers(
    row: tuple[int, Mapping[str, Any]], result: Mapping[str, Any], modalities: tuple[str, ...]
) -> bool:
    offset, columns = row
    weights = [result.get(name, math.nan) for name in modalities]
    return (
        result.get("byte_offset") == offset
        and all(result.get(name) == value for name, value in columns.items())
        and all(0 <= weight <= 1 for weight in weights)
        and abs(math.fsum(weights) - 1) <= _SUM_TOLERANCE
    )
