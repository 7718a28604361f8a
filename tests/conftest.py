"""What every test relies on: no caller's AWS settings, no way to the network, golden events."""

import json
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

TESTS = Path(__file__).parent
FIGURE = "figure"
LONGEST_ID = 80
EVENTS = TESTS.parent / "events"
LOOPBACK = ["127.0.0.1", "::1"]
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_SESSION_TOKEN": "testing",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_REGION": "us-east-1",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
    "NO_PROXY": "127.0.0.1,localhost",
    "no_proxy": "127.0.0.1,localhost",
    "POWERTOOLS_TRACE_DISABLED": "true",
    "POWERTOOLS_SERVICE_NAME": "search-router",
    "POWERTOOLS_METRICS_NAMESPACE": "SearchRouter",
}


@dataclass(frozen=True, slots=True)
class FakeLambdaContext:
    """What handlers and Powertools look at in Lambda's context."""

    function_name: str = "search-router-test"
    function_version: str = "$LATEST"
    memory_limit_in_mb: int = 512
    invoked_function_arn: str = "arn:aws:lambda:us-east-1:123456789012:function:search-router-test"
    aws_request_id: str = "00000000-0000-0000-0000-000000000000"
    remaining_milliseconds: int = 900_000

    def get_remaining_time_in_millis(self) -> int:
        return self.remaining_milliseconds


def pytest_configure() -> None:
    """Scrub the process before any test module is imported: Powertools reads at import."""
    for name in [name for name in os.environ if name.startswith(("AWS_", "POWERTOOLS_"))]:
        del os.environ[name]
    os.environ.update(ENVIRONMENT)
    settings.register_profile("project", deadline=None, max_examples=40, derandomize=True)
    settings.load_profile("project")


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name data after its parameter: an id is a word that every process spells alike."""
    if isinstance(val, str) and val.isascii() and val.isprintable() and len(val) <= LONGEST_ID:
        return None  # pytest's own way, as for numbers and names
    return argname if isinstance(val, str | bytes) else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Unit tests open no socket at all, the others only to this machine."""
    for item in items:
        is_unit = item.nodeid.startswith("tests/unit/")
        item.add_marker(
            pytest.mark.disable_socket if is_unit else pytest.mark.allow_hosts(LOOPBACK)
        )


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Show what ran, what did not, and what tests measured, whichever process they ran in."""
    folders = Counter(
        Path(report.nodeid.split("::")[0]).parts[1].removeprefix("test_").removesuffix(".py")
        for outcome in ("passed", "failed")
        for report in terminalreporter.getreports(outcome)
        if report.when == "call"
    )
    ran = ", ".join(f"{count:,} {folder}" for folder, count in sorted(folders.items()))
    left_out = "; sweeps are left to make test-all" * (config.option.markexpr == "not sweep")
    if ran:
        terminalreporter.section(f"ran {ran}{left_out}")
    measured = [
        figure
        for report in terminalreporter.getreports("passed")
        for name, figure in report.user_properties
        if name == FIGURE
    ]
    if measured:
        terminalreporter.section("measured")
        terminalreporter.write_line("\n".join(measured))


@pytest.fixture
def tell(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Return what a test tells its figures to; the summary of the tests shows them."""
    return partial(record_property, FIGURE)


@pytest.fixture
def lambda_context() -> FakeLambdaContext:
    return FakeLambdaContext()


@pytest.fixture
def load_event() -> Callable[[str], dict[str, Any]]:
    """Return a reader of golden payloads: `load_event("shard_prompts")`."""

    def load(name: str) -> dict[str, Any]:
        event: dict[str, Any] = json.loads((EVENTS / f"{name}.json").read_bytes())
        return event

    return load
