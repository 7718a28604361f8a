"""A routed log's rows, part by part in input order: memory is one part, whatever the log's size."""

import json
from collections.abc import Iterator
from typing import Any

from router_cli.console import progress
from router_cli.failures import CommandError
from router_cli.routed_logs.log_progress import unfinished
from router_cli.stack import Stack
from search_router.domain import naming
from search_router.domain.logs.query_logs import LogState, QueryLog
from search_router.domain.serving.champions import Champion


def find_log(stack: Stack, log_id: str) -> QueryLog:
    """Read a log's head; raises CommandError for an unknown log and one that failed."""
    log = stack.ledger.get(log_id)
    if log is None:
        raise CommandError(f"there is no query log {log_id}; `search-router runs` lists them")
    if log.state is LogState.FAILED:
        raise CommandError(f"{log_id} failed: {log.reason}")
    return log


def champion_of(stack: Stack, log: QueryLog) -> Champion:
    """Read the champion that routes a log; raises CommandError if it is unknown."""
    champion = stack.champions.version(log.champion_version)
    if champion is None:
        raise CommandError(f"champion version {log.champion_version} is unknown")
    return champion


def routed_log(stack: Stack, log_id: str) -> QueryLog:
    """Read the head of a log that is finished; raises CommandError saying how far it is if not."""
    log = find_log(stack, log_id)
    if log.state is not LogState.ROUTED:
        raise CommandError(unfinished(stack, log).sentence())
    return log


def read_summary(stack: Stack, log_id: str) -> dict[str, Any]:
    """Read the summary of a routed log; raises CommandError while there is none."""
    routed_log(stack, log_id)
    return _document(stack, naming.log_key(log_id, "summary.json"))


def read_parts(stack: Stack, log_id: str, doing: str) -> Iterator[bytes]:
    """Yield the bytes of every part, in input order, checked against the manifest."""
    parts = _document(stack, naming.log_key(log_id, "manifest.json"))["parts"]
    for part in progress(doing, parts, len(parts)):
        yield _checked(stack, part)


def sampled_parts(stack: Stack, log_id: str, most: int) -> tuple[list[bytes], int]:
    """Return at most `most` parts, spread evenly over the log, and how many there are in all."""
    parts = _document(stack, naming.log_key(log_id, "manifest.json"))["parts"]
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
            f"{part['key']} has {rows} rows in {len(body)} bytes; the manifest says "
            f"{part['rows']} in {part['bytes']}: somebody changed it; upload the log again"
        )
    return body


def _document(stack: Stack, key: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(stack.objects.get(key))
    return document
