"""Conditions and resource policies of the template, which the local stack does not evaluate.

The expanded template is resolved with example names and evaluated by tests/policies.py. Not
tested: session policies, service control policies, KMS, and whether Bedrock and EventBridge send
the condition keys that AWS documents.
"""

import copy
from typing import Any

import pytest

from tests.expanded_template import ACCOUNT, REGION, Resolver
from tests.policies import Request, is_allowed, matches
from tests.unit.template_checks import expanded_template

STRANGER = "999999999999"
TOPICS = {name: f"arn:aws:sns:{REGION}:{ACCOUNT}:{name}" for name in ("AlarmTopic", "NewsTopic")}


@pytest.fixture(scope="module")
def resolver() -> Resolver:
    document = expanded_template()
    names = {name: f"the-{name.lower()}" for name in document["Resources"]}
    names |= {f"Monitoring{name}": arn for name, arn in TOPICS.items()}
    return Resolver(document, {}, names, "the-stack", {})


def role_statements(resolver: Resolver, role: str) -> list[dict[str, Any]]:
    properties = resolver.resolve(resolver.document["Resources"][role]["Properties"])
    return [s for policy in properties["Policies"] for s in policy["PolicyDocument"]["Statement"]]


def policy_statements(resolver: Resolver, policy: str) -> list[dict[str, Any]]:
    properties = resolver.document["Resources"][policy]["Properties"]
    statements: list[dict[str, Any]] = resolver.resolve(properties["PolicyDocument"])["Statement"]
    return statements


def trust(resolver: Resolver, role: str) -> list[dict[str, Any]]:
    properties = resolver.document["Resources"][role]["Properties"]
    return resolver.resolve(properties["AssumeRolePolicyDocument"])["Statement"]  # type: ignore[no-any-return]


def arn_of(resolver: Resolver, name: str) -> str:
    return str(resolver.resolve({"Fn::GetAtt": [name, "Arn"]}))


# --- PassRole and PutEvents -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("role", "service", "allowed"),
    [
        ("DistillationRole", "bedrock.amazonaws.com", True),
        ("DistillationRole", "lambda.amazonaws.com", False),
        ("DistillationRole", None, False),
        ("EvaluationRole", "bedrock.amazonaws.com", False),
        ("TrackRunsRole", "bedrock.amazonaws.com", False),
    ],
)
def test_only_the_distillation_role_is_passed_and_only_to_bedrock(
    role: str, service: str | None, allowed: bool, resolver: Resolver
) -> None:
    context = {"iam:PassedToService": service} if service else {}
    request = Request("iam:PassRole", arn_of(resolver, role), context)
    assert is_allowed(role_statements(resolver, "StartDistillationRole"), request) is allowed


def test_no_other_function_passes_a_role(resolver: Resolver) -> None:
    request = Request(
        "iam:PassRole",
        arn_of(resolver, "DistillationRole"),
        {"iam:PassedToService": "bedrock.amazonaws.com"},
    )
    roles = [
        name
        for name, resource in resolver.document["Resources"].items()
        if resource["Type"] == "AWS::IAM::Role"
        and is_allowed(role_statements(resolver, name), request)
    ]
    assert roles == ["StartDistillationRole"]


@pytest.mark.parametrize(
    ("source", "allowed"), [("search-router", True), ("aws.s3", False), (None, False)]
)
def test_a_function_publishes_only_its_own_source(
    source: str | None, allowed: bool, resolver: Resolver
) -> None:
    bus = f"arn:aws:events:{REGION}:{ACCOUNT}:event-bus/default"
    context = {"events:source": source} if source else {}
    request = Request("events:PutEvents", bus, context)
    assert is_allowed(role_statements(resolver, "TrackRunsRole"), request) is allowed


@pytest.mark.parametrize(
    ("prefix", "allowed"), [("logs/log-1/", True), ("runs/", False), (None, False)]
)
def test_finish_query_log_lists_logs_only(
    prefix: str | None, allowed: bool, resolver: Resolver
) -> None:
    context = {"s3:prefix": prefix} if prefix else {}
    request = Request("s3:ListBucket", arn_of(resolver, "DataBucket"), context)
    assert is_allowed(role_statements(resolver, "FinishQueryLogRole"), request) is allowed


