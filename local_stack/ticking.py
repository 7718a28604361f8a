"""Invokes track_runs more often than its five-minute schedule."""

from __future__ import annotations

import contextlib
import json
import logging
import threading
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime

from botocore.exceptions import BotoCoreError, ClientError

from local_stack.connection import StackConnection
from local_stack.processes import CALLER, LocalStackError

_OUTPUT = "TrackRunsFunctionName"
_JOIN_SECONDS = 2.0
_logger = logging.getLogger(__name__)


@contextlib.contextmanager
def ticking_track_runs(connection: StackConnection, *, seconds: float = 1.0) -> Iterator[None]:
    """Invoke track_runs during the block, with a pause of `seconds` between invocations."""
    if _OUTPUT not in connection.outputs:
        raise LocalStackError(f"template has no output {_OUTPUT}")
    ended = threading.Event()
    thread = threading.Thread(target=_tick, args=(connection, seconds, ended), daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(_JOIN_SECONDS)  # does not wait for an invocation that hangs


def _tick(connection: StackConnection, seconds: float, ended: threading.Event) -> None:
    lambda_ = connection.client("lambda")
    function = connection.outputs[_OUTPUT]
    while not ended.wait(seconds):
        try:
            reply = lambda_.invoke(FunctionName=function, Payload=json.dumps(_scheduled_event()))
        except (BotoCoreError, ClientError) as error:
            if ended.is_set():
                return
            _logger.warning("track_runs could not be invoked", extra={"reason": str(error)})
            continue
        if "FunctionError" in reply:
            reason = reply["Payload"].read().decode()
            _logger.warning("track_runs failed", extra={"reason": reason})


def _scheduled_event() -> dict[str, object]:
    """Return the event of an EventBridge schedule."""
    return {
        "version": "0",
        "id": str(uuid.uuid4()),
        "detail-type": "Scheduled Event",
        "source": "aws.events",
        "account": "000000000000",
        "time": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "region": CALLER["AWS_DEFAULT_REGION"],
        "resources": [],
        "detail": {},
    }
