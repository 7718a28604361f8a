"""What a user of the double may set, and what may still be turned while it runs."""

import functools
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any
from urllib.parse import urlsplit

from local_stack.bedrock_double.faults import FaultRule, parse_faults


@dataclass(frozen=True, slots=True)
class DoubleSettings:
    """One double's account and behaviour; each field is also an option of the command line."""

    seed: int = field(default=0, metadata={"help": "seed of latency and malformed answers"})
    mean_latency_ms: float = field(
        default=0.0, metadata={"help": "mean of the lognormal Converse latency; 0 = no waiting"}
    )
    requests_per_minute: float = field(
        default=2000.0, metadata={"help": "Converse quota of each model; 0 = unlimited"}
    )
    malformed_rate: float = field(
        default=0.0, metadata={"help": "share of queries the distilled model answers badly"}
    )
    job_seconds: float = field(default=60.0, metadata={"help": "duration of a customization job"})
    deployment_seconds: float = field(
        default=30.0, metadata={"help": "time a deployment stays Creating"}
    )
    job_failure: str = field(
        default="",
        metadata={"help": "jobs created from now on fail at their end with this message"},
    )
    deployment_failure: str = field(
        default="",
        metadata={"help": "deployments created from now on become Failed with this message"},
    )
    evaluation_seconds: float = field(
        default=60.0, metadata={"help": "duration of an evaluation job"}
    )
    evaluation_failure: str = field(
        default="",
        metadata={"help": "evaluation jobs created from now on fail at their end with this"},
    )
    missing_result_rate: float = field(
        default=0.0, metadata={"help": "share of prompts to which the judge gives no result"}
    )
    base_prose_rate: float = field(
        default=0.08, metadata={"help": "share of queries the base student answers in prose"}
    )
    base_incomplete_rate: float = field(
        default=0.06, metadata={"help": "share that it answers with broken-off JSON"}
    )
    base_fenced_rate: float = field(
        default=0.26, metadata={"help": "share that it answers with JSON in a code fence"}
    )
    legacy_models: str = field(
        default="", metadata={"help": "foundation models that are LEGACY, by comma"}
    )
    retired_models: str = field(
        default="", metadata={"help": "foundation models past their end of life, by comma"}
    )
    faults: str = field(
        default="", metadata={"help": "OPERATION:FAULT:RATE by comma, * = every operation"}
    )
    event_loss_rate: float = field(default=0.0, metadata={"help": "share of events that get lost"})
    event_duplicate_rate: float = field(
        default=0.0, metadata={"help": "share of events that are sent twice"}
    )
    event_late_rate: float = field(default=0.0, metadata={"help": "share of events that are late"})
    event_late_seconds: float = field(
        default=300.0, metadata={"help": "how late, and how long after the first the second comes"}
    )
    s3_endpoint: str = field(default="", metadata={"help": "loopback S3 with the training objects"})
    events_endpoint: str = field(default="", metadata={"help": "loopback EventBridge for events"})
    calls_file: str = field(default="", metadata={"help": "file to note who called what in"})
    region: str = field(default="us-east-1", metadata={"help": "region in ARNs and events"})
    account: str = field(default="000000000000", metadata={"help": "account in ARNs and events"})

    def __post_init__(self) -> None:
        for setting in fields(self):
            value = getattr(self, setting.name)
            if setting.name.endswith("_rate"):
                _require(0.0 <= value <= 1.0, f"{setting.name} must lie in [0, 1]")
            elif setting.type is float:
                _require(value >= 0, f"{setting.name} must not be negative")
        parse_faults(self.faults)
        for endpoint in (self.s3_endpoint, self.events_endpoint):
            _require(not endpoint or _is_loopback(endpoint), f"{endpoint} is not a loopback URL")

    @property
    def fault_rules(self) -> tuple[FaultRule, ...]:
        """The shares of calls that meet a fault."""
        return _parsed_faults(self.faults)


_parsed_faults = functools.cache(parse_faults)

# Where the double reads and publishes, and whose account it plays, is fixed when it starts.
FIXED = frozenset({"seed", "s3_endpoint", "events_endpoint", "calls_file", "region", "account"})
TUNABLE = frozenset(setting.name for setting in fields(DoubleSettings)) - FIXED


class LiveSettings:
    """The settings in force now."""

    def __init__(self, settings: DoubleSettings) -> None:
        self.current = settings

    def change(self, changes: Mapping[str, Any]) -> DoubleSettings:
        """Put changed settings in force; `ValueError` names what cannot be changed so."""
        fixed = sorted(changes.keys() - TUNABLE)
        _require(not fixed, f"cannot be changed while running: {', '.join(fixed)}")
        types = {f.name: f.type for f in fields(DoubleSettings)}
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


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise ValueError(message)
