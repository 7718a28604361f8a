"""Everything that a stack has, and its deletion: in Bedrock, in S3, in DynamoDB, and the stack.

Bedrock resources belong to the stack if its records name them or if they carry the tag of one of
its runs. Run ids are hashes of bucket, key and version, so no other stack of the account has them.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError, WaiterError

from search_router.domain.lifecycle.runs import Run
from search_router.domain.naming import NAME_PREFIX
from search_router.domain.streams import batched

_RUN_TAG = "Run"
_GONE = ("ResourceNotFoundException", "404", "NoSuchBucket")
_VECTORS_GONE = ("NotFoundException",)
_IN_USE = ("ConflictException", "ValidationException", "BucketNotEmpty")
_OBJECTS_PER_CALL = 1_000  # DeleteObjects
_STACK_DELETION = {"Delay": 5, "MaxAttempts": 180}  # a quarter of an hour


@dataclass(frozen=True, slots=True)
class Remainder:
    """A resource that still exists; `billed` if it costs money now or soon."""

    kind: str
    name: str
    billed: bool
    note: str = ""


@contextmanager
def _ignoring(*codes: str) -> Iterator[None]:
    """Ignore AWS errors with these codes."""
    try:
        yield
    except ClientError as error:
        if error.response["Error"]["Code"] not in codes:
            raise


class BedrockResources:
    """The deployments, custom models and open jobs of a stack's runs."""

    def __init__(self, bedrock: Any, runs: Iterable[Run]) -> None:
        self._bedrock = bedrock
        runs = list(runs)
        self._run_ids = {run.run_id for run in runs}
        jobs = [run.training for run in runs if run.training]
        self._models = {job.model_arn for job in jobs if job.model_arn}
        self._deployments = {run.deployment.arn for run in runs if run.deployment}
        self._jobs = {job.job_name for job in jobs}

    def remaining(self) -> Iterator[Remainder]:
        """Yield what exists."""
        for found in self._own_deployments():
            name, status = found["customModelDeploymentName"], found["status"]
            yield Remainder("deployment", name, billed=True, note=status)
        for model in self._own_models():
            yield Remainder("custom model", model["modelName"], billed=True)
        for job in self._own_jobs():
            yield Remainder("customization job", job["jobName"], billed=True, note=job["status"])
        for job in self._own_evaluations():
            yield Remainder("evaluation job", job["jobName"], billed=True, note=job["status"])

    def delete(self) -> None:
        """Stop open jobs, then delete deployments and models; those in use remain."""
        bedrock, ignored = self._bedrock, (*_GONE, *_IN_USE)
        for job in self._own_jobs():
            with _ignoring(*ignored):
                bedrock.stop_model_customization_job(jobIdentifier=job["jobArn"])
        for job in self._own_evaluations():
            with _ignoring(*ignored):
                bedrock.stop_evaluation_job(jobIdentifier=job["jobArn"])
        for found in self._own_deployments():
            arn = found["customModelDeploymentArn"]
            with _ignoring(*ignored):
                bedrock.delete_custom_model_deployment(customModelDeploymentIdentifier=arn)
        for model in self._own_models():
            with _ignoring(*ignored):
                bedrock.delete_custom_model(modelIdentifier=model["modelArn"])

    def _own_models(self) -> list[dict[str, Any]]:
        return [
            model
            for model in self._listed("list_custom_models", "modelSummaries", isOwned=True)
            if model["modelArn"] in self._models
            or (model["modelName"].startswith(NAME_PREFIX) and self._is_tagged(model["modelArn"]))
        ]

    def _own_deployments(self) -> list[dict[str, Any]]:
        models = self._models | {model["modelArn"] for model in self._own_models()}
        return [
            found
            for found in self._listed("list_custom_model_deployments", "modelDeploymentSummaries")
            if found["customModelDeploymentArn"] in self._deployments or found["modelArn"] in models
        ]

    def _own_jobs(self) -> list[dict[str, Any]]:
        operation, key = "list_model_customization_jobs", "modelCustomizationJobSummaries"
        return [job for job in self._open(operation, key) if job["jobName"] in self._jobs]

    def _own_evaluations(self) -> list[dict[str, Any]]:
        jobs = self._open("list_evaluation_jobs", "jobSummaries")
        return [job for job in jobs if self._is_tagged(job["jobArn"])]

    def _open(self, operation: str, key: str) -> Iterator[dict[str, Any]]:
        for status in ("InProgress", "Stopping"):
            yield from self._listed(operation, key, statusEquals=status)

    def _listed(self, operation: str, key: str, **filters: object) -> Iterator[dict[str, Any]]:
        for page in self._bedrock.get_paginator(operation).paginate(**filters):
            yield from page.get(key, ())

    def _is_tagged(self, arn: str) -> bool:
        tags: list[dict[str, str]] = []
        with _ignoring(*_GONE):
            tags = self._bedrock.list_tags_for_resource(resourceARN=arn).get("tags", [])
        return any(tag["key"] == _RUN_TAG and tag["value"] in self._run_ids for tag in tags)


