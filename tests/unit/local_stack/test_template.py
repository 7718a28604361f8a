"""Loops and nested applications become one flat template."""

from pathlib import Path
from typing import Any

import pytest

from local_stack.processes import LocalStackError
from local_stack.template import SamTemplate, load_template
from tests.unit.template_checks import PROJECT

LOOP = """
Transform: [AWS::LanguageExtensions, AWS::Serverless-2016-10-31]
Parameters:
  Colours: {Type: CommaDelimitedList, Default: "red,blue"}
Resources:
  RedQueue: {Type: AWS::SQS::Queue}
  BlueQueue: {Type: AWS::SQS::Queue}
  Fn::ForEach::Alarms:
    - Name
    - [Red, Blue]
    - ${Name}Alarm:
        Type: AWS::CloudWatch::Alarm
        Properties:
          AlarmDescription: !Sub ${Name} of ${AWS::StackName}
          Namespace: !Ref Name
          Dimensions:
            - {Name: QueueName, Value: !GetAtt [!Sub "${Name}Queue", QueueName]}
            - {Name: QueueUrl, Value: {Ref: !Sub "${Name}Queue"}}
  Fn::ForEach::Topics:
    - Colour
    - !Ref Colours
    - Fn::ForEach::Sizes:
        - Size
        - ["small-1", "big-2"]
        - ${Colour}&{Size}: {Type: AWS::SNS::Topic}
"""
PARENT = """
Transform: AWS::Serverless-2016-10-31
Parameters:
  Email: {Type: String}
Resources:
  Queue: {Type: AWS::SQS::Queue}
  Monitoring:
    Type: AWS::Serverless::Application
    Properties:
      Location: monitoring.yaml
      Parameters:
        Queue: !GetAtt Queue.QueueName
        Email: !Ref Email
        Limits: "1,2"
        Label: !Join ["-", [!Ref AWS::StackName, label]]
  Rule:
    Type: AWS::Events::Rule
    Properties:
      Targets:
        - {Id: a, Arn: !GetAtt Monitoring.Outputs.TopicArn}
        - {Id: b, Input: !Sub "to ${Monitoring.Outputs.TopicArn}"}
Outputs:
  Topic: {Value: !GetAtt [Monitoring, Outputs.TopicArn]}
"""
NESTED = """
Transform: AWS::LanguageExtensions
Parameters:
  Queue: {Type: String}
  Email: {Type: String}
  Label: {Type: String}
  Limits: {Type: CommaDelimitedList}
  Period: {Type: Number, Default: 60}
Conditions:
  HasEmail: !Not [!Equals [!Ref Email, ""]]
  HasTopic: !And [!Condition HasEmail, !Equals [1, 1]]
Mappings:
  Periods: {long: {seconds: 300}}
Resources:
  Topic:
    Type: AWS::SNS::Topic
    Condition: HasTopic
    Properties:
      DisplayName: !Sub "${Label} of ${Queue} and ${AWS::Region} every ${Period}"
      Subscription: !If [HasEmail, [{Endpoint: !Ref Email}], !Ref AWS::NoValue]
  Fn::ForEach::Alarms:
    - Limit
    - !Ref Limits
    - Alarm${Limit}:
        Type: AWS::CloudWatch::Alarm
        DependsOn: Topic
        Properties:
          AlarmActions: [!Ref Topic]
          Period: !FindInMap [Periods, long, seconds]
          Limits: !Ref Limits
          Dimensions: [{Name: TopicName, Value: !GetAtt Topic.TopicName}]
Outputs:
  TopicArn: {Value: !Ref Topic}
"""


def load(folder: Path, **files: str) -> dict[str, Any]:
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text)
    return load_template(folder / "template.yaml")


def test_a_loop_becomes_one_resource_per_item(tmp_path: Path) -> None:
    template = load(tmp_path, template=LOOP)

    assert template["Transform"] == "AWS::Serverless-2016-10-31"
    assert template["Resources"].keys() == {
        *("RedQueue", "BlueQueue", "RedAlarm", "BlueAlarm"),
        *("redsmall1", "redbig2", "bluesmall1", "bluebig2"),
    }
    assert template["Resources"]["BlueAlarm"]["Properties"] == {
        "AlarmDescription": {"Fn::Sub": "Blue of ${AWS::StackName}"},
        "Namespace": "Blue",
        "Dimensions": [
            {"Name": "QueueName", "Value": {"Fn::GetAtt": ["BlueQueue", "QueueName"]}},
            {"Name": "QueueUrl", "Value": {"Ref": "BlueQueue"}},
        ],
    }


