"""The LLM judge: its instructions, its dataset and the reading of its results.

An evaluation job cannot invoke a custom model deployment, so each job gets the responses of one
model (Bedrock user guide, "model-evaluation-prompt-datasets-judge"). The scale is OverallQuality,
1 to 5, of the reference post. A definition has at most five words
("custom-metrics-prompt-formats").
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from pydantic import BaseModel, Field, ValidationError

from search_router.domain.intervals import Resampling
from search_router.domain.lifecycle.evaluation import JudgeScores
from search_router.domain.records import Record
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
_SCALE = frozenset(value for value, _ in RATINGS)
_STEPS = len(RATINGS) - 1
_NORMALISED = frozenset((value - 1) / _STEPS for value in _SCALE)
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


class JudgeJob(Record):
    """The evaluation job of one model.

    `name` is the model's role in the comparison, `folder` the prefix of dataset and results,
    `asked` the number of responses in the dataset. `reason` says why a job did not start or failed.
    """

    name: str
    judge: str
    folder: str
    asked: int
    job_arn: str = ""
    status: str = "InProgress"
    reason: str = ""

    @property
    def has_ended(self) -> bool:
        """Whether the job's status is final."""
        return self.status in ENDED_JOBS


class Judging(Record):
    """The evaluation jobs that a run waits for, and when they were started."""

    jobs: tuple[JudgeJob, ...]
    since: datetime


@dataclass(frozen=True, slots=True)
class JudgeRequest:
    """The parameters of an evaluation job; `source` names the model that responded."""

    job_name: str
    judge: str
    role_arn: str
    source: str
    instructions: str
    dataset_uri: str
    output_uri: str
    tags: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class JudgeView:
    """An evaluation job as Bedrock reports it."""

    status: str
    failure: str


def instructions(modalities: Modalities, *, with_reasoning: bool) -> str:
    """Return the judge's instructions; without reasoning they cover the weights only."""
    return _RULES.format(
        modalities=", ".join(modalities),
        reasoning=_WITH_REASONING if with_reasoning else "",
        silent="" if with_reasoning else ", and nothing that is missing besides the weights",
    )


def gives_reasoning(responses: Iterable[str]) -> bool:
    """Whether most responses of a model have a reasoning."""
    given = [f'"{REASONING_KEY}"' in text for text in responses]
    return sum(given) > len(given) / 2


def dataset(
    labels: Mapping[str, Weights],
    responses: Mapping[str, str],
    source: str,
    modalities: Modalities,
) -> bytes:
    """Return the job's dataset: one JSON line per query, with its label and the response."""
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
    """Return the results in an output file, without missing ones."""
    grades: list[float] = []
    for line in lines:
        try:
            scores = _Line.model_validate_json(line).result.scores
        except ValidationError:
            continue
        grades += [
            score.result
            for score in scores
            if score.metric_name == METRIC and score.result is not None
        ]
    return grades


def on_our_scale(results: Sequence[float]) -> list[float]:
    """Return results as grades from 1 to 5; empty if their scale is unclear.

    AWS does not document whether Bedrock normalises a custom scale to 0..1, as it does its own
    metrics. Results that are all 1 fit both scales.
    """
    values = frozenset(results)
    if values == {1.0}:
        return []
    if values <= _SCALE:
        return list(results)
    return [1 + _STEPS * result for result in results] if values <= _NORMALISED else []


def judged(job: JudgeJob, results: Sequence[float]) -> JudgeScores:
    """Return the scores of one model; missing results are counted and in no mean."""
    found = on_our_scale(results[: job.asked])
    is_unclear = bool(results) and not found
    reason = job.reason or ("the scale of the results is unclear" if is_unclear else "")
    counts = Counter(f"{grade:g}" for grade in found)
    return JudgeScores(
        judge=job.judge,
        job_arn=job.job_arn,
        status=job.status,
        reason=reason,
        asked=job.asked,
        missing=job.asked - len(found),
        mean=sum(found) / len(found) if found else None,
        interval=Resampling(len(found)).interval(found) if found else None,
        grades=dict(sorted(counts.items())),
    )
