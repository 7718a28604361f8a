"""The record of an evaluation: what a promotion is decided on, and what a report shows.

It holds figures only; queries and answers lie beside it in the data bucket (`side_by_side_key` and
the answers under `runs/<run-id>/evaluation/`). Every score is of one model on one and the same
holdout. Intervals are 95 % intervals.
"""

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict

from search_router.domain.intervals import Interval
from search_router.domain.local_tier.scores import LocalTierScores
from search_router.domain.weights import Modalities, Weights

CANDIDATE, CHAMPION, BASE, BASELINE = "candidate", "champion", "base", "baseline"


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Latency(_Record):
    """Milliseconds over all model calls."""

    mean: float
    p50: float
    p95: float


class CategoryScores(_Record):
    """The rows whose label has one dominant modality."""

    n: int
    mae: float
    dominant_agreement: float
    invalid: int


class JudgeScores(_Record):
    """What a judge model made of one model's answers, on its own scale of 1 to 5.

    `missing` counts answers without a result: they are in no other figure and are never a zero.
    `grades` counts the results by grade; `mean` and `interval` are None without any result.
    """

    judge: str
    job_arn: str
    status: str
    asked: int
    missing: int
    mean: float | None = None
    interval: Interval | None = None
    grades: Mapping[str, int] = {}


class Scores(_Record):
    """How one model did on one holdout of `n` rows.

    `mae` is per weight; `dominant_agreement`, `within_005` and `within_010` are shares of rows (all
    weights within 0.05, 0.10); `rubric` is the mean of 1 to 5; tokens and dollars are totals.
    `intervals` has an entry for each of these five and for `invalid_share`.
    """

    model: str
    n: int
    mae: float
    dominant_agreement: float
    within_005: float
    within_010: float
    rubric: float
    invalid: int
    repaired: int
    latency_ms: Latency
    input_tokens: int
    output_tokens: int
    cost_usd: float
    invalid_share: float = 0.0
    cost_usd_per_million: float = 0.0
    intervals: Mapping[str, Interval] = {}
    mae_by_modality: Mapping[str, float] = {}
    by_category: Mapping[str, CategoryScores] = {}
    judge: JudgeScores | None = None


class NoiseCeiling(_Record):
    """How well the labels' author agrees with itself, from queries that it labelled repeatedly.

    One label of a query is scored as if it were an answer to the other: no student can be measured
    better than this. Without any repeated query there is no ceiling.
    """

    repeated_queries: int
    pairs: int
    mae: float
    dominant_agreement: float
    within_005: float
    within_010: float
    rubric: float


class References(_Record):
    """Where the holdout's labels come from; `unusable` answers of the teacher leave no label."""

    from_file: int
    from_teacher: int = 0
    unusable: int = 0
    teacher: str = ""
    cost_usd: float = 0.0


class Comparison(_Record):
    """The candidate's mean error minus its rival's, by a paired bootstrap: negative is better."""

    rival: str
    difference: float
    interval: Interval


class Evaluation(_Record):
    """All models on the same holdout, with what bounds and what judges them.

    `champion_version` is the champion that was compared with; another one since then makes the
    comparison stale. `cost_usd` is what the answers and the teacher's labels cost, without the
    judge, whose tokens Bedrock does not tell.
    """

    candidate: Scores
    base: Scores
    champion: Scores | None = None
    champion_version: int | None = None
    baseline: Scores | None = None
    noise: NoiseCeiling | None = None
    references: References | None = None
    comparison: Comparison | None = None
    local_tier: LocalTierScores | None = None
    side_by_side_key: str = ""
    cost_usd: float = 0.0

    @property
    def models(self) -> dict[str, Scores]:
        """Return the scores of every model that was measured, by its part in the comparison."""
        measured = {
            CANDIDATE: self.candidate,
            CHAMPION: self.champion,
            BASE: self.base,
            BASELINE: self.baseline,
        }
        return {name: scores for name, scores in measured.items() if scores is not None}


class SideBySideAnswer(_Record):
    """One model's answer to one query; an invalid one shows the prior that a user would get."""

    weights: Weights
    status: str
    problem: str
    grade: int


class SideBySideRow(_Record):
    """One query of the holdout as the distilled model and its base answer it."""

    query: str
    reference: Weights
    candidate: SideBySideAnswer
    base: SideBySideAnswer


class SideBySide(_Record):
    """A few queries of every category, for people; kept under `side_by_side_key`."""

    modalities: Modalities
    rows: tuple[SideBySideRow, ...]
