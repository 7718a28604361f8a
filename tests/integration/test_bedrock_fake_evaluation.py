"""Evaluation jobs of the Bedrock fake: a judge scores precomputed responses."""

import json
from typing import Any

import pytest

from local_stack.bedrock_fake.evaluation_jobs import QUOTA
from tests.integration.fake_bench import ROLE, Bench, invalid, rejected

DATASET = "s3://data-bucket/runs/run-1/evaluation/judge/candidate.jsonl"
OUTPUT = "s3://data-bucket/runs/run-1/evaluation/judge/output"
JUDGE = "us.anthropic.claude-haiku-4-5-20251001-v1:0"
LABEL = '{"visual": 0.8, "audio": 0.2}'
SCALE = ("Poor", "Weak", "Fair", "Good", "Excellent")
JOB: Any = {
    "jobName": "overall-quality-1",
    "roleArn": ROLE,
    "clientRequestToken": "token-1",
    "applicationType": "ModelEvaluation",
    "evaluationConfig": {
        "automated": {
            "datasetMetricConfigs": [
                {
                    "taskType": "General",
                    "dataset": {"name": "holdout", "datasetLocation": {"s3Uri": DATASET}},
                    "metricNames": ["OverallQuality"],
                }
            ],
            "customMetricConfig": {
                "customMetrics": [
                    {
                        "customMetricDefinition": {
                            "name": "OverallQuality",
                            "instructions": "Grade the weights. {{prompt}} {{ground_truth}} "
                            "{{prediction}}",
                            "ratingScale": [
                                {"definition": word, "value": {"floatValue": grade}}
                                for grade, word in enumerate(SCALE, start=1)
                            ],
                        }
                    }
                ],
                "evaluatorModelConfig": {"bedrockEvaluatorModels": [{"modelIdentifier": JUDGE}]},
            },
        }
    },
    "inferenceConfig": {
        "models": [{"precomputedInferenceSource": {"inferenceSourceIdentifier": "distilled-v1"}}]
    },
    "outputDataConfig": {"s3Uri": OUTPUT + "/"},
}


def line(response: str, prompt: str = "waves", source: str = "distilled-v1", **more: Any) -> bytes:
    record = {
        "prompt": prompt,
        "referenceResponse": LABEL,
        "modelResponses": [{"response": response, "modelIdentifier": source}],
        **more,
    }
    return json.dumps(record).encode()


def changed(path: str, value: Any) -> Any:
    """Return the job with one value replaced; the path's steps are keys and indexes."""
    job = json.loads(json.dumps(JOB))
    *steps, last = [int(step) if step.isdigit() else step for step in path.split("/")]
    place = job
    for step in steps:
        place = place[step]
    place[last] = value
    return job


CONFIG = "evaluationConfig/automated/datasetMetricConfigs/0"
METRIC = "evaluationConfig/automated/customMetricConfig/customMetrics/0/customMetricDefinition"


def ended(bench: Bench, body: bytes) -> dict[str, Any]:
    """Run the job on a dataset to its end and return it."""
    bench.objects[DATASET] = body
    arn = bench.bedrock.create_evaluation_job(**JOB)["jobArn"]
    assert bench.bedrock.get_evaluation_job(jobIdentifier=arn)["status"] == "InProgress"
    bench.clock.advance(60)
    return dict(bench.bedrock.get_evaluation_job(jobIdentifier=arn))


def scores(bench: Bench) -> list[dict[str, Any]]:
    """Return the first score of each line of the only results there are."""
    outputs = [body for uri, body in bench.objects.items() if uri.endswith("_output.jsonl")]
    assert len(outputs) == 1
    lines = [json.loads(text) for text in outputs[0].splitlines()]
    return [record["automatedEvaluationResult"]["scores"][0] for record in lines]


def test_the_judge_grades_by_distance_to_the_reference(bench: Bench) -> None:
    answers = [
        '{"visual": 0.8, "audio": 0.2}',
        '{"visual": 0.7, "audio": 0.3}',
        'Sure: ```json\n{"visual": 0.68, "audio": 0.32}\n```',
        '{"visual": 0.2, "audio": 0.8}',
        "I would rely on the picture.",
    ]

    job = ended(bench, b"\n".join(map(line, answers)))

    assert (job["status"], job["jobType"]) == ("Completed", "Automated")
    assert [score["result"] for score in scores(bench)] == [5.0, 4.0, 3.0, 2.0, 1.0]
    assert scores(bench)[0]["metricName"] == "OverallQuality"
    assert scores(bench)[0]["evaluatorDetails"][0]["modelIdentifier"] == JUDGE


def test_results_lie_under_the_layout_that_aws_shows(bench: Bench) -> None:
    ended(bench, line(LABEL, category="harbours"))

    new = sorted(uri for uri in bench.objects if uri.startswith(OUTPUT))
    results = [uri for uri in new if uri.endswith("_output.jsonl")]
    parts = results[0].removeprefix(OUTPUT + "/").split("/")
    assert parts[0] == "overall-quality-1"
    assert parts[2:-1] == [
        "models", "distilled-v1", "taskTypes", "General", "datasets", "holdout",
    ]  # fmt: skip
    assert any("/custom_metrics/" in uri for uri in new)
    record = json.loads(bench.objects[results[0]])
    assert record["inputRecord"]["category"] == "harbours"
    assert record["modelResponses"][0]["modelIdentifier"] == "distilled-v1"


