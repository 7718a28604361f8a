"""Is what runs here what the template says? Compares each deployed resource with the template.

A resource type or a property that is neither compared nor on the printed list of what is not
emulated is a finding too: nothing is skipped in silence.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from botocore.exceptions import ClientError

from local_stack.connection import StackConnection
from local_stack.deployment import ARTIFACT_BUCKET
from local_stack.expansion import Document, Resolver, expand
from local_stack.fidelity import is_not_emulated
from local_stack.packaging import zip_folder
from local_stack.readback import READERS, Deployed, Properties, physical_resources
from local_stack.template import CODE_PROPERTY, FUNCTION, SamTemplate

# Compared below, or of no effect on what is deployed.
_KNOWN_ATTRIBUTES = frozenset({"Type", "Properties", "Condition", "DependsOn", "Metadata"})
_IDENTIFYING = ("Sid", "PolicyName", "Id", "Key")
_ABSENT = object()


def find_drift(
    connection: StackConnection,
    template: SamTemplate,
    parameters: Mapping[str, str],
    *,
    stack_name: str,
) -> list[str]:
    """Return one sentence for each difference between the template and what is deployed.

    Code is compared by its hash with the archives made from the folders now. `parameters` are
    those that were given at deployment.
    """
    resolver = expected(connection, template, parameters, stack_name=stack_name)
    document, physical_ids = resolver.document, resolver.physical_ids
    wanted = {
        name: resource
        for name, resource in document["Resources"].items()
        if resolver.holds(resource.get("Condition"))
    }
    code = {
        name: base64.b64encode(hashlib.sha256(zip_folder(folder)).digest()).decode()
        for name, folder in template.code_folders(FUNCTION).items()
    }
    findings: list[str] = []
    for name, resource in wanted.items():
        properties = resolver.resolve(resource.get("Properties", {}))
        if name in code:
            properties["Code"] = code[name]
        findings += _uncompared(name, resource, properties)
        if resource["Type"] in READERS:
            findings += _resource_drift(
                connection, name, resource["Type"], properties, physical_ids
            )
    findings += _strangers(connection, _listed(connection, stack_name), wanted)
    outputs = {name: resolver.resolve(o["Value"]) for name, o in document["Outputs"].items()}
    return findings + list(_differences("Outputs", outputs, dict(connection.outputs)))


def expected(
    connection: StackConnection,
    template: SamTemplate,
    parameters: Mapping[str, str],
    *,
    stack_name: str,
) -> Resolver:
    """Return the expanded template, ready to be resolved for one deployed stack."""
    cloudformation = connection.client("cloudformation")
    document = expand(template, _code_addresses(cloudformation, stack_name))
    physical_ids = {
        item["LogicalResourceId"]: item["PhysicalResourceId"]
        for item in _listed(connection, stack_name)
    }
    urls = _urls(connection, document, physical_ids)
    return Resolver(document, parameters, physical_ids, stack_name, urls)


def _listed(connection: StackConnection, stack_name: str) -> list[dict[str, Any]]:
    reply = connection.client("cloudformation").describe_stack_resources(StackName=stack_name)
    resources: list[dict[str, Any]] = reply["StackResources"]
    return resources


def _code_addresses(cloudformation: Any, stack_name: str) -> dict[str, str]:
    """Return where the deployed code lies: a layer's logical id is made from that."""
    body = cloudformation.get_template(StackName=stack_name, TemplateStage="Original")[
        "TemplateBody"
    ]
    resources = (json.loads(body) if isinstance(body, str) else body)["Resources"]
    return {
        name: resource["Properties"][CODE_PROPERTY[resource["Type"]]]
        for name, resource in resources.items()
        if resource["Type"] in CODE_PROPERTY
    }


def _urls(
    connection: StackConnection, document: Document, physical_ids: Mapping[str, str]
) -> dict[tuple[str, str], str]:
    """Return the one kind of attribute that only its service knows: the address of a function."""
    return {
        (name, "FunctionUrl"): connection.client("lambda").get_function_url_config(
            FunctionName=physical_ids[name]
        )["FunctionUrl"]
        for name, resource in document["Resources"].items()
        if resource["Type"] == "AWS::Lambda::Url" and name in physical_ids
    }


