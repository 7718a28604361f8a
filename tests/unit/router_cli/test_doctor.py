"""`doctor`: a healthy account has no remedy, and each planted problem is named with its own.

Requests and replies of the fake clients are checked against botocore's service models.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import botocore.session
import pytest
from botocore import xform_name
from botocore.exceptions import ClientError, NoCredentialsError
from botocore.validate import ParamValidator

from router_cli import doctor
from router_cli.__main__ import main
from router_cli.diagnosis.account import BEFORE_DEPLOY
from router_cli.diagnosis.deployed import DEPLOYED
from router_cli.diagnosis.findings import Finding, Status, Subject, diagnose
from tests.records import a_champion
from tests.unit.template_checks import expanded_template

ACCOUNT = "123456789012"
NOW = datetime(2026, 12, 1, tzinfo=UTC)
NAMES = [
    *("ShardPrompts", "StartDistillation", "DeployModel", "TrackRuns", "EvaluateModel"),
    *("PromoteModel", "SplitQueryLog", "RouteQueries", "FinishQueryLog", "RouteApi"),
]
OUTPUTS = {
    "UploadBucketName": "uploads",
    "DataBucketName": "data",
    "StateTableName": "state",
    "CacheTableName": "cache",
    "AlarmTopicArn": f"arn:aws:sns:us-east-1:{ACCOUNT}:alarms",
    "SplitDeadLetterQueueUrl": "https://sqs/splits-dead",
    "EventDeadLetterQueueUrl": "https://sqs/events-dead",
    **{f"{name}FunctionName": name for name in NAMES},
}
Replies = dict[str, Any]
SERVICES = {
    name: botocore.session.get_session().get_service_model(name)
    for name in (
        *("sts", "bedrock", "service-quotas", "lambda", "cloudformation", "s3", "events"),
        *("iam", "sns", "cloudwatch", "sqs"),
    )
}


def healthy() -> Replies:
    """Return the replies of a healthy account by service and operation."""
    role = f"arn:aws:iam::{ACCOUNT}:role/the-role"
    return {
        "sts": {"get_caller_identity": {"Account": ACCOUNT, "Arn": "arn:aws:iam::1:user/me"}},
        "bedrock": {
            "get_foundation_model": {
                "modelDetails": {
                    "modelArn": "arn:aws:bedrock:us-east-1::foundation-model/m",
                    "modelId": "amazon.m",
                    "modelLifecycle": {"status": "ACTIVE"},
                }
            },
            "get_foundation_model_availability": {
                "modelId": "amazon.m",
                "agreementAvailability": {"status": "AVAILABLE"},
                "authorizationStatus": "AUTHORIZED",
                "entitlementAvailability": "AVAILABLE",
                "regionAvailability": "AVAILABLE",
            },
            "list_custom_model_deployments": {"modelDeploymentSummaries": []},
            "get_custom_model_deployment": deployment("modelDeploymentName"),
        },
        "service-quotas": {
            "list_service_quotas": {
                "Quotas": [
                    {
                        "QuotaName": f"On-demand InvokeModel requests per minute for Amazon {name}",
                        "Value": value,
                    }
                    for name, value in (("Nova Micro", 2000.0), ("Nova Pro", 250.0))
                ]
            }
        },
        "lambda": {
            "get_account_settings": {
                "AccountLimit": {
                    "ConcurrentExecutions": 1000,
                    "UnreservedConcurrentExecutions": 1000,
                }
            },
            "get_function_configuration": {"FunctionArn": "arn:aws:lambda:f", "Role": role},
            "list_event_source_mappings": {"EventSourceMappings": [{"State": "Enabled"}]},
        },
        "cloudformation": {
            "describe_stacks": {
                "Stacks": [
                    {
                        "StackName": "search-router-dev",
                        "CreationTime": NOW,
                        "StackStatus": "UPDATE_COMPLETE",
                    }
                ]
            }
        },
        "s3": {"get_bucket_notification_configuration": {"EventBridgeConfiguration": {}}},
        "events": {
            "list_rule_names_by_target": {"RuleNames": ["the-rule"]},
            "describe_rule": {"State": "ENABLED"},
        },
        "iam": {"simulate_principal_policy": simulated("allowed")},
        "sns": {
            "list_subscriptions_by_topic": {
                "Subscriptions": [{"Endpoint": "ops@example.com", "SubscriptionArn": "arn:1"}]
            }
        },
        "cloudwatch": {
            "describe_alarms": {"MetricAlarms": [{"AlarmName": "a", "StateValue": "OK"}]}
        },
        "sqs": {"get_queue_attributes": {"Attributes": {"ApproximateNumberOfMessages": "0"}}},
    }


def simulated(decision: str) -> Callable[..., Any]:
    """Return IAM's reply: this decision about every action."""
    return lambda **request: {
        "EvaluationResults": [
            {"EvalActionName": action, "EvalDecision": decision}
            for action in request["ActionNames"]
        ]
    }


