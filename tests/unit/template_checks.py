"""Checks of the expanded template for mistakes that template scanners miss.

Each check is a pure function that takes the expanded template and returns its findings. The
template is expanded first, because SAM adds rules, permissions and policies.
"""

import copy
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

import boto3
from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator

from local_stack.template import load_template
from tests.policies import listed

PROJECT = Path(__file__).parents[2]
Template = dict[str, Any]
Properties = dict[str, Any]

# Actions without resource-level permissions. Every other action is granted on ARNs.
RESOURCELESS_ACTIONS = frozenset(
    {
        "bedrock:ListCustomModelDeployments",
        "bedrock:ListEvaluationJobs",
        "xray:PutTraceSegments",
        "xray:PutTelemetryRecords",
    }
)

# ARNs that may end in a wildcard: a prefix of a bucket, and resources whose ids Bedrock chooses.
_OPEN_ENDED = re.compile(
    r"\$\{\w+Bucket\.(Arn|VectorBucketArn)\}/[a-z-]+/.+"
    r"|arn:\$\{AWS::Partition\}:bedrock:\$\{AWS::Region\}:\$\{AWS::AccountId\}:[a-z-]+/\*"
)
_SUB_REFERENCE = re.compile(r"\$\{([A-Za-z0-9]+)(?:\.[A-Za-z0-9.]+)?\}")
_REFERRING = frozenset({"Ref", "Fn::GetAtt", "Fn::Sub"})
_S3_WRITES = ("s3:Put", "s3:Delete", "s3:Restore", "s3:Replicate")
_SEARCHED = re.compile(r"SEARCH\('\{(?P<schema>[^}]+)\} (?P<terms>[^']+)', '\w+', \d+\)")
_RUNBOOK = re.compile(r"Runbook: docs/operations\.md#(\w+)$")
_VISIBILITY_FACTOR = 6  # AWS's recommendation for queues with a Lambda consumer
_MIN_RECEIVES = 5  # AWS's recommendation, because throttled receives count


@dataclass(frozen=True, slots=True)
class Statement:
    """An Allow statement of a role, with its resources in the syntax of `Fn::Sub`."""

    role: str
    actions: tuple[str, ...]
    resources: tuple[str, ...]
    condition: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class MetricName:
    """Namespace, name and dimension names of a metric."""

    namespace: str
    name: str
    dimensions: frozenset[str]


# Metrics of AWS services that alarms and the dashboard use.
AWS_METRICS = frozenset(
    MetricName(namespace, name, frozenset({dimension}))
    for namespace, dimension, names in (
        ("AWS/Lambda", "FunctionName", ("Invocations", "Errors", "Throttles", "Duration")),
        (
            "AWS/SQS",
            "QueueName",
            ("ApproximateNumberOfMessagesVisible", "ApproximateAgeOfOldestMessage"),
        ),
    )
    for name in names
)


def expand(template_file: Path) -> Template:
    """Return a SAM template and its nested templates as plain CloudFormation, offline.

    Resources of the application `Monitoring` have its name as prefix.
    """
    template = load_template(template_file)
    for resource in template["Resources"].values():
        properties = resource.get("Properties", {})
        for name in ("CodeUri", "ContentUri"):
            if name in properties:  # the translator requires packages
                properties[name] = f"s3://packages/{properties[name]}"
    session = boto3.Session(region_name="us-east-1")
    translator = Translator(None, Parser(), boto_session=session)
    expanded: Template = translator.translate(template, parameter_values={})
    return expanded


@cache
def _expanded(template_file: Path) -> Template:
    return expand(template_file)


def expanded_template() -> Template:
    """Return a copy of the project's expanded template, which is expanded once per process."""
    return copy.deepcopy(_expanded(PROJECT / "template.yaml"))


def of_type(template: Template, type_: str) -> dict[str, Properties]:
    """Return the properties of all resources of one type, by logical id."""
    return {
        logical_id: resource.get("Properties", {})
        for logical_id, resource in template["Resources"].items()
        if resource["Type"] == type_
    }


