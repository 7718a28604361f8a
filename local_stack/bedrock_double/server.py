"""The HTTP side: a threaded loopback server with keep-alive that knows nothing of Bedrock."""

import contextlib
import socket
import socketserver
import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from local_stack.bedrock_double.api import HttpReply

Answer = Callable[[str, str, bytes], HttpReply]
Watch = Callable[[str, str, str, bytes], None]

_LOOPBACK = "127.0.0.1"
_POLL_SECONDS = 0.02  # how soon the serving thread notices that it is to stop


class LoopbackServer(ThreadingHTTPServer):
    """Serves `answer(method, target, body)` on 127.0.0.1, a thread per connection.

    `watch` is told of each request first, with the header by which it is signed.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, answer: Answer, port: int, watch: Watch | None = None) -> None:
        super().__init__((_LOOPBACK, port), _Handler)
        self.answer = answer
        self.watch = watch
        self._number = 0
        self._connections: set[socket.socket] = set()
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        """Address that clients use as their endpoint."""
        return f"http://{_LOOPBACK}:{self.server_address[1]}"

    def start(self) -> None:
        """Serve in a background thread until `stop`."""
        threading.Thread(target=self.serve_forever, args=(_POLL_SECONDS,), daemon=True).start()

    def stop(self) -> None:
        """Stop serving and hang up, so that no kept-alive connection outlives the server."""
        self.shutdown()
        self.server_close()
        with self._lock:
            for connection in self._connections:
                with contextlib.suppress(OSError):  # it may have hung up just now
                    connection.shutdown(socket.SHUT_RDWR)

    def next_request_id(self) -> str:
        """Return a request id of AWS's form that is the same in every run."""
        with self._lock:
            self._number += 1
            digits = f"{self._number:032x}"
        return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))

    def server_bind(self) -> None:
        """Bind without the reverse DNS look-up of HTTPServer, which can take seconds."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = _LOOPBACK, self.server_address[1]

    def process_request(self, request: Any, client_address: Any) -> None:
        """Remember the connection, then hand it to its own thread."""
        with self._lock:
            self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Forget and close a connection that has ended."""
        with self._lock:
            self._connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Stay silent about clients that hang up; any other fault is the double's and is shown."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    """Reads a request, asks for the reply, writes it in one piece."""

    server: LoopbackServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # headers and body leave together, at the flush that ends a request

    def handle_request(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        if self.server.watch:
            signature = self.headers.get("Authorization", "")
            self.server.watch(signature, self.command, self.path, body)
        reply = self.server.answer(self.command, self.path, body)
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