def test_length_and_json_string_are_evaluated(tmp_path: Path) -> None:
    values = """
  Values:
    Type: AWS::SSM::Parameter
    Properties: {Value: {Fn::Length: !Ref Colours}, Other: {Fn::ToJsonString: {a: [1]}}}
"""
    template = load(tmp_path, template=LOOP + values)

    assert template["Resources"]["Values"]["Properties"] == {"Value": 2, "Other": '{"a":[1]}'}


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("AWS::LanguageExtensions, ", "", "needs Transform: AWS::LanguageExtensions"),
        ("!Sub ${Name} of", "${Name} of", "plain string"),
        ("${Name}Alarm:", "Alarm:", "Alarm does not contain"),
        ("[Red, Blue]", "[Red, Red]", "RedAlarm is declared twice"),
        ("[Red, Blue]", "!Ref Unknown", "takes a list"),
    ],
)
def test_a_wrong_loop_is_an_error(tmp_path: Path, before: str, after: str, message: str) -> None:
    with pytest.raises(LocalStackError, match=message):
        load(tmp_path, template=LOOP.replace(before, after))


def test_a_nested_application_becomes_resources_of_the_parent(tmp_path: Path) -> None:
    template = load(tmp_path, template=PARENT, monitoring=NESTED)

    resources = template["Resources"]
    assert resources.keys() == {
        *("Queue", "Rule", "MonitoringTopic", "MonitoringAlarm1", "MonitoringAlarm2")
    }
    assert resources["MonitoringTopic"] == {
        "Type": "AWS::SNS::Topic",
        "Condition": "MonitoringHasTopic",
        "Properties": {
            "DisplayName": {
                "Fn::Sub": [
                    "${Label} of ${Queue.QueueName} and ${AWS::Region} every 60",
                    {"Label": {"Fn::Join": ["-", [{"Ref": "AWS::StackName"}, "label"]]}},
                ]
            },
            "Subscription": {
                "Fn::If": [
                    "MonitoringHasEmail",
                    [{"Endpoint": {"Ref": "Email"}}],
                    {"Ref": "AWS::NoValue"},
                ]
            },
        },
    }
    assert resources["MonitoringAlarm2"] == {
        "Type": "AWS::CloudWatch::Alarm",
        "DependsOn": "MonitoringTopic",
        "Properties": {
            "AlarmActions": [{"Ref": "MonitoringTopic"}],
            "Period": {"Fn::FindInMap": ["MonitoringPeriods", "long", "seconds"]},
            "Limits": ["1", "2"],
            "Dimensions": [
                {
                    "Name": "TopicName",
                    "Value": {"Fn::GetAtt": ["MonitoringTopic", "TopicName"]},
                }
            ],
        },
    }
    assert template["Mappings"] == {"MonitoringPeriods": {"long": {"seconds": 300}}}
    assert template["Conditions"] == {
        "MonitoringHasEmail": {"Fn::Not": [{"Fn::Equals": [{"Ref": "Email"}, ""]}]},
        "MonitoringHasTopic": {
            "Fn::And": [{"Condition": "MonitoringHasEmail"}, {"Fn::Equals": [1, 1]}]
        },
    }


def test_outputs_of_a_nested_application_are_replaced_in_the_parent(tmp_path: Path) -> None:
    template = load(tmp_path, template=PARENT, monitoring=NESTED)

    assert template["Parameters"].keys() == {"Email"}
    assert template["Outputs"] == {"Topic": {"Value": {"Ref": "MonitoringTopic"}}}
    assert template["Resources"]["Rule"]["Properties"]["Targets"] == [
        {"Id": "a", "Arn": {"Ref": "MonitoringTopic"}},
        {"Id": "b", "Input": {"Fn::Sub": "to ${MonitoringTopic}"}},
    ]


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("Location: monitoring.yaml", "Location: missing.yaml", "Location must name"),
        ("Email: !Ref Email", "Mail: !Ref Email", r"no parameters \['Mail'\]"),
        ("Email: !Ref Email\n", "\n", "parameter Email has no value"),
        ("Monitoring.Outputs.TopicArn}", "Monitoring.Outputs.Other}", "no such output"),
        ("Application\n", "Application\n    Condition: Any\n", "cannot nest Condition"),
        ("Queue: {Type", "MonitoringTopic: {Type: A}\n  Queue: {Type", "in the parent too"),
    ],
)
def test_what_cannot_be_inlined_is_an_error(
    tmp_path: Path, before: str, after: str, message: str
) -> None:
    with pytest.raises(LocalStackError, match=message):
        load(tmp_path, template=PARENT.replace(before, after), monitoring=NESTED)


def test_a_nested_section_that_would_get_lost_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(LocalStackError, match="cannot nest Rules"):
        load(tmp_path, template=PARENT, monitoring=NESTED + "Rules: {}\n")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("LocalTier", "onn", "LocalTier=onn is not one of off, shadow, on"),
        ("MaxOutputTokens", "1.5", "MaxOutputTokens=1.5 does not match"),
        ("Locals", "on", "no such parameter: Locals. The template has Stage, "),
    ],
)
def test_a_value_that_cloudformation_refuses_is_an_error(
    name: str, value: str, message: str
) -> None:
    with pytest.raises(LocalStackError, match=message):
        SamTemplate.load(PROJECT / "template.yaml").check_parameters({name: value})


def test_values_that_cloudformation_accepts_are_accepted() -> None:
    values = {"LocalTier": "on", "MaxOutputTokens": "300", "LogRetentionDays": "14"}

    SamTemplate.load(PROJECT / "template.yaml").check_parameters(values)