def render(value: Any) -> str:
    """Return an intrinsic in the syntax of `Fn::Sub`: "${Bucket.Arn}/prompts/*"."""
    if isinstance(value, str):
        return value
    match value:
        case {"Ref": str(logical_id)}:
            return f"${{{logical_id}}}"
        case {"Fn::GetAtt": [*path]}:
            return f"${{{'.'.join(path)}}}"
        case {"Fn::Sub": [str(text), _]} | {"Fn::Sub": str(text)}:
            return text
    return json.dumps(value, sort_keys=True)


def referred(value: Any) -> str | None:
    """Return the first logical id that a value refers to, if any."""
    found = _SUB_REFERENCE.search(render(value))
    return found[1] if found else None


def statements(template: Template) -> Iterator[Statement]:
    """Yield every Allow statement of every role."""
    yield from _statements(of_type(template, "AWS::IAM::Role"))


def _statements(owners: Mapping[str, Properties]) -> Iterator[Statement]:
    for role, properties in owners.items():
        for policy in properties.get("Policies", []):
            for statement in _all_branches(policy["PolicyDocument"]["Statement"]):
                if statement["Effect"] == "Allow":
                    yield Statement(
                        role,
                        tuple(listed(statement.get("Action", "*"))),
                        tuple(render(r) for r in listed(statement.get("Resource", "*"))),
                        statement.get("Condition", {}),
                    )


def _all_branches(entries: list[Any]) -> Iterator[dict[str, Any]]:
    """Yield the statements of both branches of every `Fn::If`."""
    for entry in entries:
        branches = entry["Fn::If"][1:] if "Fn::If" in entry else [entry]
        yield from (branch for branch in branches if "Effect" in branch)


def mismatched_functions(template: Template, folders: set[str], event_files: set[str]) -> list[str]:
    """Each function has its own folder, handler, role, log group, output and golden event."""
    functions = of_type(template, "AWS::Lambda::Function")
    groups = of_type(template, "AWS::Logs::LogGroup")
    by_folder = {_folder(properties): name for name, properties in functions.items()}
    findings = [f"{f}: folder without a function" for f in sorted(folders - set(by_folder))]
    for folder, function in by_folder.items():
        stem = "".join(word.capitalize() for word in folder.split("_"))
        properties = functions[function]
        expected = {
            "folder": folder in folders,
            "logical id": function == f"{stem}Function",
            "handler": properties["Handler"] == "app.lambda_handler",
            "role": properties["Role"] == {"Fn::GetAtt": [f"{stem}Role", "Arn"]},
            "log group": properties["LoggingConfig"].get("LogGroup") == {"Ref": f"{stem}LogGroup"},
            "log retention": "RetentionInDays" in groups.get(f"{stem}LogGroup", {}),
            "output": template["Outputs"].get(f"{stem}FunctionName", {}).get("Value")
            == {"Ref": function},
            "golden event": f"{folder}.json" in event_files,
        }
        findings += [
            f"{folder}: {part} is missing or wrong" for part, ok in expected.items() if not ok
        ]
    return findings


def foreign_policies(template: Template) -> list[str]:
    """Roles use only the inline policies of the template, none of AWS or SAM.

    Managed policies are for people, so the template attaches them to nothing.
    """
    roles = of_type(template, "AWS::IAM::Role")
    findings = [f"{r}: managed policies" for r, p in roles.items() if p.get("ManagedPolicyArns")]
    findings += [
        f"{name}: attached by the template"
        for name, policy in of_type(template, "AWS::IAM::ManagedPolicy").items()
        if policy.keys() & {"Roles", "Users", "Groups"}
    ]
    for type_ in ("AWS::IAM::Policy", "AWS::IAM::RolePolicy"):
        findings += [f"{name}: policy outside of a role" for name in of_type(template, type_)]
    created_by_sam = [
        r
        for r, p in roles.items()
        if any(t["Key"] == "lambda:createdBy" for t in p.get("Tags", []))
    ]
    return findings + [f"{role}: role created by SAM" for role in created_by_sam]


