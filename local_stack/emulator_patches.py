"""The gaps of the emulator (ministack) that our template needs closed, each in one small function.

Library code is imported, never copied. Each patched or called private name is pinned by a
fingerprint of its source, so that a new version cannot change under a patch unnoticed: after
raising the version, read what differs, adapt the patch, then take over the fingerprints that the
error prints. Importing this module imports the emulator, which reads its environment then.
"""

# ruff: noqa: SLF001 - the gaps are in private functions, hence the fingerprints

from __future__ import annotations

import contextvars
import hashlib
import http
import importlib
import inspect
import io
import json
import shlex
import stat
import sys
import zipfile
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ministack.core import iam_actions, iam_evaluator, lambda_runtime
from ministack.services import eventbridge, lambda_svc, s3, scheduler
from ministack.services.cloudformation import changesets, engine, handlers, provisioners, stacks

MINISTACK_VERSION = "1.5.33"

FINGERPRINTS = {
    "ministack.services.lambda_svc:invoke_async_with_retry": "289fe4d3cbd4",
    "ministack.services.lambda_svc:_event_invoke_config": "aeeb62079ef2",
    "ministack.services.lambda_svc:_get_func_record_for_ref": "492b4efe8f90",
    "ministack.services.lambda_svc:_execution_record_for_config": "632acaa44892",
    "ministack.services.lambda_svc:_reserved_concurrency": "ebec4b4bba77",
    "ministack.services.lambda_svc:_resolve_layer_zip": "447d3c3ec42c",
    "ministack.services.lambda_svc:_layer_unzipped_size": "61e543bb4d86",
    "ministack.services.lambda_svc:_unzipped_size": "6d4a9f3384d8",
    "ministack.services.eventbridge:_put_events": "ebcda0f38061",
    "ministack.services.eventbridge:_dispatch_event": "d1bfe064f602",
    "ministack.services.eventbridge:_dispatch_to_lambda": "1f95adbaed3a",
    "ministack.services.eventbridge:_scheduler_loop": "7795e8e084ff",
    "ministack.services.s3:_fire_s3_event": "2ab38cfade76",
    "ministack.services.s3:_get_object": "64ad7071ef0e",
    "ministack.services.s3:_parse_range": "0631595e6e00",
    "ministack.services.s3:_range_error_xml": "7bf593fed84f",
    "ministack.services.s3:_xml_body": "a66f9c18121c",
    "ministack.services.cloudformation.engine:_evaluate_conditions": "e7f9e29b6c01",
    "ministack.services.cloudformation.provisioners:_lambda_esm_create": "f053a4e8c30c",
    "ministack.core.iam_actions:request_tag_context": "d46adb816e02",
    "ministack.core.iam_actions:extract_iam_action": "ec476b92d969",
    "ministack.core.iam_evaluator:_resolve_condition_key": "15e26964cd38",
    "ministack.core.iam_evaluator:enforce": "cf64b1ee5b09",
    "ministack.core.iam_evaluator:resolve_caller_identity": "d3b70cb83677",
    "ministack.core.lambda_runtime:_detect_runtime_binary": "222e200df2c0",
    "ministack.core.lambda_runtime:_PYTHON_WORKER_SCRIPT": "368800addf4d",
    "ministack.core.lambda_runtime:Worker": "a0bd1819a704",
}


class EmulatorChangedError(RuntimeError):
    """The installed emulator is not the one the patches were written for."""


def fingerprint(name: str) -> str:
    """Return a short hash of the source (or the text) that `module:attribute` names."""
    module, attribute = name.split(":")
    value = getattr(importlib.import_module(module), attribute, None)
    if value is None:
        return "missing"
    source = value if isinstance(value, str) else inspect.getsource(value)
    return hashlib.sha256(source.encode()).hexdigest()[:12]


