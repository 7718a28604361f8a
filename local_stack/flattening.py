"""Turns a template with loops and nested applications into one flat template.

SAM's translator supports neither. `Fn::ForEach`, `Fn::Length` and `Fn::ToJsonString`
belong to the `AWS::LanguageExtensions` transform. A nested `AWS::Serverless::Application` with a
local `Location` becomes resources of the parent, with its logical id as their prefix.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from local_stack.processes import LocalStackError

APPLICATION = "AWS::Serverless::Application"
LANGUAGE_EXTENSIONS = "AWS::LanguageExtensions"
Document = dict[str, Any]
Replacement = Callable[[str], Any]

_LOOP = "Fn::ForEach::"
_PLACEHOLDER = re.compile(r"([$&])\{([A-Za-z0-9]+)\}")
_FUNCTION_OF_THE_TRANSFORM = re.compile(r'"Fn::(ForEach::\w+|Length|ToJsonString)":')
_VARIABLE = re.compile(r"\$\{([^!}][^}]*)\}")
_APPLICATION_PROPERTIES = {"Location", "Parameters", "Tags", "TimeoutInMinutes"}
_NESTED_SECTIONS = {
    *("AWSTemplateFormatVersion", "Description", "Metadata", "Transform", "Parameters"),
    *("Conditions", "Mappings", "Resources", "Outputs"),
}


def expand_language_extensions(document: Document, values: Mapping[str, Any]) -> Document:
    """Return the template without loops; `values` overrides the defaults of parameters.

    Raises `LocalStackError` if a loop or `Fn::Length` cannot be evaluated, or if the template uses
    them without the transform.
    """
    transforms = document.get("Transform", [])
    transforms = [transforms] if isinstance(transforms, str) else list(transforms)
    if LANGUAGE_EXTENSIONS not in transforms:
        if _FUNCTION_OF_THE_TRANSFORM.search(json.dumps(document, default=str)):
            raise LocalStackError(f"Fn::ForEach needs Transform: {LANGUAGE_EXTENSIONS}")
        return document
    transforms.remove(LANGUAGE_EXTENSIONS)
    defaults = {
        name: parameter["Default"]
        for name, parameter in document.get("Parameters", {}).items()
        if "Default" in parameter
    }
    expanded: Document = _Loops(defaults | dict(values)).expand(document, {})
    expanded.pop("Transform")
    if transforms:
        expanded["Transform"] = transforms[0] if len(transforms) == 1 else transforms
    return expanded


class _Loops:
    """The transform with the parameter values that collections may refer to."""

    def __init__(self, parameters: Mapping[str, Any]) -> None:
        self._parameters = parameters

    def expand(self, node: Any, items: Mapping[str, str]) -> Any:
        """Return `node` expanded; `items` holds the current item of each surrounding loop."""
        if isinstance(node, list):
            return [self.expand(part, items) for part in node]
        if not isinstance(node, dict):
            return _without_placeholder(node, items)
        if len(node) == 1:
            (name, argument) = next(iter(node.items()))
            function = self._functions.get(name)
            if function:
                return function(argument, items)
        expanded: Document = {}
        for key, value in node.items():
            new = self._loop(key, value, items) if key.startswith(_LOOP) else [(key, value, items)]
            for new_key, new_value, scope in new:
                if new_key in expanded:
                    raise LocalStackError(f"{key}: {new_key} is declared twice")
                expanded[new_key] = self.expand(new_value, scope)
        return expanded

    @property
    def _functions(self) -> Mapping[str, Callable[[Any, Mapping[str, str]], Any]]:
        return {
            "Ref": self._ref,
            "Fn::Sub": self._sub,
            "Fn::Length": lambda argument, items: len(self._list(argument, items)),
            "Fn::ToJsonString": lambda argument, items: json.dumps(
                self.expand(argument, items), separators=(",", ":")
            ),
        }

    def _loop(
        self, key: str, loop: Any, items: Mapping[str, str]
    ) -> Iterator[tuple[str, Any, Mapping[str, str]]]:
        """Yield the keys and unexpanded values that one `Fn::ForEach` stands for."""
        if not isinstance(loop, list) or len(loop) != 3 or not isinstance(loop[2], dict):
            raise LocalStackError(f"{key} takes an identifier, a collection and a fragment")
        identifier, collection, fragment = loop
        for item in self._list(collection, items):
            scope = {**items, identifier: item}
            for inner_key, value in fragment.items():
                if inner_key.startswith(_LOOP):
                    yield from self._loop(inner_key, value, scope)
                elif _fill_in(inner_key, scope) == inner_key:
                    raise LocalStackError(f"{key}: {inner_key} does not contain ${{{identifier}}}")
                else:
                    yield _fill_in(inner_key, scope), value, scope

    def _list(self, collection: Any, items: Mapping[str, str]) -> list[str]:
        if isinstance(collection, dict) and collection.keys() == {"Ref"}:
            collection = self._parameters.get(collection["Ref"])
            if isinstance(collection, str):
                collection = [part.strip() for part in collection.split(",")]
        if not isinstance(collection, list):
            raise LocalStackError("Fn::ForEach takes a list or a Ref to a list parameter")
        return [str(self.expand(item, items)) for item in collection]

    def _ref(self, argument: Any, items: Mapping[str, str]) -> Any:
        name = self.expand(argument, items)
        return items.get(name, {"Ref": name})

    def _sub(self, argument: Any, items: Mapping[str, str]) -> Any:
        """Fill the items into the text; a text with no variable left is plain."""
        text, variables = argument if isinstance(argument, list) else (argument, {})
        text = _fill_in(text, items, forms="$")
        if variables:
            return {"Fn::Sub": [text, self.expand(variables, items)]}
        return {"Fn::Sub": text} if "${" in text else text


def _fill_in(text: str, items: Mapping[str, str], forms: str = "$&") -> str:
    """Replace `${Identifier}`, and `&{Identifier}` by the item's alphanumeric characters."""

    def item_of(found: re.Match[str]) -> str:
        form, name = found.groups()
        if form not in forms or name not in items:
            return found[0]
        return items[name] if form == "$" else re.sub(r"[^A-Za-z0-9]", "", items[name])

    return _PLACEHOLDER.sub(item_of, text)


