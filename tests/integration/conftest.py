"""The AWS that handlers meet in these tests: moto and the Bedrock fake, with the stack's names.

moto's resources are made once per test module and emptied before each test; the fake, which
lives on loopback and in virtual time, is a new one for each test.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import boto3
import pytest
from botocore.config import Config
from moto import mock_aws
from moto.core.config import DefaultConfig

from local_stack.bedrock_fake import FakeBedrock, FakeSettings, StateChangeEvent
from local_stack.s3_vectors_fake import FakeS3Vectors
from search_router.dependencies import dependencies, new_client
from tests.conftest import FakeLambdaContext
from tests.fakes import VirtualClock
from tests.integration.fake_bench import Bench, serving_bench
from tests.integration.material import trained_once
from tests.integration.stack import NewStack, Stack
from tests.integration.world import (
    ACCOUNT,
    CACHE,
    DATA,
    ENVIRONMENT,
    REGION,
    SEGMENTS,
    STATE,
    UPLOADS,
    Bedrock,
    World,
    create_queue,
)

LOOPBACK_URL = r"http://127\.0\.0\.1:"


@pytest.fixture(scope="module")
def aws() -> Iterator[World]:
    """Make the stack's resources in moto and set the handlers' environment."""
    passthrough: DefaultConfig = {"core": {"passthrough": {"urls": [LOOPBACK_URL]}}}
    with mock_aws(config=passthrough), pytest.MonkeyPatch.context() as environment:
        s3, sqs = boto3.client("s3", REGION), boto3.client("sqs", REGION)
        dynamodb = boto3.client("dynamodb", REGION)
        for bucket in (UPLOADS, DATA):
            s3.create_bucket(Bucket=bucket)
        s3.put_bucket_versioning(Bucket=UPLOADS, VersioningConfiguration={"Status": "Enabled"})
        _create_table(dynamodb, STATE, "pk", "sk")
        _create_table(dynamodb, CACHE, "pk")
        _create_table(dynamodb, SEGMENTS, "pk", "sk")
        queue_url = create_queue(sqs)
        for name, value in {**ENVIRONMENT, "SPLIT_QUEUE_URL": queue_url}.items():
            environment.setenv(name, value)
        environment.setattr("search_router.dependencies.new_client", _reusing_clients())
        environment.setattr("search_router.use_cases.shard_prompts.train", trained_once)
        yield World(s3, dynamodb, sqs, queue_url)


@pytest.fixture
def world(aws: World) -> Iterator[World]:
    """Return the stack's resources, empty, and let the handlers wire themselves anew."""
    aws.clear()
    dependencies.cache_clear()
    yield aws
    dependencies.cache_clear()


@pytest.fixture
def clock() -> VirtualClock:
    """Return the time that handlers and the fake share."""
    return VirtualClock()


@pytest.fixture
def bedrock(
    world: World, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Bedrock]:
    """Start a fake whose jobs read the data bucket, and point the handlers at it."""
    with _serving(world, clock, monkeypatch) as started:
        yield started


@pytest.fixture
def s3_vectors(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeS3Vectors]:
    """Start a fake of S3 Vectors and point the handlers at it."""
    with FakeS3Vectors() as fake:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3VECTORS", fake.url)
        yield fake


@pytest.fixture
def bench() -> Iterator[Bench]:
    """Return a fake in virtual time with clients of its own."""
    with serving_bench() as served:
        yield served


@pytest.fixture
def new_stack(
    aws: World,
    load_event: Callable[[str], dict[str, Any]],
    lambda_context: FakeLambdaContext,
    monkeypatch: pytest.MonkeyPatch,
) -> NewStack:
    """Return a maker of stacks: ten functions, empty but for uploads, at the same time of day.

    The quota is so large that the pace never waits, and one call is in flight at a time: otherwise
    latencies would differ, since all calls read the same clock.
    """
    monkeypatch.setenv("REQUESTS_PER_MINUTE", "600000000")
    monkeypatch.setattr("search_router.dependencies.MAX_IN_FLIGHT", 1)

    @contextmanager
    def make() -> Iterator[Stack]:
        aws.clear()
        dependencies.cache_clear()
        clock: Any = VirtualClock()
        with _serving(aws, clock, monkeypatch) as bedrock:
            dependencies().clock = clock
            with Stack.wired(aws, bedrock, load_event, lambda_context) as wired:
                yield wired
        dependencies.cache_clear()

    return make


@pytest.fixture
def stack(new_stack: NewStack) -> Iterator[Stack]:
    """Return the ten functions, wired as the template wires them."""
    with new_stack() as made:
        yield made


@contextmanager
def _serving(
    world: World, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Bedrock]:
    sent: list[StateChangeEvent] = []
    seeds: dict[str, bytes] = {}

    def read_object(uri: str) -> bytes:
        return seeds[uri] if uri in seeds else world.read_uri(uri)

    settings = FakeSettings(requests_per_minute=0, account=ACCOUNT)
    with FakeBedrock(
        settings,
        clock=clock,
        publish=sent.append,
        read_object=read_object,
        write_object=world.write_uri,
    ) as fake:
        for service in ("BEDROCK", "BEDROCK_RUNTIME"):
            monkeypatch.setenv(f"AWS_ENDPOINT_URL_{service}", fake.url)
        yield Bedrock(fake, clock, sent, seeds)


def _reusing_clients() -> Callable[[str, str, Config], Any]:
    """Make each client of moto's services once, to save a good part of every test's time.

    Those of the fakes are made anew, as every test has a fake of its own.
    """
    made: dict[tuple[str, str, Config], Any] = {}

    def client(service: str, region: str, config: Config) -> Any:
        if service.startswith(("bedrock", "s3vectors")):
            return new_client(service, region, config)
        if (service, region, config) not in made:
            made[service, region, config] = new_client(service, region, config)
        return made[service, region, config]

    return client


def _create_table(dynamodb: Any, name: str, *keys: str) -> None:
    kinds = ("HASH", "RANGE")
    dynamodb.create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in keys],
        KeySchema=[
            {"AttributeName": key, "KeyType": kind} for key, kind in zip(keys, kinds, strict=False)
        ],
    )
