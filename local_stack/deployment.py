"""From template and archives to a running stack, and what the emulator leaves out on the way."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from local_stack.expansion import Resolver
from local_stack.loopback import LoopbackClients
from local_stack.processes import LocalStackError
from local_stack.template import SamTemplate

ARTIFACT_BUCKET = "local-stack-artifacts"
_DEPLOY_SECONDS = 60
_POLL_SECONDS = 0.05


@dataclass(frozen=True)
class DeployedStack:
    """What CloudFormation knows after deployment."""

    outputs: Mapping[str, str]
    physical_ids: Mapping[str, str]
    parameters: Mapping[str, str]


def deploy(
    clients: LoopbackClients,
    template: SamTemplate,
    archives: Mapping[str, bytes],
    *,
    stack_name: str,
    parameters: Mapping[str, str],
) -> DeployedStack:
    """Create the stack from the untranslated template and the archives by logical id.

    Raises `LocalStackError` with the reasons of the failed resources.
    """
    s3 = clients.client("s3")
    s3.create_bucket(Bucket=ARTIFACT_BUCKET)
    addresses = {}
    for name, content in archives.items():
        key = f"{name}-{hashlib.sha256(content).hexdigest()[:16]}.zip"
        s3.put_object(Bucket=ARTIFACT_BUCKET, Key=key, Body=content)
        addresses[name] = f"s3://{ARTIFACT_BUCKET}/{key}"
    # By address, because a request holds no more than 51,200 bytes of template.
    body = json.dumps(template.pointing_at(addresses)).encode()
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
    stack = _wait_until_created(cloudformation, stack_name)
    resources = cloudformation.describe_stack_resources(StackName=stack_name)["StackResources"]
    deployed = DeployedStack(
        outputs={item["OutputKey"]: item["OutputValue"] for item in stack.get("Outputs", [])},
        physical_ids={item["LogicalResourceId"]: item["PhysicalResourceId"] for item in resources},
        parameters={
            item["ParameterKey"]: item["ParameterValue"] for item in stack.get("Parameters", [])
        },
    )
    apply_dropped_properties(clients, template, deployed, stack_name)
    return deployed


def apply_dropped_properties(
    clients: LoopbackClients, template: SamTemplate, stack: DeployedStack, stack_name: str
) -> None:
    """Set through their own APIs the properties that the emulator's CloudFormation ignores."""
    values = Resolver(dict(template.document), stack.parameters, stack.physical_ids, stack_name, {})
    for (resource_type, key), (service, apply) in _DROPPED.items():
        for name, properties in template.resources(resource_type).items():
            asked_for = values.resolve({k: v for k, v in properties.items() if k == key})
            if key in asked_for and name in stack.physical_ids:
                apply(clients.client(service), stack.physical_ids[name], asked_for[key])


def _wait_until_created(cloudformation: Any, stack_name: str) -> dict[str, Any]:
    deadline = time.monotonic() + _DEPLOY_SECONDS
    while time.monotonic() < deadline:
        stack: dict[str, Any] = cloudformation.describe_stacks(StackName=stack_name)["Stacks"][0]
        if stack["StackStatus"] == "CREATE_COMPLETE":
            return stack
        if stack["StackStatus"] != "CREATE_IN_PROGRESS":
            break
        time.sleep(_POLL_SECONDS)
    events = cloudformation.describe_stack_events(StackName=stack_name)["StackEvents"]
    reasons = [
        f"{event['LogicalResourceId']}: {event['ResourceStatusReason']}"
        for event in reversed(events)
        if event.get("ResourceStatusReason")
    ]
    raise LocalStackError(
        f"the stack could not be created ({stack['StackStatus']}):\n  " + "\n  ".join(reasons)
    )


def _set_time_to_live(dynamodb: Any, table: str, value: dict[str, Any]) -> None:
    dynamodb.update_time_to_live(TableName=table, TimeToLiveSpecification=value)


def _set_backups(dynamodb: Any, table: str, value: dict[str, Any]) -> None:
    dynamodb.update_continuous_backups(TableName=table, PointInTimeRecoverySpecification=value)


def _set_lifecycle(s3: Any, bucket: str, value: dict[str, Any]) -> None:
    rules = [_lifecycle_rule(rule) for rule in value["Rules"]]
    s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": rules})


def _lifecycle_rule(rule: Mapping[str, Any]) -> dict[str, Any]:
    """Return a template's rule as the API wants it: the two disagree on names and nesting."""
    same = ("Status", "AbortIncompleteMultipartUpload", "NoncurrentVersionExpiration")
    expiration = {
        "Days": "ExpirationInDays",
        "ExpiredObjectDeleteMarker": "ExpiredObjectDeleteMarker",
    }
    unknown = rule.keys() - {*same, *expiration.values(), "Id", "Prefix"}
    if unknown:
        raise LocalStackError(f"lifecycle: the local stack does not know {sorted(unknown)}")
    converted = {key: rule[key] for key in same if key in rule}
    converted |= {"ID": rule["Id"], "Filter": {"Prefix": rule.get("Prefix", "")}}
    expires = {api: rule[key] for api, key in expiration.items() if key in rule}
    return converted | ({"Expiration": expires} if expires else {})


def _reserve_concurrency(lambda_: Any, function: str, value: str | int) -> None:
    lambda_.put_function_concurrency(FunctionName=function, ReservedConcurrentExecutions=int(value))


def _set_topic_key(sns: Any, topic: str, value: str) -> None:
    sns.set_topic_attributes(TopicArn=topic, AttributeName="KmsMasterKeyId", AttributeValue=value)


_DROPPED: Mapping[tuple[str, str], tuple[str, Callable[[Any, str, Any], None]]] = {
    ("AWS::DynamoDB::Table", "TimeToLiveSpecification"): ("dynamodb", _set_time_to_live),
    ("AWS::DynamoDB::Table", "PointInTimeRecoverySpecification"): ("dynamodb", _set_backups),
    ("AWS::S3::Bucket", "LifecycleConfiguration"): ("s3", _set_lifecycle),
    ("AWS::SNS::Topic", "KmsMasterKeyId"): ("sns", _set_topic_key),
    ("AWS::Serverless::Function", "ReservedConcurrentExecutions"): (
        "lambda",
        _reserve_concurrency,
    ),
}
