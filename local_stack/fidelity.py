"""Where the local stack differs from AWS; printed when it starts."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from local_stack.processes import LocalStackError
from local_stack.template import SamTemplate


@dataclass(frozen=True)
class NotEmulated:
    """A part of the template, or of AWS, that behaves differently here."""

    what: str
    how: str


# By resource type and path of a property; the empty path is the whole resource.
_NOT_EMULATED: Mapping[str, Mapping[str, str]] = {
    "AWS::Serverless::Function": {
        "Runtime": "handlers run on this Python {python}",
        "Architectures": "handlers run on this processor, {machine}",
        "MemorySize": "memory and CPU share are not limited",
        "Tracing": "no traces are recorded",
        "LoggingConfig.LogFormat": "platform lines (start, report) are not JSON",
        "EventInvokeConfig": "retries follow after 0.1 and 0.2 s, not one and two minutes",
        "Events.*.Properties.RetryPolicy": "events are delivered once, without retries",
        "Events.*.Properties.DeadLetterConfig": (
            "rules do not use dead-letter queues; failed invocations do reach OnFailure"
        ),
        "Events.*.Properties.MaximumBatchingWindowInSeconds": "ignored",
        "DeploymentPreference": "not possible; exclude it with a condition",
        "FunctionUrlConfig": "unsigned requests are denied, but any signature is accepted",
    },
    "AWS::Serverless::LayerVersion": {
        "": (
            "precedes the function's code on the import path; pip builds it for this machine, and "
            "workers share one unpacked copy"
        ),
    },
    "AWS::Lambda::EventInvokeConfig": {
        "": "retries follow after 0.1 and 0.2 s, not one and two minutes",
    },
    "AWS::Events::Rule": {
        "Targets.*.RetryPolicy": "events are delivered once, without retries",
        "Targets.*.DeadLetterConfig": "rules do not use dead-letter queues",
    },
    "AWS::DynamoDB::Table": {
        "TimeToLiveSpecification": "items do not expire",
        "PointInTimeRecoverySpecification": "nothing is backed up",
        "SSESpecification": "nothing is encrypted",
    },
    "AWS::S3::Bucket": {
        "LifecycleConfiguration": "nothing expires",
        "BucketEncryption": "nothing is encrypted",
    },
    "AWS::S3Vectors::VectorBucket": {
        "EncryptionConfiguration": "nothing is encrypted",
        "Tags": "ignored",
    },
    "AWS::S3::BucketPolicy": {"": "plain HTTP is not denied, because all traffic here is HTTP"},
    "AWS::SQS::QueuePolicy": {"": "plain HTTP is not denied, because all traffic here is HTTP"},
    "AWS::SNS::Topic": {"KmsMasterKeyId": "nothing is encrypted"},
    "AWS::KMS::Key": {"": "grants and key policies are not checked"},
    "AWS::CloudWatch::Alarm": {"": "metrics of AWS services and EMF lines do not reach alarms"},
    "AWS::Logs::MetricFilter": {"": "log lines do not become metrics"},
    "AWS::CloudWatch::Dashboard": {"": "stored only"},
    "AWS::SNS::Subscription": {"": "no e-mail is sent"},
    "AWS::SNS::TopicPolicy": {"": "publishing is not checked"},
    "AWS::IAM::ManagedPolicy": {"": "stored only; no user signs in"},
    "AWS::IAM::Role": {"PermissionsBoundary": "not checked"},
}
# Properties that work as on AWS. Any other type or property is an error.
_EMULATED: Mapping[str, str] = {
    "AWS::DynamoDB::Table": "AttributeDefinitions BillingMode GlobalSecondaryIndexes KeySchema",
    "AWS::Events::Rule": "Description EventBusName EventPattern ScheduleExpression State Targets",
    "AWS::IAM::Role": "AssumeRolePolicyDocument Description Policies",
    "AWS::Logs::LogGroup": "LogGroupName RetentionInDays",
    "AWS::S3::Bucket": (
        "NotificationConfiguration OwnershipControls PublicAccessBlockConfiguration "
        "VersioningConfiguration"
    ),
    "AWS::S3Vectors::VectorBucket": "VectorBucketName",
    "AWS::SNS::Topic": "DisplayName",
    "AWS::SQS::Queue": (
        "MessageRetentionPeriod RedrivePolicy SqsManagedSseEnabled VisibilityTimeout"
    ),
    "AWS::Serverless::Function": (
        "AutoPublishAlias CodeUri Description Environment Events Handler Layers "
        "ReservedConcurrentExecutions Role Timeout"
    ),
}
_ATTRIBUTES = frozenset(
    {"Type", "Properties", "Condition", "DependsOn", "Metadata"}
    | {"DeletionPolicy", "UpdateReplacePolicy"}
)

_OF_AWS = (
    NotEmulated("DeletionPolicy and UpdateReplacePolicy", "nothing outlives the stack"),
    NotEmulated(
        "IAM",
        "each handler is limited to its own role; resource policies and the permissions of event "
        "sources are not checked",
    ),
    NotEmulated("Bedrock", "a fake: models, prices, latency and quotas are not Amazon's"),
    NotEmulated(
        "S3 Vectors",
        "a fake: exact search, BM25 and stop words of its own; no quotas on requests per second",
    ),
    NotEmulated("Limits", "no account quotas, no throttling except Bedrock's, lax size limits"),
    NotEmulated("Time", "cold starts, event delays and scaling are this machine's"),
)

TICKED = NotEmulated("Schedule of track_runs", "invoked every second as well")


def changed_parameters(
    template: SamTemplate, parameters: Mapping[str, str]
) -> tuple[NotEmulated, ...]:
    """Return the parameters whose values differ from the template's defaults."""
    defaults = {name: str(p.get("Default")) for name, p in template.parameters.items()}
    return tuple(
        NotEmulated(f"Parameter {name}", f"{value} instead of {defaults[name]}")
        for name, value in parameters.items()
        if name in defaults and value != defaults[name]
    )


