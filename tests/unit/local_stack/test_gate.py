"""The gate in front of the emulator: no web page and no other user gets past it."""

import contextlib
from typing import Any

import pytest

from local_stack.gate import Gate
from local_stack.processes import new_caller

PORT = 4566
OWN = new_caller()["AWS_ACCESS_KEY_ID"]
HOST = {"host": f"127.0.0.1:{PORT}"}


def signed(key: str) -> dict[str, str]:
    scope = f"{key}/20261130/us-east-1/lambda/aws4_request"
    return {"authorization": f"AWS4-HMAC-SHA256 Credential={scope}, Signature=0"}


def status(
    headers: dict[str, str], path: str = "/2015-03-31/functions", query: str = "", **scope: Any
) -> int:
    """Return the status of the reply; the application behind the gate replies 200."""
    sent: list[dict[str, Any]] = []

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200})

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    request = {
        "type": "http",
        "path": path,
        "query_string": query.encode(),
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        **scope,
    }
    coroutine: Any = Gate(app, port=PORT)(request, None, send)
    with contextlib.suppress(StopIteration):  # unit tests may not open an event loop's sockets
        coroutine.send(None)
    return int(sent[0].get("status", sent[0].get("code", 0)))


def test_a_signed_request_of_this_machine_passes() -> None:
    assert status(HOST | signed(OWN)) == 200
    assert status({"host": f"localhost:{PORT}"} | signed(OWN)) == 200
    assert status(HOST, "/_ministack/health") == 200
    assert status(HOST, query=f"X-Amz-Credential={OWN}/20261130/us-east-1/s3/aws4_request") == 200


@pytest.mark.parametrize(
    "header",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-mode": "no-cors"},
    ],
)
def test_a_web_page_is_refused(header: dict[str, str]) -> None:
    assert status(HOST | signed(OWN) | header) == 403
    assert status(HOST | header, "/_ministack/health") == 403
    assert status(HOST | signed(OWN) | header, type="websocket") == 1008


@pytest.mark.parametrize("host", ["evil.example", f"evil.example:{PORT}", "127.0.0.1:80", ""])
def test_a_foreign_host_is_refused(host: str) -> None:
    assert status(signed(OWN) | {"host": host}) == 403
    assert status(signed(OWN)) == 403


@pytest.mark.parametrize("key", ["test", "000000000000", "123456789012"])
def test_the_well_known_root_keys_are_refused(key: str) -> None:
    assert status(HOST | signed(key)) == 403
    assert status(HOST, query=f"X-Amz-Credential={key}/20261130/us-east-1/s3/aws4_request") == 403
    assert status(HOST, query=f"AWSAccessKeyId={key}") == 403
    assert status(HOST | {"authorization": f"AWS {key}:0"}) == 403


def test_an_unsigned_request_is_refused() -> None:
    assert status(HOST) == 403
    assert status(HOST | {"authorization": "Bearer x"}) == 403


@pytest.mark.parametrize(
    "path", ["/_ministack/reset", "/_ministack/config", "/_ministack/sqs/messages"]
)
def test_administration_paths_are_refused(path: str) -> None:
    assert status(HOST | signed(OWN), path) == 403


def test_each_stack_has_its_own_keys() -> None:
    assert len({new_caller()["AWS_ACCESS_KEY_ID"] for _ in range(100)}) == 100
