"""Reads the SAM template and points its code at uploaded archives."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from samtranslator.yaml_helper import intrinsics_multi_constructor

from local_stack.flattening import (
    APPLICATION,
    expand_language_extensions,
    inline_application,
)
from local_stack.processes import LocalStackError

FUNCTION = "AWS::Serverless::Function"
LAYER = "AWS::Serverless::LayerVersion"
CODE_PROPERTY = {FUNCTION: "CodeUri", LAYER: "ContentUri"}


class _Loader(yaml.CSafeLoader):  # type: ignore[misc]  # untyped
    """libyaml's safe loader with CloudFormation's tags; SAM's own is ten times slower."""


_Loader.add_multi_constructor("!", intrinsics_multi_constructor)


def load_template(path: Path, parameters: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return a SAM template as one flat document, in which short intrinsics (`!Ref`) are long.

    Loops (`Fn::ForEach`) are expanded, with `parameters` in place of their defaults. Nested
    applications with a local `Location` are inlined: the resource `Topic` of the application
    `Monitoring` is `MonitoringTopic`.
    """
    text = path.read_text(encoding="utf-8")
    parsed = yaml.load(text, Loader=_Loader)  # noqa: S506 - a subclass of a safe loader
    document = expand_language_extensions(parsed, parameters or {})
    applications = [
        name for name, found in document["Resources"].items() if found["Type"] == APPLICATION
    ]
    for name in applications:
        properties = document["Resources"][name]["Properties"]
        location = properties["Location"]
        nested = path.parent / location if isinstance(location, str) else None
        if nested is None or not nested.is_file():
            raise LocalStackError(f"{name}: Location must name a template file, not {location!r}")
        given = properties.get("Parameters", {})
        constants = {key: value for key, value in given.items() if not isinstance(value, dict)}
        document = inline_application(document, name, load_template(nested, constants))
    return document


@dataclass(frozen=True)
class SamTemplate:
    """A flat, untranslated SAM template and the folder of its relative paths."""

    document: Mapping[str, Any]
    folder: Path

    @classmethod
    def load(cls, path: Path) -> SamTemplate:
        """Read a template file as `load_template` does."""
        return cls(load_template(path), path.resolve().parent)

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters by name."""
        return dict(self.document.get("Parameters", {}))

    def check_parameters(self, values: Mapping[str, str]) -> None:
        """Raise `LocalStackError` for a value that CloudFormation would not accept."""
        for name, value in values.items():
            declared = self.parameters.get(name)
            if declared is None:
                raise LocalStackError(
                    f"no such parameter: {name}. The template has {', '.join(self.parameters)}."
                )
            allowed = [str(item) for item in declared.get("AllowedValues", [value])]
            if value not in allowed:
                raise LocalStackError(f"{name}={value} is not one of {', '.join(allowed)}.")
            pattern = declared.get("AllowedPattern", "")
            if not re.search(pattern, value):
                raise LocalStackError(f"{name}={value} does not match {pattern}.")

    def resources(self, *types: str) -> dict[str, dict[str, Any]]:
        """Return the properties of all resources of these types, by logical id."""
        return {
            name: resource.get("Properties", {})
            for name, resource in self.document["Resources"].items()
            if resource["Type"] in types
        }

    def code_folders(self, resource_type: str) -> dict[str, Path]:
        """Return the code folder of every function or layer, by logical id."""
        key = CODE_PROPERTY[resource_type]
        default = self.document.get("Globals", {}).get("Function", {}).get(key)
        folders = {}
        for name, properties in self.resources(resource_type).items():
            relative = properties.get(key, default)
            if not isinstance(relative, str) or not (self.folder / relative).is_dir():
                raise LocalStackError(f"{name}: {key} must name a folder, not {relative!r}")
            folders[name] = self.folder / relative
        return folders

    def with_code(self, code: Mapping[str, str]) -> dict[str, Any]:
        """Return a copy whose functions and layers have these S3 addresses, by logical id."""
        document: dict[str, Any] = copy.deepcopy(dict(self.document))
        for name, address in code.items():
            resource = document["Resources"][name]
            resource["Properties"][CODE_PROPERTY[resource["Type"]]] = address
        return document
