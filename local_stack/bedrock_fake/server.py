"""A threaded HTTP server on loopback with keep-alive, and a recorder of the calls it receives."""

import contextlib
import json
import re
import secrets
import socket
import socketserver
import sys
import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from local_stack.bedrock_fake.contract import router_of
from local_stack.gate import foreign

_LOOPBACK = "127.0.0.1"
_SHUTDOWN_POLL_SECONDS = 0.02
_ACCESS_KEY = re.compile(r"Credential=([^/]{1,128})/")


@dataclass(frozen=True, slots=True)
class HttpReply:
    """A reply to one request; `error_type` is empty for a success.

    If `is_lost`, the server closes the connection instead of sending the reply.
    """

    status: int
    body: bytes
    error_type: str = ""
    is_lost: bool = False


Answer = Callable[[str, str, bytes], HttpReply]


class LoopbackServer(ThreadingHTTPServer):
    """Serves `answer(method, target, body)` on 127.0.0.1, one thread per connection.

    `record` is called with the Authorization header, method, target and body of each request. The
    URL's path starts with a random token, so that neither web pages nor other users can call it.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(
        self,
        answer: Answer,
        port: int,
        record: Callable[[str, str, str, bytes], None] | None = None,
    ) -> None:
        super().__init__((_LOOPBACK, port), _Handler)
        self.answer = answer
        self.record = record
        self.prefix = f"/{secrets.token_urlsafe(16)}"
        self._requests = 0
        self._connections: set[socket.socket] = set()
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        """The endpoint URL."""
        return f"http://{_LOOPBACK}:{self.server_address[1]}{self.prefix}"

    def refusal(self, target: str, headers: Mapping[str, str]) -> str:
        """Return why a request is refused; empty if it is answered."""
        known = {name.lower(): value for name, value in headers.items()}
        if reason := foreign(known, self.server_address[1]):
            return reason
        token = target.split("/", 2)[1:2]
        return "" if token == [self.prefix[1:]] else "use the URL of this stack"

    def start(self) -> None:
        """Serve in a background thread until `stop`."""
        threading.Thread(
            target=self.serve_forever, args=(_SHUTDOWN_POLL_SECONDS,), daemon=True
        ).start()

    def stop(self) -> None:
        """Stop serving and close all connections."""
        self.shutdown()
        self.server_close()
        with self._lock:
            for connection in self._connections:
                with contextlib.suppress(OSError):  # the client may have closed it
                    connection.shutdown(socket.SHUT_RDWR)

    def next_request_id(self) -> str:
        """Return a request id that is the same in every run."""
        with self._lock:
            self._requests += 1
            return str(uuid.UUID(int=self._requests))

    def server_bind(self) -> None:
        """Bind without HTTPServer's reverse DNS look-up, which can take seconds."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = _LOOPBACK, self.server_address[1]

    def process_request(self, request: Any, client_address: Any) -> None:
        """Track the connection and serve it in a thread."""
        with self._lock:
            self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Close a connection and stop tracking it."""
        with self._lock:
            self._connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore clients that disconnect; print every other error."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    server: LoopbackServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # sends headers and body together

    def handle_request(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if reason := self.server.refusal(self.path, dict(self.headers)):
            self._send(HttpReply(403, json.dumps({"message": reason}).encode(), "Forbidden"))
            return
        target = self.path.removeprefix(self.server.prefix) or "/"
        if self.server.record:
            signature = self.headers.get("Authorization", "")
            self.server.record(signature, self.command, target, body)
        self._send(self.server.answer(self.command, target, body))

    def _send(self, reply: HttpReply) -> None:
        if reply.is_lost:
            self.close_connection = True
            return
        self.send_response_only(reply.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(reply.body)))
        self.send_header("x-amzn-RequestId", self.server.next_request_id())
        if reply.error_type:
            self.send_header("x-amzn-ErrorType", reply.error_type)
        self.end_headers()
        self.wfile.write(reply.body)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_request  # noqa: N815


class CallRecorder:
    """Appends each distinct call as a JSON line: `access_key`, `operation`, `parameters`.

    Lists and structures are recorded as "...", and bodies of inference calls not at all: the file
    holds names and ARNs only.
    """

    def __init__(self, path: Path, services: Sequence[str]) -> None:
        self._path = path
        self._router = router_of(services)
        self._seen: set[str] = set()
        self._lock = threading.Lock()

    def record(self, authorization: str, method: str, target: str, body: bytes) -> None:
        """Record one request; requests that are no operations are ignored."""
        found = self._router.find(method, urlsplit(target).path)
        if found is None:
            return
        operation, labels = found
        is_inference = operation.service_model.service_name == "bedrock-runtime"
        content = {} if is_inference else json.loads(body or b"{}")
        outlined = {k: v if isinstance(v, str) else "..." for k, v in content.items()}
        signed = _ACCESS_KEY.search(authorization)
        call = {
            "access_key": signed[1] if signed else "",
            "operation": operation.name,
            "parameters": {**labels, **outlined},
        }
        line = json.dumps(call, sort_keys=True) + "\n"
        with self._lock:
            if line not in self._seen:
                self._seen.add(line)
                with self._path.open("a", encoding="utf-8") as file:
                    file.write(line)
