"""What the S3 adapters do beyond their ports: broken bodies, large objects, lost replies."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from unittest import mock

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ConnectionClosedError
from botocore.stub import ANY, Stubber
from moto.backends import get_backend
from moto.core.botocore_stubber import BotocoreStubber

from search_router.adapters.s3 import CHUNK_BYTES, PART_BYTES, S3ObjectStore, S3UploadStore
from search_router.domain.errors import InvalidInputError, SearchRouterError, UnavailableError
from search_router.domain.uploads import ObjectRef
from tests.aws_calls import AwsCall, AwsCalls, Fault, aws_calls
from tests.integration.world import ACCOUNT, DATA, REGION, World

SOURCE = ObjectRef("uploads", "query-logs/a.jsonl", "v7")
BODY = bytes(range(256)) * 4 * 1024  # 1 MiB, four chunks
LINE = b"x" * 1023 + b"\n"
EIGHT_MIB = PART_BYTES // len(LINE)


@dataclass
class HangingUpS3(ThreadingHTTPServer):
    """An S3 with one object that hangs up after so many bytes of each reply, then behaves.

    `breaks` holds bytes per request; `asked` what was asked for: version and range.
    """

    breaks: list[int]
    body: bytes = BODY
    asked: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: HangingUpS3

    def do_GET(self) -> None:
        asked = self.headers.get("Range", "")
        self.server.asked.append((self.path.partition("?")[2], asked))
        start, _, last = asked.removeprefix("bytes=").partition("-")
        wanted = self.server.body[int(start or 0) : int(last) + 1 if last else None]
        if not wanted:
            self.send_error(416)
            return
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(len(wanted)))
        self.end_headers()
        sent = self.server.breaks.pop(0) if self.server.breaks else len(wanted)
        self.wfile.write(wanted[:sent])

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        """Say nothing."""


@pytest.fixture
def hanging_up() -> Iterator[HangingUpS3]:
    with HangingUpS3(breaks=[]) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def uploads(hanging_up: HangingUpS3) -> Iterator[S3UploadStore]:
    config = Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1})
    client = boto3.client("s3", REGION, endpoint_url=hanging_up.url, config=config)
    yield S3UploadStore(client)
    client.close()


# --- a body that breaks off ----------------------------------------------------------------------


def test_a_body_that_breaks_off_is_resumed_where_it_stopped(
    uploads: S3UploadStore, hanging_up: HangingUpS3
) -> None:
    # GIVEN a connection that ends within the second chunk, and then after ten bytes more
    hanging_up.breaks = [CHUNK_BYTES + 1_000, 10]
    # WHEN the whole object is read
    read = b"".join(uploads.read(SOURCE))
    # THEN every byte comes once, from the same version
    assert read == BODY
    assert hanging_up.asked == [
        ("versionId=v7", ""),
        ("versionId=v7", f"bytes={CHUNK_BYTES + 1_000}-"),
        ("versionId=v7", f"bytes={CHUNK_BYTES + 1_010}-"),
    ]


def test_a_range_that_breaks_off_keeps_its_end(
    uploads: S3UploadStore, hanging_up: HangingUpS3
) -> None:
    hanging_up.breaks = [50]

    read = b"".join(uploads.read(SOURCE, 100, 900_000))

    assert read == BODY[100:900_000]
    assert [asked for _, asked in hanging_up.asked] == ["bytes=100-899999", "bytes=150-899999"]


def test_a_body_without_progress_is_given_up_after_three_tries(
    uploads: S3UploadStore, hanging_up: HangingUpS3
) -> None:
    hanging_up.breaks = [0, 0, 0, 0]

    with pytest.raises(UnavailableError, match="interrupted 3 times without progress"):
        list(uploads.read(SOURCE))

    assert len(hanging_up.asked) == 3


def test_progress_renews_patience(uploads: S3UploadStore, hanging_up: HangingUpS3) -> None:
    hanging_up.breaks = [0, 0, 1, 0, 0, 1, 0, 0]

    assert b"".join(uploads.read(SOURCE)) == BODY
    assert len(hanging_up.asked) == 9


def test_a_body_that_was_changed_on_the_way_is_refused(world: World) -> None:
    # GIVEN an object whose bytes are not those of its checksum
    source = world.upload("prompts/a.jsonl", b"as it was uploaded")
    stored: Any = get_backend("s3")[ACCOUNT]["aws"]
    stored.get_object(source.bucket, source.key, source.version_id).value = b"as it never was..."
    # THEN reading it raises one of our errors, whatever the SDK's is
    with pytest.raises(UnavailableError):
        list(S3UploadStore(world.s3).read(source))


# --- large objects -------------------------------------------------------------------------------


@pytest.fixture
def calls() -> Iterator[AwsCalls]:
    with aws_calls() as recorded:
        yield recorded


def _operations(made: list[AwsCall]) -> list[str]:
    return [call.operation for call in made]


def write_lines(write: Callable[[bytes], None], count: int) -> None:
    for _ in range(count):
        write(LINE)


def test_a_large_object_is_uploaded_in_parts(world: World, calls: AwsCalls) -> None:
    store, lines = S3ObjectStore(world.s3, DATA), 2 * EIGHT_MIB + 3

    with store.writer("runs/r/training.jsonl") as write:
        write_lines(write, lines)

    made = _operations(calls.made)
    assert made == ["CreateMultipartUpload", *["UploadPart"] * 3, "CompleteMultipartUpload"]
    body = store.get("runs/r/training.jsonl")
    assert body == LINE * lines


def test_the_parts_of_a_large_object_are_checked() -> None:
    """S3 requires every part's checksum on completion if the upload names an algorithm."""
    s3 = boto3.Session("test", "test", region_name=REGION).client("s3")
    sent = {"Bucket": DATA, "Key": "runs/a.jsonl"}
    parts = [{"PartNumber": n, "ETag": f"e{n}", "ChecksumCRC32": f"c{n}"} for n in (1, 2)]
    with Stubber(s3) as stubber:
        stubber.add_response(
            "create_multipart_upload", {"UploadId": "u"}, {**sent, "ChecksumAlgorithm": "CRC32"}
        )
        for part in parts:
            reply = {key: part[key] for key in ("ETag", "ChecksumCRC32")}
            wanted = {**sent, "UploadId": "u", "PartNumber": part["PartNumber"], "Body": ANY}
            stubber.add_response("upload_part", reply, wanted)
        stubber.add_response(
            "complete_multipart_upload",
            {},
            {**sent, "UploadId": "u", "MultipartUpload": {"Parts": parts}},
        )
        with S3ObjectStore(s3, DATA).writer("runs/a.jsonl") as write:
            for _ in range(EIGHT_MIB + 1):
                write(LINE)
        stubber.assert_no_pending_responses()


