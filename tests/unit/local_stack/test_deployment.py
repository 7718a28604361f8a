"""What the emulator drops is set afterwards, and what stays out is said."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from local_stack.deployment import DeployedStack, _lifecycle_rule, apply_dropped_properties
from local_stack.fidelity import not_emulated
from local_stack.processes import LocalStackError
from local_stack.template import FUNCTION, SamTemplate

ROOT = Path(__file__).parents[3]
TEMPLATE = """
Transform: AWS::Serverless-2016-10-31
Globals:
  Function:
    CodeUri: code/
    Tracing: Active
Resources:
  OneFunction:
    Type: AWS::Serverless::Function
    Properties:
      Role: !GetAtt Role.Arn
      Events:
        Uploaded:
          Type: EventBridgeRule
          Properties:
            DeadLetterConfig: {Arn: !GetAtt Queue.Arn}
  OtherFunction:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: other/
  Queue:
    Type: AWS::SQS::Queue
"""


@pytest.fixture
def template(tmp_path: Path) -> SamTemplate:
    for folder in ("code", "other"):
        (tmp_path / folder).mkdir()
    path = tmp_path / "template.yaml"
    path.write_text(TEMPLATE)
    return SamTemplate.load(path)


def test_code_is_found_in_the_resource_or_in_globals(template: SamTemplate, tmp_path: Path) -> None:
    assert template.code_folders(FUNCTION) == {
        "OneFunction": tmp_path / "code",
        "OtherFunction": tmp_path / "other",
    }


def test_a_missing_code_folder_is_named(template: SamTemplate, tmp_path: Path) -> None:
    (tmp_path / "other").rmdir()

    with pytest.raises(LocalStackError, match="OtherFunction: CodeUri must name a folder"):
        template.code_folders(FUNCTION)


def test_only_the_code_addresses_differ_in_what_is_deployed(template: SamTemplate) -> None:
    deployed = template.pointing_at({"OneFunction": "s3://b/one", "OtherFunction": "s3://b/two"})

    assert deployed["Resources"]["OneFunction"]["Properties"].pop("CodeUri") == "s3://b/one"
    other = deployed["Resources"]["OtherFunction"]["Properties"]
    assert other == {"CodeUri": "s3://b/two"}
    other["CodeUri"] = "other/"
    assert deployed == template.document
    assert deployed["Resources"]["OneFunction"]["Properties"]["Role"] == {
        "Fn::GetAtt": ["Role", "Arn"]
    }


@pytest.mark.parametrize(("limit", "reserved"), [("20", 20), ("0", None)])
def test_what_the_emulator_drops_is_set_as_the_parameters_ask(
    limit: str, reserved: int | None
) -> None:
    # GIVEN the project's own template and an account that can or cannot reserve concurrency
    template = SamTemplate.load(ROOT / "template.yaml")
    stack = DeployedStack({}, {"RouteApiFunction": "api"}, {"RouteApiConcurrency": limit})
    lambda_ = FakeLambda()
    clients: Any = SimpleNamespace(client=lambda _: lambda_)
    # WHEN what the emulator's CloudFormation drops is set through the APIs
    apply_dropped_properties(clients, template, stack, "the-stack")
    # THEN only what is asked for is reserved
    assert lambda_.reserved == ({} if reserved is None else {"api": reserved})


class FakeLambda:
    def __init__(self) -> None:
        self.reserved: dict[str, int] = {}

    def put_function_concurrency(self, **request: Any) -> None:
        self.reserved[request["FunctionName"]] = request["ReservedConcurrentExecutions"]


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (
            {"Id": "a", "Status": "Enabled", "ExpiredObjectDeleteMarker": True},
            {
                "ID": "a",
                "Status": "Enabled",
                "Filter": {"Prefix": ""},
                "Expiration": {"ExpiredObjectDeleteMarker": True},
            },
        ),
        (
            {"Id": "b", "Status": "Enabled", "Prefix": "logs/", "ExpirationInDays": 3},
            {
                "ID": "b",
                "Status": "Enabled",
                "Filter": {"Prefix": "logs/"},
                "Expiration": {"Days": 3},
            },
        ),
    ],
)
def test_lifecycle_rules_take_the_form_of_the_api(
    rule: dict[str, Any], expected: dict[str, Any]
) -> None:
    assert _lifecycle_rule(rule) == expected


def test_an_unknown_lifecycle_property_is_not_dropped_in_silence() -> None:
    with pytest.raises(LocalStackError, match="Transitions"):
        _lifecycle_rule({"Id": "a", "Status": "Enabled", "Transitions": []})


def test_only_what_the_template_uses_is_reported(template: SamTemplate) -> None:
    reported = {item.what for item in not_emulated(template)}

    assert "Serverless::Function Tracing" in reported  # by Globals
    assert "Serverless::Function Events.Properties.DeadLetterConfig" in reported
    assert "Serverless::Function FunctionUrlConfig" not in reported
    assert not [what for what in reported if what.startswith("DynamoDB")]
    assert {"IAM", "Bedrock"} <= reported
