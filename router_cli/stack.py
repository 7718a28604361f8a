"""Which stack a verb works on: the one on this machine, or one on AWS, by the same adapters."""

import argparse
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import boto3
from botocore.credentials import Credentials
from botocore.exceptions import BotoCoreError, ClientError

from local_stack.connection import StackConnection
from local_stack.launcher import STACK_NAME
from local_stack.processes import LocalStackError
from local_stack.state_file import find_running_stack, runtime_folder
from router_cli.failures import CommandError
from search_router.adapters.bedrock import BedrockDeployments
from search_router.adapters.clock import SystemClock
from search_router.adapters.dynamodb_champions import DynamoChampionRepository
from search_router.adapters.dynamodb_query_logs import DynamoQueryLogLedger
from search_router.adapters.dynamodb_runs import DynamoRunRepository
from search_router.adapters.eventbridge import EventBridgePublisher
from search_router.adapters.s3 import S3ObjectStore
from search_router.use_cases.deploy_model import RunDeployments
from search_router.use_cases.run_lifecycle import RunLifecycle

DEFAULT_STACK = "search-router-dev"
DEFAULT_REGION = "us-east-1"
EVENT_BUS = "default"  # the account's own, as the template says


@dataclass(frozen=True)
class Stack:
    """A deployed stack: its outputs, and clients that reach it and nothing else."""

    outputs: Mapping[str, str]
    client: Callable[[str], Any]
    route_url: str
    credentials: Callable[[], Any]
    region: str
    name: str = ""

    @cached_property
    def objects(self) -> S3ObjectStore:
        """Our own objects."""
        return S3ObjectStore(self.client("s3"), self.outputs["DataBucketName"])

    @cached_property
    def runs(self) -> DynamoRunRepository:
        """The owner of run states."""
        return DynamoRunRepository(self.client("dynamodb"), self.outputs["StateTableName"])

    @cached_property
    def ledger(self) -> DynamoQueryLogLedger:
        """The owner of query logs."""
        return DynamoQueryLogLedger(self.client("dynamodb"), self.outputs["StateTableName"])

    @cached_property
    def champions(self) -> DynamoChampionRepository:
        """The owner of the champion pointer."""
        return DynamoChampionRepository(self.client("dynamodb"), self.outputs["StateTableName"])

    @cached_property
    def lifecycle(self) -> RunLifecycle:
        """The steps of runs."""
        events = EventBridgePublisher(self.client("events"), EVENT_BUS)
        return RunLifecycle(self.runs, events, SystemClock())

    @cached_property
    def deployments(self) -> BedrockDeployments:
        """Bedrock's on-demand deployments."""
        return BedrockDeployments(self.client("bedrock"))

    @cached_property
    def run_deployments(self) -> RunDeployments:
        """The deployments of runs."""
        return RunDeployments(self.lifecycle, self.deployments)


def add_stack_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what names a stack: `--local`, or a stack name with region and profile."""
    group = parser.add_argument_group("which stack")
    group.add_argument(
        "--local", action="store_true", help="the stack that `search-router local up` started"
    )
    group.add_argument("--stack-name", default=DEFAULT_STACK, help="default: %(default)s")
    group.add_argument("--region", default=DEFAULT_REGION, help="default: %(default)s")
    group.add_argument("--profile", help="AWS profile; default: the environment's")


def open_stack(arguments: argparse.Namespace) -> Stack:
    """Find the stack that the arguments name; raises CommandError if it is not there."""
    if arguments.local:
        return _running_here()
    return _on_aws(arguments.stack_name, arguments.region, arguments.profile)


def local_stack_of(connection: StackConnection) -> Stack:
    """Wrap a connection to a local stack; its clients refuse any address but loopback."""
    return Stack(
        outputs=connection.outputs,
        client=connection.client,
        route_url=connection.url_of(connection.outputs["RouteApiUrl"]),
        credentials=lambda: Credentials("test", "test"),
        region=DEFAULT_REGION,
        name=STACK_NAME,
    )


def _running_here() -> Stack:
    try:
        return local_stack_of(find_running_stack(runtime_folder(os.environ)))
    except LocalStackError as error:
        raise CommandError(str(error)) from None


def _on_aws(name: str, region: str, profile: str | None) -> Stack:
    try:
        session = boto3.Session(profile_name=profile, region_name=region)
        stacks = session.client("cloudformation").describe_stacks(StackName=name)["Stacks"]
    except (BotoCoreError, ClientError) as error:
        raise CommandError(f"stack {name} in {region}: {error}") from None
    outputs = {
        output["OutputKey"]: output["OutputValue"] for output in stacks[0].get("Outputs", [])
    }
    if "RouteApiUrl" not in outputs:
        raise CommandError(f"stack {name} in {region} is not a search router")
    return Stack(
        outputs=outputs,
        client=cast("Callable[[str], Any]", session.client),
        route_url=outputs["RouteApiUrl"],
        credentials=session.get_credentials,
        region=region,
        name=name,
    )
