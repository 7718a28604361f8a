"""A running local stack as seen from any process: endpoints, outputs, clients and logs."""

from __future__ import annotations

import http.client
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from local_stack.loopback import LoopbackClients, require_loopback
from local_stack.processes import is_alive

HEALTH_PATH = "/_ministack/health"
_BUSY_SECONDS = 15


@dataclass(frozen=True)
class StackConnection:
    """Everything that a client of a stack needs; `pid` and `folder` belong to its owner.

    `caller` holds the keys of the emulator's root user. They and the path of `bedrock_endpoint` are
    random, so that only this user can call the stack.
    """

    endpoint: str
    bedrock_endpoint: str
    vectors_endpoint: str
    outputs: Mapping[str, str]
    pid: int
    folder: Path
    caller: Mapping[str, str]

    @cached_property
    def clients(self) -> LoopbackClients:
        """Clients of the emulator, and of the fakes for Bedrock and S3 Vectors."""
        fakes = dict.fromkeys(("bedrock", "bedrock-runtime"), self.bedrock_endpoint)
        return LoopbackClients(
            self.endpoint, fakes | {"s3vectors": self.vectors_endpoint}, self.caller
        )

    def client(self, service: str, *, timeout_seconds: float = 60) -> Any:
        """Return a boto3 client of this stack."""
        return self.clients.client(service, timeout_seconds=timeout_seconds)

    def url_of(self, function_url: str) -> str:
        """Return the local address of a function URL of the outputs, with a trailing slash.

        The emulator serves it by path, because its host name may not resolve here.
        """
        url_id = (urlsplit(function_url).hostname or "").partition(".")[0]
        return f"{self.endpoint}/_aws/lambda-url/{url_id}/"

    def function_logs(self, function_name: str) -> list[str]:
        """Return the log lines of a function, oldest first."""
        settings = self.client("lambda").get_function_configuration(FunctionName=function_name)
        group = settings.get("LoggingConfig", {}).get("LogGroup", f"/aws/lambda/{function_name}")
        logs = self.client("logs")
        try:
            pages = logs.get_paginator("filter_log_events").paginate(logGroupName=group)
            return [event["message"] for page in pages for event in page["events"]]
        except logs.exceptions.ResourceNotFoundException:
            return []  # never invoked

    def is_running(self) -> bool:
        """Return whether the owner is alive and the emulator answers.

        The timeout is long, because a busy stack taken for dead could no longer be stopped.
        """
        alive = is_alive(self.pid) and self.folder.is_dir()
        return alive and answers(self.endpoint, timeout_seconds=_BUSY_SECONDS)


def answers(endpoint: str, *, timeout_seconds: float = 1) -> bool:
    """Return whether an emulator answers at `endpoint`."""
    address = urlsplit(require_loopback(endpoint))
    connection = http.client.HTTPConnection(
        address.hostname or "", address.port, timeout=timeout_seconds
    )
    try:
        connection.request("GET", HEALTH_PATH)
        return connection.getresponse().status == http.client.OK
    except OSError:
        return False
    finally:
        connection.close()