def _without_placeholder(value: Any, items: Mapping[str, str]) -> Any:
    """Return a plain value. CloudFormation replaces nothing in a string outside of `Fn::Sub`."""
    if isinstance(value, str) and _fill_in(value, items) != value:
        raise LocalStackError(f"loop item in a plain string: {value!r}. Wrap it in Fn::Sub.")
    return value


def inline_application(document: Document, name: str, nested: Document) -> Document:
    """Return `document` with the flat template `nested` in place of the application `name`.

    Raises `LocalStackError` for a part of the application or of `nested` that would get lost.
    """
    application = document["Resources"][name]
    properties = application.get("Properties", {})
    lost = (
        (application.keys() - {"Type", "Properties", "Metadata"})
        | (properties.keys() - _APPLICATION_PROPERTIES)
        | (nested.keys() - _NESTED_SECTIONS)
    )
    if lost:
        raise LocalStackError(f"{name}: the local stack cannot nest {', '.join(sorted(lost))}")
    values = _parameter_values(name, nested.get("Parameters", {}), properties.get("Parameters", {}))
    renamed = _renamed(nested, name, values)
    outputs = {
        f"{name}.Outputs.{key}": output["Value"]
        for key, output in renamed.get("Outputs", {}).items()
    }

    def output_of(reference: str) -> Any:
        if reference.partition(".")[0] == name and reference not in outputs:
            raise LocalStackError(f"{name} has no such output: {reference}")
        return outputs.get(reference)

    resources = {key: value for key, value in document["Resources"].items() if key != name}
    rest: Document = replace_references({**document, "Resources": resources}, output_of)
    for section in ("Resources", "Conditions", "Mappings"):
        added = renamed.get(section, {})
        clashes = added.keys() & rest.get(section, {}).keys()
        if clashes:
            raise LocalStackError(f"{name}: {sorted(clashes)} exist in the parent too")
        if added:
            rest[section] = {**rest.get(section, {}), **added}
    return rest


