"""What is really deployed, read through the services' own APIs and told in CloudFormation's words.

One reader for each resource type. A reader leaves out what has its default value, so that
everything it returns was asked for by somebody; what it cannot read it does not claim to compare.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from local_stack.loopback import LoopbackClients

Properties = dict[str, Any]


@dataclass(frozen=True)
class Deployed:
    """One resource that should be there: its physical id and its resolved template properties."""

    clients: LoopbackClients
    physical_id: str
    wanted: Properties

    def client(self, service: str) -> Any:
        """Return the client of a service."""
        return self.clients.client(service)


@dataclass(frozen=True)
class Reader:
    """How to read resources of one type, and which of their properties that covers.

    `read` raises `LookupError` or `ClientError` if the resource is not there.
    """

    read: Callable[[Deployed], Properties]
    compared: frozenset[str]


def physical_resources(clients: LoopbackClients) -> Iterator[tuple[str, str]]:
    """Yield type and physical id of everything there is, whoever made it."""
    listings = (
        ("AWS::Events::Rule", "events", "list_rules", "Rules", "Name"),
        ("AWS::Lambda::Function", "lambda", "list_functions", "Functions", "FunctionName"),
        (
            "AWS::Lambda::EventSourceMapping",
            "lambda",
            "list_event_source_mappings",
            "EventSourceMappings",
            "UUID",
        ),
        ("AWS::IAM::Role", "iam", "list_roles", "Roles", "RoleName"),
        ("AWS::IAM::ManagedPolicy", "iam", "list_policies", "Policies", "Arn"),
        ("AWS::S3::Bucket", "s3", "list_buckets", "Buckets", "Name"),
        ("AWS::SQS::Queue", "sqs", "list_queues", "QueueUrls", None),
        ("AWS::DynamoDB::Table", "dynamodb", "list_tables", "TableNames", None),
        ("AWS::SNS::Topic", "sns", "list_topics", "Topics", "TopicArn"),
        ("AWS::CloudWatch::Alarm", "cloudwatch", "describe_alarms", "MetricAlarms", "AlarmName"),
        ("AWS::Logs::LogGroup", "logs", "describe_log_groups", "logGroups", "logGroupName"),
    )
    for type_, service, operation, items, key in listings:
        scope = {"Scope": "Local"} if operation == "list_policies" else {}
        client = clients.client(service)
        pages = (
            client.get_paginator(operation).paginate(**scope)
            if client.can_paginate(operation)
            else [getattr(client, operation)(**scope)]
        )
        for page in pages:
            for item in page.get(items, []):
                yield type_, item[key] if key else item


def _without(values: Mapping[str, Any], defaults: Mapping[str, Any]) -> Properties:
    """Return what is set, and set to something else than its default."""
    return {
        key: value
        for key, value in values.items()
        if value not in (None, "", [], {}) and not (key in defaults and defaults[key] == value)
    }


def _picked(values: Mapping[str, Any], names: frozenset[str], **defaults: Any) -> Properties:
    return _without({name: values.get(name) for name in names}, defaults)


def _tags(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [
        {"Key": key, "Value": value}
        for key, value in sorted(tags.items())
        if not key.startswith("aws:")
    ]


def _optional(call: Callable[[], Any], *missing: str) -> Any:
    """Return a reply, or an empty one for an error that means: nothing was ever set."""
    try:
        return call()
    except ClientError as error:
        if error.response["Error"]["Code"] not in missing:
            raise
        return {}


# --- Lambda ---------------------------------------------------------------------------------------

_FUNCTION = frozenset(
    {
        "Architectures",
        "Code",
        "DeadLetterConfig",
        "Description",
        "Environment",
        "EphemeralStorage",
        "Handler",
        "KmsKeyArn",
        "Layers",
        "LoggingConfig",
        "MemorySize",
        "PackageType",
        "ReservedConcurrentExecutions",
        "Role",
        "Runtime",
        "SnapStart",
        "Tags",
        "Timeout",
        "TracingConfig",
        "VpcConfig",
    }
)


def _function(resource: Deployed) -> Properties:
    client, name = resource.client("lambda"), resource.physical_id
    reply = client.get_function(FunctionName=name)
    configuration = reply["Configuration"]
    concurrency = client.get_function_concurrency(FunctionName=name)
    values = {
        **configuration,
        "Code": configuration["CodeSha256"],
        "Layers": [layer["Arn"] for layer in configuration.get("Layers", [])],
        "SnapStart": _picked(
            configuration.get("SnapStart", {}), frozenset({"ApplyOn"}), ApplyOn="None"
        ),
        "ReservedConcurrentExecutions": concurrency.get("ReservedConcurrentExecutions"),
        "Tags": _tags(reply.get("Tags", {})),
    }
    return _picked(
        values,
        _FUNCTION,
        EphemeralStorage={"Size": 512},
        PackageType="Zip",
        TracingConfig={"Mode": "PassThrough"},
    )


_LAYER = frozenset(
    {"CompatibleArchitectures", "CompatibleRuntimes", "Description", "LayerName", "LicenseInfo"}
)


def _layer(resource: Deployed) -> Properties:
    reply = resource.client("lambda").get_layer_version_by_arn(Arn=resource.physical_id)
    return _picked(reply | {"LayerName": reply["LayerArn"].rsplit(":", 1)[-1]}, _LAYER)


_MAPPING = frozenset(
    {
        "BatchSize",
        "BisectBatchOnFunctionError",
        "DestinationConfig",
        "Enabled",
        "EventSourceArn",
        "FilterCriteria",
        "FunctionName",
        "FunctionResponseTypes",
        "KmsKeyArn",
        "MaximumBatchingWindowInSeconds",
        "ScalingConfig",
    }
)


def _mapping(resource: Deployed) -> Properties:
    reply = resource.client("lambda").get_event_source_mapping(UUID=resource.physical_id)
    enabled = None if reply["State"] in ("Enabled", "Creating") else False
    values = reply | {"FunctionName": reply["FunctionArn"].rsplit(":", 1)[-1], "Enabled": enabled}
    return _picked(values, _MAPPING, MaximumBatchingWindowInSeconds=0)


_INVOKE_CONFIG = frozenset(
    {
        "DestinationConfig",
        "FunctionName",
        "MaximumEventAgeInSeconds",
        "MaximumRetryAttempts",
        "Qualifier",
    }
)


def _invoke_config(resource: Deployed) -> Properties:
    name, qualifier = resource.wanted["FunctionName"], resource.wanted["Qualifier"]
    reply = resource.client("lambda").get_function_event_invoke_config(
        FunctionName=name, Qualifier=qualifier
    )
    name, qualifier = reply["FunctionArn"].split(":")[-2:]
    destinations = _without(reply.get("DestinationConfig", {}), {})
    values = {"FunctionName": name, "Qualifier": qualifier, "DestinationConfig": destinations}
    return _picked(reply | values, _INVOKE_CONFIG)


_URL = frozenset({"AuthType", "Cors", "InvokeMode", "TargetFunctionArn"})


def _url(resource: Deployed) -> Properties:
    reply = resource.client("lambda").get_function_url_config(
        FunctionName=resource.wanted["TargetFunctionArn"]
    )
    # The template names the function, not its ARN.
    return _picked(reply | {"TargetFunctionArn": reply["FunctionArn"].rsplit(":", 1)[-1]}, _URL)


_PERMISSION = frozenset(
    {"Action", "FunctionName", "FunctionUrlAuthType", "Principal", "SourceAccount", "SourceArn"}
)


def _permission(resource: Deployed) -> Properties:
    reply = resource.client("lambda").get_policy(FunctionName=resource.wanted["FunctionName"])
    statements = {entry["Sid"]: entry for entry in json.loads(reply["Policy"])["Statement"]}
    statement = statements[resource.physical_id]
    conditions = {
        key.lower(): value
        for operator in statement.get("Condition", {}).values()
        for key, value in operator.items()
    }
    principal = statement["Principal"]
    values = {
        "Action": statement["Action"],
        "FunctionName": statement["Resource"].rsplit(":", 1)[-1],
        "Principal": principal if principal == "*" else next(iter(principal.values())),
        "SourceArn": conditions.pop("aws:sourcearn", None),
        "SourceAccount": conditions.pop("aws:sourceaccount", None),
        "FunctionUrlAuthType": conditions.pop("lambda:functionurlauthtype", None),
    }
    return _without(values | conditions, {})


# --- EventBridge ----------------------------------------------------------------------------------

_RULE = frozenset(
    {
        "Description",
        "EventBusName",
        "EventPattern",
        "RoleArn",
        "ScheduleExpression",
        "State",
        "Targets",
    }
)


def _rule(resource: Deployed) -> Properties:
    events = resource.client("events")
    reply = events.describe_rule(Name=resource.physical_id)
    values = {
        **reply,
        "EventPattern": json.loads(reply.get("EventPattern", "{}")),
        "Targets": events.list_targets_by_rule(Rule=resource.physical_id)["Targets"],
    }
    return _picked(values, _RULE, EventBusName="default", State="ENABLED")


# --- IAM ------------------------------------------------------------------------------------------

_ROLE = frozenset(
    {
        "AssumeRolePolicyDocument",
        "Description",
        "ManagedPolicyArns",
        "MaxSessionDuration",
        "Path",
        "PermissionsBoundary",
        "Policies",
        "Tags",
    }
)


def _role(resource: Deployed) -> Properties:
    iam, name = resource.client("iam"), resource.physical_id
    role = iam.get_role(RoleName=name)["Role"]
    attached = iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"]
    boundary = role.get("PermissionsBoundary", {}).get("PermissionsBoundaryArn")
    values = {
        **role,
        "ManagedPolicyArns": [policy["PolicyArn"] for policy in attached],
        "PermissionsBoundary": boundary,
        "Policies": [
            {
                "PolicyName": policy,
                "PolicyDocument": iam.get_role_policy(RoleName=name, PolicyName=policy)[
                    "PolicyDocument"
                ],
            }
            for policy in iam.list_role_policies(RoleName=name)["PolicyNames"]
        ],
        "Tags": _tags({tag["Key"]: tag["Value"] for tag in role.get("Tags", [])}),
    }
    return _picked(values, _ROLE, MaxSessionDuration=3600, Path="/")


# --- SQS and SNS ----------------------------------------------------------------------------------

_QUEUE_DEFAULTS = {
    "DelaySeconds": "0",
    "KmsDataKeyReusePeriodSeconds": "300",
    "MaximumMessageSize": "1048576",
    "ReceiveMessageWaitTimeSeconds": "0",
    "SqsManagedSseEnabled": "",
    "VisibilityTimeout": "30",
    "MessageRetentionPeriod": "345600",
}
_QUEUE = frozenset({*_QUEUE_DEFAULTS, "FifoQueue", "KmsMasterKeyId", "RedrivePolicy"})


def _queue(resource: Deployed) -> Properties:
    attributes = resource.client("sqs").get_queue_attributes(
        QueueUrl=resource.physical_id, AttributeNames=["All"]
    )["Attributes"]
    redrive = json.loads(attributes.get("RedrivePolicy", "{}"))
    # What the template spells out is compared even if it is the default.
    defaults = {k: v for k, v in _QUEUE_DEFAULTS.items() if k not in resource.wanted}
    return _picked(attributes | {"RedrivePolicy": redrive}, _QUEUE, **defaults)


def _queue_policy(resource: Deployed) -> Properties:
    sqs = resource.client("sqs")
    policies = {
        sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["Policy"])["Attributes"]["Policy"]
        for url in resource.wanted["Queues"]
    }
    return {
        "Queues": resource.wanted["Queues"],
        "PolicyDocument": _one_of(policies),
    }


_TOPIC = frozenset({"DisplayName", "KmsMasterKeyId", "TopicName"})


def _topic(resource: Deployed) -> Properties:
    reply = resource.client("sns").get_topic_attributes(TopicArn=resource.physical_id)
    named = {"TopicName": resource.physical_id.rsplit(":", 1)[-1]}
    names = _TOPIC if "TopicName" in resource.wanted else _TOPIC - {"TopicName"}
    return _picked(reply["Attributes"] | named, names)


def _topic_policy(resource: Deployed) -> Properties:
    sns = resource.client("sns")
    policies = {
        sns.get_topic_attributes(TopicArn=arn)["Attributes"]["Policy"]
        for arn in resource.wanted["Topics"]
    }
    return {"Topics": resource.wanted["Topics"], "PolicyDocument": _one_of(policies)}


_SUBSCRIPTION = frozenset({"Endpoint", "FilterPolicy", "Protocol", "RedrivePolicy", "TopicArn"})


def _subscription(resource: Deployed) -> Properties:
    sns, arn = resource.client("sns"), resource.physical_id
    pages = sns.get_paginator("list_subscriptions").paginate()
    listed = {entry["SubscriptionArn"]: entry for page in pages for entry in page["Subscriptions"]}
    reply = sns.get_subscription_attributes(SubscriptionArn=arn)["Attributes"] | listed[arn]
    documents = {
        key: json.loads(reply[key]) for key in ("FilterPolicy", "RedrivePolicy") if reply.get(key)
    }
    return _picked(reply | documents, _SUBSCRIPTION)


def _one_of(policies: set[str]) -> Any:
    """Return the document that several resources share, or all of them if they differ."""
    documents = [json.loads(policy) for policy in sorted(policies)]
    return documents[0] if len(documents) == 1 else documents


# --- DynamoDB and S3 ------------------------------------------------------------------------------

_TABLE = frozenset(
    {
        "AttributeDefinitions",
        "BillingMode",
        "DeletionProtectionEnabled",
        "GlobalSecondaryIndexes",
        "KeySchema",
        "LocalSecondaryIndexes",
        "PointInTimeRecoverySpecification",
        "StreamSpecification",
        "TimeToLiveSpecification",
    }
)


def _table(resource: Deployed) -> Properties:
    dynamodb, name = resource.client("dynamodb"), resource.physical_id
    table = dynamodb.describe_table(TableName=name)["Table"]
    ttl = dynamodb.describe_time_to_live(TableName=name)["TimeToLiveDescription"]
    backups = dynamodb.describe_continuous_backups(TableName=name)["ContinuousBackupsDescription"]
    status = backups["PointInTimeRecoveryDescription"]["PointInTimeRecoveryStatus"]
    expires = {"AttributeName": ttl.get("AttributeName"), "Enabled": True}
    values = {
        **table,
        "BillingMode": table.get("BillingModeSummary", {}).get("BillingMode"),
        "PointInTimeRecoverySpecification": {"PointInTimeRecoveryEnabled": True}
        if status == "ENABLED"
        else None,
        "TimeToLiveSpecification": expires if ttl["TimeToLiveStatus"] == "ENABLED" else None,
    }
    return _picked(values, _TABLE, DeletionProtectionEnabled=False)


_BUCKET = frozenset(
    {
        "BucketEncryption",
        "CorsConfiguration",
        "LifecycleConfiguration",
        "NotificationConfiguration",
        "OwnershipControls",
        "PublicAccessBlockConfiguration",
        "VersioningConfiguration",
        "WebsiteConfiguration",
    }
)


def _bucket(resource: Deployed) -> Properties:
    s3, name = resource.client("s3"), resource.physical_id

    def get(operation: str, *missing: str) -> Any:
        reply = _optional(lambda: getattr(s3, operation)(Bucket=name), *missing)
        return {key: value for key, value in reply.items() if key != "ResponseMetadata"}

    encryption = get("get_bucket_encryption", "ServerSideEncryptionConfigurationNotFoundError")
    block = get("get_public_access_block", "NoSuchPublicAccessBlockConfiguration")
    ownership = get("get_bucket_ownership_controls", "OwnershipControlsNotFoundError")
    lifecycle = get("get_bucket_lifecycle_configuration", "NoSuchLifecycleConfiguration")
    rules = [_lifecycle_rule(rule) for rule in lifecycle.get("Rules", [])]
    values = {
        "BucketEncryption": _encryption(encryption),
        "CorsConfiguration": get("get_bucket_cors", "NoSuchCORSConfiguration"),
        "LifecycleConfiguration": {"Rules": rules} if rules else None,
        "NotificationConfiguration": _notification(get("get_bucket_notification_configuration")),
        "OwnershipControls": ownership.get("OwnershipControls"),
        "PublicAccessBlockConfiguration": block.get("PublicAccessBlockConfiguration"),
        "VersioningConfiguration": get("get_bucket_versioning"),
        "WebsiteConfiguration": get("get_bucket_website", "NoSuchWebsiteConfiguration"),
    }
    return _picked(values, _BUCKET)


def _encryption(reply: Properties) -> Properties:
    """Return the template's shape: other names, and a key of S3's own is not a bucket key."""
    rules = []
    for rule in reply.get("ServerSideEncryptionConfiguration", {}).get("Rules", []):
        key = {"BucketKeyEnabled": True} if rule.get("BucketKeyEnabled") else {}
        default = rule["ApplyServerSideEncryptionByDefault"]
        rules.append({"ServerSideEncryptionByDefault": default, **key})
    return {"ServerSideEncryptionConfiguration": rules} if rules else {}


def _notification(reply: Properties) -> Properties:
    """Return the template's shape of "everything to EventBridge"."""
    if reply.pop("EventBridgeConfiguration", None) is not None:
        reply["EventBridgeConfiguration"] = {"EventBridgeEnabled": True}
    return reply