def unbounded_roles(template: Template) -> list[str]:
    """Every role accepts the permissions boundary that an organisation may demand."""
    boundary = {"Ref": "PermissionsBoundaryArn"}
    return [
        f"{role}: no permissions boundary"
        for role, properties in of_type(template, "AWS::IAM::Role").items()
        if boundary not in properties.get("PermissionsBoundary", {}).get("Fn::If", [])
    ]


def wide_grants(template: Template) -> list[str]:
    """Grants have no wildcard actions, and wildcard resources only where ids are unknown."""
    findings = []
    policies = of_type(template, "AWS::IAM::ManagedPolicy")
    of_people = _statements({name: {"Policies": [it]} for name, it in policies.items()})
    for grant in (*statements(template), *of_people):
        where = f"{grant.role} {'+'.join(grant.actions)}"
        if any("*" in action for action in grant.actions):
            findings.append(f"{where}: wildcard action")
        if RESOURCELESS_ACTIONS.issuperset(grant.actions):
            continue
        findings += [
            f"{where}: {resource} is too wide"
            for resource in grant.resources
            if "*" in resource and not _OPEN_ENDED.fullmatch(resource)
        ]
    return findings


def undeliverable_events(template: Template) -> list[str]:
    """Each rule has a retry policy, and a dead-letter queue that accepts its events."""
    findings = []
    for rule, properties in of_type(template, "AWS::Events::Rule").items():
        for target in properties["Targets"]:
            queue = referred(target.get("DeadLetterConfig", {}).get("Arn"))
            if queue is None:
                findings.append(f"{rule}: no dead-letter queue")
            elif rule not in _accepted_sources(template, "AWS::SQS::QueuePolicy", queue, "events"):
                findings.append(f"{rule}: the policy of {queue} denies its events")
            if "RetryPolicy" not in target:
                findings.append(f"{rule}: no retry policy")
    return findings


def lost_messages(template: Template) -> list[str]:
    """Each mapping reports failures per item, has no filter (SQS deletes non-matching messages)
    and limits its concurrency.
    """
    findings = []
    for mapping, properties in of_type(template, "AWS::Lambda::EventSourceMapping").items():
        if "ReportBatchItemFailures" not in properties.get("FunctionResponseTypes", []):
            findings.append(f"{mapping}: does not report failures per item")
        if "FilterCriteria" in properties:
            findings.append(f"{mapping}: filters a work queue")
        if "ScalingConfig" not in properties:
            findings.append(f"{mapping}: no maximum concurrency")
    return findings


def hasty_queues(template: Template) -> list[str]:
    """Queues redeliver only after the function's timeout, and often before they give up."""
    queues = of_type(template, "AWS::SQS::Queue")
    functions = of_type(template, "AWS::Lambda::Function")
    findings = []
    for mapping in of_type(template, "AWS::Lambda::EventSourceMapping").values():
        name, function = referred(mapping["EventSourceArn"]), referred(mapping["FunctionName"])
        queue = queues[name or ""]
        if (
            queue.get("VisibilityTimeout", 30)
            < _VISIBILITY_FACTOR * functions[function or ""]["Timeout"]
        ):
            findings.append(f"{name}: messages become visible while {function} runs")
        redrive = queue.get("RedrivePolicy", {})
        dead_letters = queues.get(referred(redrive.get("deadLetterTargetArn")) or "")
        if dead_letters is None:
            findings.append(f"{name}: no dead-letter queue")
            continue
        if redrive["maxReceiveCount"] < _MIN_RECEIVES:
            findings.append(f"{name}: only {redrive['maxReceiveCount']} receives")
        if dead_letters.get("MessageRetentionPeriod", 345_600) <= queue["MessageRetentionPeriod"]:
            findings.append(f"{name}: dead letters expire as early as messages")
    return findings


