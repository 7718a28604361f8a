"""The template is deployed as it is, and the differences from AWS are reported."""

from pathlib import Path

import pytest

from local_stack.fidelity import not_emulated, require_known
from local_stack.processes import LocalStackError
from local_stack.template import FUNCTION, SamTemplate
from tests.conftest import TESTS

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
    deployed = template.with_code({"OneFunction": "s3://b/one", "OtherFunction": "s3://b/two"})

    assert deployed["Resources"]["OneFunction"]["Properties"].pop("CodeUri") == "s3://b/one"
    other = deployed["Resources"]["OtherFunction"]["Properties"]
    assert other == {"CodeUri": "s3://b/two"}
    other["CodeUri"] = "other/"
    assert deployed == template.document
    assert deployed["Resources"]["OneFunction"]["Properties"]["Role"] == {
        "Fn::GetAtt": ["Role", "Arn"]
    }


def test_only_what_the_template_uses_is_reported(template: SamTemplate) -> None:
    reported = {item.what for item in not_emulated(template)}

    assert "Serverless::Function Tracing" in reported  # by Globals
    assert "Serverless::Function Events.Properties.DeadLetterConfig" in reported
    assert "Serverless::Function FunctionUrlConfig" not in reported
    assert not [what for what in reported if what.startswith("DynamoDB")]
    assert {"IAM", "Bedrock"} <= reported


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("AWS::SQS::Queue", "AWS::SQS::Cue", "Queue: AWS::SQS::Cue"),
        ("CodeUri: other/", "CodeUrl: other/", "OtherFunction: AWS::Serverless::Function CodeUrl"),
        (
            "Type: AWS::SQS::Queue",
            "Type: AWS::SQS::Queue\n    CreationPolicy: {}",
            "CreationPolicy",
        ),
    ],
)
def test_an_unknown_type_or_property_is_an_error(
    tmp_path: Path, before: str, after: str, message: str
) -> None:
    path = tmp_path / "template.yaml"
    path.write_text(TEMPLATE.replace(before, after))

    with pytest.raises(LocalStackError, match=message):
        require_known(SamTemplate.load(path))


def test_every_type_and_property_of_our_template_is_known(template: SamTemplate) -> None:
    require_known(template)
    require_known(SamTemplate.load(TESTS.parent / "template.yaml"))
