"""S3: uploads are read by version; the data bucket's objects have fixed keys."""

import hashlib
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError, HTTPClientError, IncompleteReadError
from botocore.exceptions import ConnectionError as BotoConnectionError
from urllib3.exceptions import HTTPError

from search_router.adapters.aws_errors import aws_errors
from search_router.domain.errors import ConflictError, SearchRouterError, UnavailableError
from search_router.domain.uploads import ObjectRef, Upload
from search_router.ports import ObjectInfo

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

CHUNK_BYTES = 256 * 1024
PART_BYTES = 8 * 1024 * 1024  # S3 requires at least 5 MiB per multipart part
_STALLED_READS = 3
_BROKEN_BODY = (IncompleteReadError, BotoConnectionError, HTTPClientError, HTTPError)


class S3UploadStore:
    """Reads what users uploaded, always by version."""

    def __init__(self, client: "S3Client") -> None:
        self._client = client

    def info(self, source: ObjectRef) -> ObjectInfo:
        """Return size and metadata of one version."""
        with aws_errors("read the upload's size"):
            head = self._client.head_object(**_address(source))
        return ObjectInfo(head["ContentLength"], head["Metadata"])

    def read(self, source: ObjectRef, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """Stream the bytes in [start, end); resumes an interrupted body."""
        with aws_errors("read the upload"):  # a checksum may still fail at the last byte
            yield from self._resumed(source, start, end)

    def latest(self, bucket: str, prefix: str) -> Iterator[Upload]:
        """Yield the current version of every object under a prefix, by key."""
        with aws_errors("list the uploads"):
            pages = self._client.get_paginator("list_object_versions").paginate(
                Bucket=bucket, Prefix=prefix
            )
            for page in pages:
                for entry in page.get("Versions", []):
                    if entry["IsLatest"]:
                        version = entry["VersionId"]
                        # An event has no version id for an object put without versioning.
                        version_id = None if version == "null" else version
                        source = ObjectRef(bucket, entry["Key"], version_id)
                        yield Upload(source, entry["LastModified"], entry["Size"])

    def _resumed(self, source: ObjectRef, start: int, end: int | None) -> Iterator[bytes]:
        position, stalled = start, 0
        while stalled < _STALLED_READS:
            before = position
            try:
                for chunk in self._body(source, position, end):
                    position += len(chunk)
                    yield chunk
                return
            except _BROKEN_BODY:
                stalled = 0 if position > before else stalled + 1
        raise UnavailableError(
            f"read the upload: interrupted {_STALLED_READS} times without progress"
        )

    def _body(self, source: ObjectRef, start: int, end: int | None) -> Iterator[bytes]:
        if end is not None and start >= end:
            return
        address = _address(source)
        if start or end is not None:
            address["Range"] = f"bytes={start}-{'' if end is None else end - 1}"
        with aws_errors("read the upload"):
            try:
                body = self._client.get_object(**address)["Body"]
            except ClientError as error:
                if error.response.get("Error", {}).get("Code") == "InvalidRange":
                    return  # nothing at or after `start`
                raise
        with body:
            yield from body.iter_chunks(CHUNK_BYTES)


class S3ObjectStore:
    """Reads and writes the data bucket's objects."""

    def __init__(self, client: "S3Client", bucket: str) -> None:
        self._client = client
        self._bucket = bucket

    def put(self, key: str, body: bytes) -> None:
        """Write an object whose bytes depend only on its key."""
        with aws_errors("write an object"):
            self._client.put_object(Bucket=self._bucket, Key=key, Body=body)

    def put_lines(self, key: str, lines: Iterable[bytes]) -> str:
        """Stream lines into one object, in parts of 8 MiB if there are more."""
        digest = hashlib.sha256()
        parts = _parts(lines, digest)
        first = next(parts)
        second = next(parts, None)
        if second is None:
            self.put(key, first)
        else:
            self._put_parts(key, [first, second], parts)
        return digest.hexdigest()

    def put_once(self, key: str, body: bytes, metadata: Mapping[str, str]) -> bool:
        """Write an object if the key is free; return whether this call wrote it.

        If a reply is lost, the retry finds the object and returns False.
        """
        try:
            with aws_errors("write an object once"):
                self._client.put_object(
                    Bucket=self._bucket,
                    Key=key,
                    Body=body,
                    IfNoneMatch="*",
                    Metadata=dict(metadata),
                )
        except ConflictError:
            return False
        return True

    def get(self, key: str) -> bytes:
        """Read a whole object."""
        with aws_errors("read an object"):
            return self._client.get_object(Bucket=self._bucket, Key=key)["Body"].read()

    def info(self, key: str) -> ObjectInfo:
        """Return size and metadata."""
        with aws_errors("read an object's metadata"):
            head = self._client.head_object(Bucket=self._bucket, Key=key)
        return ObjectInfo(head["ContentLength"], head["Metadata"])

    def list(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Yield key and size of the objects under a prefix, page by page."""
        with aws_errors("list objects"):
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=prefix
            )
            for page in pages:
                for entry in page.get("Contents", []):
                    yield entry["Key"], entry["Size"]

    def _put_parts(self, key: str, started: Sequence[bytes], rest: Iterator[bytes]) -> None:
        with aws_errors("start a multipart upload"):
            upload = self._client.create_multipart_upload(Bucket=self._bucket, Key=key)
        address: Any = {"Bucket": self._bucket, "Key": key, "UploadId": upload["UploadId"]}
        try:
            done: Any = []
            for number, part in enumerate(itertools.chain(started, rest), start=1):
                with aws_errors("upload a part"):
                    reply = self._client.upload_part(**address, PartNumber=number, Body=part)
                done.append({"PartNumber": number, "ETag": reply["ETag"]})
            with aws_errors("complete a multipart upload"):
                self._client.complete_multipart_upload(**address, MultipartUpload={"Parts": done})
        except Exception:
            # The bucket's lifecycle rule removes uploads that cannot be aborted.
            with suppress(SearchRouterError), aws_errors("abort a multipart upload"):
                self._client.abort_multipart_upload(**address)
            raise


def _address(source: ObjectRef) -> Any:
    address = {"Bucket": source.bucket, "Key": source.key}
    if source.version_id is not None:
        address["VersionId"] = source.version_id
    return address


def _parts(lines: Iterable[bytes], digest: "hashlib._Hash") -> Iterator[bytes]:
    """Join lines into parts of at least 8 MiB; yields an empty part if there are no lines."""
    held: list[bytes] = []
    size = 0
    for line in lines:
        held.append(line)
        size += len(line)
        if size >= PART_BYTES:
            part = b"".join(held)
            digest.update(part)
            yield part
            held, size = [], 0
    if held or digest.digest() == hashlib.sha256().digest():
        part = b"".join(held)
        digest.update(part)
        yield part
