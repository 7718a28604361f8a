"""The parts of a routed log in input order, its distinct queries, and its progress until then.

Parts are read one by one and distinct queries are counted on disk, so memory stays at one part.
"""

import json
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from router_cli.console import CommandError, progress
from router_cli.stack import Stack
from search_router.domain import naming
from search_router.domain.logs.query_logs import LogPlan, LogState, QueryLog
from search_router.domain.logs.results import total_stats
from search_router.domain.queries import query_digest
from search_router.domain.serving.champions import Champion

_STALLED = timedelta(minutes=30)  # two receives of a split
_TEMPORARY = ""  # SQLite's name for a database that is deleted with its connection
_CREATE = "CREATE TABLE distinct_queries (digest BLOB PRIMARY KEY, rows INTEGER, kept TEXT)"
_ADD = """INSERT INTO distinct_queries VALUES (?, 1, ?)
          ON CONFLICT (digest) DO UPDATE SET rows = rows + 1"""


def find_log(stack: Stack, log_id: str) -> QueryLog:
    """Return the record of a log; raises CommandError if it does not exist or has failed."""
    log = stack.ledger.get(log_id)
    if log is None:
        raise CommandError(f"no such query log: {log_id}. `search-router runs` lists all logs.")
    if log.state is LogState.FAILED:
        raise CommandError(f"query log {log_id} failed: {log.reason}")
    return log


def routed_log(stack: Stack, log_id: str) -> QueryLog:
    """Return the record of a finished log; raises CommandError with its progress otherwise."""
    log = find_log(stack, log_id)
    if log.state is not LogState.ROUTED:
        raise CommandError(unfinished(stack, log).sentence())
    return log


def champion_of(stack: Stack, log: QueryLog) -> Champion:
    """Return the champion that routes a log; raises CommandError if its record is gone."""
    champion = stack.champions.version(log.champion_version)
    if champion is None:
        raise CommandError(
            f"champion version {log.champion_version} of {log.log_id} is unknown. "
            "`search-router champions` lists all versions."
        )
    return champion


def read_summary(stack: Stack, log_id: str) -> dict[str, Any]:
    """Return the summary of a routed log; raises CommandError if it is not finished."""
    routed_log(stack, log_id)
    return _document(stack, naming.upload_key(log_id, "summary.json"))


def read_parts(stack: Stack, log_id: str, doing: str) -> Iterator[bytes]:
    """Yield the bytes of every part in input order, checked against the manifest."""
    parts = _document(stack, naming.upload_key(log_id, "manifest.json"))["parts"]
    for part in progress(doing, parts, len(parts)):
        yield _checked(stack, part)


