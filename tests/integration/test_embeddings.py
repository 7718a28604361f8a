"""Embeddings by Nova on Bedrock, against the fake, which validates every request and reply."""

import json
import math
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local_stack.bedrock_fake import FakeBedrock, FakeSettings, VirtualClock
from local_stack.bedrock_fake.contract import Params
from local_stack.bedrock_fake.embeddings import Embeddings
from local_stack.bedrock_fake.faults import Fault
from search_router.adapters.bedrock_embeddings import NovaEmbedder
from search_router.domain.errors import (
    AccessDeniedError,
    InvalidInputError,
    SearchRouterError,
    ThrottledError,
    UnavailableError,
)
from search_router.domain.search.index import EmbeddingPurpose, Vector
from tests.aws_calls import Fault as CallFault
from tests.aws_calls import aws_calls
from tests.integration.fake_bench import NO_RETRIES, SESSION

MODEL = "amazon.nova-2-multimodal-embeddings-v1:0"
INDEX, RETRIEVAL = EmbeddingPurpose.INDEX, EmbeddingPurpose.RETRIEVAL


@pytest.fixture
def fake() -> Iterator[FakeBedrock]:
    with FakeBedrock() as served:
        yield served


@pytest.fixture
def client(fake: FakeBedrock) -> Iterator[Any]:
    made = SESSION.client("bedrock-runtime", endpoint_url=fake.url, config=NO_RETRIES)
    yield made
    made.close()


def vectors(embedder: NovaEmbedder, *texts: str) -> list[Vector]:
    found = embedder.embed(texts, INDEX)
    assert not any(isinstance(one, InvalidInputError) for one in found)
    return [one for one in found if not isinstance(one, InvalidInputError)]


def cosine(one: Vector, other: Vector) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("dimension", [256, 384, 1_024, 3_072])
def test_vectors_have_length_one_in_every_dimension(client: Any, dimension: int) -> None:
    for found in vectors(
        NovaEmbedder(client, MODEL, dimension), "a red door", " ", "\u6f22 \ud800"
    ):
        assert (found.typecode, len(found)) == ("f", dimension)
        assert math.hypot(*found) == pytest.approx(1, abs=1e-5)


def test_texts_on_one_subject_are_nearer_than_others(client: Any) -> None:
    car, vehicle, cooking = vectors(
        NovaEmbedder(client, MODEL, 256),
        "a man drives a car down the road",
        "somebody driving a vehicle on a highway",
        "a woman is cooking soup in the kitchen",
    )

    assert cosine(car, vehicle) > cosine(car, cooking) + 0.2


def test_vectors_are_in_the_order_of_the_texts_and_always_the_same(client: Any) -> None:
    texts = [f"text number {n}" for n in range(30)]
    one_by_one = NovaEmbedder(client, MODEL, 256, in_flight=1)

    assert vectors(NovaEmbedder(client, MODEL, 256), *texts) == vectors(one_by_one, *texts)
    assert len({tuple(one) for one in vectors(one_by_one, *texts[:10])}) == 10
    assert one_by_one.embed([], INDEX) == []


def test_requests_follow_the_published_schema(client: Any) -> None:
    with aws_calls() as calls:
        NovaEmbedder(client, MODEL, 256).embed(["x" * 9_000], INDEX)
        NovaEmbedder(client, MODEL, 1_024).embed(["red"], RETRIEVAL)

    bodies = [json.loads(call.parameters["body"]) for call in calls.made]
    assert len(bodies[0]["singleEmbeddingParams"]["text"]["value"]) == 8_192
    assert bodies[1] == {
        "schemaVersion": "nova-multimodal-embed-v1",
        "taskType": "SINGLE_EMBEDDING",
        "singleEmbeddingParams": {
            "embeddingPurpose": "GENERIC_RETRIEVAL",
            "embeddingDimension": 1_024,
            "text": {"truncationMode": "END", "value": "red"},
        },
    }