class Bucket:
    """A bucket with all versions of its objects."""

    def __init__(self, s3: Any, name: str) -> None:
        self._s3 = s3
        self._name = name

    def remaining(self) -> Iterator[Remainder]:
        """Yield the bucket with its contents; an empty bucket is not billed."""
        with _ignoring(*_GONE):
            versions = sum(1 for _ in self._versions())
            uploads = sum(1 for _ in self._uploads())
            note = f"{versions:,} object versions, {uploads:,} unfinished uploads"
            yield Remainder("bucket", self._name, billed=bool(versions or uploads), note=note)

    def empty(self) -> None:
        """Delete all versions, delete markers and unfinished uploads; locked ones remain."""
        with _ignoring(*_GONE):
            for batch in batched(self._versions(), _OBJECTS_PER_CALL):
                objects = [{"Key": one["Key"], "VersionId": one["VersionId"]} for one in batch]
                self._s3.delete_objects(
                    Bucket=self._name, Delete={"Objects": objects, "Quiet": True}
                )
            for upload in self._uploads():
                self._s3.abort_multipart_upload(
                    Bucket=self._name, Key=upload["Key"], UploadId=upload["UploadId"]
                )

    def delete(self) -> None:
        """Delete the bucket if it is empty."""
        with _ignoring(*_GONE, *_IN_USE):
            self._s3.delete_bucket(Bucket=self._name)

    def _versions(self) -> Iterator[dict[str, Any]]:
        for page in self._s3.get_paginator("list_object_versions").paginate(Bucket=self._name):
            yield from page.get("Versions", ())
            yield from page.get("DeleteMarkers", ())

    def _uploads(self) -> Iterator[dict[str, Any]]:
        for page in self._s3.get_paginator("list_multipart_uploads").paginate(Bucket=self._name):
            yield from page.get("Uploads", ())


class VectorBucket:
    """A bucket of S3 Vectors with its indexes, by ARN."""

    def __init__(self, s3vectors: Any, arn: str) -> None:
        self._s3vectors = s3vectors
        self._name = arn.rpartition("/")[2]

    def remaining(self) -> Iterator[Remainder]:
        """Yield the bucket with its indexes; an empty bucket is not billed."""
        with _ignoring(*_VECTORS_GONE):
            indexes = len(self._indexes())
            note = f"{indexes:,} indexes"
            yield Remainder("vector bucket", self._name, billed=bool(indexes), note=note)

    def empty(self) -> None:
        """Delete all indexes with their vectors."""
        with _ignoring(*_VECTORS_GONE):
            for name in self._indexes():
                self._s3vectors.delete_index(vectorBucketName=self._name, indexName=name)

    def delete(self) -> None:
        """Delete the bucket if it is empty."""
        with _ignoring(*_VECTORS_GONE, *_IN_USE):
            self._s3vectors.delete_vector_bucket(vectorBucketName=self._name)

    def _indexes(self) -> list[str]:
        pages = self._s3vectors.get_paginator("list_indexes").paginate(vectorBucketName=self._name)
        return [index["indexName"] for page in pages for index in page["indexes"]]


class Table:
    """A table that is retained when its stack is deleted."""

    def __init__(self, dynamodb: Any, name: str) -> None:
        self._dynamodb = dynamodb
        self._name = name

    def remaining(self) -> Iterator[Remainder]:
        """Yield the table; its backups and storage are billed."""
        with _ignoring(*_GONE):
            status = self._dynamodb.describe_table(TableName=self._name)["Table"]["TableStatus"]
            yield Remainder("table", self._name, billed=status != "DELETING", note=status)

    def delete(self) -> None:
        """Delete the table with everything in it."""
        with _ignoring(*_GONE):
            self._dynamodb.delete_table(TableName=self._name)


class CloudFormationStack:
    """The stack: functions, queues, roles, alarms, dashboard, cache table, logs."""

    def __init__(self, cloudformation: Any, name: str) -> None:
        self._cloudformation = cloudformation
        self._name = name

    def remaining(self) -> Iterator[Remainder]:
        """Yield the stack; its alarms and dashboard are billed."""
        with _ignoring("ValidationError"):  # "Stack with id … does not exist"
            for stack in self._cloudformation.describe_stacks(StackName=self._name)["Stacks"]:
                status = stack["StackStatus"]
                if status != "DELETE_COMPLETE":
                    yield Remainder("stack", self._name, billed=True, note=status)

    def delete(self) -> None:
        """Delete the stack and wait for a quarter of an hour; a stack that fails to go remains."""
        self._cloudformation.delete_stack(StackName=self._name)
        waiter = self._cloudformation.get_waiter("stack_delete_complete")
        try:
            waiter.wait(StackName=self._name, WaiterConfig=_STACK_DELETION)
        except WaiterError:
            return


def stop_functions(lambda_client: Any, outputs: Mapping[str, str]) -> None:
    """Reserve no concurrency for the functions, so that none creates anything any more."""
    for output, name in outputs.items():
        if output.endswith("FunctionName"):
            with _ignoring(*_GONE):
                lambda_client.put_function_concurrency(
                    FunctionName=name, ReservedConcurrentExecutions=0
                )