@pytest.mark.parametrize("lines", [EIGHT_MIB - 1, EIGHT_MIB])
def test_an_object_of_one_part_is_one_request(world: World, calls: AwsCalls, lines: int) -> None:
    store = S3ObjectStore(world.s3, DATA)

    with store.writer("runs/r/training.jsonl") as write:
        write_lines(write, lines)

    assert _operations(calls.made) == ["PutObject"]
    assert store.get("runs/r/training.jsonl") == LINE * lines


def _write_truncated(store: S3ObjectStore) -> None:
    with store.writer("runs/r/rejected.jsonl") as write:
        write_lines(write, 2 * EIGHT_MIB + 1)
        raise InvalidInputError("the gzip data is truncated")


def test_an_error_in_the_block_aborts_the_upload(world: World) -> None:
    store = S3ObjectStore(world.s3, DATA)

    with pytest.raises(InvalidInputError, match="truncated"):
        _write_truncated(store)

    _assert_nothing_is_left(world)


@pytest.mark.parametrize("broken", ["UploadPart", "CompleteMultipartUpload"])
def test_a_failing_request_aborts_the_upload(world: World, broken: str) -> None:
    store, number = S3ObjectStore(world.s3, DATA), {"UploadPart": 2, "CompleteMultipartUpload": 3}

    with aws_calls(number[broken], Fault.CONNECTION_ERROR) as calls:
        with pytest.raises(UnavailableError), store.writer("runs/r/training.jsonl") as write:
            write_lines(write, EIGHT_MIB + 1)
        assert _operations(calls.made)[-2:] == [broken, "AbortMultipartUpload"]

    _assert_nothing_is_left(world)


