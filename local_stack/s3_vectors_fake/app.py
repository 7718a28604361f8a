"""The fake service: its operations and its HTTP endpoint."""

import tempfile
from pathlib import Path
from typing import Self

from local_stack.bedrock_fake.clock import Clock, SystemClock
from local_stack.bedrock_fake.contract import ApiError
from local_stack.bedrock_fake.server import HttpReply
from local_stack.bedrock_fake.service import FakeService, json_reply
from local_stack.bedrock_fake.settings import FIXED
from local_stack.s3_vectors_fake.buckets import Buckets
from local_stack.s3_vectors_fake.settings import S3VectorsSettings
from local_stack.s3_vectors_fake.vectors import Vectors

SERVICES = ("s3vectors",)
MAX_BODY_BYTES = 20 * 1024 * 1024
_TOO_LARGE = ApiError("ValidationException", "The request payload is larger than 20 MiB.")


class FakeS3Vectors(FakeService[S3VectorsSettings]):
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
        super().__init__(settings, SERVICES, port=port, fixed=FIXED | {"folder"})
        self._clock = clock or SystemClock()

    def answer(self, method: str, target: str, body: bytes) -> HttpReply:
        """Return the reply to one HTTP request, without a socket."""
        if len(body) > MAX_BODY_BYTES:
            return json_reply(400, {"message": _TOO_LARGE.message}, _TOO_LARGE.code)
        return super().answer(method, target, body)

    def __enter__(self) -> Self:
        folder = self._live.current.folder or self._running.enter_context(
            tempfile.TemporaryDirectory(prefix="s3-vectors-fake-")
        )
        buckets = Buckets(Path(folder), self._live, self._clock)
        self._running.callback(buckets.close)
        vectors = Vectors(buckets, self._live, self._clock)
        self._dispatch(
            {
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
        )
        return super().__enter__()
