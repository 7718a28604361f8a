"""Every split of a log is in the ledger: check it against the parts, then sum it up once."""

import json

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


def finish_query_log(
    log_id: str,
    *,
    objects: ObjectStore,
    champions: ChampionRepository,
    ledger: QueryLogLedger,
    events: EventPublisher,
    clock: Clock,
) -> PartStats | Ignored:
    """Write the manifest and the summary of a complete log, announce it and close it.

    The announcement comes before the closing write: a crash between them repeats it, none loses it.
    Raises ConflictError, after the log was recorded as FAILED, when ledger and parts disagree: then
    something was lost.
    """
    log = ledger.get(log_id)
    if log is None:
        return Ignored("unknown log")
    if log.state in (LogState.ROUTED, LogState.FAILED) or not log.is_complete:
        return Ignored(f"the log is {log.state} with {log.parts} of {log.splits} parts")
    markers = list(ledger.markers(log_id))
    sizes = dict(objects.list(naming.log_key(log_id, "parts/")))
    try:
        _check(log, markers, sizes)
    except ConflictError as error:
        ledger.move(log_id, LogState.FAILED, clock.now(), str(error))
        raise
    total = total_stats(marker.stats for marker in markers)
    objects.put(naming.log_key(log_id, "manifest.json"), _manifest(log, markers, sizes))
    champion = champions.version(log.champion_version)
    summary = summarise(log, champion, total)
    objects.put(naming.log_key(log_id, "summary.json"), _json(summary))
    events.publish(QueryLogRouted(log_id=log_id))
    ledger.move(log_id, LogState.ROUTED, clock.now())
    return total


def _check(log: QueryLog, markers: list[PartMarker], sizes: dict[str, int]) -> None:
    entered = [marker.split for marker in markers]
    if entered != list(range(log.splits)):
        raise ConflictError(f"{log.log_id}: {len(entered)} markers for {log.splits} splits")
    missing = [s for s in entered if naming.part_key(log.log_id, s) not in sizes]
    if missing or len(sizes) != log.splits:
        raise ConflictError(f"{log.log_id}: {len(sizes)} parts for {log.splits} splits")
    for marker in markers:
        stats = marker.stats
        if stats.rows_in != stats.routed + stats.fallback + stats.rejected:
            raise ConflictError(f"{log.log_id}: split {marker.split} does not add up")
        size = sizes[naming.part_key(log.log_id, marker.split)]
        if marker.size not in (None, size):
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
