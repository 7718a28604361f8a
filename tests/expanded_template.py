"""The template as plain CloudFormation, with its intrinsics resolved for one deployed stack.

It uses SAM's translator and the physical ids only, not the emulator's CloudFormation.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import boto3
from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator

from local_stack.connection import StackConnection
from local_stack.processes import CALLER, LocalStackError
from local_stack.state_file import STACK_NAME
from local_stack.template import CODE_PROPERTY, SamTemplate

ACCOUNT = "000000000000"
REGION = CALLER["AWS_DEFAULT_REGION"]
Document = dict[str, Any]

_NO_VALUE = SimpleNamespace()
_SUB_VARIABLE = re.compile(r"\$\{([^!}][^}]*)\}")


def expand(template: SamTemplate, addresses: Mapping[str, str]) -> Document:
    """Translate to plain CloudFormation, with the S3 addresses of the code by logical id."""
    session = boto3.Session(
        region_name=REGION,
        aws_access_key_id=CALLER["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=CALLER["AWS_SECRET_ACCESS_KEY"],
    )
    translator = Translator(None, Parser(), boto_session=session)
    document: Document = translator.translate(template.with_code(addresses), parameter_values={})
    return document


@dataclass(frozen=True)
class Resolver:
    """Replaces the intrinsics of an expanded template by their values in one deployed stack.

    `attributes` holds values that do not follow from a physical id, by (logical id, attribute).
    Raises `LocalStackError` for an unknown intrinsic, name or attribute.
    """

    document: Document
    parameters: Mapping[str, str]
    physical_ids: Mapping[str, str]
    stack_name: str
    attributes: Mapping[tuple[str, str], str]

    def resolve(self, value: Any) -> Any:
        """Return `value` without intrinsics and without `AWS::NoValue`."""
        if isinstance(value, list):
            parts = [self.resolve(part) for part in value]
            return [part for part in parts if part is not _NO_VALUE]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            (name, argument) = next(iter(value.items()))
            if name in self._intrinsics:
                return self._intrinsics[name](argument)
            if name.startswith("Fn::"):
                raise LocalStackError(f"cannot resolve {json.dumps(value)}")
        resolved = {key: self.resolve(part) for key, part in value.items()}
        return {key: part for key, part in resolved.items() if part is not _NO_VALUE}

    def holds(self, condition: str | None) -> bool:
        """Return the value of a named condition, or True for None."""
        return condition is None or self._is_true(self.document["Conditions"][condition])

    @property
    def _intrinsics(self) -> Mapping[str, Callable[[Any], Any]]:
        return {
            "Ref": self._ref,
            "Fn::GetAtt": self._get_att,
            "Fn::Sub": self._sub,
            "Fn::Join": self._join,
            "Fn::Select": lambda parts: self.resolve(parts[1])[int(parts[0])],
            "Fn::Split": lambda parts: self.resolve(parts[1]).split(parts[0]),
            "Fn::If": self._if,
        }

    def _ref(self, name: str) -> Any:
        pseudo = {
            "AWS::AccountId": ACCOUNT,
            "AWS::Partition": "aws",
            "AWS::Region": REGION,
            "AWS::StackName": self.stack_name,
            "AWS::StackId": f"arn:aws:cloudformation:{REGION}:{ACCOUNT}:stack/{self.stack_name}/0",
            "AWS::URLSuffix": "amazonaws.com",
            "AWS::NoValue": _NO_VALUE,
        }
        defaults = self.document.get("Parameters", {})
        if name in pseudo:
            return pseudo[name]
        if name in self.parameters:
            return self.parameters[name]
        if name in defaults:
            return str(defaults[name]["Default"])
        if name in self.physical_ids:
            return self.physical_ids[name]
        raise LocalStackError(f"{name} is neither a parameter nor a deployed resource")

    def _get_att(self, path: str | list[str]) -> str:
        name, _, attribute = (path if isinstance(path, str) else ".".join(path)).partition(".")
        if (name, attribute) in self.attributes:
            return self.attributes[name, attribute]
        type_ = self.document["Resources"][name]["Type"]
        if (type_, attribute) not in _ATTRIBUTES or name not in self.physical_ids:
            raise LocalStackError(f"cannot resolve {attribute} of {name} ({type_})")
        id_ = self.physical_ids[name]
        return _ATTRIBUTES[type_, attribute].format(id=id_, last=re.split("[/:]", id_)[-1])

    def _sub(self, argument: str | list[Any]) -> str:
        text, given = (argument, {}) if isinstance(argument, str) else argument

        def value_of(found: re.Match[str]) -> str:
            name = found[1]
            if name in given:
                return str(self.resolve(given[name]))
            return str(self._get_att(name) if "." in name else self._ref(name))

        return _SUB_VARIABLE.sub(value_of, text).replace("${!", "${")

    def _join(self, argument: list[Any]) -> str:
        separator: str = argument[0]
        return separator.join(str(part) for part in self.resolve(argument[1]))

    def _if(self, argument: list[Any]) -> Any:
        condition, then, otherwise = argument
        return self.resolve(then if self.holds(condition) else otherwise)

    def _is_true(self, condition: Mapping[str, Any]) -> bool:
        (name, argument) = next(iter(condition.items()))
        match name:
            case "Condition":
                return self.holds(argument)
            case "Fn::Equals":
                one, other = self.resolve(argument)
                return bool(str(one) == str(other))
            case "Fn::Not":
                return not self._is_true(argument[0])
            case "Fn::And":
                return all(self._is_true(part) for part in argument)
            case "Fn::Or":
                return any(self._is_true(part) for part in argument)
        raise LocalStackError(f"cannot evaluate {json.dumps(condition)}")


_HERE = f"{REGION}:{ACCOUNT}"
_ATTRIBUTES = {
    ("AWS::CloudWatch::Alarm", "Arn"): f"arn:aws:cloudwatch:{_HERE}:alarm:{{id}}",
    ("AWS::DynamoDB::Table", "Arn"): f"arn:aws:dynamodb:{_HERE}:table/{{id}}",
    ("AWS::Events::Rule", "Arn"): f"arn:aws:events:{_HERE}:rule/{{id}}",
    ("AWS::IAM::Role", "Arn"): f"arn:aws:iam::{ACCOUNT}:role/{{id}}",
    ("AWS::Lambda::Function", "Arn"): f"arn:aws:lambda:{_HERE}:function:{{id}}",
    ("AWS::Logs::LogGroup", "Arn"): f"arn:aws:logs:{_HERE}:log-group:{{id}}:*",
    ("AWS::S3::Bucket", "Arn"): "arn:aws:s3:::{id}",
    (
        "AWS::S3Vectors::VectorBucket",
        "VectorBucketArn",
    ): f"arn:aws:s3vectors:{_HERE}:bucket/{{last}}",
    ("AWS::SNS::Topic", "TopicArn"): "{id}",
    ("AWS::SNS::Topic", "TopicName"): "{last}",
    ("AWS::SQS::Queue", "Arn"): f"arn:aws:sqs:{_HERE}:{{last}}",
    ("AWS::SQS::Queue", "QueueName"): "{last}",
    ("AWS::SQS::Queue", "QueueUrl"): "{id}",
}


def expected(
    connection: StackConnection, template: SamTemplate, parameters: Mapping[str, str]
) -> Resolver:
    """Return the expanded template, ready to be resolved for a running stack."""
    cloudformation = connection.client("cloudformation")
    reply = cloudformation.get_template(StackName=STACK_NAME, TemplateStage="Original")
    body = reply["TemplateBody"]
    deployed = (json.loads(body) if isinstance(body, str) else body)["Resources"]
    # The logical id of a layer contains a hash of the address of its code.
    addresses = {
        name: resource["Properties"][CODE_PROPERTY[resource["Type"]]]
        for name, resource in deployed.items()
        if resource["Type"] in CODE_PROPERTY
    }
    document = expand(template, addresses)
    listed = cloudformation.describe_stack_resources(StackName=STACK_NAME)["StackResources"]
    physical_ids = {item["LogicalResourceId"]: item["PhysicalResourceId"] for item in listed}
    urls = {
        (name, "FunctionUrl"): connection.client("lambda").get_function_url_config(
            FunctionName=physical_ids[name]
        )["FunctionUrl"]
        for name, resource in document["Resources"].items()
        if resource["Type"] == "AWS::Lambda::Url" and name in physical_ids
    }
    return Resolver(document, parameters, physical_ids, STACK_NAME, urls)
