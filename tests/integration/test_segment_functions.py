"""The functions of indexing on moto, the S3 Vectors fake and the Bedrock fake."""

import itertools
import json
from array import array
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from itertools import pairwise
from typing import Any
from unittest import mock

import boto3
import pytest
from botocore.client import BaseClient

from local_stack.s3_vectors_fake import FakeS3Vectors
from search_router.dependencies import dependencies
from search_router.domain import naming
from search_router.domain.errors import SearchRouterError, UnavailableError
from search_router.domain.search.index import METADATA, EmbeddingPurpose, ListQuery
from search_router.domain.search.segment_uploads import SegmentState, SegmentUpload
from search_router.domain.uploads import ObjectRef
from tests.aws_calls import AwsCalls, Crash, Fault
from tests.conftest import FakeLambdaContext
from tests.integration.logs import captured_logs
from tests.integration.stack import invoke
from tests.integration.world import LONG_AGO, REGION, UPLOADS, Bedrock, World
from tests.records import jsonl

QUOTED = "zqsecret"
_numbers = itertools.count()
PROBE = array("f", [1.0] * 256)
DOOR = {
    "segment_id": "s1",
    "video_id": "v1",
    "start": 0,
    "end": 2.5,
    "texts": {"visual": "a man opens a red door", "transcription": "who is there?"},
    "attributes": {"genre": "drama", "people": ["Ann"], "year": 2021},
}
DOG = DOOR | {"segment_id": "s2", "texts": {"visual": "a dog runs", "audio": "barking"}}
REJECTED = DOOR | {"segment_id": "s3", "start": QUOTED}


