"""What template.yaml says about who is invoked by what: the simulated stack is the deployed one."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from local_stack.template import SamTemplate

ROOT = Path(__file__).parents[2]
NAMES = {"UploadBucket": "uploads", "DataBucket": "data", "AWS::StackName": "search-router-dev"}


@dataclass(frozen=True, slots=True)
class Function:
    """One function: seconds it may run, and attempts that an asynchronous run gets."""

    name: str
    timeout: float
    attempts: int
    patterns: tuple[Mapping[str, Any], ...]
    scheduled: bool

    def wants(self, event: Mapping[str, Any]) -> bool:
        """Tell whether one of its rules matches an event."""
        return any(matches(pattern, event) for pattern in self.patterns)


@dataclass(frozen=True, slots=True)
class Wiring:
    """The functions by name, and the attributes of the queue of splits and its dead letters."""

    functions: Mapping[str, Function]
    visibility: float
    retention: float
    max_receives: int
    dead_letter_retention: float


@cache
def wiring() -> Wiring:
    """Read the template once per process."""
    template = SamTemplate.load(ROOT / "template.yaml")
    queues = template.resources("AWS::SQS::Queue")
    splits = queues["SplitQueue"]
    invocations = {
        config["FunctionName"]["Ref"]: config
        for config in template.resources("AWS::Lambda::EventInvokeConfig").values()
    }
    functions = (
        _function(properties, invocations.get(name) or properties.get("EventInvokeConfig", {}))
        for name, properties in template.resources("AWS::Serverless::Function").items()
    )
    return Wiring(
        functions={function.name: function for function in functions},
        visibility=splits["VisibilityTimeout"],
        retention=splits["MessageRetentionPeriod"],
        max_receives=splits["RedrivePolicy"]["maxReceiveCount"],
        dead_letter_retention=queues["SplitDeadLetterQueue"]["MessageRetentionPeriod"],
    )


@cache
def _golden(name: str) -> str:
    return (ROOT / "events" / f"{name}.json").read_text(encoding="utf-8")


def golden_event(name: str) -> dict[str, Any]:
    """Return a copy of a golden payload."""
    event: dict[str, Any] = json.loads(_golden(name))
    return event


def matches(pattern: Any, value: Any) -> bool:
    """Tell whether EventBridge would match, as far as our rules go."""
    if isinstance(pattern, Mapping):
        return isinstance(value, Mapping) and all(
            name in value and matches(wanted, value[name]) for name, wanted in pattern.items()
        )
    found = value if isinstance(value, list) else [value]
    return any(_is(choice, one) for choice in pattern for one in found)


def _is(choice: Any, value: Any) -> bool:
    if not isinstance(choice, Mapping):
        return bool(choice == value)
    ((kind, argument),) = choice.items()
    match kind:
        case "Ref":
            return bool(NAMES[argument] == value)
        case "prefix":
            return isinstance(value, str) and value.startswith(argument)
        case "suffix":
            return isinstance(value, str) and value.endswith(argument)
    raise AssertionError(f"teach the simulation the pattern {choice}")


def _function(properties: Mapping[str, Any], invocations: Mapping[str, Any]) -> Function:
    events = properties.get("Events", {}).values()
    rules = [e["Properties"]["Pattern"] for e in events if e["Type"] == "EventBridgeRule"]
    return Function(
        name=Path(properties["CodeUri"]).name,
        timeout=properties["Timeout"],
        attempts=1 + invocations.get("MaximumRetryAttempts", 2),
        patterns=tuple(rules),
        scheduled=any(e["Type"] == "Schedule" for e in events),
    )