def lost_invocations(template: Template) -> list[str]:
    """Functions started by a rule send failed invocations to a queue, and may write to it."""
    settings = {
        referred(properties["FunctionName"]): properties
        for properties in of_type(template, "AWS::Lambda::EventInvokeConfig").values()
    }
    functions = of_type(template, "AWS::Lambda::Function")
    findings = []
    for function in sorted(set(_functions_by_rule(template).values())):
        on_failure = settings.get(function, {}).get("DestinationConfig", {}).get("OnFailure", {})
        queue = referred(on_failure.get("Destination"))
        role = referred(functions[function]["Role"])
        if queue is None:
            findings.append(f"{function}: no OnFailure destination")
        elif not any(
            grant.role == role
            and "sqs:SendMessage" in grant.actions
            and f"${{{queue}.Arn}}" in grant.resources
            for grant in statements(template)
        ):
            findings.append(f"{function}: {role} may not send to {queue}")
    return findings


def public_functions(template: Template) -> list[str]:
    """Function URLs require IAM, and permissions name the resource that may invoke."""
    findings = [
        f"{url}: public"
        for url, properties in of_type(template, "AWS::Lambda::Url").items()
        if properties.get("AuthType") != "AWS_IAM"
    ]
    for name, properties in of_type(template, "AWS::Lambda::Permission").items():
        if properties["Principal"] == "*":
            findings.append(f"{name}: anyone may invoke")
        elif "SourceArn" not in properties:
            findings.append(f"{name}: any resource of {properties['Principal']} may invoke")
    return findings


def event_loops(template: Template) -> list[str]:
    """No rule on S3 events matches a key that a role may write."""
    findings = []
    for rule, properties in of_type(template, "AWS::Events::Rule").items():
        pattern = properties.get("EventPattern", {})
        if "aws.s3" not in pattern.get("source", []):
            continue
        detail = pattern.get("detail", {})
        buckets = [referred(name) for name in detail.get("bucket", {}).get("name", [])]
        prefixes = [_key_prefix(key) for key in detail.get("object", {}).get("key", [""])]
        for grant in statements(template):
            for bucket, written in _written(grant):
                watched = not buckets or bucket in buckets
                if watched and any(_overlap(written, prefix) for prefix in prefixes):
                    findings.append(f"{rule}: {grant.role} may trigger it by writing {written}*")
    return findings


def unguarded_buckets(template: Template) -> list[str]:
    """Every bucket is encrypted, private, versioned, without ACLs, and expires old versions."""
    findings = []
    for bucket, properties in of_type(template, "AWS::S3::Bucket").items():
        block = properties.get("PublicAccessBlockConfiguration", {})
        ownership = properties.get("OwnershipControls", {}).get("Rules", [{}])
        rules = properties.get("LifecycleConfiguration", {}).get("Rules", [])
        guards = {
            "encryption": "BucketEncryption" in properties,
            "public access block": len(block) == 4 and all(v is True for v in block.values()),
            "owner-enforced objects": ownership[0].get("ObjectOwnership") == "BucketOwnerEnforced",
            "versions": properties.get("VersioningConfiguration") == {"Status": "Enabled"},
            "end of unfinished uploads": any("AbortIncompleteMultipartUpload" in r for r in rules),
            "end of old versions": any("NoncurrentVersionExpiration" in r for r in rules),
        }
        findings += [f"{bucket}: no {guard}" for guard, there in guards.items() if not there]
    return findings


