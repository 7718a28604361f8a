"""A Bedrock fake in virtual time with real clients, and valid requests."""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from local_stack.bedrock_fake import FakeBedrock, StateChangeEvent, VirtualClock
from local_stack.bedrock_fake.customization_jobs import MIN_RECORDS

if TYPE_CHECKING:
    from mypy_boto3_bedrock import BedrockClient
    from mypy_boto3_bedrock_runtime import BedrockRuntimeClient

ROLE = "arn:aws:iam::000000000000:role/DistillationRole"
TEACHER = "amazon.nova-pro-v1:0"
STUDENT = "amazon.nova-micro-v1:0:128k"
BASE = "amazon.nova-micro-v1:0"
PROMPT = "Return JSON with visual, audio weights (sum=1.0) for the given video search query."
TRAINING_OBJECT = "s3://data-bucket/runs/run-1/training.jsonl"
SESSION = boto3.Session(
    aws_access_key_id="test",
    aws_secret_access_key="test",  # noqa: S106
    region_name="us-east-1",
)
NO_RETRIES = Config(retries={"mode": "standard", "total_max_attempts": 1})


def training_line(number: int, answer: str | None = '{"visual": 0.8, "audio": 0.2}') -> bytes:
    messages = [{"role": "user", "content": [{"text": f"wide shot of harbour {number}"}]}]
    if answer is not None:
        messages.append({"role": "assistant", "content": [{"text": answer}]})
    record = {
        "schemaVersion": "bedrock-conversation-2024",
        "system": [{"text": PROMPT}],
        "messages": messages,
    }
    return json.dumps(record).encode()


def training_object(records: int = MIN_RECORDS) -> bytes:
    return b"\n".join(training_line(number) for number in range(records))


@dataclass
class Bench:
    """A fake in virtual time, two real clients, and its events and objects."""

    clock: VirtualClock = field(default_factory=VirtualClock)
    events: list[StateChangeEvent] = field(default_factory=list)
    objects: dict[str, bytes] = field(default_factory=lambda: {TRAINING_OBJECT: training_object()})
    fake: FakeBedrock = field(init=False)
    bedrock: "BedrockClient" = field(init=False)
    runtime: "BedrockRuntimeClient" = field(init=False)

    def create_job(self, name: str = "run-1", **changes: Any) -> str:
        """Create a valid distillation job but for the changes and return its ARN."""
        request = {
            "jobName": name,
            "customModelName": f"router-{name}",
            "roleArn": ROLE,
            "clientRequestToken": f"token-{name}",
            "baseModelIdentifier": STUDENT,
            "customizationType": "DISTILLATION",
            "customizationConfig": teacher(TEACHER),
            "trainingDataConfig": {"s3Uri": TRAINING_OBJECT},
            "outputDataConfig": {"s3Uri": "s3://data-bucket/runs/run-1/output/"},
        }
        return self.bedrock.create_model_customization_job(**{**request, **changes})["jobArn"]

    def job(self, identifier: str) -> dict[str, Any]:
        return dict(self.bedrock.get_model_customization_job(jobIdentifier=identifier))

    def create_model(self, name: str = "run-1") -> str:
        """Run a job to its end and return the ARN of its model."""
        arn = self.create_job(name)
        self.clock.advance(60)
        return str(self.job(arn)["outputModelArn"])

    def create_deployment(self, model: str, name: str = "router", **more: Any) -> str:
        reply = self.bedrock.create_custom_model_deployment(
            modelDeploymentName=name, modelArn=model, **more
        )
        return reply["customModelDeploymentArn"]

    def deploy(self) -> str:
        """Return the ARN of an Active deployment."""
        arn = self.create_deployment(self.create_model())
        self.clock.advance(30)
        return arn

    def ask(self, model: str, query: str = "wide shot of harbour 3", **changes: Any) -> Any:
        request = {
            "modelId": model,
            "system": [{"text": PROMPT}],
            "messages": [{"role": "user", "content": [{"text": query}]}],
            "inferenceConfig": {"maxTokens": 200},
        }
        return self.runtime.converse(**{**request, **changes})


def teacher(identifier: str) -> dict[str, Any]:
    return {"distillationConfig": {"teacherModelConfig": {"teacherModelIdentifier": identifier}}}


def text_of(reply: Any) -> str:
    return str(reply["output"]["message"]["content"][0]["text"])


@contextlib.contextmanager
def serving_bench() -> Iterator["Bench"]:
    """Return a bench whose fake listens during the block."""
    bench = Bench()
    bench.fake = FakeBedrock(
        clock=bench.clock,
        publish=bench.events.append,
        read_object=bench.objects.__getitem__,
        write_object=bench.objects.__setitem__,
    )
    with bench.fake as fake:
        # parameter_validation off: Bedrock must reject what boto3 would reject.
        config = NO_RETRIES.merge(Config(parameter_validation=False))
        bench.bedrock = SESSION.client("bedrock", endpoint_url=fake.url, config=config)
        bench.runtime = SESSION.client("bedrock-runtime", endpoint_url=fake.url, config=config)
        yield bench
        bench.bedrock.close()
        bench.runtime.close()


@contextlib.contextmanager
def rejected(code: str, status: int, message: str = ".") -> Iterator[None]:
    """Expect a call to fail with this error code, HTTP status and message."""
    with pytest.raises(ClientError, match=message) as caught:
        yield
    reply = caught.value.response
    actual = (reply["Error"]["Code"], reply["ResponseMetadata"]["HTTPStatusCode"])
    assert actual == (code, status)


def invalid(message: str = ".") -> contextlib.AbstractContextManager[None]:
    return rejected("ValidationException", 400, message)
