"""The resources of one stack in moto, and the Bedrock fake beside it."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from moto.backends import get_backend

from local_stack.bedrock_fake import FakeBedrock, StateChangeEvent
from search_router.domain.uploads import ObjectRef
from tests.fakes import START, VirtualClock

REGION = "us-east-1"
UPLOADS, DATA, STATE, CACHE, SPLITS = "uploads", "data", "state", "cache", "splits"
SEGMENTS = "segments"
ACCOUNT = "123456789012"

ENVIRONMENT = {
    "STAGE": "dev",
    "STACK_NAME": "search-router-dev",
    "AWS_REGION": REGION,
    "UPLOAD_BUCKET": UPLOADS,
    "DATA_BUCKET": DATA,
    "STATE_TABLE": STATE,
    "CACHE_TABLE": CACHE,
    "SEGMENT_TABLE": SEGMENTS,
    "SEGMENT_QUEUE_URL": f"https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/segment-splits",
    "VECTOR_BUCKET": f"arn:aws:s3vectors:{REGION}:{ACCOUNT}:bucket/vectors",
    "EVENT_BUS_NAME": "default",
    "MODALITIES": "visual,audio,transcription,metadata",
    "EMBEDDING_MODEL_ID": "amazon.nova-2-multimodal-embeddings-v1:0",
    "EMBEDDING_DIMENSION": "256",
    "ROUTE_GRACE_MS": "150",
    "INDEX_CONCURRENCY": "2",
    "TEACHER_MODEL_ID": "amazon.nova-pro-v1:0",
    "STUDENT_MODEL_ID": "amazon.nova-micro-v1:0:128k",
    "DISTILLATION_ROLE_ARN": f"arn:aws:iam::{ACCOUNT}:role/distillation",
    "HOLDOUT_FRACTION": "0.1",
    "KEEP_REASONING": "false",
    "REQUESTS_PER_MINUTE": "2000",
    "BATCH_QUOTA_SHARE": "0.8",
    "ROUTE_CONCURRENCY": "2",
    "MAX_OUTPUT_TOKENS": "200",
    "CACHE_TTL_DAYS": "30",
    "QUERY_FIELD": "",
    "ON_PERMANENT_ERROR": "wait",
    "LOCAL_TIER": "shadow",
    "LOCAL_TIER_MAX_ERROR": "0.045",
    "SHADOW_FRACTION": "0.02",
    "BASELINE_MODEL_ID": "",
    "JUDGE_MODEL_ID": "",
    "EVALUATION_ROLE_ARN": f"arn:aws:iam::{ACCOUNT}:role/evaluation",
    "BUDGET_USD_PER_30_DAYS": "1000",
    "LOG_BUDGET_USD_PER_30_DAYS": "1000",
    "LOG_MAX_HOURS": "72",
    "PROMOTION_POLICY": "automatic",
    "PROMOTION_MARGIN": "0.01",
    "POWERTOOLS_SERVICE_NAME": "search-router",
    "POWERTOOLS_METRICS_NAMESPACE": "SearchRouter",
}


VISIBILITY_SECONDS = 5_400
LONG_AGO = START - timedelta(days=30)


def create_queue(sqs: Any) -> str:
    """Make the queue of splits and return its URL, which is the same each time."""
    url: str = sqs.create_queue(QueueName=SPLITS, Attributes=_queue_attributes())["QueueUrl"]
    return url


def _queue_attributes() -> dict[str, str]:
    return {"VisibilityTimeout": str(VISIBILITY_SECONDS)}


@dataclass(frozen=True, slots=True)
class World:
    """The resources of one stack, empty at first."""

    s3: Any
    dynamodb: Any
    sqs: Any
    queue_url: str

    def upload(self, key: str, body: bytes, at: datetime = LONG_AGO) -> ObjectRef:
        """Put a file where users put them, at a time of day of the test's own.

        Uploads stay from test to test: unless a test says otherwise, they are too old to be missed.
        """
        reply = self.s3.put_object(Bucket=UPLOADS, Key=key, Body=body)
        versions = get_backend("s3")[ACCOUNT]["aws"].buckets[UPLOADS].keys.getlist(key)
        later = timedelta(microseconds=len(versions))  # moto takes the youngest for the latest
        versions[-1].last_modified = at.replace(tzinfo=None) + later
        return ObjectRef(UPLOADS, key, reply["VersionId"])

    def erase(self, source: ObjectRef) -> None:
        """Delete one uploaded version for good."""
        self.s3.delete_object(Bucket=source.bucket, Key=source.key, VersionId=source.version_id)

    def data_objects(self) -> dict[str, bytes]:
        """Return every object in the data bucket."""
        listing = self.s3.list_objects_v2(Bucket=DATA).get("Contents", [])
        return {
            entry["Key"]: self.s3.get_object(Bucket=DATA, Key=entry["Key"])["Body"].read()
            for entry in listing
        }

    def read_uri(self, uri: str) -> bytes:
        """Return the object of an S3 URI, for whom it was named; LookupError if there is none."""
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        try:
            body: bytes = self.s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        except self.s3.exceptions.NoSuchKey as error:
            raise LookupError(uri) from error
        return body

    def write_uri(self, uri: str, body: bytes) -> None:
        """Write the object of an S3 URI, as Bedrock does with a job's results."""
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        self.s3.put_object(Bucket=bucket, Key=key, Body=body)

    def messages(self) -> list[dict[str, Any]]:
        """Receive what is visible in the queue, at most ten messages."""
        reply = self.sqs.receive_message(
            QueueUrl=self.queue_url,
            MaxNumberOfMessages=10,
            MessageSystemAttributeNames=["ApproximateReceiveCount"],
        )
        messages: list[dict[str, Any]] = reply.get("Messages", [])
        return messages

    def clear(self) -> None:
        """Forget what the functions wrote; uploads stay.

        It reaches into moto, because a world is cleared hundreds of times and calls take long.
        """
        data = get_backend("s3")[ACCOUNT]["aws"].buckets[DATA]
        data.keys.clear()
        data.multiparts.clear()
        for table in (STATE, CACHE, SEGMENTS):
            get_backend("dynamodb")[ACCOUNT][REGION].tables[table].items.clear()
        queues = get_backend("sqs")[ACCOUNT][REGION].queues
        queues[SPLITS] = type(queues[SPLITS])(SPLITS, REGION, ACCOUNT, **_queue_attributes())

    def items(self, table: str) -> list[dict[str, Any]]:
        """Return every item of a table, in key order."""
        items = self.dynamodb.scan(TableName=table)["Items"]
        return sorted(items, key=lambda item: (item["pk"]["S"], item.get("sk", {}).get("S", "")))


@dataclass(frozen=True, slots=True)
class Bedrock:
    """The fake in the stack's virtual time, and the events that it has sent.

    `seeds` are training objects, by URI, that it finds though they are in no bucket.
    """

    fake: FakeBedrock
    clock: VirtualClock
    sent: list[StateChangeEvent]
    seeds: dict[str, bytes]
