"""Deploys a template and its archives to the emulator."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from botocore.exceptions import WaiterError

from local_stack.loopback import LoopbackClients
from local_stack.processes import LocalStackError
from local_stack.template import SamTemplate

ARTIFACT_BUCKET = "local-stack-artifacts"
_WAITER = {"Delay": 0.05, "MaxAttempts": 1_200}  # one minute


def deploy(
    clients: LoopbackClients,
    template: SamTemplate,
    archives: Mapping[str, bytes],
    *,
    stack_name: str,
    parameters: Mapping[str, str],
) -> dict[str, str]:
    """Create the stack from the archives by logical id; return its outputs.

    Raises `LocalStackError` with the reasons of the failed resources.
    """
    s3 = clients.client("s3")
    s3.create_bucket(Bucket=ARTIFACT_BUCKET)
    addresses = {}
    for name, content in archives.items():
        key = f"{name}-{hashlib.sha256(content).hexdigest()[:16]}.zip"
        s3.put_object(Bucket=ARTIFACT_BUCKET, Key=key, Body=content)
        addresses[name] = f"s3://{ARTIFACT_BUCKET}/{key}"
    # A request holds at most 51,200 bytes of template.
    body = json.dumps(template.with_code(addresses)).encode()
    s3.put_object(Bucket=ARTIFACT_BUCKET, Key="template.json", Body=body)

    cloudformation = clients.client("cloudformation")
    cloudformation.create_stack(
        StackName=stack_name,
        TemplateURL=f"{s3.meta.endpoint_url}/{ARTIFACT_BUCKET}/template.json",
        Parameters=[
            {"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()
        ],
        Capabilities=["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"],
    )
    _wait_until_created(cloudformation, stack_name)
    stack = cloudformation.describe_stacks(StackName=stack_name)["Stacks"][0]
    return {item["OutputKey"]: item["OutputValue"] for item in stack.get("Outputs", [])}


def _wait_until_created(cloudformation: Any, stack_name: str) -> None:
    waiter = cloudformation.get_waiter("stack_create_complete")
    try:
        waiter.wait(StackName=stack_name, WaiterConfig=_WAITER)
    except WaiterError as error:
        events = cloudformation.describe_stack_events(StackName=stack_name)["StackEvents"]
        reasons = [
            f"{event['LogicalResourceId']}: {event['ResourceStatusReason']}"
            for event in reversed(events)
            if event.get("ResourceStatusReason")
        ]
        raise LocalStackError(
            f"the stack could not be created ({error}):\n  " + "\n  ".join(reasons)
        ) from None