def plain_http(template: Template) -> list[str]:
    """Every bucket, queue and topic denies requests without TLS."""
    policies = [
        *of_type(template, "AWS::S3::BucketPolicy").values(),
        *of_type(template, "AWS::SQS::QueuePolicy").values(),
        *of_type(template, "AWS::SNS::TopicPolicy").values(),
    ]
    guarded = {
        referred(resource)
        for policy in policies
        for statement in policy["PolicyDocument"]["Statement"]
        if _denies_plain_http(statement)
        for resource in listed(statement["Resource"])
    }
    owners = [
        *of_type(template, "AWS::S3::Bucket"),
        *of_type(template, "AWS::SQS::Queue"),
        *of_type(template, "AWS::SNS::Topic"),
    ]
    return [f"{name}: accepts requests without TLS" for name in owners if name not in guarded]


def confused_deputies(template: Template) -> list[str]:
    """Bedrock assumes roles only for this account's jobs. PassRole names one role and service."""
    findings = []
    for role, properties in of_type(template, "AWS::IAM::Role").items():
        for trust in properties["AssumeRolePolicyDocument"]["Statement"]:
            if trust["Principal"] == {"Service": "lambda.amazonaws.com"}:
                continue
            keys = {key for operator in trust.get("Condition", {}).values() for key in operator}
            missing = {"aws:SourceAccount", "aws:SourceArn"} - keys
            findings += [f"{role}: trust policy lacks {key}" for key in sorted(missing)]
    for grant in statements(template):
        if "iam:PassRole" not in grant.actions:
            continue
        if "iam:PassedToService" not in grant.condition.get("StringEquals", {}):
            findings.append(f"{grant.role}: may pass roles to any service")
        if not all(re.fullmatch(r"\$\{\w+Role\.Arn\}", r) for r in grant.resources):
            findings.append(f"{grant.role}: may pass other roles")
    return findings


def unencrypted_queues(template: Template) -> list[str]:
    """Every queue is encrypted at rest."""
    return [
        f"{queue}: not encrypted"
        for queue, properties in of_type(template, "AWS::SQS::Queue").items()
        if properties.get("SqsManagedSseEnabled") is not True and "KmsMasterKeyId" not in properties
    ]


def unsafe_tables(template: Template, kept: str, expiring: str) -> list[str]:
    """The table `kept` has backups and outlives the stack. Items of `expiring` expire."""
    resources, tables = template["Resources"], of_type(template, "AWS::DynamoDB::Table")
    recovery = tables[kept].get("PointInTimeRecoverySpecification", {})
    expected = {
        f"{kept}: no point-in-time recovery": recovery.get("PointInTimeRecoveryEnabled") is True,
        f"{kept}: deleted with the stack": "Retain" in resources[kept].get("DeletionPolicy", ""),
        f"{expiring}: items do not expire": tables[expiring]
        .get("TimeToLiveSpecification", {})
        .get("Enabled")
        is True,
    }
    return [finding for finding, ok in expected.items() if not ok]


def open_policies(template: Template) -> list[str]:
    """Policies of buckets, queues and topics allow only services, on behalf of named resources.

    Topics that EventBridge publishes to are the exception: "You can't use Condition blocks in
    Amazon SNS topic policies for EventBridge" (EventBridge user guide, "eb-use-resource-based").
    """
    findings = []
    for type_ in ("AWS::S3::BucketPolicy", "AWS::SQS::QueuePolicy", "AWS::SNS::TopicPolicy"):
        for name, properties in of_type(template, type_).items():
            for statement in properties["PolicyDocument"]["Statement"]:
                if statement["Effect"] != "Allow":
                    continue
                where = f"{name} {statement.get('Sid', '')}"
                if set(statement["Principal"]) != {"Service"}:
                    findings.append(f"{where}: allows more than a service")
                condition = statement.get("Condition", {})
                if _is_of_eventbridge(statement):
                    findings += [f"{where}: EventBridge cannot publish"] if condition else []
                    continue
                keys = {key for operator in condition.values() for key in operator}
                missing = {"aws:SourceAccount", "aws:SourceArn"} - keys
                findings += [f"{where}: lacks the condition {key}" for key in sorted(missing)]
    return findings


