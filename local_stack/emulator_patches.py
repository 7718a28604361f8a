"""Patches of the emulator (ministack) for gaps that our template needs closed.

The patches wrap private functions, so they apply to one version only, which requirements-dev.txt
pins by hash. To raise it, compare the patched functions of both versions and run tests/e2e.
Importing this module imports the emulator, which then reads its environment.
"""

# ruff: noqa: SLF001 - the gaps are in private functions

from __future__ import annotations

import contextvars
import hashlib
import http
import io
import json
import os
import shlex
import stat
import sys
import time
import zipfile
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ministack.core import iam_actions, iam_evaluator, lambda_runtime
from ministack.services import eventbridge, lambda_svc, s3, scheduler
from ministack.services.cloudformation import changesets, engine, handlers, provisioners, stacks

from local_stack.loopback import LoopbackClients
from local_stack.processes import LocalStackError

MINISTACK_VERSION = "1.5.33"
_THROTTLED_POLL_SECONDS = 0.1


def require_known_emulator() -> None:
    """Raise `LocalStackError` for a version that the patches were not written for."""
    installed = version("ministack")
    if installed != MINISTACK_VERSION:
        raise LocalStackError(
            f"ministack {installed} is installed, but the patches are for {MINISTACK_VERSION}. "
            "Run `make setup`."
        )


def apply_patches(*, layers: Mapping[str, Sequence[str]], folder: Path) -> None:
    """Patch the emulator in this process.

    `layers` maps the SHA-256 of a layer archive to the folders that contain the same files.
    `folder` is the stack's temp folder.
    """
    require_known_emulator()
    _retry_asynchronous_invocations()
    _allow_bedrock_events()
    _send_object_versions()
    _read_ranges_of_versions()
    _reserve_concurrency()
    _treat_transport_as_secure()
    _check_schedules_every_second()
    _split_in_conditions()
    _convert_maximum_concurrency()
    _create_vector_buckets()
    _provide_event_source()
    _authorize_batches()
    _share_unpacked_layers(layers)
    _hide_emulator_packages(folder)