def require_known_emulator(fingerprints: Mapping[str, str] = FINGERPRINTS) -> None:
    """Check the version and the source of everything the patches touch.

    Raises `EmulatorChangedError`, which names each difference, expected and found.
    """
    installed = version("ministack")
    if installed != MINISTACK_VERSION:
        raise EmulatorChangedError(
            f"ministack {installed} is installed, the patches are for {MINISTACK_VERSION}; "
            "run `make setup`"
        )
    found = {name: fingerprint(name) for name in fingerprints}
    changed = [
        f"{name}: expected {fingerprints[name]}, found {hash_}"
        for name, hash_ in found.items()
        if fingerprints[name] != hash_
    ]
    if changed:
        raise EmulatorChangedError(
            f"ministack {installed} differs from the source that was patched:\n  "
            + "\n  ".join(changed)
        )


def apply_patches(*, layers: Mapping[str, Sequence[str]], folder: Path) -> None:
    """Close the gaps, in this process.

    `layers` maps the SHA-256 of a layer archive to the folders that hold the same content
    unpacked; `folder` is the stack's own temp folder.
    """
    require_known_emulator()
    _retry_asynchronous_invocations()
    _let_bedrock_put_events()
    _send_object_versions()
    _read_ranges_of_versions()
    _reserve_concurrency_for_aliases()
    _pretend_transport_is_secure()
    _tick_every_second()
    _split_in_conditions()
    _convert_maximum_concurrency()
    _tell_policies_the_event_source()
    _authorize_batches_like_messages()
    _share_unpacked_layers(layers)
    _hide_emulator_packages(folder)


def record_authorizations(file: Path) -> None:
    """Append each distinct decision about a role's call to `file`, one JSON object a line.

    It has `access_key`, `principal` (an ARN), `action`, `resource`, `context` (the condition keys
    of the request) and `allowed`.
    """
    enforce, seen = iam_evaluator.enforce, set[str]()

    def enforce_and_record(
        access_key: str,
        action: str,
        service: str,
        region: str,
        resource_arn: str = "*",
        service_context: dict[str, Any] | None = None,
    ) -> Any:
        refused = enforce(access_key, action, service, region, resource_arn, service_context)
        principal = (iam_evaluator.resolve_caller_identity(access_key) or {}).get("userArn", "")
        if ":assumed-role/" in principal:
            decision = {
                "access_key": access_key,
                "principal": principal,
                "action": action,
                "resource": resource_arn,
                "context": service_context or {},
                "allowed": refused is None,
            }
            line = json.dumps(decision, sort_keys=True, default=str) + "\n"
            if line not in seen:
                seen.add(line)
                with file.open("a", encoding="utf-8") as lines:
                    lines.write(line)
        return refused

    iam_evaluator.enforce = enforce_and_record


def _retry_asynchronous_invocations() -> None:
    """Retry what EventBridge starts, then hand it to OnFailure; find an alias's own settings.

    Unpatched, a rule's target is tried once and lost in silence.
    """
    invoke = lambda_svc.invoke_async_with_retry

    def invoke_with_own_settings(func: dict[str, Any], event: Any) -> None:
        config = func.get("config") or func
        base = lambda_svc._functions.get(config["FunctionName"]) or {}
        published = config.get("Version")
        aliases = [
            name
            for name, alias in base.get("aliases", {}).items()
            if alias.get("FunctionVersion") == published
        ]
        found = (
            lambda_svc._event_invoke_config(base, name) for name in (*aliases, published, None)
        )
        settings = next(filter(None, found), None)
        invoke({**func, "config": config, "event_invoke_config": settings}, event)

    def dispatch_to_lambda(arn: str, payload: str) -> None:
        func, config, _ = lambda_svc._get_func_record_for_ref(arn)
        if func and config:
            record = lambda_svc._execution_record_for_config(func, config)
            invoke_with_own_settings(record, json.loads(payload))

    lambda_svc.invoke_async_with_retry = invoke_with_own_settings
    eventbridge._dispatch_to_lambda = dispatch_to_lambda


