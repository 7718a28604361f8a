"""The local model as a tier of the cascade: which queries it answers, and its statistics."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from search_router.domain.grading import agrees, errors, mean
from search_router.domain.queries import query_digest
from search_router.domain.serving.decisions import Decision, Status, Tier
from search_router.domain.weights import Weights

_HASH_RANGE = 2**32


class LocalTierMode(StrEnum):
    """In `shadow` mode, answers are compared with the distilled model's but not served."""

    OFF = "off"
    SHADOW = "shadow"
    ON = "on"


@dataclass(frozen=True, slots=True)
class LocalAnswer:
    """The local model's answer; `weights` is None if it abstains."""

    weights: Weights | None
    microseconds: int


class LocalStudent(Protocol):
    """A loaded local model that measures its own time."""

    @property
    def name(self) -> str:
        """Its name in result rows."""

    def answer(self, query: str) -> LocalAnswer:
        """Answer one query, or abstain."""


@dataclass(frozen=True, slots=True)
class LocalTier:
    """A local model and its mode.

    The distilled model answers `shadow_fraction` of the queries that the local model could answer,
    chosen by the query's hash. Comparing the two detects queries unlike those that the gate was
    calibrated with.
    """

    student: LocalStudent
    mode: LocalTierMode
    shadow_fraction: float

    def serves(self, key: str) -> bool:
        """Return whether the local model's answer to a normalised query is served."""
        draw = int(query_digest(key)[-8:], 16)
        return self.mode is LocalTierMode.ON and draw >= self.shadow_fraction * _HASH_RANGE


@dataclass(slots=True)
class LocalTierStats:
    """Counts for one set of distinct queries.

    `asked` = `served` + `abstained` + left to the distilled model; `microseconds` is the sum over
    all asked. Of those left, `compared` got a valid answer, `agreeing` the same dominant modality,
    and `difference` is the sum of their mean absolute differences per weight.
    """

    asked: int = 0
    microseconds: int = 0
    served: int = 0
    abstained: list[str] = field(default_factory=list)
    compared: int = 0
    agreeing: int = 0
    difference: float = 0.0
    _shadowed: dict[str, Weights] = field(default_factory=dict)

    def consult(self, tier: LocalTier, query: str) -> Decision | None:
        """Ask the local model; return its decision if the tier serves this query."""
        answer = tier.student.answer(query)
        self.asked += 1
        self.microseconds += answer.microseconds
        if answer.weights is None:
            self.abstained.append(query)
            return None
        if not tier.serves(query):
            self._shadowed[query] = answer.weights
            return None
        self.served += 1
        return Decision(answer.weights, Tier.LOCAL, Status.OK, tier.student.name)

    def compare(self, key: str, decision: Decision) -> None:
        """Compare the distilled model's answer with the local one, if both are valid."""
        shadowed = self._shadowed.pop(key, None)
        if shadowed is None or decision.status is Status.FALLBACK:
            return
        self.compared += 1
        self.agreeing += agrees(shadowed, decision.weights)
        self.difference += mean(errors(shadowed, decision.weights))