def deployment(name_key: str) -> dict[str, Any]:
    arn = f"arn:aws:bedrock:us-east-1:{ACCOUNT}:"
    return {
        "customModelDeploymentArn": f"{arn}custom-model-deployment/000000000000",
        name_key: "serving",
        "modelArn": f"{arn}custom-model/amazon.m/000000000000",
        "createdAt": NOW,
        "status": "Active",
    }


@dataclass(frozen=True)
class FakeClient:
    """A client with one reply per operation: the reply, a function of the request, or an error."""

    service: str
    replies: Mapping[str, Any]

    def __getattr__(self, operation: str) -> Callable[..., Any]:
        return lambda **request: self._reply(operation, request)

    def get_paginator(self, operation: str) -> "FakePaginator":
        return FakePaginator(self, operation)

    def _reply(self, operation: str, request: dict[str, Any]) -> Any:
        model = SERVICES[self.service]
        names = {xform_name(name): name for name in model.operation_names}
        shapes = model.operation_model(names[operation])
        check(request, shapes.input_shape)
        reply = self.replies[operation]
        if isinstance(reply, Exception):
            raise reply
        reply = deepcopy(reply(**request)) if callable(reply) else reply
        check(reply, shapes.output_shape)
        return reply


@dataclass(frozen=True)
class FakePaginator:
    """One page."""

    client: FakeClient
    operation: str

    def paginate(self, **request: Any) -> Iterator[Any]:
        yield self.client._reply(self.operation, request)


def check(value: Any, shape: Any) -> None:
    if shape is not None:
        assert value.keys() <= shape.members.keys(), (value, shape.name)
        errors = ParamValidator().validate(value, shape)
        assert not errors.has_errors(), errors.generate_report()


@dataclass
class Account:
    """A healthy account in which a test plants problems."""

    replies: Replies = field(default_factory=healthy)
    parameters: dict[str, str] = field(
        default_factory=lambda: {
            name: str(it["Default"]) for name, it in expanded_template()["Parameters"].items()
        }
    )
    region: str = "us-east-1"
    outputs: Mapping[str, str] = field(default_factory=lambda: OUTPUTS)

    def client(self, service: str) -> Any:
        return FakeClient(service, self.replies[service])

    def findings(self) -> list[Finding]:
        subject = Subject(
            self.client, self.region, "search-router-dev", self.parameters, NOW, self.outputs
        )
        return list(diagnose({**BEFORE_DEPLOY, **(DEPLOYED if self.outputs else {})}, subject))


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Account:
    champions = "router_cli.diagnosis.deployed.DynamoChampionRepository.current"
    monkeypatch.setattr(champions, lambda _self: a_champion())
    account = Account()
    account.replies["dynamodb"] = {}
    account.parameters |= {
        "BaselineModelId": "us.anthropic.claude-haiku-4-5-20251001-v1:0",
        "JudgeModelId": "us.anthropic.claude-sonnet-4-6",
    }
    return account


def test_a_healthy_account_needs_no_remedy(account: Account) -> None:
    findings = account.findings()

    assert [it for it in findings if it.status is not Status.OK or it.remedy] == []
    assert len(findings) == 25


def denied(operation: str) -> ClientError:
    error = {"Code": "AccessDenied", "Message": f"not authorized to perform {operation}"}
    return ClientError({"Error": error}, operation)  # type: ignore[typeddict-item]


def replies(path: str, value: Any) -> Callable[[Account], None]:
    """Replace a part of a reply; the steps of the path are keys."""

    def plant(account: Account) -> None:
        *steps, last = path.split("/")
        place = account.replies
        for step in steps:
            place = place[step]
        place[last] = value

    return plant


def parameter(name: str, value: str) -> Callable[[Account], None]:
    return lambda account: account.parameters.update({name: value})


def for_model(part: str, path: str, value: Any) -> Callable[[Account], None]:
    """Replace a part of a reply of Bedrock about the models whose id contains `part`."""
    operation, *steps = path.split("/")

    def plant(account: Account) -> None:
        usual = account.replies["bedrock"][operation]

        def reply(**request: str) -> Any:
            found = deepcopy(usual)
            if part in next(iter(request.values())):
                place = found
                for step in steps[:-1]:
                    place = place[step]
                place[steps[-1]] = value
            return found

        account.replies["bedrock"][operation] = reply

    return plant


