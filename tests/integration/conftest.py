"""The AWS that handlers meet in these tests: moto, with the stack's resources and environment."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import boto3
import pytest
from moto import mock_aws

from search_router.dependencies import dependencies
from search_router.domain.uploads import ObjectRef

REGION = "us-east-1"
UPLOADS, DATA, STATE, CACHE, SPLITS = "uploads", "data", "state", "cache", "splits"
ACCOUNT = "123456789012"

ENVIRONMENT = {
    "STAGE": "dev",
    "AWS_REGION": REGION,
    "UPLOAD_BUCKET": UPLOADS,
    "DATA_BUCKET": DATA,
    "STATE_TABLE": STATE,
    "CACHE_TABLE": CACHE,
    "EVENT_BUS_NAME": "default",
    "MODALITIES": "visual,audio,transcription,metadata",
    "TEACHER_MODEL_ID": "amazon.nova-pro-v1:0",
    "STUDENT_MODEL_ID": "amazon.nova-micro-v1:0:128k",
    "DISTILLATION_ROLE_ARN": f"arn:aws:iam::{ACCOUNT}:role/distillation",
    "HOLDOUT_FRACTION": "0.1",
    "REQUESTS_PER_MINUTE": "2000",
    "BATCH_QUOTA_SHARE": "0.8",
    "ROUTE_CONCURRENCY": "2",
    "MAX_OUTPUT_TOKENS": "200",
    "CACHE_TTL_DAYS": "30",
    "POWERTOOLS_SERVICE_NAME": "search-router",
    "POWERTOOLS_METRICS_NAMESPACE": "SearchRouter",
}


@dataclass(frozen=True, slots=True)
class World:
    """The resources of one stack, empty at first."""

    s3: Any
    dynamodb: Any
    sqs: Any
    queue_url: str

    def upload(self, key: str, body: bytes) -> ObjectRef:
        """Put a file where users put them."""
        reply = self.s3.put_object(Bucket=UPLOADS, Key=key, Body=body)
        return ObjectRef(UPLOADS, key, reply["VersionId"])

    def data_objects(self) -> dict[str, bytes]:
        """Return every object in the data bucket."""
        listing = self.s3.list_objects_v2(Bucket=DATA).get("Contents", [])
        return {
            entry["Key"]: self.s3.get_object(Bucket=DATA, Key=entry["Key"])["Body"].read()
            for entry in listing
        }

    def clear(self) -> None:
        """Forget what the functions wrote; uploads stay."""
        for key in self.data_objects():
            self.s3.delete_object(Bucket=DATA, Key=key)
        for item in self.items(STATE):
            self.dynamodb.delete_item(TableName=STATE, Key={n: item[n] for n in ("pk", "sk")})

    def items(self, table: str) -> list[dict[str, Any]]:
        """Return every item of a table, in key order."""
        items = self.dynamodb.scan(TableName=table)["Items"]
        return sorted(items, key=lambda item: (item["pk"]["S"], item.get("sk", {}).get("S", "")))


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """Make the stack's resources in moto and point the handlers' environment at them."""
    with mock_aws():
        s3, sqs = boto3.client("s3", REGION), boto3.client("sqs", REGION)
        dynamodb = boto3.client("dynamodb", REGION)
        for bucket in (UPLOADS, DATA):
            s3.create_bucket(Bucket=bucket)
        s3.put_bucket_versioning(Bucket=UPLOADS, VersioningConfiguration={"Status": "Enabled"})
        _create_table(dynamodb, STATE, "pk", "sk")
        _create_table(dynamodb, CACHE, "pk")
        queue_url = sqs.create_queue(QueueName=SPLITS)["QueueUrl"]
        for name, value in {**ENVIRONMENT, "SPLIT_QUEUE_URL": queue_url}.items():
            monkeypatch.setenv(name, value)
        dependencies.cache_clear()
        yield World(s3, dynamodb, sqs, queue_url)
        dependencies.cache_clear()


def _create_table(dynamodb: Any, name: str, *keys: str) -> None:
    kinds = ("HASH", "RANGE")
    dynamodb.create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in keys],
        KeySchema=[
            {"AttributeName": key, "KeyType": kind} for key, kind in zip(keys, kinds, strict=False)
        ],
    )