def test_a_rejected_text_does_not_fail_the_others(client: Any) -> None:
    first, rejected, last = NovaEmbedder(client, MODEL, 256).embed(["red", "", "blue"], INDEX)

    assert isinstance(rejected, InvalidInputError)
    assert str(rejected) == "embed a text: ValidationException"
    assert not isinstance(first, InvalidInputError)
    assert not isinstance(last, InvalidInputError)


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault.THROTTLE, ThrottledError),
        (Fault.MODEL_TIMEOUT, UnavailableError),
        (Fault.MODEL_ERROR, UnavailableError),
        (Fault.INTERNAL, UnavailableError),
        (Fault.UNAVAILABLE, UnavailableError),
        (Fault.LOST_REPLY, UnavailableError),
    ],
)
def test_other_errors_are_raised_for_all_and_no_thread_is_left(
    fake: FakeBedrock, client: Any, fault: Fault, error: type[SearchRouterError]
) -> None:
    fake.fail_next("InvokeModel", fault)

    with pytest.raises(error) as raised:
        NovaEmbedder(client, MODEL, 256).embed([f"secret {n}" for n in range(40)], INDEX)

    assert "secret" not in str(raised.value)
    assert not [one for one in threading.enumerate() if one.name.startswith("embed")]


def test_a_missing_permission_is_an_operators_task(client: Any) -> None:
    with aws_calls(0, CallFault.ACCESS_DENIED), pytest.raises(AccessDeniedError):
        NovaEmbedder(client, MODEL, 256).embed(["red"], INDEX)


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"{}",
        b'{"embeddings": []}',
        b'{"embeddings": [{"embedding": "x"}]}',
        b'{"embeddings": [{"embedding": [1.0]}]}',
        json.dumps({"embeddings": [{"embedding": [0.0] * 256}]}).encode(),
        json.dumps({"embeddings": [{"embedding": [math.nan] * 256}]}).encode(),
        json.dumps({"embeddings": [{"embedding": [1e300] * 256}]}).encode(),
    ],
)
def test_a_reply_without_a_vector_is_no_vector(
    client: Any, monkeypatch: pytest.MonkeyPatch, body: bytes
) -> None:
    def invoke(_self: Embeddings, _params: Params) -> Params:
        return {"body": body, "contentType": "application/json"}

    monkeypatch.setattr(Embeddings, "invoke", invoke)
    with FakeBedrock() as broken:
        other = SESSION.client("bedrock-runtime", endpoint_url=broken.url, config=NO_RETRIES)
        with pytest.raises(UnavailableError, match="embed a text: the reply"):
            NovaEmbedder(other, MODEL, 256).embed(["red"], INDEX)
        other.close()


@pytest.mark.parametrize(
    "changes",
    [
        {"taskType": "SEGMENTED_EMBEDDING"},
        {"schemaVersion": "v0"},
        {"singleEmbeddingParams": {}},
        {"singleEmbeddingParams": {"embeddingPurpose": "GENERIC_INDEX", "text": "red"}},
    ],
)
def test_the_fake_rejects_requests_outside_the_schema(
    client: Any, changes: dict[str, object]
) -> None:
    request = {
        "taskType": "SINGLE_EMBEDDING",
        "singleEmbeddingParams": {
            "embeddingPurpose": "GENERIC_INDEX",
            "embeddingDimension": 256,
            "text": {"truncationMode": "END", "value": "red"},
        },
    }
    assert client.invoke_model(modelId=MODEL, body=json.dumps(request))["body"].read()

    with pytest.raises(ClientError, match="ValidationException"):
        client.invoke_model(modelId=MODEL, body=json.dumps(request | changes))


def test_models_answer_only_the_calls_they_are_made_for(client: Any) -> None:
    message = {"role": "user", "content": [{"text": "red"}]}

    with pytest.raises(ClientError, match="doesn't support the model"):
        client.converse(modelId=MODEL, messages=[message])
    with pytest.raises(ClientError, match="doesn't support the model"):
        client.invoke_model(modelId="amazon.nova-pro-v1:0", body="{}")


class RecordingClock(VirtualClock):
    """A virtual clock that records how long it was asked to sleep."""

    def __init__(self) -> None:
        super().__init__()
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


def test_the_latency_of_an_embedding_can_be_set() -> None:
    clock = RecordingClock()
    with FakeBedrock(FakeSettings(embedding_latency_ms=80), clock=clock) as slow:
        made = SESSION.client("bedrock-runtime", endpoint_url=slow.url, config=NO_RETRIES)
        NovaEmbedder(made, MODEL, 256).embed(["red"], INDEX)
        made.close()

    assert clock.slept == [0.08]
