"""A judge beside the figures: evaluation jobs over the answers that were kept.

It never decides a promotion and never delays one: the jobs are started with the evaluation, and
the schedule puts their results beside the scores when they have ended.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

from search_router.domain import naming
from search_router.domain.errors import NotFoundError, OperatorError, PermanentError
from search_router.domain.lifecycle.evaluation import CANDIDATE, CHAMPION, Evaluation
from search_router.domain.lifecycle.judging import (
    JudgeJob,
    JudgeRequest,
    dataset,
    gives_reasoning,
    instructions,
    judged,
    read_grades,
)
from search_router.domain.lifecycle.runs import Run
from search_router.domain.streams import split_lines
from search_router.domain.weights import Weights
from search_router.ports import EvaluationJobs, ObjectStore
from search_router.use_cases.answers import Answers
from search_router.use_cases.run_lifecycle import RunLifecycle

JUDGE_DEADLINE = timedelta(hours=24)
_RESULTS = "_output.jsonl"
_MAX_RESULT_BYTES = 1_000_000


@dataclass(frozen=True, slots=True)
class JudgePlan:
    """The settings of the judge; an empty `model` means that there is none."""

    model: str = ""
    role_arn: str = ""
    data_bucket: str = ""


def start_judging(
    run: Run,
    labels: dict[str, Weights],
    evaluation: Evaluation,
    plan: JudgePlan,
    *,
    jobs: EvaluationJobs,
    objects: ObjectStore,
    answers: Answers,
) -> tuple[JudgeJob, ...]:
    """Start one job per model that was measured; a job that Bedrock refuses is NotStarted."""
    if not plan.model:
        return ()
    texts = {
        name: answers.texts(_folder_of(name, evaluation), labels) for name in evaluation.models
    }
    rubric = instructions(run.modalities, with_reasoning=gives_reasoning(texts[CANDIDATE].values()))
    started = []
    for name, responses in texts.items():
        body = dataset(labels, responses, name, run.modalities)
        job_name = naming.evaluation_job_name(plan.data_bucket, run.run_id, name, body, rubric)
        folder = naming.run_key(run.run_id, "evaluation", "judge", job_name)
        key = f"{folder}/dataset.jsonl"
        objects.put(key, body)
        request = JudgeRequest(
            job_name=job_name,
            judge=plan.model,
            role_arn=plan.role_arn,
            source=name,
            instructions=rubric,
            dataset_uri=naming.s3_uri(plan.data_bucket, key),
            output_uri=naming.s3_uri(plan.data_bucket, f"{folder}/output"),
        )
        job = JudgeJob(name=name, judge=plan.model, folder=folder, asked=body.count(b"\n"))
        started.append(_started(job, request, jobs))
    return tuple(started)


def follow_judging(
    run: Run, *, lifecycle: RunLifecycle, jobs: EvaluationJobs, objects: ObjectStore
) -> Run:
    """Put the judges' results beside the scores when all jobs have ended, or their time is up."""
    if not run.judging:
        return run
    if run.evaluation is None:  # it is being measured anew, and judged then
        return lifecycle.update(run, judging=())
    current = tuple(_followed(job, jobs) for job in run.judging)
    is_late = lifecycle.clock.now() - run.judging_since >= JUDGE_DEADLINE
    if not is_late and not all(job.has_ended for job in current):
        return run
    scores = {
        job.name: run.evaluation.models[job.name].model_copy(
            update={"judge": judged(job, list(_grades(job, objects)))}
        )
        for job in current
        if job.name in run.evaluation.models
    }
    return lifecycle.update(run, evaluation=run.evaluation.model_copy(update=scores), judging=())


def _folder_of(name: str, evaluation: Evaluation) -> str:
    return f"{CHAMPION}-{evaluation.champion_version}" if name == CHAMPION else name


def _started(job: JudgeJob, request: JudgeRequest, jobs: EvaluationJobs) -> JudgeJob:
    try:
        return job.model_copy(update={"job_arn": jobs.start(request)})
    except (PermanentError, OperatorError):
        return job.model_copy(update={"status": "NotStarted"})


def _followed(job: JudgeJob, jobs: EvaluationJobs) -> JudgeJob:
    if job.has_ended:
        return job
    try:
        status = jobs.view(job.job_arn).status
    except NotFoundError:
        status = "Stopped"
    return job.model_copy(update={"status": status})


def _grades(job: JudgeJob, objects: ObjectStore) -> Iterator[float]:
    """Read all result files of a job, wherever below its folder Bedrock put them."""
    for key, _ in objects.list(f"{job.folder}/output/"):
        if key.endswith(_RESULTS):
            lines = split_lines([objects.get(key)], _MAX_RESULT_BYTES)
            yield from read_grades(line.data for line in lines if line.data is not None)
