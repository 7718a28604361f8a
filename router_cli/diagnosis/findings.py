"""What the checks look at and what they find."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple

from botocore.exceptions import BotoCoreError, ClientError

from search_router.domain.errors import SearchRouterError


class Status(StrEnum):
    """How a check ended; a blocker makes a deployment or the main job fail."""

    OK = "ok"
    WARNING = "warning"
    BLOCKER = "blocker"
    UNKNOWN = "unknown"


class Finding(NamedTuple):
    """One line of the report."""

    check: str
    status: Status
    detail: str
    remedy: str = ""


@dataclass(frozen=True)
class Subject:
    """An account, and the stack in it if `outputs` is not empty.

    `parameters` holds the value of every parameter of the template.
    """

    client: Callable[[str], Any]
    region: str
    stack_name: str
    parameters: Mapping[str, str]
    now: datetime
    outputs: Mapping[str, str] = field(default_factory=dict)

    def number(self, parameter: str) -> float:
        """Return the value of a numeric parameter."""
        return float(self.parameters[parameter])

    def pages(self, service: str, operation: str, key: str, **request: Any) -> Iterator[Any]:
        """Yield the items of all pages of a list operation."""
        for page in self.client(service).get_paginator(operation).paginate(**request):
            yield from page.get(key, [])


Check = Callable[[Subject], Iterable[Finding]]


def diagnose(checks: Mapping[str, Check], subject: Subject) -> Iterator[Finding]:
    """Run the checks; one that AWS does not answer is unknown, and the others still run."""
    for name, check in checks.items():
        try:
            yield from check(subject)
        except (ClientError, BotoCoreError, SearchRouterError) as error:
            yield Finding(
                name,
                Status.UNKNOWN,
                str(error),
                "Allow the caller to read this, or look in the console.",
            )
