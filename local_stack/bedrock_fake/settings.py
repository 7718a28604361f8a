"""The settings of the fake, which are also its command-line options."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from local_stack.bedrock_fake.faults import FaultRule, parse_faults


def setting(default: Any, help_: str) -> Any:
    """Return the field of a setting."""
    return field(default=default, metadata={"help": help_})


@dataclass(frozen=True, slots=True)
class FakeSettings:
    """Account and behaviour; each field is also a command-line option."""

    seed: int = setting(0, "seed of every random draw")
    mean_latency_ms: float = setting(0.0, "mean of the lognormal Converse latency; 0 = none")
    embedding_latency_ms: float = setting(0.0, "latency of InvokeModel; 0 = none")
    requests_per_minute: float = setting(2000.0, "Converse quota of each model; 0 = unlimited")
    malformed_rate: float = setting(0.0, "share of malformed answers of a distilled model")
    job_seconds: float = setting(60.0, "duration of a customization job")
    deployment_seconds: float = setting(30.0, "time a deployment stays Creating")
    job_failure: str = setting("", "failure message of all new customization jobs")
    deployment_failure: str = setting("", "failure message of all new deployments")
    evaluation_seconds: float = setting(60.0, "duration of an evaluation job")
    evaluation_failure: str = setting("", "failure message of all new evaluation jobs")
    missing_result_rate: float = setting(0.0, "share of prompts without a result of the judge")
    base_prose_rate: float = setting(0.08, "share of prose answers of the base student")
    base_incomplete_rate: float = setting(0.06, "share of its answers with truncated JSON")
    base_fenced_rate: float = setting(0.26, "share of its answers with JSON in a code fence")
    legacy_models: str = setting("", "comma-separated foundation models that are LEGACY")
    retired_models: str = setting("", "comma-separated foundation models past end of life")
    locked_models: str = setting("", "comma-separated foundation models without an agreement")
    faults: str = setting("", "comma-separated OPERATION:FAULT:RATE, * = every operation")
    event_loss_rate: float = setting(0.0, "share of events that are lost")
    event_duplicate_rate: float = setting(0.0, "share of events that are sent twice")
    event_late_rate: float = setting(0.0, "share of events that are late")
    event_late_seconds: float = setting(300.0, "delay of late and of duplicate events")
    aws_endpoint: str = setting("", "loopback URL of S3 and EventBridge")
    calls_file: str = setting("", "file that receives each distinct call")
    region: str = setting("us-east-1", "region in ARNs and events")
    account: str = setting("000000000000", "account in ARNs and events")

    def __post_init__(self) -> None:
        check(self)

    @property
    def fault_rules(self) -> tuple[FaultRule, ...]:
        """The parsed `faults`."""
        return fault_rules(self.faults)


class Settings(Protocol):
    """The settings of a fake, a dataclass of numbers and texts."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def seed(self) -> int:
        """The seed of every random draw."""

    @property
    def faults(self) -> str:
        """Fault rules."""

    @property
    def fault_rules(self) -> tuple[FaultRule, ...]:
        """The parsed `faults`."""

    @property
    def calls_file(self) -> str:
        """The file that receives each distinct call, or an empty string."""


def check(settings: Settings) -> None:
    """Raise ValueError for negative numbers, rates above 1 and invalid fault rules."""
    for found in fields(settings):
        value = getattr(settings, found.name)
        if found.name.endswith("_rate"):
            _require(0.0 <= value <= 1.0, f"{found.name} must be in [0, 1]")
        elif found.type is float:
            _require(value >= 0, f"{found.name} must not be negative")
    parse_faults(settings.faults)


fault_rules = functools.cache(parse_faults)
FIXED = frozenset({"seed", "aws_endpoint", "calls_file", "region", "account"})


S = TypeVar("S", bound=Settings)


class LiveSettings(Generic[S]):
    """The settings in force, which can change while the fake runs, except the fixed ones."""

    def __init__(self, settings: S, fixed: frozenset[str] = FIXED) -> None:
        self.current = settings
        self._fixed = fixed

    def change(self, changes: Mapping[str, Any]) -> S:
        """Apply changes; raises ValueError for unknown, fixed or invalid settings."""
        types = {found.name: found.type for found in fields(self.current)}
        fixed = sorted(changes.keys() - (types.keys() - self._fixed))
        _require(not fixed, f"cannot be changed while running: {', '.join(fixed)}")
        converted: dict[str, Any] = {
            name: _converted(name, value, types[name]) for name, value in changes.items()
        }
        self.current = replace(self.current, **converted)
        return self.current


def _converted(name: str, value: object, wanted: Any) -> float | str:
    if wanted is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    _require(wanted is str and isinstance(value, str), f"{name} must be a {wanted.__name__}")
    return str(value)


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise ValueError(message)