def sampled_parts(stack: Stack, log_id: str, most: int) -> tuple[list[bytes], int]:
    """Return at most `most` parts, spread evenly over the log, and the number of all parts."""
    parts = _document(stack, naming.upload_key(log_id, "manifest.json"))["parts"]
    step = max(1, -(-len(parts) // most))
    return [_checked(stack, part) for part in parts[::step]], len(parts)


def rows_of(part: bytes) -> Iterator[dict[str, Any]]:
    """Yield the result rows of a part."""
    yield from (json.loads(line) for line in part.split(b"\n") if line)


def _checked(stack: Stack, part: dict[str, Any]) -> bytes:
    body = stack.objects.get(part["key"])
    rows = body.count(b"\n")
    if (len(body), rows) != (part["bytes"], part["rows"]):
        raise CommandError(
            f"{part['key']} was changed: {rows} rows in {len(body)} bytes, but {part['rows']} in "
            f"{part['bytes']} in the manifest. Upload the log again."
        )
    return body


def _document(stack: Stack, key: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(stack.objects.get(key))
    return document


class DistinctQueries(AbstractContextManager["DistinctQueries"]):
    """Counts the rows of each distinct query and keeps some columns of its first row."""

    def __init__(self, *kept: str) -> None:
        self._kept = kept
        self._database = sqlite3.connect(_TEMPORARY)
        self._database.execute(_CREATE)

    def __exit__(self, *_: object) -> None:
        self._database.close()

    def __len__(self) -> int:
        [count] = self._database.execute("SELECT count(*) FROM distinct_queries").fetchone()
        return int(count)

    def add(self, rows: Iterable[dict[str, Any]]) -> None:
        """Count rows."""
        self._database.executemany(
            _ADD,
            (
                (
                    bytes.fromhex(query_digest(row["query"])),
                    json.dumps([row[name] for name in self._kept]) if self._kept else None,
                )
                for row in rows
            ),
        )

    def __iter__(self) -> Iterator[tuple[int, list[Any]]]:
        """Yield the rows and kept values of each query, the most frequent first."""
        found = self._database.execute(
            "SELECT rows, kept FROM distinct_queries ORDER BY rows DESC, digest"
        )
        for rows, kept in found:
            yield rows, json.loads(kept) if kept else []


@dataclass(frozen=True, slots=True)
class LogProgress:
    """The progress of an unfinished log; times are UTC.

    `rows_expected` comes from the plan and may be an estimate. `calls_left` assumes that the rest
    repeats itself as much as what is routed; before the first part, that nothing repeats. The quota
    is the batch share of the account's requests per minute.
    """

    log_id: str
    state: str
    parts: int
    splits: int
    rows_in: int
    rows_expected: int
    model_calls: int
    calls_left: int
    requests_per_minute: float
    started: datetime
    last_part: datetime
    end_at_quota: datetime
    end_at_pace: datetime | None
    is_still: bool

    def sentence(self) -> str:
        """Return the progress in words, with what to do if the log has stalled."""
        share = self.parts / self.splits if self.splits else 0
        text = (
            f"{self.log_id} is not finished: {self.parts} of {self.splits} splits ({share:.0%}), "
            f"{self.rows_in:,} of about {self.rows_expected:,} rows, {self.model_calls:,} model "
            f"calls since {_clock(self.started)}. {'About' if self.end_at_pace else 'At most'} "
            f"{self.calls_left:,} calls are left. Expected end: {_clock(self.end_at_quota)} at the "
            f"batch quota of {self.requests_per_minute:,.0f} requests a minute"
        )
        if self.end_at_pace:
            text += f", {_clock(self.end_at_pace)} at the pace so far"
        if self.is_still:
            text += (
                f". The last part was written at {_clock(self.last_part)}: "
                "`search-router redrive` shows whether splits have failed"
            )
        return f"{text}."


def unfinished(stack: Stack, log: QueryLog, now: datetime | None = None) -> LogProgress:
    """Return how far a log is, and its expected end at the quota and at its pace so far."""
    now = now or datetime.now(UTC)
    total = total_stats(marker.stats for marker in stack.ledger.markers(log.log_id))
    plan = LogPlan.model_validate_json(
        stack.objects.get(naming.upload_key(log.log_id, "plan.json"))
    )
    left = log.splits - log.parts
    calls_left, at_pace = plan.rows, None
    if log.parts:
        calls_left = round(total.model_calls / log.parts * left)
        at_pace = now + (log.updated_at - log.created_at) / log.parts * left
    return LogProgress(
        log_id=log.log_id,
        state=log.state.value,
        parts=log.parts,
        splits=log.splits,
        rows_in=total.rows_in,
        rows_expected=plan.rows,
        model_calls=total.model_calls,
        calls_left=calls_left,
        requests_per_minute=plan.requests_per_minute,
        started=log.created_at,
        last_part=log.updated_at,
        end_at_quota=now + timedelta(minutes=calls_left / plan.requests_per_minute),
        end_at_pace=at_pace,
        is_still=left > 0 and now - log.updated_at >= _STALLED,
    )


def _clock(time: datetime) -> str:
    return time.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
