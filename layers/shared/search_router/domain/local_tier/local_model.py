"""The student and its gate: what is trained, stored and served as one."""

from search_router.domain.local_tier.gate import Gate
from search_router.domain.local_tier.neighbours import Estimate, Neighbourhood


class LocalModel:
    """Answers a query from labelled ones, or refuses it."""

    def __init__(self, neighbourhood: Neighbourhood, gate: Gate) -> None:
        self.neighbourhood = neighbourhood
        self.gate = gate

    def answer(self, query: str) -> Estimate | None:
        """Return the estimate of a query that the gate admits; None refuses it."""
        if self.gate.closed:
            return None
        estimate = self.neighbourhood.estimate(query)
        return estimate if estimate is not None and self.gate.admits(estimate) else None