def _is_of_eventbridge(statement: Mapping[str, Any]) -> bool:
    """Return whether a statement lets EventBridge publish to a topic."""
    principal = {"Service": "events.amazonaws.com"}
    return bool(statement["Principal"] == principal and statement["Action"] == "sns:Publish")


def unmatched_events(template: Template, source: str, published: set[str]) -> list[str]:
    """Each published event matches a rule, and each rule matches a published event."""
    matched = {
        detail_type
        for properties in of_type(template, "AWS::Events::Rule").values()
        if source in properties.get("EventPattern", {}).get("source", [])
        for detail_type in properties["EventPattern"].get("detail-type", [])
    }
    from_others = {"Object Created"}
    return [f"{name}: no rule matches it" for name in sorted(published - matched)] + [
        f"{name}: nothing publishes it" for name in sorted(matched - published - from_others)
    ]


def unpublished_outcomes(template: Template, outcomes: set[str]) -> list[str]:
    """A rule sends each outcome to a topic that accepts it."""
    rules = of_type(template, "AWS::Events::Rule")
    topics = of_type(template, "AWS::SNS::Topic")
    sent: set[str] = set()
    findings = []
    for rule, properties in rules.items():
        for target in properties["Targets"]:
            topic = referred(target["Arn"])
            if topic not in topics:
                continue
            sent.update(properties["EventPattern"]["detail-type"])
            if not any(
                _is_of_eventbridge(statement) and referred(statement["Resource"]) == topic
                for policy in of_type(template, "AWS::SNS::TopicPolicy").values()
                for statement in policy["PolicyDocument"]["Statement"]
                if statement["Effect"] == "Allow"
            ):
                findings.append(f"{topic}: policy denies {rule}")
    return findings + [f"{name}: no topic gets it" for name in sorted(outcomes - sent)]


def missing_alarms(template: Template, own_metrics: set[str]) -> list[str]:
    """Functions, dead letters and `own_metrics` have alarms on a topic that accepts them.

    SQS stops the metrics of a queue after six idle hours ("monitoring-using-cloudwatch"), so an
    alarm on a queue keeps its state without data. The age of a work queue is not needed: SQS leaves
    messages out of it that were received three times ("sqs-available-cloudwatch-metrics").
    """
    alarms = of_type(template, "AWS::CloudWatch::Alarm")
    watched = {
        (alarm["MetricName"], referred(dimension["Value"]))
        for alarm in alarms.values()
        for dimension in alarm["Dimensions"]
    }
    needed = {
        (metric, function)
        for function in of_type(template, "AWS::Lambda::Function")
        for metric in ("Errors", "Throttles")
    }
    depth, age = "ApproximateNumberOfMessagesVisible", "ApproximateAgeOfOldestMessage"
    needed |= {(metric, queue) for queue in _dead_letters(template) for metric in (depth, age)}
    findings = [f"{of}: no alarm on {metric}" for metric, of in sorted(needed - watched)]
    metrics = {alarm["MetricName"] for alarm in alarms.values()}
    findings += [f"no alarm on {metric}" for metric in sorted(own_metrics - metrics)]
    findings += [
        f"{name}: no state while the metrics of the idle queue stop"
        for name, alarm in alarms.items()
        if alarm["Namespace"] == "AWS/SQS" and alarm.get("TreatMissingData") != "ignore"
    ]
    for name, alarm in alarms.items():
        topics = {referred(action) for action in alarm.get("AlarmActions", [])}
        if not topics:
            findings.append(f"{name}: notifies no topic")
        findings += [
            f"{name}: the policy of {topic} denies it"
            for topic in topics
            if not _accepted_sources(template, "AWS::SNS::TopicPolicy", topic, "cloudwatch")
        ]
    return findings


def alarms_without_runbook(template: Template, sections: set[str]) -> list[str]:
    """Each alarm names a section of the runbook."""
    findings = []
    for name, alarm in of_type(template, "AWS::CloudWatch::Alarm").items():
        found = _RUNBOOK.search(render(alarm["AlarmDescription"]))
        if found is None or found[1] not in sections:
            findings.append(f"{name}: no section of the runbook")
    return findings