def _lifecycle_rule(rule: Properties) -> Properties:
    """Return the template's shape: other names, expiration without nesting."""
    rest = {k: v for k, v in rule.items() if k not in ("ID", "Filter", "Expiration")}
    expires = rule.get("Expiration", {})
    flat = {"ExpirationInDays": expires.get("Days")} | {
        key: value for key, value in expires.items() if key != "Days"
    }
    prefix = {"Prefix": rule.get("Filter", {}).get("Prefix")}
    return _without({"Id": rule["ID"], **rest, **flat, **prefix}, {})


def _bucket_policy(resource: Deployed) -> Properties:
    bucket = resource.wanted["Bucket"]
    policy = resource.client("s3").get_bucket_policy(Bucket=bucket)["Policy"]
    return {"Bucket": bucket, "PolicyDocument": json.loads(policy)}


# --- CloudWatch -----------------------------------------------------------------------------------

_LOG_GROUP = frozenset({"KmsKeyId", "LogGroupClass", "LogGroupName", "RetentionInDays"})


def _log_group(resource: Deployed) -> Properties:
    name = resource.physical_id
    groups = resource.client("logs").describe_log_groups(logGroupNamePrefix=name)["logGroups"]
    group = {entry["logGroupName"]: entry for entry in groups}[name]
    values = {
        "KmsKeyId": group.get("kmsKeyId"),
        "LogGroupClass": group.get("logGroupClass"),
        "LogGroupName": name if "LogGroupName" in resource.wanted else None,
        "RetentionInDays": group.get("retentionInDays"),
    }
    return _picked(values, _LOG_GROUP, LogGroupClass="STANDARD")