def record_authorizations(file: Path) -> None:
    """Append each distinct authorization of a role's call to `file` as a JSON line.

    Its keys are `access_key`, `principal` (an ARN), `action`, `resource`, `context` (the condition
    keys of the request) and `allowed`.
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
        denied = enforce(access_key, action, service, region, resource_arn, service_context)
        principal = (iam_evaluator.resolve_caller_identity(access_key) or {}).get("userArn", "")
        if ":assumed-role/" in principal:
            decision = {
                "access_key": access_key,
                "principal": principal,
                "action": action,
                "resource": resource_arn,
                "context": service_context or {},
                "allowed": denied is None,
            }
            line = json.dumps(decision, sort_keys=True, default=str) + "\n"
            if line not in seen:
                seen.add(line)
                with file.open("a", encoding="utf-8") as lines:
                    lines.write(line)
        return denied

    iam_evaluator.enforce = enforce_and_record


def _retry_asynchronous_invocations() -> None:
    """Apply EventInvokeConfig, also that of an alias, to invocations by EventBridge.

    Unpatched, a rule's target is invoked once and its failure is lost. A function that is at its
    reserved concurrency is not a failure: Lambda invokes it later.
    """
    invoke, acquire = lambda_svc.invoke_async_with_retry, lambda_svc._acquire_execution_slot
    waits = contextvars.ContextVar("waits", default=False)

    def acquire_or_wait(func: dict[str, Any], config: dict[str, Any]) -> Any:
        slot, limit = acquire(func, config)
        while slot is None and waits.get():
            time.sleep(_THROTTLED_POLL_SECONDS)
            slot, limit = acquire(func, config)
        return slot, limit

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
        token = waits.set(True)  # the thread that invokes gets a copy
        try:
            invoke({**func, "config": config, "event_invoke_config": settings}, event)
        finally:
            waits.reset(token)

    def dispatch_to_lambda(arn: str, payload: str) -> None:
        func, config, _ = lambda_svc._get_func_record_for_ref(arn)
        if func and config:
            record = lambda_svc._execution_record_for_config(func, config)
            invoke_with_own_settings(record, json.loads(payload))

    lambda_svc._acquire_execution_slot = acquire_or_wait
    lambda_svc.invoke_async_with_retry = invoke_with_own_settings
    eventbridge._dispatch_to_lambda = dispatch_to_lambda


def _allow_bedrock_events() -> None:
    """Accept events of source `aws.bedrock`, which the Bedrock fake sends."""
    put_events = eventbridge._put_events

    def put_events_of_bedrock(data: dict[str, Any], allow_aws_source: bool = False) -> Any:
        sources = {entry.get("Source") for entry in data.get("Entries", [])}
        return put_events(data, allow_aws_source or sources == {"aws.bedrock"})

    eventbridge._put_events = put_events_of_bedrock


def _send_object_versions() -> None:
    """Add `version-id` to the events of S3."""
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
    """Support Range together with versionId. Unpatched, the reply is the whole object."""
    get_object = s3._get_object

    def get_range(bucket: str, key: str, headers: dict[str, str], query: Any = None) -> Any:
        status, head, body = get_object(bucket, key, headers, query)
        if status != http.HTTPStatus.OK or not headers.get("range"):
            return status, head, body
        span = s3._parse_range(headers["range"], len(body))
        if not span:
            error = s3._xml_body(s3._range_error_xml(bucket, key))
            return (
                http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
                {"Content-Range": f"bytes */{len(body)}"},
                error,
            )
        first, last = span
        part = body[first : last + 1]
        # The checksums are those of the whole object.
        kept = {name: value for name, value in head.items() if "checksum" not in name.lower()}
        kept["Content-Length"] = str(len(part))
        kept["Content-Range"] = f"bytes {first}-{last}/{len(body)}"
        return http.HTTPStatus.PARTIAL_CONTENT, kept, part

    s3._get_object = get_range


def _reserve_concurrency() -> None:
    """Apply ReservedConcurrentExecutions, which the emulator's CloudFormation ignores.

    It also limits the published versions of the function.
    """
    provisioner = provisioners._RESOURCE_HANDLERS["AWS::Lambda::Function"]
    create, reserved = provisioner["create"], lambda_svc._reserved_concurrency

    def create_with_limit(logical_id: str, props: dict[str, Any], stack_name: str) -> Any:
        created = create(logical_id, props, stack_name)
        if "ReservedConcurrentExecutions" in props:
            limit = int(props["ReservedConcurrentExecutions"])
            lambda_svc._functions[created[0]]["concurrency"] = limit
        return created

    def reserved_of_function(func: Any, config: dict[str, Any]) -> int | None:
        base = lambda_svc._functions.get(config.get("FunctionName"))
        limit: int | None = reserved(base or func, config)
        return limit

    provisioner["create"] = create_with_limit
    lambda_svc._reserved_concurrency = reserved_of_function


def _treat_transport_as_secure() -> None:
    """Set `aws:SecureTransport`, because a TLS-only Deny would match all loopback traffic."""
    resolve = iam_evaluator._resolve_condition_key

    def resolve_as_secure(key: str, context: Any) -> Any:
        return "true" if key.lower() == "aws:securetransport" else resolve(key, context)

    iam_evaluator._resolve_condition_key = resolve_as_secure


def _check_schedules_every_second() -> None:
    """Check schedules every second instead of every ten."""
    eventbridge._SCHEDULER_TICK_INTERVAL = 1
    scheduler._SCHEDULE_TICK_INTERVAL = 1


def _split_in_conditions() -> None:
    """Evaluate Fn::Split in Conditions, which the emulator does not."""
    evaluate = engine._evaluate_conditions

    def evaluate_with_split(template: dict[str, Any], parameters: dict[str, Any]) -> Any:
        conditions = _without_split(template.get("Conditions", {}), parameters)
        return evaluate({**template, "Conditions": conditions}, parameters)

    for module in (engine, handlers, stacks, changesets):
        module._evaluate_conditions = evaluate_with_split


def _without_split(value: Any, parameters: Mapping[str, Any]) -> Any:
    """Return a condition in which the parts replace each Fn::Split of a text or parameter."""
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
    """Convert MaximumConcurrency to a number when it comes from a parameter.

    Unpatched, the poller fails on the string.
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


