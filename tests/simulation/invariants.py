"""What must be true when a history is over, whatever went wrong in it.

The oracle knows the uploaded rows and what each deployment answers; everything else is read from
the virtual services, past all product code but the names of keys.
"""

import itertools
import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

from search_router.domain import naming
from tests.integration.world import CACHE, DATA, STATE
from tests.simulation.faults import HOUR, Fault
from tests.simulation.scheduler import Fiber
from tests.simulation.uploads import CANARY, LogFile, Row, canonical
from tests.simulation.virtual_aws.models import MODALITIES, STATUS, expected
from tests.simulation.world import World, deployment

_LEGAL_STATES = (
    ["PLANNED", "ROUTING", "ROUTED"],
    ["PLANNED", "ROUTED"],  # all parts were in before the planner said that it was done
)
_HELPED_BY_VISIBILITY = (
    Fault.CRASH_BEFORE,
    Fault.CRASH_AFTER,
    Fault.STALL,
    Fault.DELETE_LOST,
)
_HELPED_BY_THE_SCHEDULE = (Fault.EVENT_LOST,)
_ENDED_BY_ERASURE = (["FAILED"], ["PLANNED", "FAILED"], ["PLANNED", "ROUTING", "FAILED"])


def violations(world: World, files: list[LogFile]) -> list[str]:
    """Return everything that is not as promised; nothing is what a history should find."""
    found: list[str] = []
    for file in files:
        found += [f"{file.key}: {text}" for text in _log_violations(world, file)]
    found += _queue_violations(world)
    found += _call_violations(world, files)
    late = world.scheduler.seconds - promised(world, files)
    if late > 0:
        found.append(f"at rest {late / HOUR:.1f} hours later than promised")
    if CANARY in world.output():
        found.append("query text in the functions' logs")
    return found


def promised(world: World, files: list[LogFile]) -> float:
    """Return when the history must be at rest at the latest, in its seconds.

    What failed comes back within 15 minutes and may run for 15; an event may be 10 minutes late.
    What died, or whose deletion got lost, comes back after 90 minutes of visibility. A planner or a
    completion that is missing altogether is helped after 20 minutes, and then once a day.
    """
    lateness = {
        **dict.fromkeys(_HELPED_BY_VISIBILITY, 2.5 * HOUR),
        **dict.fromkeys(_HELPED_BY_THE_SCHEDULE, 26 * HOUR),
    }
    last = world.faults.last
    times = [when + lateness.get(fault, HOUR) for fault, when in last.items()]
    times += [file.uploaded_at + HOUR for file in files]
    if world.bus.dead_letters:
        times.append(max(last.values()) + 26 * HOUR)
    return max(times)


# --- one log ----------------------------------------------------------------------------------


def _log_violations(world: World, file: LogFile) -> Iterator[str]:
    if file.source is None:
        yield "was never uploaded: the history is broken"
        return
    log_id = naming.log_id(*file.source)
    states = world.states.get(log_id, [])
    if not states:
        if not (file.erased or file.superseded):
            yield "nothing became of the upload"
        return
    if file.erased and states in _ENDED_BY_ERASURE:
        return
    if states not in _LEGAL_STATES:
        yield f"the log went {' → '.join(states)}"
        return
    parts, rejected = _lines(world, log_id, "parts"), _lines(world, log_id, "rejected")
    version = json.loads(_body(world, f"logs/{log_id}/plan.json"))["champion_version"]
    yield from _row_violations(file, parts, rejected, version, log_id)
    yield from _sum_violations(world, log_id, parts, rejected)
    yield from _object_violations(world, log_id)
    announced = [detail for name, detail in world.bus.published if name == "QueryLogRouted"]
    if {"log_id": log_id} not in [{"log_id": detail["log_id"]} for detail in announced]:
        yield "nobody was told that the log is routed"


def _row_violations(
    file: LogFile, parts: list[Any], rejected: list[Any], version: int, log_id: str
) -> Iterator[str]:
    """Every row once, verbatim, with the answer to its own query by the model of the plan."""
    good = {row.offset: row for row in file.rows if row.query is not None}
    bad = Counter(row.offset for row in file.rows if row.query is None)
    if Counter(row["byte_offset"] for row in parts) != Counter(good.keys()):
        yield f"{len(parts)} result rows for {len(good)} good rows"
    if Counter(row["byte_offset"] for row in rejected) != bad:
        yield f"{len(rejected)} rejected rows for {bad.total()} bad rows"
    if not all(row["reason"] for row in rejected):
        yield "a rejection without a reason"
    if len({row["row_id"] for row in parts}) != len(parts):
        yield "row ids that are not unique"
    for row in parts:
        if row["byte_offset"] in good:
            yield from _answer_violations(row, good[row["byte_offset"]], version)


