"""The local model: labelled neighbours, and a gate that decides which estimates are served."""

from search_router.domain.local_tier.neighbours import Estimate, Neighbourhood


class Gate:
    """Thresholds for familiarity and risk, with the evidence that they were calibrated on.

    Of `queries` calibration queries the share `coverage` passes, with the mean error `error` per
    weight; the bound `max_error` holds with `confidence` for queries like those. A closed gate
    admits nothing, and `reason` gives the cause.
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
        """Return whether an estimate may be served; that of a labelled query always may."""
        if self.closed:
            return False
        return estimate.labelled or (
            estimate.familiarity >= self.least_familiarity and estimate.risk <= self.most_risk
        )


class LocalModel:
    """Answers queries from labelled ones, or abstains."""

    def __init__(self, neighbourhood: Neighbourhood, gate: Gate) -> None:
        self.neighbourhood = neighbourhood
        self.gate = gate

    def answer(self, query: str) -> Estimate | None:
        """Return the estimate of a query if the gate admits it; None abstains."""
        if self.gate.closed:
            return None
        estimate = self.neighbourhood.estimate(query)
        return estimate if estimate is not None and self.gate.admits(estimate) else None
