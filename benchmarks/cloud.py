"""Starts the services that a benchmark's functions call: ministack and the Bedrock fake.

ministack serves S3, DynamoDB, SQS and EventBridge from memory over loopback HTTP, so the functions'
adapters do all their work. The benchmark runs the functions itself (`lambda_process`), because it
measures their processes.
"""

import contextlib
import http.client
import json
import os
import re
import socket
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from benchmarks.lambda_process import PROJECT
from local_stack.connection import answers
from local_stack.loopback import LoopbackClients
from local_stack.ministack_server import server_environment
from local_stack.processes import (
    CALLER,
    ChildProcess,
    LocalStackError,
    new_caller,
    own_folder,
    scrub,
)
from local_stack.template import SamTemplate
from router_cli import synthesis
from search_router.adapters.dynamodb_items import document_item
from search_router.domain.serving.champions import Champion, ServingModel

UPLOADS, DATA, STATE, CACHE = "uploads", "data", "state", "cache"
TRAINING_KEY, TRAINING_ROWS = "runs/run-benchmark/training.jsonl", 3_000
_READY_SECONDS = 30.0
_POLL_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Quota:
    """An account's quota, with the share and the concurrency of the template."""

    requests_per_minute: int
    batch_share: float
    workers: int

    @classmethod
    def deployed(cls, requests_per_minute: int) -> "Quota":
        """Return the template's defaults with this quota."""
        parameters = SamTemplate.load(PROJECT / "template.yaml").parameters
        return cls(
            requests_per_minute,
            float(parameters["BatchQuotaShare"]["Default"]),
            int(parameters["RouteConcurrency"]["Default"]),
        )

    @property
    def batch_per_second(self) -> float:
        """Return the requests per second that all routing workers may start together."""
        return self.requests_per_minute * self.batch_share / 60


@dataclass(frozen=True, slots=True)
class Cloud:
    """Running services and the functions' environment."""

    folder: Path
    endpoint: str
    bedrock_endpoint: str
    queue_url: str
    quota: Quota
    caller: Mapping[str, str]

    @property
    def clients(self) -> LoopbackClients:
        """Return clients for the benchmark's own use."""
        bedrock = dict.fromkeys(("bedrock", "bedrock-runtime"), self.bedrock_endpoint)
        return LoopbackClients(self.endpoint, bedrock, self.caller)

    def model_calls(self) -> dict[str, int]:
        """Return how many Converse requests the fake has answered, by HTTP status."""
        address = urlsplit(self.bedrock_endpoint)
        connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=10)
        with contextlib.closing(connection):
            connection.request("GET", f"{address.path}/_fake/health")
            calls = json.loads(connection.getresponse().read())["calls"]
        by_name = {name.partition(" ")[2]: n for name, n in calls.items() if "Converse" in name}
        return {"200": 0, "429": 0, **by_name}

    def environment(self) -> dict[str, str]:
        """Return the whole environment of a function's process."""
        return (
            scrub(os.environ, home=self.folder)
            | dict(self.caller)
            | function_settings(self.queue_url, self.quota)
            | {
                "AWS_ENDPOINT_URL": self.endpoint,
                "AWS_ENDPOINT_URL_BEDROCK": self.bedrock_endpoint,
                "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": self.bedrock_endpoint,
                "POWERTOOLS_TRACE_DISABLED": "true",
            }
        )


def function_settings(queue_url: str, quota: Quota) -> dict[str, str]:
    """Return the functions' environment from the template, with these resources."""
    parameters = SamTemplate.load(PROJECT / "template.yaml").parameters
    defaults = {
        re.sub(r"(?<!^)(?=[A-Z])|(?<=[a-z])(?=[0-9])", "_", name).upper(): str(parameter["Default"])
        for name, parameter in parameters.items()
        if "Default" in parameter
    }
    return {
        **defaults,
        "AWS_REGION": CALLER["AWS_DEFAULT_REGION"],
        "UPLOAD_BUCKET": UPLOADS,
        "DATA_BUCKET": DATA,
        "STATE_TABLE": STATE,
        "CACHE_TABLE": CACHE,
        "SPLIT_QUEUE_URL": queue_url,
        # Routing uses none of these, and they do not exist.
        "SEGMENT_TABLE": "segments",
        "SEGMENT_QUEUE_URL": f"{queue_url}-segments",
        "VECTOR_BUCKET": "vectors",
        "EVENT_BUS_NAME": "default",
        "STACK_NAME": "search-router",
        "PROMOTION_POLICY": "automatic",
        "DISTILLATION_ROLE_ARN": "arn:aws:iam::000000000000:role/distillation",
        "EVALUATION_ROLE_ARN": "arn:aws:iam::000000000000:role/evaluation",
        "REQUESTS_PER_MINUTE": str(quota.requests_per_minute),
        "BATCH_QUOTA_SHARE": str(quota.batch_share),
        "ROUTE_CONCURRENCY": str(quota.workers),
        "POWERTOOLS_SERVICE_NAME": "search-router",
        "POWERTOOLS_METRICS_NAMESPACE": "SearchRouter",
        "POWERTOOLS_LOG_LEVEL": "INFO",
    }


def jsonl(rows: Iterable[Mapping[str, object]]) -> bytes:
    """Write rows as JSON Lines."""
    return b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows)