def _answer_violations(row: Any, given: Row, version: int) -> Iterator[str]:
    query = given.query or ""
    answer = expected(deployment(version), canonical(query))
    if row["query"] != query:
        yield f"the query at {given.offset} was changed"
    for name, value in given.columns.items():
        if row.get(name) != value and row.get(f"input_{name}") != value:
            yield f"column {name} at {given.offset} was changed"
    weights = [row[name] for name in MODALITIES]
    if max(abs(a - b) for a, b in zip(weights, answer.weights, strict=True)) > 1e-6:
        yield f"the row at {given.offset} carries another query's or model's weights"
    if abs(sum(weights) - 1) > 1e-9:
        yield f"the weights at {given.offset} do not add up"
    if (row["status"] == "fallback") != (row["tier"] == "fallback"):
        yield f"the row at {given.offset} is {row['status']} from tier {row['tier']}"
    if row["status"] != answer.status:
        yield f"the row at {given.offset} is {row['status']}, not {answer.status}"


def _sum_violations(
    world: World, log_id: str, parts: list[Any], rejected: list[Any]
) -> Iterator[str]:
    """Ledger, manifest and summary tell of exactly the rows that are there."""
    plan = json.loads(_body(world, f"logs/{log_id}/plan.json"))
    summary = json.loads(_body(world, f"logs/{log_id}/summary.json"))
    manifest = json.loads(_body(world, f"logs/{log_id}/manifest.json"))
    head = world.dynamodb.tables[STATE]["LOGS", log_id]
    markers = world.dynamodb.items(STATE, f"LOG#{log_id}")
    fallback = sum(row["status"] == "fallback" for row in parts)
    if not int(head["parts"]["N"]) == len(markers) == plan["splits"] == len(manifest["parts"]):
        yield f"{head['parts']['N']} counted, {len(markers)} marked, {plan['splits']} planned"
    counted = {
        "rows_in": len(parts) + len(rejected),
        "routed": len(parts) - fallback,
        "fallback": fallback,
        "rejected": len(rejected),
    }
    if {name: summary[name] for name in counted} != counted:
        yield f"the summary tells of {summary}, there are {counted}"
    if summary["rows_in"] != summary["routed"] + summary["fallback"] + summary["rejected"]:
        yield "rows_in is not routed + fallback + rejected"
    if sum(summary["tiers"].values()) != len(parts):
        yield "the tiers do not add up to the rows"


def _object_violations(world: World, log_id: str) -> Iterator[str]:
    """Objects lie where the plan says, and nothing that was written is ever changed."""
    plan = json.loads(_body(world, f"logs/{log_id}/plan.json"))
    numbers = range(plan["splits"])
    due = {f"logs/{log_id}/parts/part-{number:05d}.jsonl" for number in numbers}
    there = set(world.s3.keys(DATA, f"logs/{log_id}/parts/"))
    if there != due:
        yield f"parts that are not due, or missing: {sorted(there ^ due)}"
    for (bucket, key), versions in world.s3.versions.items():
        if bucket == DATA and f"/{log_id}/" in key and len({v.body for v in versions}) > 1:
            yield f"{key} was written twice with different bytes"


# --- all logs ---------------------------------------------------------------------------------


def _queue_violations(world: World) -> Iterator[str]:
    if world.dead_letters.messages:
        yield f"{len(world.dead_letters.messages)} splits in the dead-letter queue"
    excused = sum("ChangeMessageVisibility" in line and " ! " in line for line in world.lines)
    excused += world.faults.fired[Fault.MESSAGE_TWICE] + world.runtime.died
    if world.poller.oversleeping > excused:
        yield "a split that failed in good order comes back after more than 15 minutes"
    if world.queue.messages:
        yield f"{len(world.queue.messages)} splits left in the queue"
    if world.queue.expired or world.dead_letters.expired:
        yield "splits expired unread"


def _call_violations(world: World, files: list[LogFile]) -> Iterator[str]:
    """An answer is bought again only where one was lost, or two asked at the same time."""
    for (arn, query), askers in world.models.billed.items():
        if STATUS[expected(arn, query).manner] != "fallback":
            for first, again in itertools.pairwise(askers):
                if not _explained(first, again):
                    yield "an answer was bought twice for no reason"
    attempts = world.runtime.invocations["route_queries"]
    most = 5 * attempts * max((len(file.distinct) for file in files), default=0)
    if world.models.asked.total() > most:
        yield f"{world.models.asked.total()} calls in {attempts} attempts"
    if any("query" in key[0].lower() for key in world.dynamodb.tables.get(CACHE, {})):
        yield "query text in a cache key"


def _explained(first: Fiber, again: Fiber) -> bool:
    """Tell why somebody asked again what somebody had been told."""
    lost = first.death is not None or first.troubled or again.troubled
    return lost or (first is not again and first.ended >= again.born)


def _lines(world: World, log_id: str, folder: str) -> list[Any]:
    keys = world.s3.keys(DATA, f"logs/{log_id}/{folder}/")
    return [json.loads(line) for key in keys for line in _body(world, key).split(b"\n") if line]


def _body(world: World, key: str) -> bytes:
    found = world.s3.current(DATA, key)
    return found.body or b"" if found else b"{}"