# --- Who may assume the roles ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("role", "job"),
    [
        ("DistillationRole", "model-customization-job/abc"),
        ("EvaluationRole", "evaluation-job/abc"),
    ],
)
def test_bedrock_assumes_a_role_only_for_jobs_of_the_account(
    role: str, job: str, resolver: Resolver
) -> None:
    def may_assume(account: str, source: str, service: str = "bedrock.amazonaws.com") -> bool:
        context = {"aws:SourceAccount": account, "aws:SourceArn": source}
        return is_allowed(
            trust(resolver, role), Request("sts:AssumeRole", "", context, principal=service)
        )

    ours = f"arn:aws:bedrock:{REGION}:{ACCOUNT}:{job}"
    assert may_assume(ACCOUNT, ours)
    assert not may_assume(STRANGER, ours)
    assert not may_assume(ACCOUNT, ours.replace(ACCOUNT, STRANGER))
    assert not may_assume(ACCOUNT, f"arn:aws:bedrock:{REGION}:{ACCOUNT}:guardrail/abc")
    assert not may_assume(ACCOUNT, ours, service="lambda.amazonaws.com")
    no_source = Request("sts:AssumeRole", "", {}, principal="bedrock.amazonaws.com")
    assert not is_allowed(trust(resolver, role), no_source)


# --- Policies of buckets and queues ---------------------------------------------------------------


@pytest.mark.parametrize("bucket", ["UploadBucket", "DataBucket"])
def test_a_bucket_policy_only_denies_plain_http(bucket: str, resolver: Resolver) -> None:
    (statement,) = policy_statements(resolver, f"{bucket}Policy")
    assert statement["Effect"] == "Deny"
    for resource in (arn_of(resolver, bucket), arn_of(resolver, bucket) + "/prompts/x.jsonl"):
        for action in ("s3:GetObject", "s3:PutObject", "s3:ListBucket"):
            assert matches(statement, Request(action, resource, {"aws:SecureTransport": "false"}))
            assert not matches(
                statement, Request(action, resource, {"aws:SecureTransport": "true"})
            )


@pytest.mark.parametrize("queue", ["SplitQueue", "SplitDeadLetterQueue", "EventDeadLetterQueue"])
def test_a_queue_denies_plain_http(queue: str, resolver: Resolver) -> None:
    statements = policy_statements(resolver, f"{queue}Policy")
    context = {"aws:SecureTransport": "false"}
    request = Request("sqs:SendMessage", arn_of(resolver, queue), context)
    assert any(s["Effect"] == "Deny" and matches(s, request) for s in statements)


def test_only_rules_of_the_stack_send_dead_letters(resolver: Resolver) -> None:
    statements = policy_statements(resolver, "EventDeadLetterQueuePolicy")
    rules = [
        name
        for name, resource in resolver.document["Resources"].items()
        if resource["Type"] == "AWS::Events::Rule"
    ]

    def accepts(account: str, rule: str, service: str = "events.amazonaws.com") -> bool:
        context = {
            "aws:SourceAccount": account,
            "aws:SourceArn": rule,
            "aws:SecureTransport": "true",
        }
        queue = arn_of(resolver, "EventDeadLetterQueue")
        request = Request("sqs:SendMessage", queue, context, principal=service)
        return is_allowed(statements, request)

    assert rules
    for rule in rules:
        assert accepts(ACCOUNT, arn_of(resolver, rule))
        assert not accepts(STRANGER, arn_of(resolver, rule))
        assert not accepts(ACCOUNT, arn_of(resolver, rule), service="sns.amazonaws.com")
    assert not accepts(ACCOUNT, f"arn:aws:events:{REGION}:{ACCOUNT}:rule/other")


ALARM = f"arn:aws:cloudwatch:{REGION}:{ACCOUNT}:alarm:the-stack-X-1A2B"
RULE = f"arn:aws:events:{REGION}:{ACCOUNT}:rule/the-rule"