@dataclass
class Functions:
    """The functions, called with the events that AWS would send."""

    world: World
    load_event: Callable[[str], dict[str, Any]]
    context: FakeLambdaContext
    queue_url: str
    calls: AwsCalls = field(default_factory=AwsCalls)

    def _invoke(self, function: str, event: dict[str, Any]) -> Any:
        """Call a function and record its AWS calls, not those of the test."""
        original = BaseClient._make_api_call  # type: ignore[attr-defined]  # not in the stubs

        def make_api_call(client: Any, operation: str, parameters: Any) -> Any:
            return self.calls.around(original, client, operation, parameters)

        with mock.patch.object(BaseClient, "_make_api_call", make_api_call):
            return invoke(function, event, self.context)

    def upload(self, *rows: dict[str, Any], key: str = "segments/films/a.jsonl") -> ObjectRef:
        """Upload a file, a second after the one before."""
        at = LONG_AGO + timedelta(seconds=next(_numbers))
        return self.world.upload(key, jsonl(list(rows)), at)

    def split(self, source: ObjectRef) -> SegmentUpload:
        event = self.load_event("split_segments")
        event["detail"]["bucket"]["name"] = UPLOADS
        event["detail"]["object"] |= {"key": source.key, "version-id": source.version_id}
        self._invoke("split_segments", event)
        return self.head(source)

    def head(self, source: ObjectRef) -> SegmentUpload:
        found = dependencies().segment_uploads.get(naming.segments_id(*source))
        assert found is not None
        return found

    def work(self) -> list[str]:
        """Index what is in the queue; return the ids of the messages that failed."""
        failed: list[str] = []
        for message in self._receive():
            event = self.load_event("index_segments")
            event["Records"][0] |= {
                "messageId": message["MessageId"],
                "receiptHandle": message["ReceiptHandle"],
                "body": message["Body"],
            }
            received = message["Attributes"]["ApproximateReceiveCount"]
            event["Records"][0]["attributes"]["ApproximateReceiveCount"] = received
            place = {"QueueUrl": self.queue_url, "ReceiptHandle": message["ReceiptHandle"]}
            failures = ["the worker died"]
            try:
                reply = self._invoke("index_segments", event)
                failures = [one["itemIdentifier"] for one in reply["batchItemFailures"]]
            finally:
                failed += failures
                if failures:
                    self.world.sqs.change_message_visibility(**place, VisibilityTimeout=0)
                else:
                    self.world.sqs.delete_message(**place)
        return failed

    def finish(self, source: ObjectRef) -> None:
        event = self.load_event("finish_segments")
        event["detail"]["upload_id"] = naming.segments_id(*source)
        self._invoke("finish_segments", event)

    def index(self, *rows: dict[str, Any]) -> ObjectRef:
        """Index an upload as a whole."""
        source = self.upload(*rows)
        assert self.split(source).state is SegmentState.INDEXING
        assert self.work() == []
        self.finish(source)
        assert self.head(source).state is SegmentState.INDEXED
        return source

    def found(self, modality: str, text: str) -> list[str]:
        """Search one list for a text, by meaning and by words."""
        deps = dependencies()
        collection = deps.collections.get("films")
        assert collection is not None
        [vector] = deps.embedder.embed([text], EmbeddingPurpose.RETRIEVAL)
        assert not isinstance(vector, Exception)
        hits = deps.segment_index.search(collection, ListQuery(modality, vector, text))
        return [hit.segment_id for hit in hits]

    def _receive(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        while True:
            reply = self.world.sqs.receive_message(
                QueueUrl=self.queue_url,
                MaxNumberOfMessages=10,
                MessageSystemAttributeNames=["ApproximateReceiveCount"],
            )
            if not reply.get("Messages"):
                return found
            found += reply["Messages"]


@pytest.fixture
def functions(
    world: World,
    bedrock: Bedrock,
    load_event: Callable[[str], dict[str, Any]],
    lambda_context: FakeLambdaContext,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Functions]:
    queue_url = world.sqs.create_queue(QueueName=f"segments-{next(_numbers)}")["QueueUrl"]
    with FakeS3Vectors() as fake:
        monkeypatch.setenv("SEGMENT_QUEUE_URL", queue_url)
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3VECTORS", fake.url)
        client = boto3.client("s3vectors", REGION, endpoint_url=fake.url)
        bucket = client.create_vector_bucket(vectorBucketName="vectors")
        monkeypatch.setenv("VECTOR_BUCKET", bucket["vectorBucketArn"])
        yield Functions(world, load_event, lambda_context, queue_url)


def test_an_uploaded_file_can_be_searched(functions: Functions) -> None:
    with captured_logs() as logs:
        source = functions.index(DOOR, DOG, REJECTED)
        lines = logs()

    assert functions.found("visual", "a red door")[0] == "s1"
    assert functions.found("visual", "a dog")[0] == "s2"
    assert functions.found("audio", "barking") == ["s2"]
    assert functions.found(METADATA, "drama") in (["s1", "s2"], ["s2", "s1"])
    objects = functions.world.data_objects()
    upload = naming.segments_id(*source)
    summary = json.loads(objects[f"segments/{upload}/summary.json"])
    assert (summary["rows_in"], summary["indexed"], summary["rejected"]) == (3, 2, 1)
    assert json.loads(objects["collections/films/calibration.json"])["segments"] == 2
    [rejected] = objects[f"segments/{upload}/rejected/part-00000.jsonl"].splitlines()
    assert json.loads(rejected)["reason"] == "start is not a number of seconds from 0"
    assert [line["message"] for line in lines] == [
        "segment file split", "split indexed", "segments indexed",
    ]  # fmt: skip
    assert QUOTED not in json.dumps(lines)


def test_deleted_and_changed_segments_leave_and_move(functions: Functions) -> None:
    functions.index(DOOR, DOG)

    functions.index({"segment_id": "s1", "deleted": True}, DOG | {"texts": {"audio": "a siren"}})

    assert functions.found("visual", "a red door") == []
    assert functions.found("audio", "a siren") == ["s2"]


def test_a_file_in_the_wrong_place_fails_with_its_reason(functions: Functions) -> None:
    head = functions.split(functions.upload(DOOR, key="segments/a.jsonl"))

    assert head.state is SegmentState.FAILED
    assert "segments/<collection>/" in head.reason


def test_a_message_that_is_no_split_fails_alone(functions: Functions) -> None:
    functions.world.sqs.send_message(QueueUrl=functions.queue_url, MessageBody='{"text": "x"}')
    functions.upload(DOOR)

    assert len(functions.work()) == 1


def test_after_a_crash_at_each_kind_of_call_every_segment_is_indexed_and_counted(
    functions: Functions,
) -> None:
    """The worker dies after the last call of each operation, which has had its effect."""
    made = _story(functions, 0, None, Fault.CRASH_BEFORE)
    assert {"CreateIndex", "PutVectors", "DeleteVectors", "TransactWriteItems"} <= set(made)
    assert {"InvokeModel", "BatchGetItem", "SendMessageBatch", "PutEvents"} <= set(made)

    last = {operation: place for place, operation in enumerate(made)}
    for place in last.values():
        _story(functions, place + 1, place, Fault.CRASH_AFTER)


@pytest.mark.sweep
@pytest.mark.parametrize("fault", Fault)
def test_after_any_failed_call_every_segment_is_indexed_and_counted(
    functions: Functions, fault: Fault
) -> None:
    """Every AWS call of the functions meets the fault once; of a sample's 32 queries, the first."""
    made = _story(functions, 0, None, Fault.CRASH_BEFORE)
    for place, (before, operation) in enumerate(pairwise(["", *made])):
        if before != operation or operation != "Query":
            _story(functions, place + 1, place, fault)


def _story(functions: Functions, number: int, broken: int | None, fault: Fault) -> list[str]:
    """Index two uploads in a new collection while one call fails; return the calls."""
    dependencies.cache_clear()
    name = f"films-{number}"
    sources = [
        functions.upload(*rows, key=f"segments/{name}/a.jsonl")
        for rows in ((DOOR, DOG), (DOOR | {"texts": {"audio": "steps"}}, REJECTED))
    ]
    calls = functions.calls = AwsCalls(broken, fault)
    for source in sources:
        _until(partial(functions.split, source))
        _until(partial(_work, functions))
        _until(partial(functions.finish, source))
    functions.calls = AwsCalls()
    assert calls.fired == (broken is not None)
    heads = [functions.head(source) for source in sources]
    assert [head.state for head in heads] == [SegmentState.INDEXED] * 2, (broken, fault)
    deps = dependencies()
    collection = deps.collections.get(name)
    assert collection is not None
    lists = {
        modality: sorted(
            hit.segment_id
            for hit in deps.segment_index.search(collection, ListQuery(modality, PROBE, ""))
        )
        for modality in ("visual", "audio", "transcription", METADATA)
    }
    assert lists == {
        "visual": ["s2"], "audio": ["s1", "s2"], "transcription": [], METADATA: ["s1", "s2"],
    }, (broken, fault)  # fmt: skip
    counts = [next(deps.segment_uploads.markers(head.upload_id)).stats for head in heads]
    assert [(one.rows_in, one.indexed, one.rejected) for one in counts] == [(2, 2, 0), (2, 1, 1)]
    return [call.operation for call in calls.made]


def _work(functions: Functions) -> None:
    if functions.work():
        raise UnavailableError("a split failed")


def _until(action: Callable[[], object]) -> None:
    for _ in range(5):
        with suppress(Crash, SearchRouterError):
            action()
            return
    pytest.fail("not done after five attempts")
