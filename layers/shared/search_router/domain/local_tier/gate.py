"""Which estimates may be served: those of familiar queries whose neighbours agree."""

from search_router.domain.local_tier.neighbours import Estimate


class Gate:
    """Thresholds, and the evidence they were chosen on.

    Of `queries` that were calibrated with, the share `coverage` passes with the mean error `error`
    per weight, and the bound `max_error` held at `confidence`. A closed gate lets nothing pass, and
    `reason` says why. All of this is about queries like those, and promises nothing for others.
    """

    def __init__(
        self,
        least_familiarity: float,
        most_risk: float,
        max_error: float,
        confidence: float,
        queries: int = 0,
        coverage: float = 0.0,
        error: float | None = None,
        *,
        closed: bool = False,
        reason: str = "",
    ) -> None:
        self.least_familiarity = least_familiarity
        self.most_risk = most_risk
        self.max_error = max_error
        self.confidence = confidence
        self.queries = queries
        self.coverage = coverage
        self.error = error
        self.closed = closed
        self.reason = reason

    def admits(self, estimate: Estimate) -> bool:
        """Tell whether an estimate may be served; an exact repeat of a labelled query always."""
        if self.closed:
            return False
        return estimate.known or (
            estimate.familiarity >= self.least_familiarity and estimate.risk <= self.most_risk
        )
