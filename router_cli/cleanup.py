"""`search-router cleanup [--yes STACK]`: list everything that a stack has, or delete it.

The order: stop the functions, stop jobs, delete deployments and models, empty the buckets, delete
the stack, and last the buckets and tables, which the stack retains. The state table names what the
stack has in Bedrock, so it is kept until Bedrock has none of it.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

from botocore.exceptions import BotoCoreError, ClientError

from router_cli.console import CommandError, Steps, fail, print_json, print_table, say
from router_cli.stack import Stack, open_stack
from router_cli.teardown import (
    BedrockResources,
    Bucket,
    CloudFormationStack,
    Remainder,
    Table,
    VectorBucket,
    stop_functions,
)


@dataclass(frozen=True)
class _Resources:
    bedrock: BedrockResources
    buckets: Sequence[Bucket | VectorBucket]
    tables: Sequence[Table]
    stack: CloudFormationStack

    def remaining(self) -> Iterator[Remainder]:
        """Yield what exists, the most expensive first."""
        yield from self.bedrock.remaining()
        for bucket in self.buckets:
            yield from bucket.remaining()
        for table in self.tables:
            yield from table.remaining()
        yield from self.stack.remaining()


def run(arguments: argparse.Namespace) -> int:
    """List what a stack has, or delete it; return 1 if anything billed is left after that."""
    stack = open_stack(arguments)
    if arguments.yes not in (None, stack.name):
        raise CommandError(
            f"--yes {arguments.yes} does not name the stack: it is called {stack.name}."
        )
    s3, dynamodb, outputs = stack.client("s3"), stack.client("dynamodb"), stack.outputs
    try:
        resources = _Resources(
            BedrockResources(stack.client("bedrock"), stack.runs.all()),
            [
                *(Bucket(s3, outputs[name]) for name in ("UploadBucketName", "DataBucketName")),
                VectorBucket(stack.client("s3vectors"), outputs["VectorBucketArn"]),
            ],
            [Table(dynamodb, outputs[name]) for name in ("SegmentTableName", "StateTableName")],
            CloudFormationStack(stack.client("cloudformation"), stack.name),
        )
        if arguments.yes:
            _delete(stack, resources)
        left = list(resources.remaining())
    except (BotoCoreError, ClientError) as error:
        raise CommandError(f"cleanup is incomplete: {error}. Run it again.") from None
    if arguments.json:
        print_json({"deleted": bool(arguments.yes), "remaining": [asdict(one) for one in left]})
    else:
        _print(left, is_deleted=bool(arguments.yes))
    if not arguments.yes:
        say(f"Nothing was deleted. `search-router cleanup --yes {stack.name}` deletes all of it.")
        return 0
    billed = [f"{one.kind} {one.name}" for one in left if one.billed]
    if billed:
        return fail(f"still billed: {', '.join(billed)}. Run cleanup again in a few minutes.")
    return 0


def _delete(stack: Stack, resources: _Resources) -> None:
    steps = Steps()
    with steps.step("stop the functions"):
        stop_functions(stack.client("lambda"), stack.outputs)
    with steps.step("stop jobs, delete deployments and models") as details:
        resources.bedrock.delete()
        left = list(resources.bedrock.remaining())
        details.append(f"{len(left)} left" if left else "none left")
    if left:
        return  # the state table, which names them, must stay
    with steps.step("empty the buckets"):
        for bucket in resources.buckets:
            bucket.empty()
    with steps.step("delete the stack"):
        resources.stack.delete()
    if list(resources.stack.remaining()):
        return
    with steps.step("delete buckets and tables"):
        for bucket in resources.buckets:
            bucket.delete()
        for table in resources.tables:
            table.delete()


def _print(left: Sequence[Remainder], *, is_deleted: bool) -> None:
    if left:
        rows = [(one.kind, one.name, one.billed, one.note) for one in left]
        title = "Still there" if is_deleted else "What the stack has"
        print_table(title, ["kind", "name", "billed", "details"], rows)
    else:
        say("Nothing is left.")
    if is_deleted:
        say("Records of ended Bedrock jobs and CloudWatch metrics stay; they are not billed.")