def _let_bedrock_put_events() -> None:
    """Accept events of source `aws.bedrock`: the Bedrock double stands in for the service."""
    put_events = eventbridge._put_events

    def put_events_of_bedrock(data: dict[str, Any], allow_aws_source: bool = False) -> Any:
        sources = {entry.get("Source") for entry in data.get("Entries", [])}
        return put_events(data, allow_aws_source or sources == {"aws.bedrock"})

    eventbridge._put_events = put_events_of_bedrock


def _send_object_versions() -> None:
    """Put `version-id` into S3's events, which name the very object that was uploaded."""
    current = contextvars.ContextVar[str | None]("version_id", default=None)
    fire, dispatch = s3._fire_s3_event, eventbridge._dispatch_event

    def fire_with_version(*args: Any, **kwargs: Any) -> None:
        token = current.set(kwargs.get("version_id"))
        try:
            fire(*args, **kwargs)
        finally:
            current.reset(token)

    def dispatch_with_version(event: dict[str, Any], view: Any = None) -> None:
        if event.get("Source") == "aws.s3" and current.get():
            detail = json.loads(event["Detail"])
            detail["object"]["version-id"] = current.get()
            event = {**event, "Detail": json.dumps(detail)}
        dispatch(event, view)

    s3._fire_s3_event = fire_with_version
    eventbridge._dispatch_event = dispatch_with_version


def _read_ranges_of_versions() -> None:
    """Honour Range together with versionId: unpatched, the whole object comes back with 200."""
    get_object = s3._get_object

    def get_range(bucket: str, key: str, headers: dict[str, str], query: Any = None) -> Any:
        status, head, body = get_object(bucket, key, headers, query)
        if status != http.HTTPStatus.OK or not headers.get("range"):
            return status, head, body
        span = s3._parse_range(headers["range"], len(body))
        if not span:
            refusal = s3._xml_body(s3._range_error_xml(bucket, key))
            return (
                http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
                {"Content-Range": f"bytes */{len(body)}"},
                refusal,
            )
        first, last = span
        part = body[first : last + 1]
        # A checksum of the whole object would not fit the part.
        kept = {name: value for name, value in head.items() if "checksum" not in name.lower()}
        kept["Content-Length"] = str(len(part))
        kept["Content-Range"] = f"bytes {first}-{last}/{len(body)}"
        return http.HTTPStatus.PARTIAL_CONTENT, kept, part

    s3._get_object = get_range


def _reserve_concurrency_for_aliases() -> None:
    """Read the reserved concurrency from the function when one of its versions runs."""
    reserved = lambda_svc._reserved_concurrency

    def reserved_of_function(func: Any, config: dict[str, Any]) -> int | None:
        base = lambda_svc._functions.get(config.get("FunctionName"))
        limit: int | None = reserved(base or func, config)
        return limit

    lambda_svc._reserved_concurrency = reserved_of_function


def _pretend_transport_is_secure() -> None:
    """Answer `aws:SecureTransport` with true: a TLS-only Deny would refuse all loopback HTTP."""
    resolve = iam_evaluator._resolve_condition_key

    def resolve_as_secure(key: str, context: Any) -> Any:
        return "true" if key.lower() == "aws:securetransport" else resolve(key, context)

    iam_evaluator._resolve_condition_key = resolve_as_secure


def _tick_every_second() -> None:
    """Look at schedules every second instead of every ten."""
    eventbridge._SCHEDULER_TICK_INTERVAL = 1
    scheduler._SCHEDULE_TICK_INTERVAL = 1


def _split_in_conditions() -> None:
    """Evaluate Fn::Split inside Conditions, which the emulator takes for a ready list."""
    evaluate = engine._evaluate_conditions

    def evaluate_with_split(template: dict[str, Any], parameters: dict[str, Any]) -> Any:
        conditions = _without_split(template.get("Conditions", {}), parameters)
        return evaluate({**template, "Conditions": conditions}, parameters)

    for module in (engine, handlers, stacks, changesets):
        module._evaluate_conditions = evaluate_with_split


