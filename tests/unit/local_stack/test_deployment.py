"""What the emulator drops is set afterwards, and what stays out is said."""

from pathlib import Path
from typing import Any

import pytest

from local_stack.deployment import _lifecycle_rule, resolve
from local_stack.fidelity import not_emulated
from local_stack.processes import LocalStackError
from local_stack.template import FUNCTION, SamTemplate

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


def test_parameters_are_resolved_and_nothing_else() -> None:
    value = {"Rules": [{"Days": {"Ref": "Days"}, "Status": "Enabled"}]}

    assert resolve(value, {"Days": "7"}, where="x") == {
        "Rules": [{"Days": "7", "Status": "Enabled"}]
    }
    for unknown in ({"Ref": "Bucket"}, {"Fn::Sub": "${Days}"}):
        with pytest.raises(LocalStackError, match=r"Bucket\.Lifecycle: .*cannot resolve"):
            resolve({"Days": [unknown]}, {"Days": "7"}, where="Bucket.Lifecycle")


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
