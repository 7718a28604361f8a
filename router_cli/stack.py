"""The stack that a verb works on: one on AWS, or one on this machine, through the same adapters."""

import argparse
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

import boto3
from botocore.credentials import Credentials
from botocore.exceptions import BotoCoreError, ClientError

from router_cli.console import CommandError
from search_router.adapters.bedrock import BedrockDeployments
from search_router.adapters.clock import SystemClock
from search_router.adapters.dynamodb_champions import DynamoChampionRepository
from search_router.adapters.dynamodb_collections import DynamoCollectionRepository
from search_router.adapters.dynamodb_runs import DynamoRunRepository
from search_router.adapters.dynamodb_segments import DynamoSegmentRecords
from search_router.adapters.dynamodb_uploads import QUERY_LOGS, SEGMENTS, DynamoUploadLedger
from search_router.adapters.eventbridge import EventBridgePublisher
from search_router.adapters.s3 import S3ObjectStore
from search_router.adapters.s3_vectors import S3VectorsIndex
from search_router.domain.lifecycle.runs import Run
from search_router.domain.logs.query_logs import QueryLog
from search_router.domain.logs.results import PartMarker
from search_router.domain.search.index import Collection
from search_router.domain.search.segment_uploads import SegmentMarker, SegmentUpload
from search_router.use_cases.deploy_model import RunDeployments
from search_router.use_cases.run_lifecycle import RunLifecycle

if TYPE_CHECKING:
    from local_stack.connection import StackConnection

_EVENT_BUS = "default"  # of the account, as in template.yaml
_LOCAL_REGION = "us-east-1"


@dataclass(frozen=True)
class Stack:
    """A deployed stack: its outputs, and clients that reach nothing else."""

    outputs: Mapping[str, str]
    client: Callable[[str], Any]
    route_url: str
    credentials: Callable[[], Any]
    region: str
    name: str = ""
    search_url: str = ""

    @cached_property
    def objects(self) -> S3ObjectStore:
        """The objects in the data bucket."""
        return S3ObjectStore(self.client("s3"), self.outputs["DataBucketName"])

    @cached_property
    def runs(self) -> DynamoRunRepository:
        """The run records."""
        return DynamoRunRepository(self.client("dynamodb"), self.outputs["StateTableName"])

    @cached_property
    def ledger(self) -> DynamoUploadLedger[QueryLog, PartMarker]:
        """The query log records."""
        table = self.outputs["StateTableName"]
        return DynamoUploadLedger(self.client("dynamodb"), table, QUERY_LOGS)

    @cached_property
    def segment_uploads(self) -> DynamoUploadLedger[SegmentUpload, SegmentMarker]:
        """The records of uploads of segments."""
        table = self.outputs["StateTableName"]
        return DynamoUploadLedger(self.client("dynamodb"), table, SEGMENTS)

    @cached_property
    def collections(self) -> DynamoCollectionRepository:
        """The collections."""
        return DynamoCollectionRepository(self.client("dynamodb"), self.outputs["StateTableName"])

    @cached_property
    def segments(self) -> DynamoSegmentRecords:
        """The records of segments."""
        return DynamoSegmentRecords(self.client("dynamodb"), self.outputs["SegmentTableName"])

    @cached_property
    def segment_index(self) -> S3VectorsIndex:
        """The index of segments."""
        return S3VectorsIndex(self.client("s3vectors"), self.outputs["VectorBucketArn"])

    @cached_property
    def champions(self) -> DynamoChampionRepository:
        """The champion pointer and its history."""
        return DynamoChampionRepository(self.client("dynamodb"), self.outputs["StateTableName"])

    @cached_property
    def lifecycle(self) -> RunLifecycle:
        """Moves runs from state to state and publishes their events."""
        events = EventBridgePublisher(self.client("events"), _EVENT_BUS, self.name)
        return RunLifecycle(self.runs, events, SystemClock())

    @cached_property
    def deployments(self) -> BedrockDeployments:
        """The on-demand deployments in Bedrock."""
        return BedrockDeployments(self.client("bedrock"))

    @cached_property
    def run_deployments(self) -> RunDeployments:
        """Creates, follows and deletes the deployments of runs."""
        return RunDeployments(self.lifecycle, self.deployments)

    def run(self, run_id: str) -> Run:
        """Return a run; raises CommandError if there is none of that id."""
        run = self.runs.get(run_id)
        if run is None:
            raise CommandError(f"no such run: {run_id}. `search-router runs` lists all runs.")
        return run

    def collection(self, name: str) -> Collection:
        """Return a collection; raises CommandError if there is none of that name."""
        collection = self.collections.get(name)
        if collection is None:
            raise CommandError(
                f"no such collection: {name}. `search-router collections` lists all collections."
            )
        return collection


def open_stack(arguments: argparse.Namespace) -> Stack:
    """Return the stack that the arguments name; raises CommandError if it does not exist."""
    if arguments.local:
        return _on_this_machine()
    return _on_aws(arguments.stack_name, arguments.region, arguments.profile)


def local_stack_of(connection: "StackConnection") -> Stack:
    """Return a local stack; its clients refuse any address but loopback."""
    from local_stack.state_file import STACK_NAME

    return Stack(
        outputs=connection.outputs,
        client=connection.client,
        route_url=connection.url_of(connection.outputs["RouteApiUrl"]),
        credentials=lambda: Credentials(
            connection.caller["AWS_ACCESS_KEY_ID"], connection.caller["AWS_SECRET_ACCESS_KEY"]
        ),
        region=_LOCAL_REGION,
        name=STACK_NAME,
        search_url=connection.url_of(connection.outputs.get("SearchApiUrl", "")),
    )


def _on_this_machine() -> Stack:
    from local_stack.processes import LocalStackError
    from local_stack.state_file import find_running_stack, runtime_folder

    try:
        return local_stack_of(find_running_stack(runtime_folder(os.environ)))
    except LocalStackError as error:
        raise CommandError(str(error)) from None


def _on_aws(name: str, region: str, profile: str | None) -> Stack:
    try:
        session = boto3.Session(profile_name=profile, region_name=region)
        stacks = session.client("cloudformation").describe_stacks(StackName=name)["Stacks"]
    except (BotoCoreError, ClientError) as error:
        raise CommandError(
            f"cannot read the stack {name} in {region}: {error}. "
            "Check --stack-name, --region and --profile."
        ) from None
    outputs = {
        output["OutputKey"]: output["OutputValue"] for output in stacks[0].get("Outputs", [])
    }
    if "RouteApiUrl" not in outputs:
        raise CommandError(
            f"not a search router: stack {name} in {region}. Name another with --stack-name."
        )
    return Stack(
        outputs=outputs,
        client=cast("Callable[[str], Any]", session.client),
        route_url=outputs["RouteApiUrl"],
        credentials=session.get_credentials,
        region=region,
        name=name,
        search_url=outputs.get("SearchApiUrl", ""),
    )