LIFECYCLE = "get_foundation_model/modelDetails/modelLifecycle"
AGREEMENT = "get_foundation_model_availability/agreementAvailability"
AUTHORIZATION = "get_foundation_model_availability/authorizationStatus"
RETIRED = {"status": "LEGACY", "endOfLifeTime": NOW - timedelta(days=1)}
UNKNOWN_MODEL = ClientError(
    {"Error": {"Code": "ResourceNotFoundException", "Message": "no"}}, "GetFoundationModel"
)
NO_STACK = ClientError(
    {"Error": {"Code": "ValidationError", "Message": "Stack with id x does not exist"}}, "Describe"
)
STATUS = "cloudformation/describe_stacks"


def in_state(status: str) -> Callable[[Account], None]:
    stack = {"StackName": "s", "CreationTime": NOW, "StackStatus": status}
    return replies(STATUS, {"Stacks": [stack]})


def executions(total: int) -> Callable[[Account], None]:
    limit = {"ConcurrentExecutions": total, "UnreservedConcurrentExecutions": total}
    return replies("lambda/get_account_settings", {"AccountLimit": limit})


def before_the_stack(account: Account) -> None:
    executions(110)(account)
    account.outputs = {}
    account.parameters["RouteApiConcurrency"] = "20"


def elsewhere(account: Account) -> None:
    account.region = "eu-central-1"


B, W, U = Status.BLOCKER, Status.WARNING, Status.UNKNOWN
PROBLEMS: list[tuple[Callable[[Account], None], str, Status, str, str]] = [
    (
        replies("sts/get_caller_identity", NoCredentialsError()),
        *("credentials", B, "Unable to locate credentials", "Sign in"),
    ),
    (elsewhere, "region", B, "eu-central-1", "Use us-east-1"),
    (
        parameter("TeacherModelId", "amazon.nova-lite-v1:0"),
        *("teacher and student", B, "not a teacher", "Use one of"),
    ),
    (
        for_model("nova-pro", LIFECYCLE, RETIRED),
        *("teacher lifecycle", B, "retired on 2026-11-30", "Set another TeacherModelId"),
    ),
    (
        for_model("nova-micro", LIFECYCLE, {"status": "LEGACY"}),
        *("student lifecycle", B, "LEGACY", "Set another StudentModelId"),
    ),
    (
        for_model("haiku", LIFECYCLE, RETIRED),
        *("baseline lifecycle", W, "retired", "Set another BaselineModelId"),
    ),
    (
        replies("bedrock/get_foundation_model", UNKNOWN_MODEL),
        *("judge lifecycle", W, "no such model in us-east-1", "Set another JudgeModelId"),
    ),
    (
        for_model("nova-pro", AGREEMENT, {"status": "NOT_AVAILABLE"}),
        *("teacher access", B, "no agreement", "fill in its form"),
    ),
    (
        for_model("haiku", AGREEMENT, {"status": "PENDING"}),
        *("baseline access", W, "no agreement", "fill in its form"),
    ),
    (
        for_model("nova-micro", AUTHORIZATION, "NOT_AUTHORIZED"),
        *("student access", B, "no authorization", "Request the model"),
    ),
    (
        parameter("RequestsPerMinute", "4000"),
        *("student quota", W, "2,000 a minute", "Set RequestsPerMinute=2000"),
    ),
    (
        parameter("BatchQuotaShare", "0.1"),
        *("teacher quota", W, "250 a minute", "request a higher quota"),
    ),
    (
        replies("service-quotas/list_service_quotas/Quotas", []),
        *("student quota", U, "no quota of nova micro", "Look at Service Quotas"),
    ),
    (
        replies("service-quotas/list_service_quotas", denied("ListServiceQuotas")),
        *("Bedrock quotas", U, "not authorized", "Allow the caller"),
    ),
    (
        replies(
            "bedrock/list_custom_model_deployments/modelDeploymentSummaries",
            [deployment("customModelDeploymentName")] * 10,
        ),
        *("custom model deployments", W, "10 of 10", "Delete a deployment"),
    ),
    (before_the_stack, "Lambda concurrency", B, "must leave 100", "Set RouteApiConcurrency=0"),
    (executions(10), "Lambda concurrency", W, "10 of 10", "Request a higher Lambda quota"),
    (in_state("ROLLBACK_COMPLETE"), "stack", B, "ROLLBACK_COMPLETE", "cleanup --yes"),
    (in_state("UPDATE_IN_PROGRESS"), "stack", B, "UPDATE_IN_PROGRESS", "Wait"),
    (in_state("UPDATE_ROLLBACK_FAILED"), "stack", B, "ROLLBACK_FAILED", "Continue the rollback"),
    (
        replies("s3/get_bucket_notification_configuration", {}),
        *("upload events", B, "uploads sends none", "Deploy again"),
    ),
    (
        replies("events/describe_rule/State", "DISABLED"),
        *("event rules", B, "the-rule", "Enable them"),
    ),
    (
        replies("lambda/list_event_source_mappings/EventSourceMappings", [{"State": "Disabled"}]),
        *("worker", B, "Disabled", "Enable the trigger of RouteQueries"),
    ),
    (
        replies("iam/simulate_principal_policy", simulated("implicitDeny")),
        *("permissions", B, "RouteApi: bedrock:GetCustomModel (implicitDeny)", "boundary"),
    ),
    (
        replies(
            "sns/list_subscriptions_by_topic/Subscriptions",
            [{"Endpoint": "ops@example.com", "SubscriptionArn": "PendingConfirmation"}],
        ),
        *("alarm subscriptions", W, "not confirmed: ops@example.com", "Follow the link"),
    ),
    (
        replies("sns/list_subscriptions_by_topic/Subscriptions", []),
        *("alarm subscriptions", W, "no subscriber", "Set AlarmEmail"),
    ),
    (
        replies(
            "cloudwatch/describe_alarms/MetricAlarms",
            [{"AlarmName": "a", "StateValue": "INSUFFICIENT_DATA"}],
        ),
        *("alarms", W, "INSUFFICIENT_DATA: a", "alarm's metric"),
    ),
    (
        replies(
            "cloudwatch/describe_alarms/MetricAlarms", [{"AlarmName": "a", "StateValue": "ALARM"}]
        ),
        *("alarms", W, "ALARM: a", "runbook"),
    ),
    (
        replies("cloudwatch/describe_alarms/MetricAlarms", []),
        *("alarms", W, "none", "Deploy again"),
    ),
    (
        replies("sqs/get_queue_attributes/Attributes", {"ApproximateNumberOfMessages": "3"}),
        *("EventDeadLetterQueue", W, "3 messages", "search-router redrive"),
    ),
    (
        replies("bedrock/get_custom_model_deployment/status", "Failed"),
        *("champion", B, "Failed", "Roll back"),
    ),
    (
        replies(
            "bedrock/get_custom_model_deployment",
            ClientError({"Error": {"Code": "ResourceNotFoundException"}}, "Get"),
        ),
        *("champion", B, "deleted", "Roll back"),
    ),
]


