"""Everything that the fake accepts and returns passes botocore's validation and our patterns.

The fake checks itself by botocore's models; here its wire traffic is checked by a second reader:
botocore's validator with real clients that validate, and the patterns of the documentation.
"""

import json
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import pytest
from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.validate import ParamValidator

from local_stack.bedrock_fake import FakeBedrock, VirtualClock
from tests.integration.fake_bench import (
    BASE,
    NO_RETRIES,
    ROLE,
    SESSION,
    STUDENT,
    TEACHER,
    TRAINING_OBJECT,
    teacher,
    training_object,
)
from tests.integration.test_bedrock_fake_evaluation import DATASET, JOB, LABEL, line

EMBEDDINGS = "amazon.nova-2-multimodal-embeddings-v1:0"
EMBEDDING = {
    "schemaVersion": "nova-multimodal-embed-v1",
    "taskType": "SINGLE_EMBEDDING",
    "singleEmbeddingParams": {
        "embeddingPurpose": "GENERIC_INDEX",
        "embeddingDimension": 256,
        "text": {"truncationMode": "END", "value": "a red door"},
    },
}
_ACCOUNT = r"arn:aws:bedrock:us-east-1:000000000000"
_MODEL = rf"{_ACCOUNT}:custom-model/amazon\.nova-micro-v1:0:128k/[a-z0-9]{{12}}"
_DEPLOYMENT = rf"{_ACCOUNT}:custom-model-deployment/[a-z0-9]{{12}}"
_JOB = rf"{_ACCOUNT}:model-customization-job/amazon\.nova-micro-v1:0:128k/[a-z0-9]{{12}}"
_BASE = r"arn:aws:bedrock:us-east-1::foundation-model/amazon\.nova-micro-v1:0:128k"
_EVALUATION = rf"{_ACCOUNT}:evaluation-job/[a-z0-9]{{12}}"
_TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"
_STATUSES = r"InProgress|Completed|Failed|Stopping|Stopped|NotStarted|Creating|Active|ACTIVE|LEGACY"
# By the name of the member, wherever it stands in a reply.
_PATTERNS = {
    "jobArn": f"{_JOB}|{_EVALUATION}",
    "modelArn": f"{_MODEL}|arn:aws:bedrock:us-east-1::foundation-model/[a-z0-9.:-]+",
    "customModelArn": _MODEL,
    "outputModelArn": _MODEL,
    "baseModelArn": _BASE,
    "customModelDeploymentArn": _DEPLOYMENT,
    "status": rf"{_STATUSES}|AVAILABLE",
    "modelStatus": "Active|Creating|Failed",
    "creationTime": _TIME,
    "lastModifiedTime": _TIME,
    "endTime": _TIME,
    "createdAt": _TIME,
    "lastUpdatedAt": _TIME,
    "stopReason": "end_turn|max_tokens",
    "jobName": r"[a-zA-Z0-9](-*[a-zA-Z0-9\+\-\.])*",
    "modelName": r"([0-9a-zA-Z][ .]?[_-]?){1,63}",
    "modelDeploymentName": r"([0-9a-zA-Z][_-]?){1,63}",
    "s3Uri": r"s3://[a-z0-9][-.a-z0-9]{1,61}[a-z0-9](/[-!_*'().a-zA-Z0-9]+)*/?",
}