def _without_split(value: Any, parameters: Mapping[str, Any]) -> Any:
    """Return a condition with each split of a text or a parameter replaced by its parts."""
    if isinstance(value, list):
        return [_without_split(item, parameters) for item in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == {"Fn::Split"}:
        separator, text = value["Fn::Split"]
        if isinstance(text, dict) and "Ref" in text:
            text = parameters[text["Ref"]]["Value"]
        return text.split(separator)
    return {key: _without_split(item, parameters) for key, item in value.items()}


def _convert_maximum_concurrency() -> None:
    """Make MaximumConcurrency a number when it comes from a parameter, as CloudFormation does.

    Unpatched, the poller fails on the text and the queue is never read.
    """
    mapping = provisioners._RESOURCE_HANDLERS["AWS::Lambda::EventSourceMapping"]
    create = mapping["create"]

    def create_with_number(logical_id: str, props: dict[str, Any], stack_name: str) -> Any:
        scaling = props.get("ScalingConfig") or {}
        if "MaximumConcurrency" in scaling:
            limit = int(scaling["MaximumConcurrency"])
            props = {**props, "ScalingConfig": {**scaling, "MaximumConcurrency": limit}}
        return create(logical_id, props, stack_name)

    mapping["create"] = create_with_number


def _tell_policies_the_event_source() -> None:
    """Provide the condition key `events:source`, by which a role may put only our own events."""
    context_of = iam_actions.request_tag_context

    def with_event_source(service: str, action: str, body: bytes, params: Any) -> dict[str, Any]:
        context: dict[str, Any] = context_of(service, action, body, params)
        if action == "events:PutEvents":
            entries = json.loads(body or b"{}").get("Entries", [])
            sources = sorted({entry.get("Source", "") for entry in entries})
            context["events:source"] = sources[0] if len(sources) == 1 else sources
        return context

    iam_actions.request_tag_context = with_event_source


def _authorize_batches_like_messages() -> None:
    """Check a queue's batch call as the action that IAM knows: SendMessageBatch is SendMessage."""
    extract = iam_actions.extract_iam_action

    def extract_known(service: str, *request: Any) -> str | None:
        action: str | None = extract(service, *request)
        return action.removesuffix("Batch") if action and service == "sqs" else action

    iam_actions.extract_iam_action = extract_known


def _share_unpacked_layers(layers: Mapping[str, Sequence[str]]) -> None:
    """Let all workers import a known layer from one place.

    Unpatched, every worker unpacks all of it again: 45 MB and 0.7 s for ours. A worker gets an
    archive of a single `.pth` line instead, which puts the folders in front of `sys.path`.
    """
    resolve, unzipped_size = lambda_svc._resolve_layer_zip, lambda_svc._unzipped_size

    def resolve_shared(attachment: Any) -> bytes | None:
        data: bytes | None = resolve(attachment)
        folders = layers.get(hashlib.sha256(data or b"").hexdigest())
        return _path_archive(folders) if folders else data

    lambda_svc._resolve_layer_zip = resolve_shared
    # The 250 MB limit is still checked against the real archive.
    lambda_svc._layer_unzipped_size = lambda attachment: unzipped_size(resolve(attachment))


def _path_archive(folders: Sequence[str]) -> bytes:
    """Return a layer archive that makes Python look into `folders` first."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        # `ascii`, because older interpreters read .pth files in the locale's encoding.
        archive.writestr(
            "python/lib/python3/site-packages/shared.pth",
            f"import sys; sys.path[:0] = {list(folders)!a}\n",
        )
    return buffer.getvalue()


def _hide_emulator_packages(folder: Path) -> None:
    """Run handlers without this environment's site-packages, as Lambda would.

    What is missing from the layer is missing here too, instead of being found by accident.
    """
    detect = lambda_runtime._detect_runtime_binary
    isolated = folder / "worker-python"
    isolated.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -I -S "$@"\n')
    isolated.chmod(stat.S_IRWXU)

    def detect_isolated(runtime: str) -> tuple[str, str]:
        binary, script = detect(runtime)
        return (str(isolated) if binary == sys.executable else binary), script

    lambda_runtime._detect_runtime_binary = detect_isolated
