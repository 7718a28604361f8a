"""Finish a query log whose splits are all in the ledger: check the parts and summarise them."""

import json
from dataclasses import dataclass

from search_router.domain import naming
from search_router.domain.errors import ConflictError
from search_router.domain.events import QueryLogRouted
from search_router.domain.logs.query_logs import LogState, QueryLog
from search_router.domain.logs.results import PartMarker, PartStats, total_stats
from search_router.domain.logs.summary import summarise
from search_router.ports import (
    ChampionRepository,
    Clock,
    EventPublisher,
    ObjectStore,
    QueryLogLedger,
)
from search_router.use_cases.outcomes import Ignored


@dataclass(frozen=True, slots=True)
class FinishQueryLog:
    """Finishes query logs, one per call."""

    objects: ObjectStore
    champions: ChampionRepository
    ledger: QueryLogLedger
    events: EventPublisher
    clock: Clock

    def __call__(self, log_id: str) -> PartStats | Ignored:
        """Write a complete log's manifest and summary, publish QueryLogRouted and close the log.

        The event is published before the log is closed, so a crash between the two repeats it.
        Raises ConflictError, and records the log as FAILED, when ledger and parts disagree.
        """
        log = self.ledger.get(log_id)
        if log is None:
            return Ignored("the log does not exist")
        if log.state in (LogState.ROUTED, LogState.FAILED) or not log.is_complete:
            return Ignored(f"the log is {log.state} with {log.parts} of {log.splits} parts")
        markers = list(self.ledger.markers(log_id))
        sizes = dict(self.objects.list(naming.log_key(log_id, "parts/")))
        try:
            _check(log, markers, sizes)
        except ConflictError as error:
            self.ledger.move(log_id, LogState.FAILED, self.clock.now(), str(error))
            raise
        total = total_stats(marker.stats for marker in markers)
        self.objects.put(naming.log_key(log_id, "manifest.json"), _manifest(log, markers, sizes))
        summary = summarise(log, self.champions.version(log.champion_version), total)
        self.objects.put(naming.log_key(log_id, "summary.json"), _json(summary))
        self.events.publish(QueryLogRouted(log_id=log_id))
        self.ledger.move(log_id, LogState.ROUTED, self.clock.now())
        return total


def _check(log: QueryLog, markers: list[PartMarker], sizes: dict[str, int]) -> None:
    recorded = [marker.split for marker in markers]
    if recorded != list(range(log.splits)):
        raise ConflictError(f"{log.log_id}: {len(recorded)} markers for {log.splits} splits")
    missing = [s for s in recorded if naming.part_key(log.log_id, s) not in sizes]
    if missing or len(sizes) != log.splits:
        raise ConflictError(f"{log.log_id}: {len(sizes)} parts for {log.splits} splits")
    for marker in markers:
        stats = marker.stats
        if stats.rows_in != stats.routed + stats.fallback + stats.rejected:
            raise ConflictError(f"{log.log_id}: the rows of split {marker.split} do not add up")
        size = sizes[naming.part_key(log.log_id, marker.split)]
        if marker.size != size:
            raise ConflictError(
                f"{log.log_id}: part {marker.split} has {size} bytes, {marker.size} were written"
            )


def _manifest(log: QueryLog, markers: list[PartMarker], sizes: dict[str, int]) -> bytes:
    parts = [
        {
            "key": naming.part_key(log.log_id, marker.split),
            "bytes": sizes[naming.part_key(log.log_id, marker.split)],
            "rows": marker.rows,
            "rejected": marker.stats.rejected,
            "identity": marker.identity,
        }
        for marker in markers
    ]
    return _json({"log_id": log.log_id, "splits": log.splits, "parts": parts})


def _json(value: dict[str, object]) -> bytes:
    return json.dumps(value, indent=2, ensure_ascii=False).encode("utf-8") + b"\n"
