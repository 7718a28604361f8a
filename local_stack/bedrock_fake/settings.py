"""The settings of the fake, which are also its command-line options."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from local_stack.bedrock_fake.faults import FaultRule, parse_faults


def _setting(default: Any, help_: str) -> Any:
    return field(default=default, metadata={"help": help_})


@dataclass(frozen=True, slots=True)
class FakeSettings:
    """Account and behaviour; each field is also a command-line option."""

    seed: int = _setting(0, "seed of every random draw")
    mean_latency_ms: float = _setting(0.0, "mean of the lognormal Converse latency; 0 = none")
    requests_per_minute: float = _setting(2000.0, "Converse quota of each model; 0 = unlimited")
    malformed_rate: float = _setting(0.0, "share of malformed answers of a distilled model")
    job_seconds: float = _setting(60.0, "duration of a customization job")
    deployment_seconds: float = _setting(30.0, "time a deployment stays Creating")
    job_failure: str = _setting("", "failure message of all new customization jobs")
    deployment_failure: str = _setting("", "failure message of all new deployments")
    evaluation_seconds: float = _setting(60.0, "duration of an evaluation job")
    evaluation_failure: str = _setting("", "failure message of all new evaluation jobs")
    missing_result_rate: float = _setting(0.0, "share of prompts without a result of the judge")
    base_prose_rate: float = _setting(0.08, "share of prose answers of the base student")
    base_incomplete_rate: float = _setting(0.06, "share of its answers with truncated JSON")
    base_fenced_rate: float = _setting(0.26, "share of its answers with JSON in a code fence")
    legacy_models: str = _setting("", "comma-separated foundation models that are LEGACY")
    retired_models: str = _setting("", "comma-separated foundation models past end of life")
    locked_models: str = _setting("", "comma-separated foundation models without an agreement")
    faults: str = _setting("", "comma-separated OPERATION:FAULT:RATE, * = every operation")
    event_loss_rate: float = _setting(0.0, "share of events that are lost")
    event_duplicate_rate: float = _setting(0.0, "share of events that are sent twice")
    event_late_rate: float = _setting(0.0, "share of events that are late")
    event_late_seconds: float = _setting(300.0, "delay of late and of duplicate events")
    aws_endpoint: str = _setting("", "loopback URL of S3 and EventBridge")
    calls_file: str = _setting("", "file that receives each distinct call")
    region: str = _setting("us-east-1", "region in ARNs and events")
    account: str = _setting("000000000000", "account in ARNs and events")

    def __post_init__(self) -> None:
        for setting in fields(self):
            value = getattr(self, setting.name)
            if setting.name.endswith("_rate"):
                _require(0.0 <= value <= 1.0, f"{setting.name} must be in [0, 1]")
            elif setting.type is float:
                _require(value >= 0, f"{setting.name} must not be negative")
        parse_faults(self.faults)

    @property
    def fault_rules(self) -> tuple[FaultRule, ...]:
        """The parsed `faults`."""
        return _parse_faults(self.faults)


_parse_faults = functools.cache(parse_faults)
FIXED = frozenset({"seed", "aws_endpoint", "calls_file", "region", "account"})


class LiveSettings:
    """The settings in force, which can change while the fake runs."""

    def __init__(self, settings: FakeSettings) -> None:
        self.current = settings

    def change(self, changes: Mapping[str, Any]) -> FakeSettings:
        """Apply changes; raises ValueError for unknown, fixed or invalid settings."""
        types = {setting.name: setting.type for setting in fields(FakeSettings)}
        fixed = sorted(changes.keys() - (types.keys() - FIXED))
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