def _uncompared(name: str, resource: Mapping[str, Any], properties: Properties) -> Iterator[str]:
    """Say what of a resource nobody looks at."""
    type_ = resource["Type"]
    listed = "neither compared nor on the list of what is not emulated"
    for attribute in sorted(resource.keys() - _KNOWN_ATTRIBUTES):
        if not is_not_emulated("*", attribute):
            yield f"{name} {attribute}: {listed}"
    if type_ not in READERS:
        if not is_not_emulated(type_, ""):
            yield f"{name}: {type_} is {listed}"
        return
    for key in sorted(properties.keys() - READERS[type_].compared):
        if not is_not_emulated(type_, key):
            yield f"{name} {key}: {listed}"


def _resource_drift(
    connection: StackConnection,
    name: str,
    type_: str,
    wanted: Properties,
    physical_ids: Mapping[str, str],
) -> Iterator[str]:
    """Compare one resource with what its service says about it."""
    reader = READERS[type_]
    if name not in physical_ids:
        yield f"{name}: not deployed"
        return
    try:
        deployed = reader.read(Deployed(connection.clients, physical_ids[name], wanted))
    except (ClientError, LookupError) as error:
        yield f"{name}: not there any more ({type(error).__name__}: {error})"
        return
    compared = {key: value for key, value in wanted.items() if key in reader.compared}
    yield from _differences(name, _defaults_left_out(compared), deployed)


def _defaults_left_out(wanted: Properties) -> Properties:
    """Return what a template asks for, without what asks for nothing."""
    return {key: value for key, value in wanted.items() if value not in ("", [], {})}


def _strangers(
    connection: StackConnection,
    listed: list[dict[str, Any]],
    wanted: Mapping[str, Any],
) -> Iterator[str]:
    """Say what is there that the template does not have."""
    for item in listed:
        if item["LogicalResourceId"] not in wanted:
            yield f"{item['LogicalResourceId']}: deployed, but not in the template"
    known = {(item["ResourceType"], item["PhysicalResourceId"]) for item in listed}
    known.add(("AWS::S3::Bucket", ARTIFACT_BUCKET))
    for type_, physical_id in physical_resources(connection.clients):
        if (type_, physical_id) not in known:
            yield f"{physical_id}: a {type_} that is not in the template"


def _differences(where: str, wanted: Any, deployed: Any) -> Iterator[str]:
    """Say where two values differ, as deep down as possible."""
    wanted, deployed = _keyed(wanted), _keyed(deployed)
    if isinstance(wanted, dict) and isinstance(deployed, dict):
        for key in sorted({*wanted, *deployed}):
            yield from _differences(
                f"{where} {key}", wanted.get(key, _ABSENT), deployed.get(key, _ABSENT)
            )
    elif _comparable(wanted) != _comparable(deployed):
        yield f"{where}: the template says {_shown(wanted)}, deployed is {_shown(deployed)}"


def _keyed(value: Any) -> Any:
    """Return a list of named things as a mapping, as their order means nothing, and read JSON."""
    if isinstance(value, str) and value.startswith("{"):
        return json.loads(value)
    if isinstance(value, list) and value and all(isinstance(part, dict) for part in value):
        for name in _IDENTIFYING:
            if all(name in part for part in value):
                return {part[name]: part for part in value}
    return value


def _comparable(value: Any) -> Any:
    """Return a value in the one notation that parameters, templates and APIs share."""
    match value:
        case bool():
            return str(value).lower()
        case int() | float():
            return str(int(value) if value == int(value) else value)
        case dict():
            return {key: _comparable(part) for key, part in value.items()}
        case list():
            return [_comparable(part) for part in value]
    return value


def _shown(value: Any) -> str:
    return "nothing" if value is _ABSENT else json.dumps(value, sort_keys=True)
