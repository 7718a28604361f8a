"""What a stack stores: buckets with all their versions, the state table, and the stack itself."""

import time
from collections.abc import Iterator, Mapping
from typing import Any

from botocore.exceptions import ClientError

from router_cli.teardown.bedrock_things import Thing

_AT_ONCE = 1_000  # S3 deletes no more in one call
_NO_BUCKET = ("404", "NoSuchBucket")
_NO_TABLE = "ResourceNotFoundException"
_WAIT_SECONDS = 900.0
_POLL_SECONDS = 2.0


class Bucket:
    """One of the stack's buckets."""

    def __init__(self, s3: Any, name: str) -> None:
        self._s3 = s3
        self._name = name

    def remaining(self) -> Iterator[Thing]:
        """Yield the bucket, with what is in it; an empty one is not billed."""
        try:
            versions = sum(1 for _ in self._versions())
            uploads = sum(1 for _ in self._uploads())
        except ClientError as error:
            if error.response["Error"]["Code"] in _NO_BUCKET:
                return
            raise
        note = f"{versions:,} object versions, {uploads:,} unfinished uploads"
        yield Thing("bucket", self._name, billed=bool(versions or uploads), note=note)

    def empty(self) -> None:
        """Delete every version, every delete marker, and every unfinished upload."""
        while batch := self._first_versions():
            reply = self._s3.delete_objects(
                Bucket=self._name, Delete={"Objects": batch, "Quiet": True}
            )
            if reply.get("Errors"):
                return  # locked or denied: it stays, and is listed
        for upload in self._uploads():
            self._s3.abort_multipart_upload(
                Bucket=self._name, Key=upload["Key"], UploadId=upload["UploadId"]
            )

    def delete(self) -> None:
        """Delete the empty bucket."""
        try:
            self._s3.delete_bucket(Bucket=self._name)
        except ClientError as error:
            if error.response["Error"]["Code"] not in (*_NO_BUCKET, "BucketNotEmpty"):
                raise

    def _first_versions(self) -> list[dict[str, str]]:
        try:
            found = []
            for version in self._versions():
                found.append({"Key": version["Key"], "VersionId": version["VersionId"]})
                if len(found) == _AT_ONCE:
                    break
        except ClientError as error:
            if error.response["Error"]["Code"] in _NO_BUCKET:
                return []
            raise
        return found

    def _versions(self) -> Iterator[dict[str, Any]]:
        for page in self._s3.get_paginator("list_object_versions").paginate(Bucket=self._name):
            yield from page.get("Versions", ())
            yield from page.get("DeleteMarkers", ())

    def _uploads(self) -> Iterator[dict[str, Any]]:
        for page in self._s3.get_paginator("list_multipart_uploads").paginate(Bucket=self._name):
            yield from page.get("Uploads", ())


class Table:
    """A table that survives its stack."""

    def __init__(self, dynamodb: Any, name: str) -> None:
        self._dynamodb = dynamodb
        self._name = name

    def remaining(self) -> Iterator[Thing]:
        """Yield the table while it is there; backups and storage are billed."""
        try:
            status = self._dynamodb.describe_table(TableName=self._name)["Table"]["TableStatus"]
        except ClientError as error:
            if error.response["Error"]["Code"] == _NO_TABLE:
                return
            raise
        yield Thing("table", self._name, billed=status != "DELETING", note=status)

    def delete(self) -> None:
        """Delete it with everything in it."""
        try:
            self._dynamodb.delete_table(TableName=self._name)
        except ClientError as error:
            if error.response["Error"]["Code"] != _NO_TABLE:
                raise


class CloudFormationStack:
    """The stack itself: functions, queues, roles, alarms, dashboard, cache table, logs."""

    def __init__(self, cloudformation: Any, name: str) -> None:
        self._cloudformation = cloudformation
        self._name = name

    def remaining(self) -> Iterator[Thing]:
        """Yield the stack while it is there; its alarms and dashboard are billed."""
        status = self._status()
        if status is not None:
            yield Thing("stack", self._name, billed=True, note=status)

    def delete(self) -> None:
        """Delete it and wait for its end, a quarter of an hour at most."""
        self._cloudformation.delete_stack(StackName=self._name)
        deadline = time.monotonic() + _WAIT_SECONDS
        while time.monotonic() < deadline:
            if self._status() in (None, "DELETE_FAILED"):
                return
            time.sleep(_POLL_SECONDS)

    def _status(self) -> str | None:
        try:
            stacks = self._cloudformation.describe_stacks(StackName=self._name)["Stacks"]
        except ClientError as error:
            if error.response["Error"]["Code"] == "ValidationError":  # "… does not exist"
                return None
            raise
        status = str(stacks[0]["StackStatus"]) if stacks else "DELETE_COMPLETE"
        return None if status == "DELETE_COMPLETE" else status


def still_functions(lambda_client: Any, outputs: Mapping[str, str]) -> None:
    """Let no function begin any more, so that nothing is made while it is being removed."""
    for output, name in outputs.items():
        if output.endswith("FunctionName"):
            try:
                lambda_client.put_function_concurrency(
                    FunctionName=name, ReservedConcurrentExecutions=0
                )
            except ClientError as error:
                if error.response["Error"]["Code"] != _NO_TABLE:
                    raise