def unknown_metrics(template: Template, emitted: set[MetricName]) -> list[str]:
    """Alarms and dashboards use metrics that the code emits, with the service name of the stage."""
    known = emitted | AWS_METRICS
    functions = of_type(template, "AWS::Lambda::Function")
    services = {
        render(function["Environment"]["Variables"]["POWERTOOLS_SERVICE_NAME"])
        for function in functions.values()
    }
    findings = []
    for where, metric, service in _used_metrics(template):
        if metric not in known:
            by = ", ".join(sorted(metric.dimensions))
            findings.append(f"{where}: nothing emits {metric.namespace} {metric.name} by {by}")
        if service is not None and {service} != services:
            findings.append(f"{where}: nothing emits for the service {service}")
    return findings


def unused_metrics(template: Template, emitted: set[MetricName]) -> list[str]:
    """Each metric costs money, so an alarm or a widget uses it."""
    used = {metric for _, metric, _ in _used_metrics(template)}
    return [f"{m.name}: not used" for m in sorted(emitted - used, key=lambda m: m.name)]


def dependency_cycles(template: Template) -> list[str]:
    """No resource depends on itself. cfn-lint does not see the dependencies that SAM adds."""
    resources = template["Resources"]
    graph = {
        name: set(_references(resource)) & set(resources) for name, resource in resources.items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return [" -> ".join(error.args[1])]
    return []


def misrouted_events(
    template: Template, payloads: Mapping[str, Any], names: Mapping[str, str]
) -> list[str]:
    """Each golden event matches the rule of its own function and no other.

    `payloads` holds the events by folder, `names` the values of `Ref`s.
    """
    functions = of_type(template, "AWS::Lambda::Function")
    findings = []
    for rule, function in _functions_by_rule(template).items():
        pattern = template["Resources"][rule]["Properties"].get("EventPattern")
        if pattern is None:
            continue
        own = _folder(functions[function])
        for folder, payload in payloads.items():
            if _matches(pattern, payload, names) != (folder == own):
                verb = "does not match" if folder == own else "matches"
                findings.append(f"{rule}: {verb} the event of {folder}")
    return findings


def _folder(function: Properties) -> str:
    return Path(function["Code"]["S3Key"]).name


def _functions_by_rule(template: Template) -> dict[str, str]:
    functions = of_type(template, "AWS::Lambda::Function")
    return {
        rule: function
        for rule, properties in of_type(template, "AWS::Events::Rule").items()
        for target in properties["Targets"]
        if (function := referred(target["Arn"])) in functions
    }


def _accepted_sources(
    template: Template, type_: str, owner: str | None, service: str
) -> set[str | None]:
    """Return the resources on whose behalf a service may send to a queue or topic."""
    return {
        referred(arn)
        for policy in of_type(template, type_).values()
        if {"Ref": owner} in [*policy.get("Queues", []), *policy.get("Topics", [])]
        for statement in policy["PolicyDocument"]["Statement"]
        if statement["Effect"] == "Allow"
        and statement["Principal"] == {"Service": f"{service}.amazonaws.com"}
        and statement["Action"] in ("sqs:SendMessage", "sns:Publish")
        for operator in ("ArnEquals", "ArnLike")
        for arn in listed(statement["Condition"].get(operator, {}).get("aws:SourceArn", []))
    }


def _dead_letters(template: Template) -> set[str]:
    """Return the dead-letter queues and OnFailure destinations."""
    arns = [
        queue.get("RedrivePolicy", {}).get("deadLetterTargetArn")
        for queue in of_type(template, "AWS::SQS::Queue").values()
    ]
    for rule in of_type(template, "AWS::Events::Rule").values():
        arns += [target.get("DeadLetterConfig", {}).get("Arn") for target in rule["Targets"]]
    for settings in of_type(template, "AWS::Lambda::EventInvokeConfig").values():
        on_failure = settings.get("DestinationConfig", {}).get("OnFailure", {})
        arns.append(on_failure.get("Destination"))
    return {queue for arn in arns if (queue := referred(arn)) is not None}


def _used_metrics(template: Template) -> Iterator[tuple[str, MetricName, str | None]]:
    """Yield alarm or widget, metric, and value of the dimension `service`."""
    for name, alarm in of_type(template, "AWS::CloudWatch::Alarm").items():
        values = {d["Name"]: render(d["Value"]) for d in alarm["Dimensions"]}
        metric = MetricName(alarm["Namespace"], alarm["MetricName"], frozenset(values))
        yield name, metric, values.get("service")
    for name, dashboard in of_type(template, "AWS::CloudWatch::Dashboard").items():
        body = json.loads(render(dashboard["DashboardBody"]))
        for widget in body["widgets"]:
            for row in widget["properties"]["metrics"]:
                metric, service = _widget_metric(row)
                yield f"{name} {widget['properties']['title']}", metric, service


def _widget_metric(row: list[Any]) -> tuple[MetricName, str | None]:
    """Parse a row of a widget: a metric, or a SEARCH expression over a dimension."""
    if isinstance(row[0], dict):
        found = _SEARCHED.match(row[0]["expression"])
        if found is None:
            raise ValueError(f"cannot parse the SEARCH expression: {row[0]['expression']}")
        namespace, *dimensions = found["schema"].split(",")
        terms = dict(re.findall(r'(\w+)="([^"]+)"', found["terms"]))
        name = MetricName(namespace, terms["MetricName"], frozenset(dimensions))
        return name, terms.get("service")
    named = [part for part in row if isinstance(part, str)]
    values = dict(zip(named[2::2], named[3::2], strict=True))
    return MetricName(named[0], named[1], frozenset(values)), values.get("service")


def _denies_plain_http(statement: Mapping[str, Any]) -> bool:
    return (
        statement["Effect"] == "Deny"
        and statement["Principal"] == "*"
        and statement["Action"] in ("s3:*", "sqs:*", "sns:Publish")
        and statement["Condition"] == {"Bool": {"aws:SecureTransport": False}}
    )


def _written(grant: Statement) -> Iterator[tuple[str | None, str]]:
    """Yield bucket and constant key prefix of the objects that a grant allows to write."""
    if any(action.startswith(_S3_WRITES) for action in grant.actions):
        for resource in grant.resources:
            yield referred(resource), resource.partition("/")[2].partition("*")[0]


def _key_prefix(condition: Any) -> str:
    return str(condition["prefix"] if isinstance(condition, dict) else condition)


def _overlap(one: str, other: str) -> bool:
    return one.startswith(other) or other.startswith(one)


def _references(value: Any) -> Iterator[str]:
    """Yield every logical id that a resource refers to, including DependsOn."""
    if isinstance(value, dict):
        yield from listed(value.get("DependsOn", []))
        if _REFERRING.issuperset(value):
            yield from _SUB_REFERENCE.findall(render(value))
        value = list(value.values())
    if isinstance(value, list):
        for part in value:
            yield from _references(part)


def _matches(pattern: Mapping[str, Any], event: Any, names: Mapping[str, str]) -> bool:
    """Match exact values and prefixes as EventBridge does."""
    for field, wanted in pattern.items():
        found = event.get(field) if isinstance(event, dict) else None
        if isinstance(wanted, dict):
            if not _matches(wanted, found, names):
                return False
        elif not any(
            _accepts(condition, one, names)
            for condition in wanted
            for one in (found if isinstance(found, list) else [found])
        ):
            return False
    return True


def _accepts(condition: Any, found: Any, names: Mapping[str, str]) -> bool:
    match condition:
        case {"prefix": str(prefix)}:
            return isinstance(found, str) and found.startswith(prefix)
        case {"Ref": str(name)}:
            return bool(found == names[name])
    return bool(found == condition)
