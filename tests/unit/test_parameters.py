"""Parameters: each value that CloudFormation accepts is one that the functions accept."""

import re
from typing import Any

import pytest

from search_router.settings import Settings
from tests.expanded_template import ACCOUNT, REGION, Resolver
from tests.policies import Request, is_allowed
from tests.unit.template_checks import expanded_template

PARAMETERS: dict[str, Any] = expanded_template()["Parameters"]
VARIABLES: dict[str, Any] = expanded_template()["Resources"]["RouteApiFunction"]["Properties"][
    "Environment"
]["Variables"]
WHOLE = {
    VARIABLES[name.upper()]["Ref"]
    for name, setting in Settings.model_fields.items()
    if setting.annotation is int
} | {"RouteApiConcurrency"}


def accepts(parameter: str, value: str) -> bool:
    return re.search(PARAMETERS[parameter]["AllowedPattern"], value) is not None


def test_the_settings_have_whole_numbers() -> None:
    assert {"RequestsPerMinute", "RouteConcurrency", "MaxOutputTokens", "CacheTtlDays"} <= WHOLE


@pytest.mark.parametrize("parameter", sorted(WHOLE))
def test_a_whole_number_has_no_fraction(parameter: str) -> None:
    """CloudFormation's Number takes 1.5, with which every function would fail at its import."""
    assert PARAMETERS[parameter]["Type"] == "String"
    assert accepts(parameter, PARAMETERS[parameter]["Default"])
    assert accepts(parameter, "100")
    for wrong in ("1.5", "20.0", "-1", "", "1e3", " 20", "02"):
        assert not accepts(parameter, wrong), wrong


@pytest.mark.parametrize(
    ("parameter", "value", "accepted"),
    [
        ("MaxOutputTokens", "16", True),
        ("MaxOutputTokens", "15", False),
        ("MaxOutputTokens", "5000", True),
        ("MaxOutputTokens", "5001", False),
        ("RouteConcurrency", "1", False),
        ("RouteConcurrency", "2", True),
        ("RouteConcurrency", "101", False),
        ("RouteApiConcurrency", "0", True),
        ("Stage", "pre-prod2", True),
        ("Stage", "Prod", False),
        ("Stage", "a" * 33, False),
        ("PermissionsBoundaryArn", "arn:aws:iam::123456789012:policy/a/boundary", True),
        ("PermissionsBoundaryArn", "boundary", False),
        ("ResourceTags", "team=search,cost-centre=42", True),
        ("ResourceTags", "team", False),
    ],
)
def test_a_value_is_accepted_or_not(parameter: str, value: str, accepted: bool) -> None:
    assert accepts(parameter, value) is accepted


def test_a_new_account_can_deploy_the_defaults() -> None:
    """Its Lambda quota of 10 leaves nothing to reserve, and a failed creation must be deleted."""
    for api in ("RouteApi", "SearchApi"):
        assert PARAMETERS[f"{api}Concurrency"]["Default"] == "0"


def test_tags_reach_the_functions_and_are_parsed() -> None:
    assert VARIABLES["RESOURCE_TAGS"] == {"Ref": "ResourceTags"}
    parsed = Settings.model_validate(_SETTINGS | {"resource_tags": "team=search,cost centre=42"})
    assert parsed.tags == (
        ("UseCase", "search-router"),
        ("Stage", "dev"),
        ("team", "search"),
        ("cost centre", "42"),
    )


_SETTINGS = {
    name: {"stage": "dev", "modalities": "visual,audio"}.get(name)
    or PARAMETERS.get(VARIABLES.get(name.upper(), {}).get("Ref", ""), {}).get("Default", "x")
    for name in Settings.model_fields
    if name not in ("aws_region", "event_bus_name", "stack_name", "promotion_policy")
} | {
    "aws_region": REGION,
    "event_bus_name": "default",
    "stack_name": "s",
    "promotion_policy": "automatic",
}


# --- Policies for people --------------------------------------------------------------------------


def is_granted(action: str, resource: str, *policies: str) -> bool:
    document = expanded_template()
    names = {name: f"the-{name.lower()}" for name in document["Resources"]}
    resolver = Resolver(document, {}, names, "the-stack", {})
    statements = [
        statement
        for policy in policies
        for statement in resolver.resolve(document["Resources"][policy]["Properties"])[
            "PolicyDocument"
        ]["Statement"]
    ]
    return is_allowed(statements, Request(action, resource))


API = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:the-routeapifunction"
STATE = f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/the-statetable"
DEAD = f"arn:aws:sqs:{REGION}:{ACCOUNT}:the-eventdeadletterqueue"


@pytest.mark.parametrize(
    ("policy", "action", "resource", "granted"),
    [
        ("ApiCallerPolicy", "lambda:InvokeFunctionUrl", API, True),
        ("ApiCallerPolicy", "lambda:InvokeFunction", API, True),
        ("ApiCallerPolicy", "s3:GetObject", "arn:aws:s3:::the-databucket/logs/a", False),
        ("UploaderPolicy", "s3:PutObject", "arn:aws:s3:::the-uploadbucket/prompts/a.jsonl", True),
        ("UploaderPolicy", "s3:PutObject", "arn:aws:s3:::the-databucket/models/local/a", False),
        ("UploaderPolicy", "s3:GetObject", "arn:aws:s3:::the-databucket/logs/l/parts/p", True),
        ("UploaderPolicy", "dynamodb:Query", STATE, True),
        ("UploaderPolicy", "dynamodb:PutItem", STATE, False),
        ("OperatorPolicy", "dynamodb:PutItem", STATE, True),
        ("OperatorPolicy", "dynamodb:DeleteItem", STATE, False),
        ("OperatorPolicy", "sqs:ReceiveMessage", DEAD, True),
        ("OperatorPolicy", "sqs:PurgeQueue", DEAD, False),
        ("OperatorPolicy", "lambda:InvokeFunction", API, False),
    ],
)
def test_a_policy_for_people_grants_its_work_only(
    policy: str, action: str, resource: str, granted: bool
) -> None:
    assert is_granted(action, resource, policy) is granted