def not_emulated(template: SamTemplate) -> tuple[NotEmulated, ...]:
    """Return what the local stack does not emulate of this template and of AWS."""
    own = tuple(
        NotEmulated(
            f"{type_.removeprefix('AWS::')} {path.replace('.*.', '.')}".strip(),
            how.format(python=platform.python_version(), machine=platform.machine()),
        )
        for type_, differences in _NOT_EMULATED.items()
        for path, how in differences.items()
        if any(_has(used, path.split(".") if path else []) for used in _properties(template, type_))
    )
    return own + _OF_AWS


def require_known(template: SamTemplate) -> None:
    """Raise `LocalStackError` for resource types and properties that are on neither list."""
    unknown = [
        f"{name}: {found}"
        for name, resource in template.document["Resources"].items()
        for found in _unknown(resource)
    ]
    if unknown:
        raise LocalStackError(
            "unknown to the local stack (see local_stack/fidelity.py):\n  " + "\n  ".join(unknown)
        )


def _unknown(resource: Mapping[str, Any]) -> Iterator[str]:
    type_ = resource["Type"]
    yield from sorted(resource.keys() - _ATTRIBUTES)
    if type_ not in _EMULATED and type_ not in _NOT_EMULATED:
        yield type_
        return
    paths = _NOT_EMULATED.get(type_, {})
    if "" not in paths:
        known = {*_EMULATED[type_].split(), *(path.partition(".")[0] for path in paths)}
        yield from (
            f"{type_} {key}" for key in sorted(resource.get("Properties", {}).keys() - known)
        )


def _properties(template: SamTemplate, resource_type: str) -> Iterator[Mapping[str, Any]]:
    """Yield the properties of all resources of a type, and those of Globals."""
    resources = template.resources(resource_type)
    yield from resources.values()
    if resources:
        short = resource_type.removeprefix("AWS::Serverless::")
        yield template.document.get("Globals", {}).get(short, {})


def _has(value: Any, path: list[str]) -> bool:
    if not path:
        return True
    if isinstance(value, list) and path[0] == "*":
        return any(_has(item, path[1:]) for item in value)
    if not isinstance(value, dict):
        return False
    inner = value.values() if path[0] == "*" else [value[path[0]]] if path[0] in value else []
    return any(_has(item, path[1:]) for item in inner)