def test_a_share_of_results_can_be_missing(bench: Bench) -> None:
    bench.fake.change(missing_result_rate=0.3)

    ended(bench, b"\n".join(line(LABEL, prompt=f"waves {number}") for number in range(200)))

    missing = [score for score in scores(bench) if "result" not in score]
    assert 40 <= len(missing) <= 80


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "0 prompts"),
        (b"\n".join([line(LABEL)] * 1_001), "1001 prompts"),
        (b"{", "line 1"),
        (line(LABEL) + b"\n" + line(LABEL, source="base-v1"), "line 2: modelIdentifier must be"),
        (line(LABEL, prompt="x" * 4_097), "over 4 KB"),
        (line(LABEL, extra=1), "unknown keys"),
        (line(LABEL, modelResponses=[]), "exactly one response"),
    ],
)
def test_a_dataset_that_cannot_be_judged_fails_the_job(
    bench: Bench, body: bytes, reason: str
) -> None:
    job = ended(bench, body)

    assert job["status"] == "Failed"
    assert reason in job["failureMessages"][0]


def test_a_dataset_that_is_not_there_fails_the_job(bench: Bench) -> None:
    arn = bench.bedrock.create_evaluation_job(**JOB)["jobArn"]
    bench.clock.advance(60)

    job = bench.bedrock.get_evaluation_job(jobIdentifier=arn)

    assert "cannot be read" in job["failureMessages"][0]


def test_a_job_can_be_made_to_fail(bench: Bench) -> None:
    bench.fake.change(evaluation_failure="The judge is not available.")

    assert ended(bench, line(LABEL))["failureMessages"] == ["The judge is not available."]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("jobName", "Overall_Quality"),
        ("inferenceConfig/models/0/precomputedInferenceSource/inferenceSourceIdentifier", "a:b"),
        ("inferenceConfig/models", []),
        (f"{CONFIG}/taskType", "QuestionAndAnswer"),
        (f"{CONFIG}/metricNames", ["Unknown"]),
        (f"{CONFIG}/metricNames", ["Builtin.Correctness"]),
        (f"{CONFIG}/dataset/datasetLocation/s3Uri", "s3://bucket/dt=1/a.jsonl"),
        (f"{METRIC}/instructions", "Grade it."),
        (f"{METRIC}/instructions", "Grade {{response}}."),
        (f"{METRIC}/instructions", "{{prediction}}" + "x" * 5_000),
        (
            f"{METRIC}/ratingScale",
            [
                {"definition": "a", "value": {"floatValue": 1}},
                {"definition": "b", "value": {"stringValue": "b"}},
            ],
        ),
    ],
)
def test_a_job_that_bedrock_rejects_is_rejected(bench: Bench, path: str, value: Any) -> None:
    with invalid():
        bench.bedrock.create_evaluation_job(**changed(path, value))


@pytest.mark.parametrize(
    "judge",
    ["amazon.nova-premier-v1:0", "amazon.nova-lite-v1:0:300k", "mistral.unknown-v1:0"],
)
def test_a_judge_that_cannot_judge_is_rejected(bench: Bench, judge: str) -> None:
    path = "evaluationConfig/automated/customMetricConfig/evaluatorModelConfig"
    models = {"bedrockEvaluatorModels": [{"modelIdentifier": judge}]}

    with invalid():
        bench.bedrock.create_evaluation_job(**changed(path, models))


def test_more_metrics_than_the_quota_are_rejected(bench: Bench) -> None:
    names = ["OverallQuality", "Builtin.Correctness", "Builtin.Coherence", "Builtin.Relevance"]

    with rejected("ServiceQuotaExceededException", 400):
        bench.bedrock.create_evaluation_job(**changed(f"{CONFIG}/metricNames", names))


def test_names_and_tokens_are_unique(bench: Bench) -> None:
    arn = bench.bedrock.create_evaluation_job(**JOB)["jobArn"]

    assert bench.bedrock.create_evaluation_job(**JOB)["jobArn"] == arn
    with rejected("ConflictException", 400, "different parameters"):
        bench.bedrock.create_evaluation_job(**{**JOB, "jobName": "another"})
    with rejected("ConflictException", 400, "name is currently in use"):
        bench.bedrock.create_evaluation_job(**{**JOB, "clientRequestToken": "token-2"})


def create(bench: Bench, number: int) -> str:
    job = {**JOB, "jobName": f"quality-{number}", "clientRequestToken": f"token-{number}"}
    return bench.bedrock.create_evaluation_job(**job)["jobArn"]


def test_open_jobs_have_a_quota_and_lists_have_pages(bench: Bench) -> None:
    assert bench.bedrock.list_evaluation_jobs() | {"ResponseMetadata": 0} == {"ResponseMetadata": 0}
    for number in range(QUOTA):
        create(bench, number)
    with rejected("ServiceQuotaExceededException", 400):
        create(bench, QUOTA)

    pages = list(bench.bedrock.get_paginator("list_evaluation_jobs").paginate())

    assert [len(page["jobSummaries"]) for page in pages] == [5, 5, 5, 5]
    assert pages[0]["jobSummaries"][0]["jobName"] == f"quality-{QUOTA - 1}"


def test_a_job_is_stopping_before_it_is_stopped(bench: Bench) -> None:
    arn = create(bench, 1)
    bench.bedrock.stop_evaluation_job(jobIdentifier=arn)
    assert bench.bedrock.get_evaluation_job(jobIdentifier=arn)["status"] == "Stopping"
    with rejected("ConflictException", 400):
        bench.bedrock.stop_evaluation_job(jobIdentifier=arn)

    bench.clock.advance(6)
    assert bench.bedrock.get_evaluation_job(jobIdentifier=arn)["status"] == "Stopped"
    with rejected("ResourceNotFoundException", 404):
        bench.bedrock.get_evaluation_job(jobIdentifier=arn[:-1] + "x")
