"""What the local stack does not prove: told to everybody who starts it."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from local_stack.template import SamTemplate


@dataclass(frozen=True)
class NotEmulated:
    """Something of the template, or of AWS, that behaves differently here, and how."""

    what: str
    how: str


# (resource type, path of a property or nothing for the whole resource, what happens instead)
_OF_TEMPLATE = (
    ("AWS::Serverless::Function", ("Runtime",), "handlers run on this Python {python}"),
    ("AWS::Serverless::Function", ("Architectures",), "handlers run on this processor, {machine}"),
    ("AWS::Serverless::Function", ("MemorySize",), "memory and processor share are not limited"),
    ("AWS::Serverless::Function", ("Tracing",), "no trace is recorded"),
    (
        "AWS::Serverless::Function",
        ("LoggingConfig", "LogFormat"),
        "the platform's own lines (start, report) are not written as JSON",
    ),
    (
        "AWS::Serverless::Function",
        ("EventInvokeConfig",),
        "retries come after 0.1 and 0.2 s instead of one and two minutes",
    ),
    (
        "AWS::Serverless::Function",
        ("Events", "*", "Properties", "RetryPolicy"),
        "an event is delivered at once or never",
    ),
    (
        "AWS::Serverless::Function",
        ("Events", "*", "Properties", "DeadLetterConfig"),
        "a rule puts nothing into its dead-letter queue; failed runs do reach OnFailure",
    ),
    (
        "AWS::Serverless::Function",
        ("Events", "*", "Properties", "MaximumBatchingWindowInSeconds"),
        "a batch is not waited for",
    ),
    (
        "AWS::Serverless::Function",
        ("DeploymentPreference",),
        "gradual deployment is not possible: leave it out by a condition",
    ),
    (
        "AWS::Serverless::Function",
        ("FunctionUrlConfig",),
        "an unsigned request is refused, but any signature is accepted",
    ),
    (
        "AWS::Serverless::LayerVersion",
        (),
        (
            "it comes before the function's code on the import path, not after; pip builds it for "
            "this machine, and workers share one unpacked copy of the archive"
        ),
    ),
    (
        "AWS::Events::Rule",
        ("Targets", "*", "RetryPolicy"),
        "an event is delivered at once or never",
    ),
    (
        "AWS::Events::Rule",
        ("Targets", "*", "DeadLetterConfig"),
        "a rule puts nothing into its dead-letter queue",
    ),
    ("AWS::DynamoDB::Table", ("TimeToLiveSpecification",), "set, but items do not expire on time"),
    (
        "AWS::DynamoDB::Table",
        ("PointInTimeRecoverySpecification",),
        "set, but nothing is backed up",
    ),
    ("AWS::DynamoDB::Table", ("SSESpecification",), "ignored"),
    ("AWS::S3::Bucket", ("LifecycleConfiguration",), "set, but nothing is removed"),
    ("AWS::S3::Bucket", ("BucketEncryption",), "nothing is encrypted"),
    ("AWS::S3::BucketPolicy", (), "a refusal of plain HTTP is not applied: all is plain here"),
    ("AWS::SQS::QueuePolicy", (), "a refusal of plain HTTP is not applied: all is plain here"),
    ("AWS::KMS::Key", (), "grants and key policies are not checked"),
    ("AWS::CloudWatch::Alarm", (), "metrics of AWS services and EMF lines do not reach alarms"),
    ("AWS::Logs::MetricFilter", (), "log lines are not turned into metrics"),
    ("AWS::CloudWatch::Dashboard", (), "stored, but not drawn"),
    ("AWS::SNS::Subscription", (), "no e-mail is sent"),
    ("AWS::SNS::TopicPolicy", (), "who may publish is not checked"),
)

# What SAM makes of some of the above: the same entry covers this property of the expanded template.
_MADE_BY_SAM = {
    ("AWS::Lambda::LayerVersion", "Content"): ("AWS::Serverless::LayerVersion", ()),
}

# Attributes of any resource that say what becomes of it at its end.
_ENDINGS = ("DeletionPolicy", "UpdateReplacePolicy")

_OF_AWS = (
    NotEmulated(" and ".join(_ENDINGS), "the stack is thrown away with everything in it"),
    NotEmulated(
        "IAM",
        "each handler runs under its own role and is refused what the role does not allow; "
        "resource policies and the rights of event sources are not checked",
    ),
    NotEmulated("Bedrock", "a double: models, prices, latency and quotas are not Amazon's"),
    NotEmulated("Limits", "no account quotas, no throttling except Bedrock's, lax size limits"),
    NotEmulated("Time", "cold starts, delays of events and scaling of pollers are this machine's"),
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
    """Return what of this template, and of AWS around it, the local stack does not reproduce."""
    own = tuple(
        NotEmulated(
            " ".join(
                (resource_type.removeprefix("AWS::"), ".".join(path).replace(".*.", "."))
            ).strip(),
            how.format(python=platform.python_version(), machine=platform.machine()),
        )
        for resource_type, path, how in _OF_TEMPLATE
        if any(_has(properties, path) for properties in _properties(template, resource_type))
    )
    return own + _OF_AWS


def is_not_emulated(resource_type: str, name: str) -> bool:
    """Return whether the list speaks of a property of the expanded template.

    No name stands for the whole type; the type `*` for attributes of any resource.
    """
    if resource_type == "*":
        return name in _ENDINGS
    path = (name,) if name else ()
    entry = _MADE_BY_SAM.get((resource_type, name), (resource_type, path))
    return any((type_, listed) == entry for type_, listed, _ in _OF_TEMPLATE)


def _properties(template: SamTemplate, resource_type: str) -> Iterator[Mapping[str, Any]]:
    """Yield the properties of all resources of a type, and those that Globals gives them."""
    resources = template.resources(resource_type)
    yield from resources.values()
    if resources:
        short = resource_type.removeprefix("AWS::Serverless::")
        yield template.document.get("Globals", {}).get(short, {})


def _has(value: Any, path: tuple[str, ...]) -> bool:
    if not path:
        return True
    if isinstance(value, list) and path[0] == "*":
        return any(_has(item, path[1:]) for item in value)
    if not isinstance(value, dict):
        return False
    inner = value.values() if path[0] == "*" else [value[path[0]]] if path[0] in value else []
    return any(_has(item, path[1:]) for item in inner)