@pytest.mark.parametrize(
    ("plant", "check", "status", "detail", "remedy"),
    PROBLEMS,
    ids=[f"{check}: {detail}" for _, check, _, detail, _ in PROBLEMS],
)
def test_a_planted_problem_is_named_with_its_remedy(
    account: Account,
    plant: Callable[[Account], None],
    check: str,
    status: Status,
    detail: str,
    remedy: str,
) -> None:
    plant(account)

    (finding,) = [it for it in account.findings() if it.check == check]

    assert finding.status is status
    assert detail in finding.detail
    assert remedy in finding.remedy


def test_every_check_can_fail(account: Account) -> None:
    names = {check for _, check, *_ in PROBLEMS}
    plain = {it.check for it in account.findings()}

    assert plain - names == {"judge access", "SplitDeadLetterQueue"}, "each in a loop with others"


def test_a_stack_that_does_not_exist_yet_is_no_problem(account: Account) -> None:
    account.replies["cloudformation"]["describe_stacks"] = NO_STACK

    (finding,) = [it for it in account.findings() if it.check == "stack"]

    assert finding.status is Status.OK


def test_only_reading_calls_are_made() -> None:
    verbs = ("get_", "list_", "describe_", "simulate_")
    operations = [name for service in healthy().values() for name in service]
    assert all(name.startswith(verbs) for name in operations)


def test_the_exit_code_is_1_for_a_blocker_and_json_is_one_object(
    account: Account, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(doctor, "_client", lambda _profile, _region: account.client)

    assert main(["doctor", "--before-deploy", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["blockers"] == 0
    assert found["findings"][0]["check"] == "credentials"

    in_state("ROLLBACK_COMPLETE")(account)
    assert main(["doctor", "--before-deploy"]) == 1
    assert "ROLLBACK_COMPLETE" in capsys.readouterr().out


@pytest.mark.parametrize("wrong", ["RequestsPerMinute=1.5", "Locals=on", "LocalTier=maybe"])
def test_a_wrong_parameter_is_an_error(
    account: Account,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    wrong: str,
) -> None:
    monkeypatch.setattr(doctor, "_client", lambda _profile, _region: account.client)

    assert main(["doctor", "--before-deploy", "--parameter", wrong]) == 1
    assert wrong.partition("=")[0] in capsys.readouterr().err
