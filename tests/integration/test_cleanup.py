"""`cleanup` deletes only what belongs to the stack, on the Bedrock fake and moto."""

from typing import Any

import boto3
import pytest
from moto import mock_aws

from local_stack.s3_vectors_fake import FakeS3Vectors
from router_cli.teardown import BedrockResources, Bucket, Table, VectorBucket
from search_router.domain.lifecycle.runs import Run, RunState
from tests.integration.fake_bench import NO_RETRIES, SESSION, Bench
from tests.records import a_run, a_training_job

OURS = "run-0123456789ab"


def run(**job: str) -> Run:
    return a_run(RunState.TRAINING, run_id=OURS, training=a_training_job(**job))


def tag(run_id: str) -> list[Any]:
    return [{"key": "Run", "value": run_id}]


def left(resources: BedrockResources) -> set[tuple[str, str]]:
    return {(one.kind, one.name) for one in resources.remaining()}


def test_only_resources_named_by_state_or_tags_are_deleted(bench: Bench) -> None:
    # GIVEN a model of ours by state, one by its tag, and two of somebody else
    known = bench.create_model("run-1")
    for name, owner in (("search-router-a", OURS), ("search-router-b", "run-ba9876543210")):
        bench.create_job(name, customModelName=name, customModelTags=tag(owner))
    bench.create_job("theirs", customModelName="theirs")
    bench.clock.advance(60)
    models = bench.bedrock.list_custom_models()["modelSummaries"]
    by_name = {model["modelName"]: model["modelArn"] for model in models}
    for name in ("search-router-a", "search-router-b"):
        bench.create_deployment(by_name[name], f"{name}-serving")
    bench.clock.advance(30)
    bench.create_deployment(known, "router")
    resources = BedrockResources(bench.bedrock, [run(model_arn=known, job_name="run-1")])
    assert left(resources) == {
        ("deployment", "router"),
        ("deployment", "search-router-a-serving"),
        ("custom model", "router-run-1"),
        ("custom model", "search-router-a"),
    }

    # WHEN one is still being created, THEN it stays with its model, and is told
    resources.delete()
    assert left(resources) == {("deployment", "router"), ("custom model", "router-run-1")}
    assert all(one.billed for one in resources.remaining())

    # AND a second time everything of ours is gone, and nothing of theirs
    bench.clock.advance(30)
    resources.delete()
    assert left(resources) == set()
    kept = bench.bedrock.list_custom_models()["modelSummaries"]
    assert {model["modelName"] for model in kept} == {"search-router-b", "theirs"}
    deployments = bench.bedrock.list_custom_model_deployments()["modelDeploymentSummaries"]
    assert [one["customModelDeploymentName"] for one in deployments] == ["search-router-b-serving"]


def test_an_open_job_is_stopped_and_listed_until_it_ends(bench: Bench) -> None:
    bench.create_job("run-1")
    bench.create_job("theirs", customModelName="theirs")
    resources = BedrockResources(bench.bedrock, [run(job_name="run-1")])

    resources.delete()

    assert [(one.name, one.note) for one in resources.remaining()] == [("run-1", "Stopping")]
    bench.clock.advance(6)
    assert left(resources) == set()
    assert bench.job("theirs")["status"] == "InProgress"


def test_buckets_are_emptied_of_versions_markers_and_uploads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("router_cli.teardown._OBJECTS_PER_CALL", 5)
    with mock_aws():
        s3 = boto3.client("s3", "us-east-1")
        s3.create_bucket(Bucket="data")
        s3.put_bucket_versioning(Bucket="data", VersioningConfiguration={"Status": "Enabled"})
        for number in range(12):
            s3.put_object(Bucket="data", Key=f"k{number}", Body=b"x")
        s3.put_object(Bucket="data", Key="k0", Body=b"y")
        s3.delete_object(Bucket="data", Key="k1")
        s3.create_multipart_upload(Bucket="data", Key="large")
        bucket = Bucket(s3, "data")
        (before,) = bucket.remaining()
        assert (before.billed, before.note) == (
            True, "14 object versions, 1 unfinished uploads",
        )  # fmt: skip

        bucket.empty()
        (after,) = bucket.remaining()
        assert not after.billed
        bucket.delete()
        bucket.delete()
        assert list(bucket.remaining()) == []


def test_a_vector_bucket_is_deleted_with_its_indexes() -> None:
    with FakeS3Vectors() as fake:
        s3vectors = SESSION.client("s3vectors", endpoint_url=fake.url, config=NO_RETRIES)
        created = s3vectors.create_vector_bucket(vectorBucketName="vectors")
        for name in ("one", "two"):
            s3vectors.create_index(
                vectorBucketName="vectors",
                indexName=name,
                dataType="float32",
                dimension=2,
                distanceMetric="cosine",
            )
        bucket = VectorBucket(s3vectors, created["vectorBucketArn"])
        (before,) = bucket.remaining()
        assert (before.billed, before.note) == (True, "2 indexes")
        bucket.delete()
        assert list(bucket.remaining()) == [before], "a bucket with indexes stays"

        bucket.empty()
        (after,) = bucket.remaining()
        assert not after.billed
        bucket.delete()
        bucket.empty()
        bucket.delete()

        assert list(bucket.remaining()) == []
        s3vectors.close()


def test_a_missing_table_is_not_listed() -> None:
    with mock_aws():
        table = Table(boto3.client("dynamodb", "us-east-1"), "state")

        table.delete()

        assert list(table.remaining()) == []


def test_a_vector_bucket_is_emptied_of_its_indexes_and_deleted() -> None:
    with FakeS3Vectors() as fake:
        client = SESSION.client("s3vectors", endpoint_url=fake.url)
        arn = client.create_vector_bucket(vectorBucketName="vectors")["vectorBucketArn"]
        for name in ("films.visual", "films.audio"):
            client.create_index(
                vectorBucketName="vectors",
                indexName=name,
                dataType="float32",
                dimension=2,
                distanceMetric="cosine",
            )
        bucket = VectorBucket(client, arn)
        (before,) = bucket.remaining()
        assert (before.name, before.billed, before.note) == ("vectors", True, "2 indexes")

        bucket.delete()
        assert list(bucket.remaining()) == [before], "it is in use"
        bucket.empty()
        (after,) = bucket.remaining()
        assert not after.billed
        bucket.delete()
        bucket.delete()
        assert list(bucket.remaining()) == []