def _create_vector_buckets() -> None:
    """Create `AWS::S3Vectors::VectorBucket` in the S3 Vectors fake; Ref is the bucket's ARN."""

    def client() -> Any:
        return LoopbackClients(os.environ["AWS_ENDPOINT_URL_S3VECTORS"]).client("s3vectors")

    def create(logical_id: str, props: dict[str, Any], stack_name: str) -> Any:
        name = props.get("VectorBucketName") or provisioners._physical_name(
            stack_name, logical_id, lowercase=True, max_len=63
        )
        arn = client().create_vector_bucket(vectorBucketName=name)["vectorBucketArn"]
        return arn, {"VectorBucketArn": arn}

    def delete(arn: str, _props: dict[str, Any]) -> None:
        client().delete_vector_bucket(vectorBucketArn=arn)

    handlers_ = {"create": create, "delete": delete}
    provisioners._RESOURCE_HANDLERS["AWS::S3Vectors::VectorBucket"] = handlers_


def _provide_event_source() -> None:
    """Provide the condition key `events:source` of PutEvents."""
    context_of = iam_actions.request_tag_context

    def with_event_source(service: str, action: str, body: bytes, params: Any) -> dict[str, Any]:
        context: dict[str, Any] = context_of(service, action, body, params)
        if action == "events:PutEvents":
            entries = json.loads(body or b"{}").get("Entries", [])
            sources = sorted({entry.get("Source", "") for entry in entries})
            context["events:source"] = sources[0] if len(sources) == 1 else sources
        return context

    iam_actions.request_tag_context = with_event_source


def _authorize_batches() -> None:
    """Authorize batch calls of SQS as IAM does: SendMessageBatch needs SendMessage."""
    extract = iam_actions.extract_iam_action

    def extract_known(service: str, *request: Any) -> str | None:
        action: str | None = extract(service, *request)
        return action.removesuffix("Batch") if action and service == "sqs" else action

    iam_actions.extract_iam_action = extract_known


def _share_unpacked_layers(layers: Mapping[str, Sequence[str]]) -> None:
    """Let all workers import a known layer from the same folders.

    Unpatched, every worker unpacks the layer, which takes 0.7 s and 45 MB. Here, it gets an archive
    with a `.pth` file that puts the folders at the start of `sys.path`.
    """
    resolve, unzipped_size = lambda_svc._resolve_layer_zip, lambda_svc._unzipped_size

    def resolve_shared(attachment: Any) -> bytes | None:
        data: bytes | None = resolve(attachment)
        folders = layers.get(hashlib.sha256(data or b"").hexdigest())
        return _path_archive(folders) if folders else data

    lambda_svc._resolve_layer_zip = resolve_shared
    # The 250 MB limit applies to the real archive.
    lambda_svc._layer_unzipped_size = lambda attachment: unzipped_size(resolve(attachment))


def _path_archive(folders: Sequence[str]) -> bytes:
    """Return a layer archive that puts `folders` at the start of the import path."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        # In ASCII, because older interpreters read .pth files in the locale's encoding.
        archive.writestr(
            "python/lib/python3/site-packages/shared.pth",
            f"import sys; sys.path[:0] = {list(folders)!a}\n",
        )
    return buffer.getvalue()


def _hide_emulator_packages(folder: Path) -> None:
    """Run handlers without this environment's site-packages.

    A dependency that is missing from the layer then fails here too.
    """
    detect = lambda_runtime._detect_runtime_binary
    isolated = folder / "worker-python"
    isolated.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -I -S "$@"\n')
    isolated.chmod(stat.S_IRWXU)

    def detect_isolated(runtime: str) -> tuple[str, str]:
        binary, script = detect(runtime)
        return (str(isolated) if binary == sys.executable else binary), script

    lambda_runtime._detect_runtime_binary = detect_isolated
