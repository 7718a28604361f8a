"""What a user of the double may set, and what may still be turned while it runs."""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any
from urllib.parse import urlsplit


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
    s3_endpoint: str = field(default="", metadata={"help": "loopback S3 with the training objects"})
    events_endpoint: str = field(default="", metadata={"help": "loopback EventBridge for events"})
    calls_file: str = field(default="", metadata={"help": "file to note who called what in"})
    region: str = field(default="us-east-1", metadata={"help": "region in ARNs and events"})
    account: str = field(default="000000000000", metadata={"help": "account in ARNs and events"})

    def __post_init__(self) -> None:
        _require(0.0 <= self.malformed_rate <= 1.0, "malformed_rate must lie in [0, 1]")
        for name in ("mean_latency_ms", "requests_per_minute", "job_seconds", "deployment_seconds"):
            _require(getattr(self, name) >= 0, f"{name} must not be negative")
        for endpoint in (self.s3_endpoint, self.events_endpoint):
            _require(not endpoint or _is_loopback(endpoint), f"{endpoint} is not a loopback URL")


# Where the double reads and publishes, and whose account it plays, is fixed when it starts.
TUNABLE = frozenset(
    {
        "mean_latency_ms",
        "requests_per_minute",
        "malformed_rate",
        "job_seconds",
        "deployment_seconds",
        "job_failure",
    }
)


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
