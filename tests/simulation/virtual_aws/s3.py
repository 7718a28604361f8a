"""S3: versioned buckets with conditional writes, ranges and pages of two keys."""

import hashlib
import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from xml.sax.saxutils import escape

from tests.simulation.virtual_aws.wire import NotPlayedError, Reply, Request, ServiceError

PAGE = 2  # keys; so few that every listing has pages


@dataclass(frozen=True, slots=True)
class ObjectVersion:
    """One version; `body` is None for a delete marker."""

    version_id: str
    body: bytes | None
    metadata: Mapping[str, str]
    written: datetime

    @property
    def etag(self) -> str:
        return f'"{hashlib.md5(self.body or b"", usedforsecurity=False).hexdigest()}"'


@dataclass(slots=True)
class VirtualS3:
    """Buckets by name; a key's versions are in the order in which they were written."""

    now: Callable[[], datetime]
    versions: dict[tuple[str, str], list[ObjectVersion]] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def answer(self, request: Request) -> Reply:
        """Perform one request."""
        bucket, dot, _ = request.host.partition(".s3.")
        key = request.path[1:]
        if not dot:
            raise NotPlayedError("path-style addresses")
        match request.operation:
            case "PutObject":
                return self._put(bucket, key, request)
            case "GetObject" | "HeadObject":
                return self._get(bucket, key, request)
            case "ListObjectsV2":
                return self._list(bucket, request.query)
            case "ListObjectVersions":
                return self._list_versions(bucket, request.query)
            case "DeleteObject":
                return self._delete(bucket, key, request.query.get("versionId"))
        raise NotPlayedError(str(request))

    # --- for the harness ------------------------------------------------------------------------

    def write(
        self, bucket: str, key: str, body: bytes | None, metadata: Mapping[str, str] | None = None
    ) -> str:
        """Store a new version and return its id."""
        version = ObjectVersion(f"v{next(self._numbers)}", body, metadata or {}, self.now())
        self.versions.setdefault((bucket, key), []).append(version)
        return version.version_id

    def erase(self, bucket: str, key: str, version_id: str) -> None:
        """Delete one version for good."""
        kept = [v for v in self.versions[bucket, key] if v.version_id != version_id]
        self.versions[bucket, key] = kept

    def current(self, bucket: str, key: str) -> ObjectVersion | None:
        """Return what a read without a version finds."""
        versions = self.versions.get((bucket, key))
        return versions[-1] if versions and versions[-1].body is not None else None

    def keys(self, bucket: str, prefix: str = "") -> list[str]:
        """Return the keys that have a current object, in order."""
        return sorted(
            key
            for place, key in self.versions
            if place == bucket and key.startswith(prefix) and self.current(bucket, key)
        )

    # --- operations -----------------------------------------------------------------------------

    def _put(self, bucket: str, key: str, request: Request) -> Reply:
        current = self.current(bucket, key)
        if request.headers.get("if-none-match") == "*" and current is not None:
            raise ServiceError("PreconditionFailed", 412)
        if (wanted := request.headers.get("if-match")) and (
            current is None or current.etag != wanted
        ):
            raise ServiceError("PreconditionFailed", 412)
        metadata = {
            name.removeprefix("x-amz-meta-"): value
            for name, value in request.headers.items()
            if name.startswith("x-amz-meta-")
        }
        version = self.write(bucket, key, request.body, metadata)
        return Reply(headers={"x-amz-version-id": version, "etag": _etag(request.body)})

    def _get(self, bucket: str, key: str, request: Request) -> Reply:
        version = self._find(bucket, key, request.query.get("versionId"))
        body = version.body or b""
        headers = {
            "etag": version.etag,
            "x-amz-version-id": version.version_id,
            "last-modified": version.written.strftime("%a, %d %b %Y %H:%M:%S GMT"),
            **{f"x-amz-meta-{name}": value for name, value in version.metadata.items()},
        }
        if request.method == "HEAD":
            return Reply(200, b"", {**headers, "content-length": str(len(body))})
        if "range" not in request.headers:
            return Reply(200, body, headers)
        first, _, last = request.headers["range"].removeprefix("bytes=").partition("-")
        start, end = int(first), min(len(body), int(last) + 1) if last else len(body)
        if start >= len(body):
            raise ServiceError("InvalidRange", 416)
        return Reply(
            206, body[start:end], {**headers, "content-range": f"bytes {start}-{end - 1}/*"}
        )

    def _find(self, bucket: str, key: str, version_id: str | None) -> ObjectVersion:
        if version_id is None:
            current = self.current(bucket, key)
            if current is None:
                raise ServiceError("NoSuchKey", 404)
            return current
        for version in self.versions.get((bucket, key), ()):
            if version.version_id == version_id and version.body is not None:
                return version
        raise ServiceError("NoSuchVersion", 404)

    def _delete(self, bucket: str, key: str, version_id: str | None) -> Reply:
        if version_id is None:
            self.write(bucket, key, None)
        else:
            self.erase(bucket, key, version_id)
        return Reply(204)

    def _list(self, bucket: str, query: Mapping[str, str]) -> Reply:
        keys = self.keys(bucket, query.get("prefix", ""))
        keys = [key for key in keys if key > query.get("continuation-token", "")]
        page = keys[:PAGE]
        entries = "".join(
            f"<Contents><Key>{escape(key)}</Key><Size>{len(found.body or b'')}</Size>"
            f"<LastModified>{_iso(found.written)}</LastModified></Contents>"
            for key in page
            if (found := self.current(bucket, key))
        )
        more = f"<NextContinuationToken>{escape(page[-1])}</NextContinuationToken>" if page else ""
        return _listing("ListBucketResult", entries, more if len(keys) > PAGE else "")

    def _list_versions(self, bucket: str, query: Mapping[str, str]) -> Reply:
        keys = sorted(
            key
            for place, key in self.versions
            if place == bucket
            and key.startswith(query.get("prefix", ""))
            and key > query.get("key-marker", "")
        )
        page = keys[:PAGE]
        entries = "".join(
            f"<Version><Key>{escape(key)}</Key><VersionId>{version.version_id}</VersionId>"
            f"<IsLatest>{str(version is self.versions[bucket, key][-1]).lower()}</IsLatest>"
            f"<LastModified>{_iso(version.written)}</LastModified>"
            f"<Size>{len(version.body)}</Size></Version>"
            for key in page
            for version in self.versions[bucket, key]
            if version.body is not None
        )
        more = f"<NextKeyMarker>{escape(page[-1])}</NextKeyMarker>" if page else ""
        return _listing("ListVersionsResult", entries, more if len(keys) > PAGE else "")


def _listing(kind: str, entries: str, more: str) -> Reply:
    truncated = str(bool(more)).lower()
    body = f"<{kind}><IsTruncated>{truncated}</IsTruncated>{more}{entries}</{kind}>"
    return Reply(200, body.encode(), {"content-type": "application/xml"})


def _iso(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.000Z")


def _etag(body: bytes) -> str:
    return f'"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"'
