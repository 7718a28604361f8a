"""Indexing under trouble: the lists hold the last write of every segment, and every row counts."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from unittest import mock

import pytest

from search_router.domain.search.segment_records import RecordWrite
from search_router.use_cases import index_segments
from search_router.use_cases.index_segments import _Writer
from search_router.use_cases.segment_parts import SegmentParts
from tests.fakes import InMemoryRecords
from tests.simulation.indexing import IndexWorld, run_history, violations

Patch = contextlib.AbstractContextManager[Any]


def broken(seeds: Sequence[int]) -> Iterator[str]:
    """Yield what is wrong with the histories of these seeds."""
    for seed in seeds:
        for violation in violations(run_history(seed)):
            yield f"seed {seed}: {violation}"


def test_in_60_histories_the_last_write_of_every_segment_is_indexed() -> None:
    troubles = 0
    for seed in range(60):
        world = run_history(seed)
        troubles += world.trouble.met
        assert violations(world) == [], f"seed {seed}"
    assert troubles > 100


@pytest.mark.sweep
def test_in_500_histories_the_last_write_of_every_segment_is_indexed() -> None:
    assert list(broken(range(500))) == []


def test_a_history_is_the_same_each_time() -> None:
    assert _digest(run_history(7)) == _digest(run_history(7))


def _digest(world: IndexWorld) -> tuple[Any, ...]:
    return world.scheduler.seconds, world.trouble.met, world.index.lists, world.objects.bodies


def _unconditional_writes() -> Patch:
    def put_many(self: InMemoryRecords, collection: str, writes: Sequence[RecordWrite]) -> set[str]:
        for write in writes:
            self.stored[collection, write.record.segment_id] = write.record
        return set()

    return mock.patch.object(InMemoryRecords, "put_many", put_many)


def _not_read_again() -> Patch:
    return mock.patch.object(_Writer, "_settle", return_value=None)


def _redelivery_ignored() -> Patch:
    is_closed = _Writer._is_closed

    def without(self: Any, segment_id: str, stored: Any, applied: dict[str, str]) -> bool:
        return is_closed(self, segment_id, stored, {})

    return mock.patch.object(_Writer, "_is_closed", without)


def _old_lists_not_left() -> Patch:
    differences = index_segments._differences

    def without(changes: Any, collection: Any) -> Any:
        operations = differences(changes, collection)
        for operation in operations.values():
            operation.deleted.clear()
        return operations

    return mock.patch.object(index_segments, "_differences", without)


def _order_of_arrival() -> Patch:
    def is_closed(self: Any, segment_id: str, stored: Any, applied: dict[str, str]) -> bool:
        return False

    return mock.patch.object(_Writer, "_is_closed", is_closed)


def _rejections_of_the_attempt() -> Patch:
    def rejections(self: Any) -> list[Any]:
        return []

    return mock.patch.object(SegmentParts, "rejections", rejections)


BUGS: dict[str, Callable[[], Patch]] = {
    "records written unconditionally": _unconditional_writes,
    "records not read again": _not_read_again,
    "redeliveries put nothing": _redelivery_ignored,
    "old modalities stay": _old_lists_not_left,
    "the last to arrive wins": _order_of_arrival,
    "rejected rows lost": _rejections_of_the_attempt,
}


@pytest.mark.parametrize("bug", BUGS)
def test_a_planted_bug_of_indexing_is_found(bug: str) -> None:
    with BUGS[bug]():
        assert next(broken(range(300)), None) is not None