_ALARM = frozenset(
    {
        "ActionsEnabled",
        "AlarmActions",
        "AlarmDescription",
        "ComparisonOperator",
        "DatapointsToAlarm",
        "Dimensions",
        "EvaluationPeriods",
        "ExtendedStatistic",
        "InsufficientDataActions",
        "MetricName",
        "Metrics",
        "Namespace",
        "OKActions",
        "Period",
        "Statistic",
        "Threshold",
        "TreatMissingData",
        "Unit",
    }
)


def _alarm(resource: Deployed) -> Properties:
    name = resource.physical_id
    alarms = resource.client("cloudwatch").describe_alarms(AlarmNames=[name])["MetricAlarms"]
    alarm = {entry["AlarmName"]: entry for entry in alarms}[name]
    extended = {"Statistic": None} if alarm.get("ExtendedStatistic") else {}
    return _picked(alarm | extended, _ALARM, ActionsEnabled=True, TreatMissingData="missing")


def _dashboard(resource: Deployed) -> Properties:
    name = resource.physical_id
    reply = resource.client("cloudwatch").get_dashboard(DashboardName=name)
    named = {"DashboardName": name} if "DashboardName" in resource.wanted else {}
    return named | {"DashboardBody": reply["DashboardBody"]}


READERS: Mapping[str, Reader] = {
    "AWS::CloudWatch::Alarm": Reader(_alarm, _ALARM),
    "AWS::CloudWatch::Dashboard": Reader(_dashboard, frozenset({"DashboardBody", "DashboardName"})),
    "AWS::DynamoDB::Table": Reader(_table, _TABLE),
    "AWS::Events::Rule": Reader(_rule, _RULE),
    "AWS::IAM::Role": Reader(_role, _ROLE),
    "AWS::Lambda::EventInvokeConfig": Reader(_invoke_config, _INVOKE_CONFIG),
    "AWS::Lambda::EventSourceMapping": Reader(_mapping, _MAPPING),
    "AWS::Lambda::Function": Reader(_function, _FUNCTION),
    "AWS::Lambda::LayerVersion": Reader(_layer, _LAYER),
    "AWS::Lambda::Permission": Reader(_permission, _PERMISSION),
    "AWS::Lambda::Url": Reader(_url, _URL),
    "AWS::Logs::LogGroup": Reader(_log_group, _LOG_GROUP),
    "AWS::S3::Bucket": Reader(_bucket, _BUCKET),
    "AWS::S3::BucketPolicy": Reader(_bucket_policy, frozenset({"Bucket", "PolicyDocument"})),
    "AWS::SNS::Subscription": Reader(_subscription, _SUBSCRIPTION),
    "AWS::SNS::Topic": Reader(_topic, _TOPIC),
    "AWS::SNS::TopicPolicy": Reader(_topic_policy, frozenset({"PolicyDocument", "Topics"})),
    "AWS::SQS::Queue": Reader(_queue, _QUEUE),
    "AWS::SQS::QueuePolicy": Reader(_queue_policy, frozenset({"PolicyDocument", "Queues"})),
}
