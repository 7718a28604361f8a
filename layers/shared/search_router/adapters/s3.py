"""S3: uploads are read by version; the data bucket's objects have fixed keys."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
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
        return ObjectInfo(head["ContentLength"], head["Metadata"], head["LastModified"])

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

    @contextmanager
    def writer(self, key: str) -> Iterator[Callable[[bytes], None]]:
        """Stream lines into one object: small ones in one request, large ones in parts of 8 MiB."""
        upload = _Upload(self._client, {"Bucket": self._bucket, "Key": key})
        try:
            yield upload.write
            upload.close()
        except Exception:
            upload.abort()
            raise

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
        return ObjectInfo(head["ContentLength"], head["Metadata"], head["LastModified"])

    def list(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Yield key and size of the objects under a prefix, page by page."""
        with aws_errors("list objects"):
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=prefix
            )
            for page in pages:
                for entry in page.get("Contents", []):
                    yield entry["Key"], entry["Size"]


class _Upload:
    """One object on its way to S3; it becomes visible when it is closed."""

    def __init__(self, client: "S3Client", address: Any) -> None:
        self._client = client
        self._address = address
        self._lines: list[bytes] = []
        self._size = 0
        self._multipart: Any = None
        self._parts: Any = []

    def write(self, line: bytes) -> None:
        if self._size >= PART_BYTES:
            self._send_part()
        self._lines.append(line)
        self._size += len(line)

    def close(self) -> None:
        if self._multipart is None:
            with aws_errors("write an object"):
                self._client.put_object(**self._address, Body=b"".join(self._lines))
            return
        self._send_part()
        with aws_errors("complete a multipart upload"):
            self._client.complete_multipart_upload(
                **self._multipart, MultipartUpload={"Parts": self._parts}
            )

    def abort(self) -> None:
        """Delete the parts; the bucket's lifecycle rule deletes those of a failed abort."""
        if self._multipart is not None:
            with suppress(SearchRouterError), aws_errors("abort a multipart upload"):
                self._client.abort_multipart_upload(**self._multipart)

    def _send_part(self) -> None:
        if self._multipart is None:
            with aws_errors("start a multipart upload"):
                upload = self._client.create_multipart_upload(
                    **self._address, ChecksumAlgorithm="CRC32"
                )
            self._multipart = {**self._address, "UploadId": upload["UploadId"]}
        number = len(self._parts) + 1
        with aws_errors("upload a part"):
            reply = self._client.upload_part(
                **self._multipart, PartNumber=number, Body=b"".join(self._lines)
            )
        part = {"PartNumber": number, "ETag": reply["ETag"]}
        if "ChecksumCRC32" in reply:  # S3 requires it on completion, as it names the algorithm
            part["ChecksumCRC32"] = reply["ChecksumCRC32"]
        self._parts.append(part)
        self._lines, self._size = [], 0


def _address(source: ObjectRef) -> Any:
    address = {"Bucket": source.bucket, "Key": source.key}
    if source.version_id is not None:
        address["VersionId"] = source.version_id
    return address
