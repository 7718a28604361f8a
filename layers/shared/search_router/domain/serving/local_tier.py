"""The local model as a tier of the cascade: who is answered by it, and what it did."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from search_router.domain.grading import agrees, errors, mean
from search_router.domain.queries import query_digest
from search_router.domain.serving.decisions import Decision, Status, Tier
from search_router.domain.weights import Weights

_HASH_RANGE = 2**32


class LocalTierMode(StrEnum):
    """`shadow`: its answers are compared with the distilled model's, and never served."""

    OFF = "off"
    SHADOW = "shadow"
    ON = "on"


@dataclass(frozen=True, slots=True)
class LocalAnswer:
    """What the local model says in so many microseconds; without weights it refuses."""

    weights: Weights | None
    microseconds: int


class LocalStudent(Protocol):
    """A loaded local model that takes its own time."""

    @property
    def name(self) -> str:
        """What result rows call it."""

    def answer(self, query: str) -> LocalAnswer:
        """Answer one query, or refuse it."""


@dataclass(frozen=True, slots=True)
class LocalTier:
    """A local model and whether it serves.

    Of what it could answer, `shadow_fraction` is left to the distilled model and compared: the
    guard against queries unlike those that its gate was calibrated with. Which ones is decided by
    the query's hash alone.
    """

    student: LocalStudent
    mode: LocalTierMode
    shadow_fraction: float

    def serves(self, key: str) -> bool:
        """Tell whether a normalised query that it can answer is served by it."""
        draw = int(query_digest(key)[-8:], 16)
        return self.mode is LocalTierMode.ON and draw >= self.shadow_fraction * _HASH_RANGE


@dataclass(slots=True)
class LocalTierStats:
    """What the local tier did for one set of distinct queries.

    `asked` = served + refused + left to the distilled model; `microseconds` are of all asked. Of
    the last, `compared` came back valid; `agreeing` have the same dominant modality, `difference`
    sums the mean absolute differences per weight.
    """

    asked: int = 0
    microseconds: int = 0
    served: int = 0
    abstained: list[str] = field(default_factory=list)
    compared: int = 0
    agreeing: int = 0
    difference: float = 0.0
    _opinions: dict[str, Weights] = field(default_factory=dict)

    def consult(self, tier: LocalTier, query: str) -> Decision | None:
        """Ask the local model; return its decision if the tier serves this query."""
        answer = tier.student.answer(query)
        self.asked += 1
        self.microseconds += answer.microseconds
        if answer.weights is None:
            self.abstained.append(query)
            return None
        if not tier.serves(query):
            self._opinions[query] = answer.weights
            return None
        self.served += 1
        return Decision(answer.weights, Tier.LOCAL, Status.OK, tier.student.name)

    def compare(self, key: str, decision: Decision) -> None:
        """Hold the distilled model's valid answer against the local one, if there is one."""
        opinion = self._opinions.pop(key, None)
        if opinion is None or decision.status is Status.FALLBACK:
            return
        self.compared += 1
        self.agreeing += agrees(opinion, decision.weights)
        self.difference += mean(errors(opinion, decision.weights))