@pytest.mark.parametrize(
    ("topic", "service", "source", "allowed"),
    [
        ("AlarmTopic", "cloudwatch", ALARM, True),
        ("AlarmTopic", "cloudwatch", ALARM.replace("the-stack", "other"), False),
        ("AlarmTopic", "cloudwatch", ALARM.replace(ACCOUNT, STRANGER), False),
        ("AlarmTopic", "events", RULE, False),
        ("NewsTopic", "events", RULE, True),
        ("NewsTopic", "cloudwatch", ALARM, False),
        ("NewsTopic", "s3", RULE, False),
    ],
)
def test_a_topic_accepts_its_own_service(
    topic: str, service: str, source: str, allowed: bool, resolver: Resolver
) -> None:
    statements = policy_statements(resolver, f"Monitoring{topic}Policy")

    def accepts(**context: str) -> bool:
        principal = f"{service}.amazonaws.com"
        return is_allowed(statements, Request("sns:Publish", TOPICS[topic], context, principal))

    named = {"aws:SourceAccount": ACCOUNT, "aws:SourceArn": source}
    assert accepts(**named, **{"aws:SecureTransport": "true"}) is allowed
    assert not accepts(**named, **{"aws:SecureTransport": "false"})
    strange = {"aws:SourceAccount": STRANGER, "aws:SourceArn": source}
    if topic == "AlarmTopic":
        assert not accepts(**strange, **{"aws:SecureTransport": "true"})


def test_events_are_accepted_without_condition_keys(resolver: Resolver) -> None:
    """EventBridge may send none of them to a topic."""
    statements = policy_statements(resolver, "MonitoringNewsTopicPolicy")
    context = {"aws:SecureTransport": "true"}

    assert is_allowed(
        statements,
        Request("sns:Publish", TOPICS["NewsTopic"], context, "events.amazonaws.com"),
    )


# --- The evaluation itself ------------------------------------------------------------------------


def test_a_missing_condition_is_found(resolver: Resolver) -> None:
    statements = copy.deepcopy(role_statements(resolver, "StartDistillationRole"))
    request = Request("iam:PassRole", arn_of(resolver, "DistillationRole"))
    assert not is_allowed(statements, request)
    for statement in statements:
        if statement["Sid"] == "PassDistillationRole":
            del statement["Condition"]
    assert is_allowed(statements, request)


ALLOW = {"Effect": "Allow", "Action": "s3:Get*", "Resource": "arn:aws:s3:::b/a?c/*"}


@pytest.mark.parametrize(
    ("action", "resource", "expected"),
    [
        ("s3:GetObject", "arn:aws:s3:::b/abc/d/e", True),
        ("S3:getobject", "arn:aws:s3:::b/abc/", True),
        ("s3:PutObject", "arn:aws:s3:::b/abc/d", False),
        ("s3:GetObject", "arn:aws:s3:::b/ac/d", False),
        ("s3:GetObject", "arn:aws:s3:::B/abc/d", False),
        ("s3:GetObject", "arn:aws:s3:::b/abcd", False),
    ],
)
def test_wildcards_match(action: str, resource: str, expected: bool) -> None:
    assert is_allowed([ALLOW], Request(action, resource)) is expected


def test_a_deny_wins() -> None:
    deny = {"Effect": "Deny", "Action": "s3:*", "Resource": "*"}
    assert not is_allowed([ALLOW, deny], Request("s3:GetObject", "arn:aws:s3:::b/abc/d"))


@pytest.mark.parametrize(
    "statement",
    [
        {"Effect": "Allow", "NotAction": "s3:*", "Action": "s3:*", "Resource": "*"},
        {"Effect": "Allow", "Action": "*", "Condition": {"DateLessThan": {"aws:CurrentTime": "x"}}},
        {"Effect": "Allow", "Action": "*", "Principal": {"AWS": "*"}},
    ],
)
def test_unknown_elements_are_errors(statement: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="cannot evaluate"):
        matches(statement, Request("s3:GetObject", "arn:aws:s3:::b/abc/d"))