def _parameter_values(
    name: str, declared: Mapping[str, Any], given: Mapping[str, Any]
) -> dict[str, Any]:
    if given.keys() - declared.keys():
        raise LocalStackError(f"{name}: no parameters {sorted(given.keys() - declared.keys())}")
    values = {}
    for key, parameter in declared.items():
        if key not in given and "Default" not in parameter:
            raise LocalStackError(f"{name}: parameter {key} has no value")
        value = given.get(key, parameter.get("Default"))
        if parameter["Type"] == "CommaDelimitedList" or parameter["Type"].startswith("List<"):
            value = value.split(",") if isinstance(value, str) else {"Fn::Split": [",", value]}
        values[key] = value
    return values


def _renamed(nested: Document, prefix: str, values: Mapping[str, Any]) -> Document:
    """Return the nested template with prefixed names, and parameters replaced by `values`."""
    resources = nested["Resources"].keys()

    def replacement(reference: str) -> Any:
        name, dot, attribute = reference.partition(".")
        if name in resources:
            return {"Fn::GetAtt": [prefix + name, attribute]} if dot else {"Ref": prefix + name}
        return values.get(reference)

    replaced = replace_references(nested, replacement)
    local = {key: set(nested.get(key, {})) for key in ("Resources", "Conditions", "Mappings")}
    return {
        section: {
            prefix + key if section in local else key: _with_local_names(value, prefix, local)
            for key, value in replaced.get(section, {}).items()
        }
        for section in (*local, "Outputs")
    }


def _with_local_names(node: Any, prefix: str, local: Mapping[str, set[str]]) -> Any:
    """Prefix the names that are not references: conditions, mappings and dependencies."""
    if isinstance(node, list):
        return [_with_local_names(part, prefix, local) for part in node]
    if not isinstance(node, dict):
        return node
    renamed = {key: _with_local_names(value, prefix, local) for key, value in node.items()}
    for key, section in (("Condition", "Conditions"), ("DependsOn", "Resources")):
        names = renamed.get(key)
        if isinstance(names, str) and names in local[section]:
            renamed[key] = prefix + names
        elif key == "DependsOn" and isinstance(names, list):
            renamed[key] = [prefix + name for name in names]
    for key, section in (("Fn::If", "Conditions"), ("Fn::FindInMap", "Mappings")):
        if key in renamed and renamed[key][0] in local[section]:
            renamed[key] = [prefix + renamed[key][0], *renamed[key][1:]]
    return renamed


def replace_references(node: Any, replacement: Replacement) -> Any:
    """Replace what `Ref`, `Fn::GetAtt` and `Fn::Sub` refer to.

    `replacement` gets "Name" or "Name.Attribute" and returns the new value, or None for no change.
    """
    if isinstance(node, list):
        return [replace_references(part, replacement) for part in node]
    if not isinstance(node, dict):
        return node
    match node:
        case {"Ref": str(name)} if len(node) == 1:
            return _first_of(replacement(name), node)
        case {"Fn::GetAtt": path} if len(node) == 1:
            return _first_of(replacement(path if isinstance(path, str) else ".".join(path)), node)
        case {"Fn::Sub": argument} if len(node) == 1:
            text, variables = argument if isinstance(argument, list) else (argument, {})
            return _replace_in_sub(text, replace_references(variables, replacement), replacement)
    return {key: replace_references(value, replacement) for key, value in node.items()}


def _first_of(value: Any, otherwise: Any) -> Any:
    return otherwise if value is None else value


def _replace_in_sub(text: str, variables: Mapping[str, Any], replacement: Replacement) -> Any:
    added: dict[str, Any] = {}

    def value_of(found: re.Match[str]) -> str:
        name = found[1]
        value = None if name in variables else replacement(name)
        match value:
            case None:
                return found[0]
            case {"Ref": str(other)}:
                return f"${{{other}}}"
            case {"Fn::GetAtt": path}:
                return f"${{{path if isinstance(path, str) else '.'.join(path)}}}"
            case {"Fn::Sub": str(inner)}:
                return inner
            case str() | int() | float():
                return str(value).replace("${", "${!")
        variable = re.sub(r"[^A-Za-z0-9]", "", name)
        added[variable] = value
        return f"${{{variable}}}"

    replaced = _VARIABLE.sub(value_of, text)
    if added or variables:
        return {"Fn::Sub": [replaced, {**variables, **added}]}
    return {"Fn::Sub": replaced}