def test_an_abort_that_fails_too_does_not_hide_the_reason(world: World) -> None:
    # GIVEN lines that break off while S3 cannot be reached any more
    store = S3ObjectStore(world.s3, DATA)
    with (
        aws_calls(3, Fault.CONNECTION_ERROR) as calls,
        # THEN the error is the first one
        pytest.raises(InvalidInputError, match="truncated"),
    ):
        _write_truncated(store)
    assert _operations(calls.made)[-1] == "AbortMultipartUpload"


def _assert_nothing_is_left(world: World) -> None:
    assert world.data_objects() == {}
    assert "Uploads" not in world.s3.list_multipart_uploads(Bucket=DATA)


# --- replies that get lost -----------------------------------------------------------------------


def test_a_lost_reply_to_put_once_looks_like_somebody_elses_object(world: World) -> None:
    """The SDK tries again and meets its own object: 412. So callers compare what is there."""
    store, key = S3ObjectStore(world.s3, DATA), "logs/l/parts/part-00000.jsonl"
    with _replies_lost(1) as sent:
        wrote = store.put_once(key, b"ours", {"identity": "abc"})

    assert not wrote
    assert len(sent) == 2
    assert (store.get(key), store.info(key).metadata) == (b"ours", {"identity": "abc"})


def test_a_reply_that_stays_lost_is_worth_a_retry(world: World) -> None:
    store = S3ObjectStore(world.s3, DATA)
    with _replies_lost(100), mock.patch("time.sleep"), pytest.raises(UnavailableError):
        store.put("runs/r/manifest.json", b"{}")

    assert store.get("runs/r/manifest.json") == b"{}"


class _replies_lost:  # noqa: N801 - reads as the function it stands for
    """Let moto serve requests below the SDK's retries, but lose the first replies."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._sent: list[str] = []
        self._patch = mock.patch.object(BotocoreStubber, "__call__", self._serve())

    def _serve(self) -> Any:
        original = BotocoreStubber.__call__

        def serve(stubber: BotocoreStubber, event_name: str, request: Any, **more: Any) -> Any:
            reply = original(stubber, event_name, request, **more)
            self._sent.append(event_name)
            if len(self._sent) <= self._number:
                raise ConnectionClosedError(endpoint_url=request.url)
            return reply

        return serve

    def __enter__(self) -> list[str]:
        self._patch.start()
        return self._sent

    def __exit__(self, *_error: object) -> None:
        self._patch.stop()


# --- listings ------------------------------------------------------------------------------------


def test_a_listing_goes_on_after_the_first_page(world: World, calls: AwsCalls) -> None:
    # GIVEN pages of two keys
    store = S3ObjectStore(world.s3, DATA)
    keys = [f"logs/l/parts/part-{n:05d}.jsonl" for n in range(5)]
    for key in keys:
        store.put(key, b"x")
    calls.made.clear()
    hook = "provide-client-params.s3.ListObjectsV2"
    world.s3.meta.events.register(hook, _two_keys, unique_id="two-keys")
    # WHEN all are listed
    listed = [key for key, _ in store.list("logs/l/parts/")]
    world.s3.meta.events.unregister(hook, unique_id="two-keys")
    # THEN none is missing
    assert listed == keys
    assert _operations(calls.made) == ["ListObjectsV2"] * 3


def _two_keys(params: dict[str, Any], **_more: object) -> dict[str, Any]:
    return {**params, "MaxKeys": 2}


def _written(store: S3ObjectStore, lines: int) -> None:
    with store.writer("k") as write:
        write_lines(write, lines)


def test_all_errors_of_a_store_are_ours(world: World) -> None:
    store = S3ObjectStore(world.s3, "no-such-bucket")
    attempts = (
        lambda: store.put("k", b""),
        lambda: _written(store, 0),
        lambda: _written(store, EIGHT_MIB + 1),
        lambda: store.put_once("k", b"", {}),
        lambda: store.get("k"),
        lambda: store.info("k"),
        lambda: list(store.list("k")),
    )
    for attempt in attempts:
        with pytest.raises(SearchRouterError):
            attempt()
