"""`search-router cleanup [--yes STACK]`: delete what a stack has, in Bedrock too, and check.

Functions are stilled first, then jobs stopped, deployments and models deleted, buckets emptied, the
stack deleted, and last what survives a stack: buckets and the state table. The table is the list of
what is ours, so it is kept while anything of ours is left in Bedrock.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from router_cli.console import Steps, fail, print_json, print_table, say
from router_cli.failures import CommandError
from router_cli.stack import Stack, add_stack_arguments, open_stack
from router_cli.teardown.bedrock_things import BedrockThings, Thing
from router_cli.teardown.stored_things import (
    Bucket,
    CloudFormationStack,
    Table,
    still_functions,
)

NOT_BILLED = "records of ended jobs in Bedrock and CloudWatch's metrics stay; neither is billed"


@dataclass(frozen=True)
class Belongings:
    """Everything that a stack has."""

    bedrock: BedrockThings
    buckets: Sequence[Bucket]
    table: Table
    stack: CloudFormationStack

    def remaining(self) -> Iterator[Thing]:
        """Yield what is there now, the dearest first."""
        yield from self.bedrock.remaining()
        for bucket in self.buckets:
            yield from bucket.remaining()
        yield from self.table.remaining()
        yield from self.stack.remaining()


def add_parser(verbs: Any) -> None:
    """Describe the verb."""
    parser = verbs.add_parser("cleanup", help="delete a stack and everything it has in Bedrock")
    parser.add_argument(
        "--yes", metavar="STACK", help="really delete; the stack's name, typed once more"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    add_stack_arguments(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """List what a stack has, or delete it; 1 if anything that is billed is left after that."""
    stack = open_stack(arguments)
    if arguments.yes not in (None, stack.name):
        raise CommandError(f"--yes {arguments.yes}: this stack is called {stack.name}")
    try:
        belongings = _belongings(stack)
        if arguments.yes:
            _remove(stack, belongings)
        left = list(belongings.remaining())
    except (BotoCoreError, ClientError) as error:
        raise CommandError(f"{error}; what is deleted is deleted, run cleanup again") from None
    _tell(left, arguments)
    if not arguments.yes:
        say(f"nothing was deleted; `search-router cleanup --yes {stack.name}` deletes all of it")
        return 0
    billed = [f"{thing.kind} {thing.name}" for thing in left if thing.billed]
    if billed:
        return fail(f"still billed: {', '.join(billed)}; wait some minutes, run cleanup again")
    return 0


def _belongings(stack: Stack) -> Belongings:
    s3, outputs = stack.client("s3"), stack.outputs
    return Belongings(
        BedrockThings(stack.client("bedrock"), stack.runs.all()),
        [Bucket(s3, outputs[name]) for name in ("UploadBucketName", "DataBucketName")],
        Table(stack.client("dynamodb"), outputs["StateTableName"]),
        CloudFormationStack(stack.client("cloudformation"), stack.name),
    )


def _remove(stack: Stack, belongings: Belongings) -> None:
    steps = Steps()
    with steps.step("still the functions"):
        still_functions(stack.client("lambda"), stack.outputs)
    with steps.step("stop jobs, delete deployments and models") as done:
        belongings.bedrock.remove()
        left = list(belongings.bedrock.remaining())
        done.append(f"{len(left)} left" if left else "none left")
    if left:
        return  # the state that names them must stay
    with steps.step("empty the buckets"):
        for bucket in belongings.buckets:
            bucket.empty()
    with steps.step("delete the stack"):
        belongings.stack.delete()
    if list(belongings.stack.remaining()):
        return
    with steps.step("delete buckets and state table"):
        for bucket in belongings.buckets:
            bucket.delete()
        belongings.table.delete()


def _tell(left: Sequence[Thing], arguments: argparse.Namespace) -> None:
    if arguments.json:
        print_json({"deleted": bool(arguments.yes), "remaining": [asdict(thing) for thing in left]})
        return
    if not left:
        say("nothing remains")
    title = "What remains" if arguments.yes else "What there is"
    rows = [(thing.kind, thing.name, thing.billed, thing.note) for thing in left]
    if rows:
        print_table(title, ["", "name", "billed", ""], rows)
    if arguments.yes:
        say(NOT_BILLED)