@contextlib.contextmanager
def running_cloud(quota: Quota, mean_latency_ms: float) -> Iterator[Cloud]:
    """Start the services, create the resources and promote a distilled model."""
    with own_folder() as folder, contextlib.ExitStack() as cleanup:
        caller = new_caller()
        emulator, endpoint = _emulator(folder, caller)
        cleanup.callback(emulator.stop)
        fake = ChildProcess(
            "bedrock-fake",
            [
                *(sys.executable, "-m", "local_stack.bedrock_fake"),
                *("--aws-endpoint", endpoint),
                *("--requests-per-minute", str(quota.requests_per_minute)),
                *("--mean-latency-ms", str(mean_latency_ms)),
                *("--job-seconds", "0", "--deployment-seconds", "0"),
            ],
            folder=folder,
            env=scrub(os.environ, home=folder) | caller,
            cwd=PROJECT,
        )
        cleanup.callback(fake.stop)
        bedrock = fake.first_line(timeout_seconds=_READY_SECONDS)["url"]
        _wait_for(emulator, endpoint)
        queue_url = _make_resources(LoopbackClients(endpoint, caller=caller))
        cloud = Cloud(folder, endpoint, bedrock, queue_url, quota, caller)
        _install_champion(cloud)
        yield cloud


def _emulator(folder: Path, caller: Mapping[str, str]) -> tuple[ChildProcess, str]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        child = ChildProcess(
            "ministack",
            [sys.executable, "-m", "local_stack.ministack_server", str(listener.fileno())],
            folder=folder,
            env=server_environment(os.environ, folder=folder, port=port, caller=caller),
            cwd=PROJECT,
            pass_fds=(listener.fileno(),),
        )
    child.send_line({"authorizations": None, "layers": {}, "environment": {}})
    return child, f"http://127.0.0.1:{port}"


def _wait_for(emulator: ChildProcess, endpoint: str) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while not answers(endpoint):
        emulator.require_alive()
        if time.monotonic() > deadline:
            raise LocalStackError(f"ministack did not answer:\n{emulator.log_tail()}")
        time.sleep(_POLL_SECONDS)


def _make_resources(clients: LoopbackClients) -> str:
    s3, dynamodb = clients.client("s3"), clients.client("dynamodb")
    for bucket in (UPLOADS, DATA):
        s3.create_bucket(Bucket=bucket)
    s3.put_bucket_versioning(Bucket=UPLOADS, VersioningConfiguration={"Status": "Enabled"})
    for table, keys in ((STATE, ("pk", "sk")), (CACHE, ("pk",))):
        dynamodb.create_table(
            TableName=table,
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in keys],
            KeySchema=[
                {"AttributeName": key, "KeyType": kind}
                for key, kind in zip(keys, ("HASH", "RANGE"), strict=False)
            ],
        )
    attributes = {"VisibilityTimeout": "5400"}
    reply = clients.client("sqs").create_queue(QueueName="splits", Attributes=attributes)
    queue_url: str = reply["QueueUrl"]
    return queue_url


def _install_champion(cloud: Cloud) -> None:
    """Distil a model with the fake and store it as champion version 1."""
    parameters = SamTemplate.load(PROJECT / "template.yaml").parameters
    modalities = synthesis.DEFAULT_MODALITIES
    serving = ServingModel(
        model_id=_deployment(cloud, parameters),
        priced_as=parameters["StudentModelId"]["Default"],
        system_prompt=_trained_system_prompt(),
        modalities=modalities,
        max_output_tokens=int(parameters["MaxOutputTokens"]["Default"]),
        prior=tuple(1 / len(modalities) for _ in modalities),
    )
    champion = Champion(
        version=1, run_id="run-000000000000", serving=serving, promoted_at=datetime.now(UTC)
    )
    dynamodb = cloud.clients.client("dynamodb")
    pointer = {"version": champion.version}
    for sk, attributes in (("CURRENT", pointer), (f"V#{champion.version:08d}", {})):
        item = document_item("CHAMPION", sk, champion, **attributes)
        dynamodb.put_item(TableName=STATE, Item=item)


def _trained_system_prompt() -> str:
    """Return the system prompt of the training records: the model was trained with it."""
    prompt: str = next(synthesis.training_records(0, 1))["system"][0]["text"]
    return prompt


def _deployment(cloud: Cloud, parameters: dict[str, Any]) -> str:
    body = jsonl(synthesis.training_records(0, TRAINING_ROWS))
    cloud.clients.client("s3").put_object(Bucket=DATA, Key=TRAINING_KEY, Body=body)
    bedrock = cloud.clients.client("bedrock")
    teacher = {"teacherModelIdentifier": parameters["TeacherModelId"]["Default"]}
    bedrock.create_model_customization_job(
        jobName="benchmark",
        customModelName="benchmark",
        roleArn="arn:aws:iam::000000000000:role/distillation",
        baseModelIdentifier=parameters["StudentModelId"]["Default"],
        customizationType="DISTILLATION",
        customizationConfig={"distillationConfig": {"teacherModelConfig": teacher}},
        trainingDataConfig={"s3Uri": f"s3://{DATA}/{TRAINING_KEY}"},
        outputDataConfig={"s3Uri": f"s3://{DATA}/models"},
    )
    job = bedrock.get_model_customization_job(jobIdentifier="benchmark")
    deployment = bedrock.create_custom_model_deployment(
        modelDeploymentName="benchmark", modelArn=job["outputModelArn"]
    )
    arn: str = deployment["customModelDeploymentArn"]
    return arn
