"""The record of an evaluation, on which the promotion and the report are based.

It holds figures only. Queries and answers are objects in the data bucket (`side_by_side_key` and
the answers under `runs/<run-id>/evaluation/`). All scores are on the same holdout; intervals are
95 % confidence intervals.
"""

from collections.abc import Mapping

from search_router.domain.intervals import Interval
from search_router.domain.local_tier.scores import LocalTierScores
from search_router.domain.records import Record
from search_router.domain.weights import Modalities, Weights

CANDIDATE, CHAMPION, BASE, BASELINE = "candidate", "champion", "base", "baseline"


class Latency(Record):
    """Milliseconds over all model calls."""

    mean: float
    p50: float
    p95: float


class CategoryScores(Record):
    """The rows whose label has one dominant modality."""

    n: int
    mae: float
    dominant_agreement: float
    invalid: int


class JudgeScores(Record):
    """A judge model's grades of one model's answers, from 1 to 5.

    `missing` counts answers without a result; no other figure includes them. `grades` counts the
    results by grade. `mean` and `interval` are None without any result; `reason` says why.
    """

    judge: str
    job_arn: str
    status: str
    asked: int
    missing: int
    reason: str = ""
    mean: float | None = None
    interval: Interval | None = None
    grades: Mapping[str, int] = {}


class Scores(Record):
    """One model's scores on a holdout of `n` rows.

    `mae` is the mean absolute error per weight. `dominant_agreement`, `within_005` and `within_010`
    are shares of rows (all weights within 0.05, 0.10). `rubric` is the mean grade from 1 to 5.
    Tokens and dollars are totals; dollars are None for a model without a known price. `intervals`
    has an entry for each of these five scores and for `invalid_share`.
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
    cost_usd: float | None
    invalid_share: float = 0.0
    cost_usd_per_million: float | None = None
    intervals: Mapping[str, Interval] = {}
    mae_by_modality: Mapping[str, float] = {}
    by_category: Mapping[str, CategoryScores] = {}
    judge: JudgeScores | None = None


class NoiseCeiling(Record):
    """The scores of a perfect student against the holdout's labels, measured at intake.

    A perfect student answers with the consensus of infinitely many labels. Only the noise of the
    labels that the queries happen to have keeps it from full marks. `intervals` has each score's.
    """

    repeated_queries: int
    pairs: int
    mae: float
    dominant_agreement: float
    within_005: float
    within_010: float
    rubric: float
    intervals: Mapping[str, Interval] = {}


class References(Record):
    """The sources of the holdout's labels; an `unusable` teacher's answer leaves no label."""

    from_file: int
    from_teacher: int = 0
    unusable: int = 0
    teacher: str = ""
    cost_usd: float | None = 0.0


class Comparison(Record):
    """The candidate's mean error minus its rival's, by a paired bootstrap; negative is better."""

    rival: str
    difference: float
    interval: Interval


class Exam(Record):
    """A comparison on rows that the candidate's upload did not choose.

    `name` says which rows: the champion's kept holdout or the golden set.
    """

    name: str
    n: int
    candidate_mae: float
    rival_mae: float
    comparison: Comparison


class Evaluation(Record):
    """The scores of all models on the same holdout, and the results of the other exams.

    `champion_version` is the champion at that time; the comparison is stale once another one
    serves. `cost_usd` covers the answers and the teacher's labels, not the judge, whose tokens
    Bedrock does not report. `baseline_problem` says why the baseline has no scores.
    """

    candidate: Scores
    base: Scores
    champion: Scores | None = None
    champion_version: int | None = None
    baseline: Scores | None = None
    baseline_problem: str = ""
    noise: NoiseCeiling | None = None
    references: References | None = None
    comparison: Comparison | None = None
    exams: tuple[Exam, ...] = ()
    local_tier: LocalTierScores | None = None
    side_by_side_key: str = ""
    cost_usd: float | None = 0.0

    @property
    def models(self) -> dict[str, Scores]:
        """The scores by role in the comparison."""
        measured = {
            CANDIDATE: self.candidate,
            CHAMPION: self.champion,
            BASE: self.base,
            BASELINE: self.baseline,
        }
        return {name: scores for name, scores in measured.items() if scores is not None}


class SideBySideAnswer(Record):
    """One model's answer to one query; the prior in place of an invalid answer."""

    weights: Weights
    status: str
    problem: str
    grade: int


class SideBySideRow(Record):
    """One query of the holdout with the answers of the distilled and the base model."""

    query: str
    reference: Weights
    candidate: SideBySideAnswer
    base: SideBySideAnswer


class SideBySide(Record):
    """A few queries of every category for the report, stored under `side_by_side_key`."""

    modalities: Modalities
    rows: tuple[SideBySideRow, ...]
