"""The fake's routes and checks are botocore's service models, read in full."""

import re
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from botocore.loaders import Loader
from botocore.model import ListShape, MapShape, OperationModel, ServiceModel, Shape, StructureShape

from local_stack.bedrock_fake.contract import SERVICES, BedrockError, Router, list_violations
from local_stack.bedrock_fake.dispatcher import Dispatcher

_MODELS = {
    service: ServiceModel(Loader().load_service_model(service, "service-2")) for service in SERVICES
}
_OPERATIONS = [
    model.operation_model(name) for model in _MODELS.values() for name in model.operation_names
]
_ARN = "arn:aws:bedrock:us-east-1:000000000000:custom-model-deployment/0123456789ab"


def test_every_operation_of_both_services_is_found_by_its_own_path() -> None:
    router = Router()
    for operation in _OPERATIONS:
        path = re.sub(r"\{[^}]+\}", quote(_ARN, safe=""), operation.http["requestUri"])

        found = router.find(operation.http["method"], path)

        assert found is not None
        assert found[0].name == operation.name
        assert set(found[1].values()) <= {_ARN}


def test_every_timestamp_a_reply_can_carry_is_iso_8601() -> None:
    # The fake writes all timestamps so; a model that differs must be noticed.
    formats = {
        shape.serialization.get("timestampFormat")
        for operation in _OPERATIONS
        if operation.output_shape is not None and not operation.has_event_stream_output
        for shape in _all_shapes(operation.output_shape, set())
        if shape.type_name == "timestamp"
    }

    assert formats == {"iso8601"}


def _all_shapes(shape: Shape, seen: set[str]) -> Iterator[Shape]:
    if shape.name in seen:
        return
    seen.add(shape.name)
    yield shape
    members: list[Shape] = []
    if isinstance(shape, StructureShape):
        members = list(shape.members.values())
    elif isinstance(shape, ListShape):
        members = [shape.member]
    elif isinstance(shape, MapShape):
        members = [shape.key, shape.value]
    for member in members:
        yield from _all_shapes(member, seen)


def _operation(name: str) -> OperationModel:
    return next(operation for operation in _OPERATIONS if operation.name == name)


@pytest.mark.parametrize(
    ("shape", "value", "violation"),
    [
        ("JobName", "distil_2026", "regular expression"),
        ("JobName", "a" + "-" * 60 + "_", "regular expression"),
        ("JobName", "x" * 64, "length less than or equal to 63"),
        ("JobName", "", "min length"),
        ("CustomModelName", "router--1", "regular expression"),
        ("S3Uri", "s3://bucket/dt=2026/train.jsonl", "regular expression"),
        ("S3Uri", "s3://bucket/a//b.jsonl", "regular expression"),
        ("SortOrder", "Upwards", "enum value set"),
        ("MaxResults", 1001, "value less than or equal to 1000"),
        ("MaxResults", "many", "Invalid type"),
        ("TagList", [{"key": "a%b", "value": ""}], "regular expression"),
        ("TagList", [{"key": "a"}], "Missing required"),
        ("ModelCustomizationHyperParameters", {"epochs": 3}, "Invalid type"),
        ("JobName", "distil-2026.1", ""),
        ("S3Uri", "s3://bucket/runs/2026-11-20/training.jsonl", ""),
        ("TagList", [{"key": "stack", "value": "search-router"}], ""),
    ],
)
def test_shapes_are_checked_in_full(shape: str, value: object, violation: str) -> None:
    violations = list_violations(value, _MODELS["bedrock"].shape_for(shape))

    assert len(violations) == bool(violation)
    assert violation in "".join(violations)


def test_a_reply_outside_the_model_is_an_internal_error() -> None:
    api = Dispatcher({"StopModelCustomizationJob": lambda _: {"done": True}})

    reply = api.answer("POST", "/model-customization-jobs/name/stop", b"")

    assert (reply.status, reply.error_type) == (500, "InternalServerException")
    assert b"Unknown parameter" in reply.body


def test_an_error_the_operation_does_not_list_is_an_internal_error() -> None:
    def fail(_: object) -> dict[str, object]:
        raise BedrockError("ConflictException", "no")

    api = Dispatcher({"CreateCustomModelDeployment": fail})
    model = f"{_ARN.removesuffix('-deployment/0123456789ab')}/amazon.nova-micro-v1:0/0123456789ab"
    body = f'{{"modelDeploymentName": "a", "modelArn": "{model}"}}'.encode()

    reply = api.answer("POST", "/model-customization/custom-model-deployments", body)

    assert reply.error_type == "InternalServerException"
    assert b"cannot answer ConflictException" in reply.body


@pytest.mark.parametrize("body", [b"{", b"[]", b'"text"', b"\xff", b"[" * 99_999])
def test_a_body_that_is_no_json_object_is_rejected(body: bytes) -> None:
    name = "CreateModelCustomizationJob"
    uri = _operation(name).http["requestUri"]

    reply = Dispatcher({name: lambda params: params}).answer("POST", uri, body)

    assert (reply.status, reply.error_type) == (400, "ValidationException")


def test_an_operation_that_is_not_implemented_is_an_error() -> None:
    reply = Dispatcher({}).answer("GET", "/foundation-models", b"")

    assert reply.status == 501
    assert b"does not implement ListFoundationModels" in reply.body
    assert Dispatcher({}).answer("GET", "/no/such/path", b"").status == 404
