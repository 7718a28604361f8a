"""`search-router doctor`: check the account and the stack, without changing anything."""

import argparse
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from router_cli.console import CommandError, print_json, print_table
from router_cli.diagnosis.account import BEFORE_DEPLOY
from router_cli.diagnosis.deployed import DEPLOYED
from router_cli.diagnosis.findings import Finding, Status, Subject, diagnose
from router_cli.stack import open_stack

_TEMPLATE = Path(__file__).parent.parent / "template.yaml"


def run(arguments: argparse.Namespace) -> int:
    """Print one line per check; the exit code is 1 if one of them is a blocker."""
    subject = _subject(arguments)
    checks = {**BEFORE_DEPLOY, **(DEPLOYED if subject.outputs else {})}
    findings = list(diagnose(checks, subject))
    blockers = sum(finding.status is Status.BLOCKER for finding in findings)
    if arguments.json:
        print_json({"findings": [it._asdict() for it in findings], "blockers": blockers})
    else:
        _print(findings)
    return 1 if blockers else 0


def _subject(arguments: argparse.Namespace) -> Subject:
    given = dict(arguments.parameter or ())
    if arguments.before_deploy and not arguments.local:
        client = _client(arguments.profile, arguments.region)
        name, region, outputs = arguments.stack_name, arguments.region, {}
        deployed: dict[str, str] = {}
    else:
        stack = open_stack(arguments)
        client, name, region = stack.client, stack.name, stack.region
        outputs = {} if arguments.before_deploy else dict(stack.outputs)
        deployed = _deployed_parameters(client, name)
    return Subject(
        client=client,
        region=region,
        stack_name=name,
        parameters=_parameters({**deployed, **given}),
        now=datetime.now(UTC),
        outputs=outputs,
    )


def _client(profile: str | None, region: str) -> Callable[[str], Any]:
    try:
        session = boto3.Session(profile_name=profile, region_name=region)
    except BotoCoreError as error:
        raise CommandError(f"{error}. Check --profile.") from None
    return cast("Callable[[str], Any]", session.client)


def _deployed_parameters(client: Callable[[str], Any], name: str) -> dict[str, str]:
    try:
        (stack,) = client("cloudformation").describe_stacks(StackName=name)["Stacks"]
    except (BotoCoreError, ClientError) as error:
        raise CommandError(f"cannot read the stack {name}: {error}.") from None
    return {it["ParameterKey"]: it["ParameterValue"] for it in stack.get("Parameters", [])}


def _parameters(values: Mapping[str, str]) -> dict[str, str]:
    """Return the values of all parameters; raises CommandError for an invalid one."""
    from local_stack.processes import LocalStackError
    from local_stack.template import SamTemplate

    template = SamTemplate.load(_TEMPLATE)
    try:
        template.check_parameters(values)
    except LocalStackError as error:
        raise CommandError(str(error)) from None
    defaults = {name: str(it["Default"]) for name, it in template.parameters.items()}
    return {**defaults, **values}


def _print(findings: list[Finding]) -> None:
    rows = [(it.check, it.status.value, it.detail, it.remedy) for it in findings]
    print_table("Checks", ["check", "status", "found", "remedy"], rows)
