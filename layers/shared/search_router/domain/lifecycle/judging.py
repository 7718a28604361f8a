"""The judge: what it is told, what it is given, and how its results are read.

Bedrock cannot ask a deployment in an evaluation job, so we bring the responses along, one model to
a job (user guide, "model-evaluation-prompt-datasets-judge"). The scale is the seed post's
OverallQuality, 1 to 5; a definition has at most five words ("custom-metrics-prompt-formats").
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from search_router.domain.intervals import Resampling
from search_router.domain.lifecycle.evaluation import JudgeScores
from search_router.domain.weights import REASONING_KEY, Modalities, Weights

METRIC = "OverallQuality"
MAX_PROMPTS = 1_000  # Bedrock quota: prompts per evaluation job
RATINGS = (
    (5.0, "Weights and reasoning excellent"),
    (4.0, "Weights close"),
    (3.0, "Dominant modality right"),
    (2.0, "Dominant modality wrong"),
    (1.0, "Unusable"),
)
ENDED_JOBS = frozenset({"Completed", "Failed", "Stopped", "NotStarted"})
_LOWEST, _HIGHEST = 1.0, 5.0
_WITH_REASONING = " and the reasoning is specific to the query"
_RULES = """You grade a router of video search queries. For each query it says how much each of \
these signals should count: {modalities}. Weights are between 0 and 1 and sum to 1.
Compare the weights of the response with those of the reference, which may itself be off by 0.1.
5: every weight within 0.05 of the reference{reasoning}.
4: every weight within 0.10.
3: the dominant signal is right and the mean difference is below 0.15.
2: the dominant signal is wrong, or the mean difference is 0.15 or more.
1: no JSON object with all signals, or the mean difference is above 0.30.
Judge nothing else{silent}.

Query: {{{{prompt}}}}
Reference: {{{{ground_truth}}}}
Response: {{{{prediction}}}}"""


class JudgeJob(BaseModel):
    """One model's evaluation job, as far as a run has to follow it.

    `name` is the model's part in the comparison, `folder` where the results come to lie, `asked`
    the number of responses that were handed in.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str
    judge: str
    folder: str
    asked: int
    job_arn: str = ""
    status: str = "InProgress"

    @property
    def has_ended(self) -> bool:
        """Tell whether nothing more will come of the job."""
        return self.status in ENDED_JOBS


@dataclass(frozen=True, slots=True)
class JudgeRequest:
    """What an evaluation job is asked for; `source` names the model that responded."""

    job_name: str
    judge: str
    role_arn: str
    source: str
    instructions: str
    dataset_uri: str
    output_uri: str


@dataclass(frozen=True, slots=True)
class JudgeView:
    """An evaluation job as Bedrock reports it; `status` is Bedrock's own word."""

    status: str
    failure: str


def instructions(modalities: Modalities, *, with_reasoning: bool) -> str:
    """Return the rubric; weights only where no reasoning was trained."""
    return _RULES.format(
        modalities=", ".join(modalities),
        reasoning=_WITH_REASONING if with_reasoning else "",
        silent="" if with_reasoning else ", and nothing that is missing besides the weights",
    )


def gives_reasoning(responses: Iterable[str]) -> bool:
    """Tell whether a model was trained to give a reasoning, from what it answers."""
    given = [f'"{REASONING_KEY}"' in text for text in responses]
    return sum(given) > len(given) / 2


def dataset(
    labels: Mapping[str, Weights],
    responses: Mapping[str, str],
    source: str,
    modalities: Modalities,
) -> bytes:
    """Write the job's dataset: a line per query with its label and one model's own words."""
    rows = [
        {
            "prompt": query,
            "referenceResponse": json.dumps(dict(zip(modalities, label, strict=True))),
            "modelResponses": [{"response": responses[query], "modelIdentifier": source}],
        }
        for query, label in list(labels.items())[:MAX_PROMPTS]
        if responses.get(query)
    ]
    return b"".join(json.dumps(row, ensure_ascii=False).encode("utf-8") + b"\n" for row in rows)


class _Score(BaseModel):
    metric_name: str = Field(alias="metricName")
    result: float | None = None


class _Result(BaseModel):
    scores: tuple[_Score, ...] = ()


class _Line(BaseModel):
    result: _Result = Field(alias="automatedEvaluationResult")


def read_grades(lines: Iterable[bytes]) -> list[float]:
    """Read the results of an output file; what is missing or out of the scale is no grade."""
    grades: list[float] = []
    for line in lines:
        try:
            scores = _Line.model_validate_json(line).result.scores
        except ValidationError:
            continue
        grades += [
            score.result
            for score in scores
            if score.metric_name == METRIC
            and score.result is not None
            and _LOWEST <= score.result <= _HIGHEST
        ]
    return grades


def judged(job: JudgeJob, grades: Sequence[float]) -> JudgeScores:
    """Summarise what a judge said; what it did not say is counted and in no mean."""
    found = grades[: job.asked]
    counts = Counter(f"{grade:g}" for grade in found)
    return JudgeScores(
        judge=job.judge,
        job_arn=job.job_arn,
        status=job.status,
        asked=job.asked,
        missing=job.asked - len(found),
        mean=sum(found) / len(found) if found else None,
        interval=Resampling(len(found)).interval(found) if found else None,
        grades=dict(sorted(counts.items())),
    )
