"""What a template asks for, resource by resource, without help from the emulator.

The SAM template is translated here and its intrinsics are resolved here, from the parameters and
the physical names only, so that a mistake of the emulator's CloudFormation shows as a difference.
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

from local_stack.environment import CALLER
from local_stack.processes import LocalStackError
from local_stack.template import SamTemplate

ACCOUNT = "000000000000"
REGION = CALLER["AWS_DEFAULT_REGION"]
Document = dict[str, Any]

_NO_VALUE = SimpleNamespace()
_SUB_VARIABLE = re.compile(r"\$\{([^!}][^}]*)\}")


def expand(template: SamTemplate, addresses: Mapping[str, str]) -> Document:
    """Translate into plain CloudFormation; `addresses` are where the code of each id lies."""
    session = boto3.Session(
        region_name=REGION,
        aws_access_key_id=CALLER["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=CALLER["AWS_SECRET_ACCESS_KEY"],
    )
    translator = Translator(None, Parser(), boto_session=session)
    document: Document = translator.translate(template.pointing_at(addresses), parameter_values={})
    return document


@dataclass(frozen=True)
class Resolver:
    """Replaces every intrinsic of an expanded template by its value in one deployed stack.

    `attributes` holds what cannot be told from a physical id, by (logical id, attribute).
    Raises `LocalStackError` for an intrinsic, name or attribute that it does not know.
    """

    document: Document
    parameters: Mapping[str, str]
    physical_ids: Mapping[str, str]
    stack_name: str
    attributes: Mapping[tuple[str, str], str]

    def resolve(self, value: Any) -> Any:
        """Return `value` with intrinsics replaced; what is `AWS::NoValue` is left out."""
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
        """Evaluate a named condition of the template; no name is always true."""
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
            raise LocalStackError(f"cannot tell {attribute} of {name} ({type_})")
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
        raise LocalStackError(f"cannot decide {json.dumps(condition)}")


_HERE = f"{REGION}:{ACCOUNT}"
_ATTRIBUTES = {
    ("AWS::CloudWatch::Alarm", "Arn"): f"arn:aws:cloudwatch:{_HERE}:alarm:{{id}}",
    ("AWS::DynamoDB::Table", "Arn"): f"arn:aws:dynamodb:{_HERE}:table/{{id}}",
    ("AWS::Events::Rule", "Arn"): f"arn:aws:events:{_HERE}:rule/{{id}}",
    ("AWS::IAM::Role", "Arn"): f"arn:aws:iam::{ACCOUNT}:role/{{id}}",
    ("AWS::Lambda::Function", "Arn"): f"arn:aws:lambda:{_HERE}:function:{{id}}",
    ("AWS::Logs::LogGroup", "Arn"): f"arn:aws:logs:{_HERE}:log-group:{{id}}:*",
    ("AWS::S3::Bucket", "Arn"): "arn:aws:s3:::{id}",
    ("AWS::SNS::Topic", "TopicArn"): "{id}",
    ("AWS::SNS::Topic", "TopicName"): "{last}",
    ("AWS::SQS::Queue", "Arn"): f"arn:aws:sqs:{_HERE}:{{last}}",
    ("AWS::SQS::Queue", "QueueName"): "{last}",
    ("AWS::SQS::Queue", "QueueUrl"): "{id}",
}
