"""The API's own time per request: real handler, adapters and SDK, with AWS answering at once."""

import io
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders
from botocore.httpsession import URLLib3Session
from moto.core.models import botocore_stubber

from functions.route_api.app import lambda_handler
from search_router.adapters.dynamodb_items import document_item
from search_router.dependencies import Dependencies
from search_router.settings import read_settings
from tests.conftest import FakeLambdaContext
from tests.records import a_champion, label

REQUESTS = 250
GOAL_MILLISECONDS = 20.0


class _Body(io.BytesIO):
    def stream(self, **_: object) -> Iterator[bytes]:
        yield self.read()


def _replies() -> dict[str, Any]:
    champion = document_item("CHAMPION", "CURRENT", a_champion())
    content = [{"text": label(0.4, 0.3, 0.2, 0.1)}]
    return {
        "DynamoDB_20120810.GetItem": {"Item": champion},
        "DynamoDB_20120810.BatchGetItem": {"Responses": {}, "UnprocessedKeys": {}},
        "DynamoDB_20120810.BatchWriteItem": {"UnprocessedItems": {}},
        "": {
            "output": {"message": {"role": "assistant", "content": content}},
            "stopReason": "end_turn",
            "usage": {"inputTokens": 60, "outputTokens": 30, "totalTokens": 90},
            "metrics": {"latencyMs": 0},
        },
    }


@pytest.fixture
def prompt_aws(world: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """Answer every signed request in the process, where it would be sent; without moto."""
    replies = {name: json.dumps(reply).encode() for name, reply in _replies().items()}

    def send(_session: object, request: Any) -> AWSResponse:
        target = request.headers.get("X-Amz-Target", b"")
        raw: Any = _Body(replies[target.decode() if isinstance(target, bytes) else target])
        headers = HTTPHeaders()
        headers["Content-Type"] = "application/json"
        return AWSResponse(request.url, 200, headers, raw)

    monkeypatch.setattr(botocore_stubber, "enabled", False)
    monkeypatch.setattr(URLLib3Session, "send", send)
    fresh = Dependencies(read_settings())
    monkeypatch.setattr("functions.route_api.app.dependencies", lambda: fresh)


def test_the_apis_own_time_is_short(
    prompt_aws: None,
    world: object,
    load_event: Callable[[str], dict[str, Any]],
    lambda_context: FakeLambdaContext,
    tell: Callable[[str], None],
) -> None:
    times = []
    for number in range(REQUESTS):
        event = load_event("route_api") | {"body": json.dumps({"query": f"query {number}"})}
        started = time.process_time()
        reply: Any = lambda_handler(event, lambda_context)
        times.append(1_000 * (time.process_time() - started))
        assert reply["statusCode"] == 200
        assert json.loads(reply["body"])["tier"] == "distilled"
    times = sorted(times[10:])  # the first requests make the clients
    median, p99 = times[len(times) // 2], times[int(0.99 * len(times))]
    tell(f"route_api's own CPU per request: p50 {median:.1f} ms, p99 {p99:.1f} ms")
    assert p99 <= GOAL_MILLISECONDS