class Wire:
    """A served fake, clients that validate what they send, and the body of every reply in JSON."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.objects = {TRAINING_OBJECT: training_object(), DATASET: line(LABEL)}
        self.fake = FakeBedrock(
            clock=self.clock,
            read_object=self.objects.__getitem__,
            write_object=self.objects.__setitem__,
        )
        self.called: set[str] = set()
        self.replies: list[tuple[str, bytes]] = []

    def client(self, service: str) -> Any:
        session: Any = SESSION
        client = session.client(service, endpoint_url=self.fake.url, config=NO_RETRIES)

        def keep(operation_model: Any, response_dict: Any, **_: object) -> None:
            self.called.add(operation_model.name)
            if not operation_model.has_streaming_output:
                self.replies.append((operation_model.name, response_dict["body"]))

        client.meta.events.register("before-parse", keep)
        return client


@pytest.fixture(scope="module")
def wire() -> Iterator[Wire]:
    """Call every implemented operation with all its parameters."""
    wire = Wire()
    with wire.fake:
        _call_everything(wire)
        yield wire


def _call_everything(wire: Wire) -> None:
    bedrock, runtime = wire.client("bedrock"), wire.client("bedrock-runtime")
    tags = [{"key": "stack", "value": "search-router"}]
    wire.fake.change(evaluation_seconds=60)
    job = bedrock.create_model_customization_job(
        jobName="run-1",
        customModelName="router-run-1",
        roleArn=ROLE,
        clientRequestToken="token-1",
        baseModelIdentifier=STUDENT,
        customizationType="DISTILLATION",
        customizationConfig=teacher(TEACHER),
        trainingDataConfig={"s3Uri": TRAINING_OBJECT},
        validationDataConfig={"validators": [{"s3Uri": TRAINING_OBJECT}]},
        outputDataConfig={"s3Uri": "s3://data-bucket/output/"},
        jobTags=tags,
        customModelTags=tags,
    )["jobArn"]
    bedrock.get_model_customization_job(jobIdentifier=job)
    wire.clock.advance(60)
    model = bedrock.get_model_customization_job(jobIdentifier=job)["outputModelArn"]
    bedrock.list_model_customization_jobs(statusEquals="Completed", maxResults=5)
    bedrock.create_model_customization_job(
        jobName="run-2",
        customModelName="router-run-2",
        roleArn=ROLE,
        baseModelIdentifier=STUDENT,
        customizationType="DISTILLATION",
        customizationConfig=teacher(TEACHER),
        trainingDataConfig={"s3Uri": TRAINING_OBJECT},
        outputDataConfig={"s3Uri": "s3://data-bucket/output/"},
    )
    bedrock.stop_model_customization_job(jobIdentifier="run-2")
    bedrock.get_model_customization_job(jobIdentifier="run-2")
    bedrock.get_custom_model(modelIdentifier=model)
    bedrock.list_custom_models()
    deployment = bedrock.create_custom_model_deployment(
        modelDeploymentName="router", modelArn=model, description="a router", tags=tags
    )["customModelDeploymentArn"]
    wire.clock.advance(30)
    bedrock.get_custom_model_deployment(customModelDeploymentIdentifier=deployment)
    bedrock.list_custom_model_deployments()
    bedrock.list_tags_for_resource(resourceARN=deployment)
    messages = [{"role": "user", "content": [{"text": "harbour"}]}]
    for asked in (deployment, BASE, TEACHER):
        runtime.converse(modelId=asked, messages=messages)
    runtime.invoke_model(modelId=EMBEDDINGS, body=json.dumps(EMBEDDING))["body"].read()
    evaluation = bedrock.create_evaluation_job(**{**JOB, "jobTags": tags})["jobArn"]
    bedrock.get_evaluation_job(jobIdentifier=evaluation)
    other = {**JOB, "jobName": "other", "clientRequestToken": "other"}
    stopped = bedrock.create_evaluation_job(**other)["jobArn"]
    bedrock.stop_evaluation_job(jobIdentifier=stopped)
    wire.clock.advance(60)
    bedrock.get_evaluation_job(jobIdentifier=evaluation)
    bedrock.list_evaluation_jobs()
    bedrock.get_foundation_model(modelIdentifier=TEACHER)
    bedrock.get_foundation_model_availability(modelId=TEACHER)
    bedrock.delete_custom_model_deployment(customModelDeploymentIdentifier=deployment)
    bedrock.delete_custom_model(modelIdentifier=model)
    bedrock.close()
    runtime.close()


def test_every_implemented_operation_is_called(wire: Wire) -> None:
    implemented = set(wire.fake.operations)

    assert wire.called == implemented
    assert len(implemented) == 20


def test_every_reply_passes_botocores_validation(wire: Wire) -> None:
    for operation, body in wire.replies:
        shape = _output_shape(operation)
        reply = json.loads(body)
        report = ParamValidator().validate(_without_times(reply), shape)
        assert not report.has_errors(), f"{operation}: {report.generate_report()}"


def test_every_reply_has_the_patterns_of_the_fact_sheet(wire: Wire) -> None:
    checked = set()
    for operation, body in wire.replies:
        for name, value in _texts(json.loads(body)):
            if name in _PATTERNS:
                checked.add(name)
                assert re.fullmatch(_PATTERNS[name], value), f"{operation}: {name}={value}"

    assert checked == _PATTERNS.keys()


def _output_shape(operation: str) -> Any:
    for service in ("bedrock", "bedrock-runtime"):
        model = ServiceModel(Loader().load_service_model(service, "service-2"))
        if operation in model.operation_names:
            return model.operation_model(operation).output_shape
    raise AssertionError(operation)


def _without_times(value: Any) -> Any:
    """Return a reply as the validator takes it, which expects dates."""
    if isinstance(value, Mapping):
        return {name: _without_times(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_without_times(member) for member in value]
    if isinstance(value, str) and re.fullmatch(_TIME, value):
        return datetime.fromisoformat(value)
    return value


def _texts(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key, member in value.items():
            yield from _texts(member, key)
    elif isinstance(value, list):
        for member in value:
            yield from _texts(member, name)
    elif isinstance(value, str):
        yield name, value
