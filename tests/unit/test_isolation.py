"""What every test may rely on: no caller's AWS settings, no socket, golden events, a context."""

import os
import socket
from collections.abc import Callable
from typing import Any

import pytest
from pytest_socket import SocketBlockedError

from tests.conftest import ENVIRONMENT, EVENTS


def test_the_environment_holds_our_dummies_and_nothing_else_of_aws() -> None:
    names = {name for name in os.environ if name.startswith(("AWS_", "POWERTOOLS_"))}

    assert names == {name for name in ENVIRONMENT if name.startswith(("AWS_", "POWERTOOLS_"))}
    assert os.environ["AWS_ACCESS_KEY_ID"] == "testing"
    assert os.environ["AWS_REGION"] == "us-east-1"


def test_a_unit_test_opens_no_socket_not_even_to_this_machine() -> None:
    with pytest.warns(UserWarning, match="tried to use socket"), pytest.raises(SocketBlockedError):
        socket.create_connection(("127.0.0.1", 9))


def test_every_golden_event_can_be_loaded(load_event: Callable[[str], dict[str, Any]]) -> None:
    names = [path.stem for path in EVENTS.glob("*.json")]

    assert "shard_prompts" in names
    assert all(isinstance(load_event(name), dict) for name in names)


def test_a_handlers_context_tells_who_runs_and_for_how_long(lambda_context: Any) -> None:
    assert lambda_context.get_remaining_time_in_millis() == 900_000
    assert lambda_context.invoked_function_arn.endswith(lambda_context.function_name)
