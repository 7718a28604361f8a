"""Valid records to start a test from; name only what the test is about."""

import gzip
import json
from collections.abc import Iterable, Sequence
from typing import Any

from search_router.domain.intake.selection import IntakeCounts
from search_router.domain.intervals import Interval
from search_router.domain.lifecycle.evaluation import Comparison, Evaluation, Latency, Scores
from search_router.domain.lifecycle.runs import (
    Dataset,
    Deployment,
    Run,
    RunState,
    TrainedLocalTier,
    TrainingJob,
)
from search_router.domain.logs.dialects import Dialect
from search_router.domain.logs.rows import LogRow, read_row
from search_router.domain.serving.champions import Champion, ServingModel
from search_router.domain.serving.decisions import Decision, Status, Tier
from search_router.domain.splits.formats import RowFormat
from search_router.domain.splits.rows import RejectedRow
from search_router.domain.streams import Line
from search_router.domain.uploads import ObjectRef
from search_router.domain.weights import Modalities, Weights, default_system_prompt
from tests.fakes import START, UPLOAD_BUCKET

MODALITIES: Modalities = ("visual", "audio", "transcription", "metadata")
SIXTEEN: Modalities = tuple(f"modality_{n:02d}_of_the_longest_name" for n in range(1, 17))
PRIOR: Weights = (0.4, 0.3, 0.2, 0.1)
DEPLOYMENT = "arn:aws:bedrock:us-east-1:123456789012:custom-model-deployment/champion"
STUDENT = "amazon.nova-micro-v1:0:128k"
TEACHER = "amazon.nova-pro-v1:0"
SYSTEM_PROMPT = default_system_prompt(MODALITIES, with_reasoning=False)
JSONL = Dialect(format=RowFormat.JSONL, query_field="query")
TEXT = Dialect(format=RowFormat.TEXT, query_field="query")


def label(*weights: float, modalities: Modalities = MODALITIES) -> str:
    """Write weights as a model or a label does."""
    return json.dumps(dict(zip(modalities, weights, strict=True)))


def conversation(query: str, answer: str | None = None, **changes: object) -> dict[str, Any]:
    """Return a record of AWS's schema."""
    messages = [{"role": "user", "content": [{"text": query}]}]
    if answer is not None:
        messages.append({"role": "assistant", "content": [{"text": answer}]})
    record = {
        "schemaVersion": "bedrock-conversation-2024",
        "system": [{"text": SYSTEM_PROMPT}],
        "messages": messages,
    }
    return {**record, **changes}


def jsonl(rows: Sequence[object]) -> bytes:
    """Write rows as JSON Lines."""
    return b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows)


def gzipped(body: bytes) -> bytes:
    """Pack without the time of day, which gzip would write into the header."""
    return gzip.compress(body, mtime=0)


def rows_in(lines: Iterable[Line], dialect: Dialect) -> list[LogRow | RejectedRow]:
    """Read rows that were cut out before."""
    return [row for line in lines if (row := read_row(line, dialect)) is not None]


def a_serving_model(**changes: object) -> ServingModel:
    model = ServingModel(
        model_id=DEPLOYMENT,
        priced_as=STUDENT,
        system_prompt=SYSTEM_PROMPT,
        modalities=MODALITIES,
        max_output_tokens=200,
        prior=PRIOR,
    )
    return model.model_copy(update=changes)


def a_champion(
    version: int = 1,
    *,
    run_id: str = "run-000000000001",
    deployment_arn: str = DEPLOYMENT,
    **serving: object,
) -> Champion:
    """Return a champion; what is not named here is a change of its serving model."""
    return Champion(
        version=version,
        run_id=run_id,
        serving=a_serving_model(model_id=deployment_arn, **serving),
        promoted_at=START,
    )


def a_dataset(**changes: object) -> Dataset:
    dataset = Dataset(
        counts=IntakeCounts(),
        modalities=MODALITIES,
        system_prompt=SYSTEM_PROMPT,
        prior=PRIOR,
        training_sha256="0" * 64,
        estimated_usd=0.0,
    )
    return dataset.replace(**changes)


def a_training_job(**changes: object) -> TrainingJob:
    job = TrainingJob(
        teacher=TEACHER,
        student=STUDENT,
        max_output_tokens=200,
        job_name="job",
        job_arn="arn:job",
        job_status="InProgress",
    )
    return job.replace(**changes)


def a_deployment(arn: str = DEPLOYMENT) -> Deployment:
    return Deployment(name="job-serving", arn=arn, status="Active")


def a_run(state: RunState = RunState.SHARDED, **changes: object) -> Run:
    """Return a run; it has a job and a deployment if it is in a state that implies them."""
    source = ObjectRef(UPLOAD_BUCKET, "prompts/labels.jsonl", "v1")
    run = Run.create("run-0123456789ab", source, START, a_dataset())
    deployed = (RunState.DEPLOYING, RunState.EVALUATING, RunState.AWAITING_APPROVAL)
    return run.replace(
        **{
            "state": state,
            "training": a_training_job() if state in (RunState.TRAINING, *deployed) else None,
            "deployment": a_deployment() if state in deployed else None,
            **changes,
        }
    )


def dataset_of(run: Run) -> Dataset:
    assert run.dataset is not None
    return run.dataset


def local_tier_of(run: Run) -> TrainedLocalTier:
    local_tier = dataset_of(run).local_tier
    assert local_tier is not None
    return local_tier


def job_of(run: Run) -> TrainingJob:
    assert run.training is not None
    return run.training


def deployment_of(run: Run) -> Deployment:
    assert run.deployment is not None
    return run.deployment


def a_decision(weights: Weights = PRIOR, **changes: Any) -> Decision:
    fields: dict[str, Any] = {
        "tier": Tier.DISTILLED,
        "status": Status.OK,
        "model": "champion",
        "latency_ms": 800,
        "input_tokens": 60,
        "output_tokens": 30,
        "cost_usd": 0.0000063,
    }
    return Decision(weights, **{**fields, **changes})


def some_scores(**changes: object) -> Scores:
    scores = Scores(
        model="candidate",
        n=100,
        mae=0.05,
        dominant_agreement=0.9,
        within_005=0.6,
        within_010=0.8,
        rubric=4.2,
        invalid=0,
        repaired=0,
        latency_ms=Latency(mean=800.0, p50=790.0, p95=1100.0),
        input_tokens=6_000,
        output_tokens=3_000,
        cost_usd=0.00063,
    )
    return scores.model_copy(update=changes)


def an_evaluation(candidate_mae: float = 0.05, base_mae: float = 0.2) -> Evaluation:
    return Evaluation(
        candidate=some_scores(mae=candidate_mae),
        base=some_scores(model="base", mae=base_mae),
        comparison=a_comparison("base", candidate_mae - base_mae),
    )


def a_comparison(rival: str, difference: float, *, spread: float = 0.0) -> Comparison:
    """Return a comparison whose interval reaches `spread` to both sides."""
    interval = Interval(low=difference - spread, high=difference + spread)
    return Comparison(rival=rival, difference=difference, interval=interval)
