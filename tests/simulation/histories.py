"""What happens in one history of query logs: all of it drawn from its seed."""

import random
from collections import Counter
from dataclasses import dataclass

from tests.simulation.faults import HOUR, Fault, FaultPlan
from tests.simulation.invariants import violations
from tests.simulation.log_forms import FORMS
from tests.simulation.uploads import LogFile, a_log_file
from tests.simulation.world import World, new_world

DAY = 24 * HOUR
TROUBLE = 3 * HOUR
_SELDOM = 6 * HOUR
GRACE = 30 * HOUR  # longer than anything is promised to take


@dataclass(frozen=True, slots=True)
class Report:
    """What one history showed."""

    seed: int
    violations: tuple[str, ...]
    fired: Counter[Fault]
    rows: int
    calls: int
    invocations: int
    hours: float
    slowest: float
    digest: str
    lines: tuple[str, ...] = ()


def run_history(seed: int, *, verbose: bool = False) -> Report:
    """Run one history to its end and check it; the same seed is the same history."""
    chance = random.Random(f"history {seed}")
    random.seed(seed)  # the jitter of the product and of the SDK
    faults = _faults(chance)
    with new_world(faults, chance, split_bytes=chance.choice((150, 400, 1_500))) as world:
        files = _happenings(world, chance)
        until = max(faults.calm_at, world.planned_until) + GRACE
        world.scheduler.run(until, done=lambda: _over(world, files))
        found = violations(world, files)
        return Report(
            seed=seed,
            violations=tuple(found),
            fired=faults.fired,
            rows=sum(len(file.rows) for file in files),
            calls=sum(world.models.asked.values()),
            invocations=sum(world.runtime.invocations.values()),
            hours=world.scheduler.seconds / HOUR,
            slowest=(world.scheduler.seconds - max(faults.last.values(), default=0.0)) / HOUR,
            digest=world.digest(),
            lines=tuple(world.lines) if verbose or found else (),
        )


def _faults(chance: random.Random) -> FaultPlan:
    rate = chance.choice((0.0, 0.01, 0.03, 0.06, 0.1))
    plan = FaultPlan(chance, rate, stubborn=chance.choice((0.1, 0.4)), calm_at=TROUBLE)
    dice = chance.random()
    start = chance.uniform(1.0, 60.0)
    if dice < 0.05:
        plan.outages.append((start, start + 6 * HOUR))
        plan.calm_at = start + 6 * HOUR
    elif dice < 0.065:
        plan.outages.append((start, start + 40 * HOUR))
        plan.calm_at = start
    elif dice < 0.16:
        plan.outages.append((start, start + chance.uniform(0.3, 1.5) * HOUR))
    elif dice < 0.22:
        plan.denials.append((start, start + chance.uniform(0.2, 2.0) * HOUR))
    return plan


def _happenings(world: World, chance: random.Random) -> list[LogFile]:
    world.promote()
    world.schedule.start()
    small = bool(world.faults.outages)
    files = []
    for number in range(1 if small else chance.choice((1, 1, 2))):
        key = f"query-logs/log-{number}{chance.choice(FORMS)}"
        rows = chance.randint(1, 4) if small else chance.randint(1, 24)
        files.append(_uploaded(world, a_log_file(chance, key, rows), chance.uniform(0.0, 30.0)))
    if chance.random() < 0.3:
        world.at(chance.uniform(0.0, 40.0), lambda: _promote(world))
    if chance.random() < 0.1:
        files.append(_overwriting(world, chance, files[0]))
    elif chance.random() < 0.05:
        world.at(files[0].uploaded_at + chance.uniform(0.1, 40.0), lambda: _erase(world, files[0]))
    if world.faults.outages and world.faults.calm_at < TROUBLE:
        _redriven_later(world, world.faults.outages[0][1])
    return files


def _uploaded(world: World, file: LogFile, at: float) -> LogFile:
    def upload() -> None:
        file.source = world.upload(file.key, file.body)

    file.uploaded_at = at
    world.at(at, upload)
    return file


def _promote(world: World) -> None:
    world.faults.fired[Fault.PROMOTION] += 1
    world.promote()


def _overwriting(world: World, chance: random.Random, old: LogFile) -> LogFile:
    """Plan another version of a file that may still be read."""
    world.faults.fired[Fault.OVERWRITTEN] += 1
    old.superseded = True
    new = a_log_file(chance, old.key, chance.randint(1, 8))
    return _uploaded(world, new, old.uploaded_at + chance.uniform(0.1, 60.0))


def _erase(world: World, file: LogFile) -> None:
    world.faults.fired[Fault.ERASED] += 1
    file.erased = True
    if file.source is not None:
        world.s3.erase(file.source.bucket, file.source.key, file.source.version_id or "")


def _redriven_later(world: World, end: float) -> None:
    """Plan a redrive ten days after an outage that ended in dead letters.

    In between nothing happens, so the schedule ticks seldom there. It helps within windows that are
    shorter, so it must tick as always while it has to: within 26 hours of an event's loss.
    """
    again = end + 10 * DAY
    usual = world.schedule.every
    world.faults.calm_at = end + TROUBLE
    world.at(world.faults.calm_at + 26 * HOUR, lambda: world.schedule.change(_SELDOM))
    world.at(again - _SELDOM, lambda: world.schedule.change(usual))
    world.at(again, lambda: _redrive(world))


def _redrive(world: World) -> None:
    world.faults.fired[Fault.DEAD_LETTER] += len(world.dead_letters.messages)
    world.faults.note(Fault.REDRIVE, world.scheduler.seconds)
    world.redrive()


def _over(world: World, files: list[LogFile]) -> bool:
    return world.quiet and all(ended(world, file) for file in files)


def ended(world: World, file: LogFile) -> bool:
    """Tell whether nothing more will come of an upload; what was lost before it was known is."""
    if file.source is None:
        return False
    state = world.state_of(file.source)
    return state in ("ROUTED", "FAILED") or (not state and (file.superseded or file.erased))
