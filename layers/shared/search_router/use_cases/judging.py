"""The LLM judge: evaluation jobs over the stored answers, for information only.

It neither decides nor delays a promotion. The jobs start with the evaluation; track_runs adds their
results to the scores when they have ended.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from search_router.domain import naming
from search_router.domain.errors import (
    NotFoundError,
    OperatorError,
    PermanentError,
    SearchRouterError,
)
from search_router.domain.lifecycle.estimates import judge_at_most_usd
from search_router.domain.lifecycle.evaluation import CANDIDATE, CHAMPION, Evaluation
from search_router.domain.lifecycle.judging import (
    JudgeJob,
    JudgeRequest,
    Judging,
    dataset,
    gives_reasoning,
    instructions,
    judged,
    read_grades,
)
from search_router.domain.lifecycle.runs import Run
from search_router.domain.streams import split_lines
from search_router.domain.weights import Modalities, Weights
from search_router.ports import EvaluationJobs, ObjectStore
from search_router.use_cases.answers import Answers
from search_router.use_cases.spending import Budget

JUDGE_DEADLINE = timedelta(hours=24)
_RESULTS = "_output.jsonl"
_MAX_RESULT_BYTES = 1_000_000


@dataclass(frozen=True, slots=True)
class JudgePlan:
    """The settings of the judge; an empty `model` disables it."""

    model: str = ""
    role_arn: str = ""
    data_bucket: str = ""
    tags: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Judge:
    """Starts and follows the evaluation jobs of runs."""

    plan: JudgePlan
    jobs: EvaluationJobs
    objects: ObjectStore
    budget: Budget

    def start(
        self,
        answers: Answers,
        labels: dict[str, Weights],
        evaluation: Evaluation,
        modalities: Modalities,
        now: datetime,
    ) -> Judging | None:
        """Start one job per model; None if the judge is disabled."""
        if not self.plan.model:
            return None
        texts = {
            name: answers.texts(_folder_of(name, evaluation), labels) for name in evaluation.models
        }
        with_reasoning = gives_reasoning(texts[CANDIDATE].values())
        rubric = instructions(modalities, with_reasoning=with_reasoning)
        jobs = []
        for name, responses in texts.items():
            body = dataset(labels, responses, name, modalities)
            jobs.append(self._start_job(answers.run_id, name, body, rubric))
        return Judging(jobs=tuple(jobs), since=now)

    def follow(self, run: Run, now: datetime) -> Evaluation | None:
        """Return the run's evaluation with the results, once all jobs ended or their time is up."""
        if run.judging is None or run.evaluation is None:
            return None
        is_late = now - run.judging.since >= JUDGE_DEADLINE
        jobs = [self._followed(job, is_late=is_late) for job in run.judging.jobs]
        if not is_late and not all(job.has_ended for job in jobs):
            return None
        models = run.evaluation.models
        scores = {
            job.name: models[job.name].replace(judge=judged(job, list(self._grades(job))))
            for job in jobs
            if job.name in models
        }
        return run.evaluation.replace(**scores)

    def _start_job(self, run_id: str, name: str, body: bytes, rubric: str) -> JudgeJob:
        """Start a job; return it as NotStarted if Bedrock rejects it or the budget is exceeded.

        Runs with the same answers share a job, which is booked once.
        """
        bucket = self.plan.data_bucket
        job_name = naming.evaluation_job_name(bucket, self.plan.model, name, body, rubric)
        folder = naming.run_key(naming.SHARED, "evaluation", "judge", job_name)
        key = f"{folder}/dataset.jsonl"
        self.objects.put(key, body)
        request = JudgeRequest(
            job_name=job_name,
            judge=self.plan.model,
            role_arn=self.plan.role_arn,
            source=name,
            instructions=rubric,
            dataset_uri=naming.s3_uri(bucket, key),
            output_uri=naming.s3_uri(bucket, f"{folder}/output"),
            tags=(*self.plan.tags, ("Run", run_id)),
        )
        job = JudgeJob(name=name, judge=self.plan.model, folder=folder, asked=body.count(b"\n"))
        try:
            self.budget.book(job_name, judge_at_most_usd(self.plan.model, body, rubric))
            return job.replace(job_arn=self.jobs.start(request))
        except (PermanentError, OperatorError) as error:
            return job.replace(status="NotStarted", reason=str(error))

    def _followed(self, job: JudgeJob, *, is_late: bool) -> JudgeJob:
        """Return the job with its status; a late job is not followed if it cannot be read."""
        if job.has_ended:
            return job
        try:
            view = self.jobs.view(job.job_arn)
        except NotFoundError:
            return job.replace(status="Stopped")
        except SearchRouterError as error:
            if not is_late:
                raise
            return job.replace(reason=str(error))
        return job.replace(status=view.status, reason=view.failure)

    def _grades(self, job: JudgeJob) -> Iterator[float]:
        """Yield the grades in all result files below the job's output prefix."""
        for key, _ in self.objects.list(f"{job.folder}/output/"):
            if key.endswith(_RESULTS):
                lines = split_lines([self.objects.get(key)], _MAX_RESULT_BYTES)
                yield from read_grades(line.data for line in lines if line.data is not None)


def _folder_of(name: str, evaluation: Evaluation) -> str:
    return f"{CHAMPION}-{evaluation.champion_version}" if name == CHAMPION else name
