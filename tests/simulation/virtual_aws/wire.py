"""Requests as botocore has signed them, and replies as it parses them."""

import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.compat import HTTPHeaders

from local_stack.bedrock_fake.contract import bedrock_router

Document = dict[str, Any]


@dataclass(frozen=True)
class Request:
    """One attempt of one call; `call` is the same for all attempts that the SDK makes of it."""

    service: str
    operation: str
    method: str
    host: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    call: str
    target: str

    @cached_property
    def json(self) -> Document:
        """The body of a JSON protocol."""
        document: Document = json.loads(self.body or b"{}")
        return document

    def __str__(self) -> str:
        return f"{self.service}:{self.operation}"


@dataclass(frozen=True, slots=True)
class Reply:
    """What goes back; a body shorter than its Content-Length breaks off."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, document: Document) -> "Reply":
        """Answer in JSON."""
        body = json.dumps(document).encode()
        return cls(200, body, {"content-type": "application/x-amz-json-1.0"})


class ServiceError(Exception):
    """A service refuses; `more` are further members of a JSON error."""

    def __init__(self, code: str, status: int = 400, message: str = "", **more: Any) -> None:
        super().__init__(code)
        self.code, self.status, self.message, self.more = code, status, message, more

    def reply(self, request: Request) -> Reply:
        """Say so in the service's protocol."""
        if request.service == "s3":
            body = f"<Error><Code>{self.code}</Code><Message>{self.message}</Message></Error>"
            return Reply(self.status, b"" if request.method == "HEAD" else body.encode())
        document = {"__type": self.code, "message": self.message, **self.more}
        headers = {"content-type": "application/x-amz-json-1.0", "x-amzn-errortype": self.code}
        return Reply(self.status, json.dumps(document).encode(), headers)


class NotPlayedError(AssertionError):
    """The product asks for something that the virtual AWS does not know yet: teach it."""


class _Body(io.BytesIO):
    def stream(self, **_: Any) -> Iterator[bytes]:
        yield self.read()


def read_request(prepared: AWSPreparedRequest) -> Request:
    """Tell which call a signed request is."""
    url = urlsplit(prepared.url)
    headers = {name.lower(): _text(value) for name, value in prepared.headers.items()}
    query = dict(parse_qsl(url.query, keep_blank_values=True))
    host, path = url.hostname or "", unquote(url.path)
    service, operation = _operation(host, prepared.method, url.path, query, headers)
    return Request(
        service=service,
        operation=operation,
        method=prepared.method,
        host=host,
        path=path,
        query=query,
        headers=headers,
        body=_body(prepared.body, headers),
        call=headers.get("amz-sdk-invocation-id", ""),
        target=f"{url.path}?{url.query}" if url.query else url.path,
    )


def write_reply(request: AWSPreparedRequest, reply: Reply) -> AWSResponse:
    """Return what botocore's transport would have returned."""
    headers = {"content-length": str(len(reply.body)), **reply.headers}
    raw: Any = _Body(reply.body)
    return AWSResponse(request.url, reply.status, HTTPHeaders.from_dict(headers), raw)


_TARGETS = {"DynamoDB_20120810": "dynamodb", "AmazonSQS": "sqs", "AWSEvents": "events"}
_S3_OPERATIONS = {"PUT": "PutObject", "HEAD": "HeadObject", "DELETE": "DeleteObject"}


def _operation(
    host: str, method: str, raw_path: str, query: Mapping[str, str], headers: Mapping[str, str]
) -> tuple[str, str]:
    target, _, operation = headers.get("x-amz-target", "").partition(".")
    if target:
        return _TARGETS[target], operation
    if host.startswith("bedrock"):
        found = bedrock_router().find(method, raw_path)
        if found is None:
            raise NotPlayedError(f"{method} {raw_path}")
        return host.partition(".")[0], found[0].name
    if ".s3." not in host and not host.startswith("s3."):
        raise NotPlayedError(f"{method} https://{host}{raw_path}")
    if method == "GET" and "versions" in query:
        return "s3", "ListObjectVersions"
    if method == "GET":
        return "s3", "ListObjectsV2" if "list-type" in query else "GetObject"
    if method not in _S3_OPERATIONS or "uploads" in query or "uploadId" in query:
        raise NotPlayedError(f"s3: {method} {sorted(query)}")
    return "s3", _S3_OPERATIONS[method]


def _body(body: Any, headers: Mapping[str, str]) -> bytes:
    if body is None:
        return b""
    raw: bytes = body if isinstance(body, bytes) else _read(body)
    return _without_chunks(raw) if "aws-chunked" in headers.get("content-encoding", "") else raw


def _read(body: Any) -> bytes:
    if isinstance(body, str | bytearray):
        return bytes(body, "utf-8") if isinstance(body, str) else bytes(body)
    data: bytes = body.read()
    return data


def _without_chunks(raw: bytes) -> bytes:
    """Undo `aws-chunked`: size in hex, data, …, a chunk of size 0, the trailing checksum."""
    data, place = b"", 0
    while size := int(raw[place : (end := raw.index(b"\r\n", place))].partition(b";")[0], 16):
        data += raw[end + 2 : end + 2 + size]
        place = end + 2 + size + 2
    return data


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
