"""The fake service: its operations and its HTTP endpoint."""

import json
import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

from local_stack.bedrock_fake.clock import Clock, SystemClock
from local_stack.bedrock_fake.contract import ApiError
from local_stack.bedrock_fake.dispatcher import Dispatcher
from local_stack.bedrock_fake.faults import Fault
from local_stack.bedrock_fake.server import CallRecorder, HttpReply, LoopbackServer
from local_stack.bedrock_fake.settings import FIXED, LiveSettings
from local_stack.s3_vectors_fake.buckets import Buckets
from local_stack.s3_vectors_fake.settings import S3VectorsSettings
from local_stack.s3_vectors_fake.vectors import Vectors

SERVICES = ("s3vectors",)
MAX_BODY_BYTES = 20 * 1024 * 1024
_TOO_LARGE = ApiError("ValidationException", "The request payload is larger than 20 MiB.")


class FakeS3Vectors:
    """S3 Vectors for one account, served on loopback inside the `with` block.

    Buckets and vectors are kept in the settings' folder, else in a temporary one.
    """

    def __init__(
        self,
        settings: S3VectorsSettings | None = None,
        *,
        clock: Clock | None = None,
        port: int = 0,
    ) -> None:
        settings = settings or S3VectorsSettings()
        self._live = LiveSettings(settings, FIXED | {"folder"})
        self._clock = clock or SystemClock()
        self._port = port
        self._record = (
            CallRecorder(Path(settings.calls_file), SERVICES).record
            if settings.calls_file
            else None
        )
        self._running = ExitStack()
        self._dispatcher: Dispatcher | None = None
        self._server: LoopbackServer | None = None

    @property
    def url(self) -> str:
        """The endpoint of boto3's `s3vectors` clients."""
        if self._server is None:
            raise RuntimeError("FakeS3Vectors is not serving. Enter its `with` block.")
        return self._server.url

    @property
    def calls(self) -> dict[str, int]:
        """Number of requests by operation and HTTP status, e.g. `{"QueryVectors 200": 3}`."""
        return self._require_dispatcher().calls

    @property
    def operations(self) -> frozenset[str]:
        """Names of the implemented operations."""
        return frozenset(self._require_dispatcher().operations)

    def change(self, **changes: Any) -> None:
        """Change settings while running; raises ValueError for invalid or fixed ones."""
        self._live.change(changes)

    def fail_next(self, operation: str, fault: Fault, times: int = 1) -> None:
        """Make the next calls of an operation fail; ValueError if it has no such error."""
        self._require_dispatcher().fail_next(operation, fault, times)

    def answer(self, method: str, target: str, body: bytes) -> HttpReply:
        """Return the reply to one HTTP request, without a socket."""
        if (method, target) == ("GET", "/_fake/health"):
            return _json(200, {"status": "ok", "calls": self.calls})
        if (method, target) == ("POST", "/_fake/settings"):
            try:
                return _json(200, asdict(self._live.change(json.loads(body))))
            except (ValueError, AttributeError) as error:
                return _json(400, {"message": str(error)})
        if len(body) > MAX_BODY_BYTES:
            return _json(400, {"message": _TOO_LARGE.message}, _TOO_LARGE.code)
        return self._require_dispatcher().answer(method, target, body)

    def __enter__(self) -> Self:
        folder = self._live.current.folder or self._running.enter_context(
            tempfile.TemporaryDirectory(prefix="s3-vectors-fake-")
        )
        buckets = Buckets(Path(folder), self._live, self._clock)
        self._running.callback(buckets.close)
        self._dispatcher = self._dispatch(buckets)
        self._server = LoopbackServer(self.answer, self._port, self._record)
        self._server.start()
        self._running.callback(self._server.stop)
        return self

    def __exit__(self, *_: object) -> None:
        self._running.close()

    def _dispatch(self, buckets: Buckets) -> Dispatcher:
        vectors = Vectors(buckets, self._live, self._clock)
        operations: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
            "CreateVectorBucket": buckets.create_bucket,
            "GetVectorBucket": buckets.get_bucket,
            "ListVectorBuckets": buckets.list_buckets,
            "DeleteVectorBucket": buckets.delete_bucket,
            "CreateIndex": buckets.create_index,
            "GetIndex": buckets.get_index,
            "ListIndexes": buckets.list_indexes,
            "DeleteIndex": buckets.delete_index,
            "PutVectors": vectors.put,
            "GetVectors": vectors.get,
            "ListVectors": vectors.list_vectors,
            "DeleteVectors": vectors.delete,
            "QueryVectors": vectors.query,
        }
        return Dispatcher(
            operations,
            lambda: (self._live.current.fault_rules, self._live.current.seed),
            SERVICES,
        )

    def _require_dispatcher(self) -> Dispatcher:
        if self._dispatcher is None:
            raise RuntimeError("FakeS3Vectors is not serving. Enter its `with` block.")
        return self._dispatcher


def _json(status: int, fields: Mapping[str, Any], error_type: str = "") -> HttpReply:
    return HttpReply(status, json.dumps(fields).encode(), error_type)
