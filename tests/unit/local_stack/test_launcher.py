"""Options become parameters of the template."""

import platform
from pathlib import Path

import pytest

from local_stack.launcher import LocalStack, LocalStackOptions
from local_stack.processes import LocalStackError

TEMPLATE = """
Transform: AWS::Serverless-2016-10-31
Parameters:
  Architecture: {Type: String, Default: arm64}
  RequestsPerMinute: {Type: Number, Default: 2000}
Resources:
  Queue: {Type: AWS::SQS::Queue}
"""


@pytest.fixture
def template(tmp_path: Path) -> Path:
    path = tmp_path / "template.yaml"
    path.write_text(TEMPLATE)
    return path


def test_the_stack_is_told_the_processor_and_the_pace_of_this_machine(
    template: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    options = LocalStackOptions(template=template, requests_per_minute=600)

    assert LocalStack(options).parameters == {"Architecture": "arm64", "RequestsPerMinute": "600"}


def test_given_parameters_win(template: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    options = LocalStackOptions(template=template, parameters={"RequestsPerMinute": "5"})

    assert LocalStack(options).parameters == {"Architecture": "x86_64", "RequestsPerMinute": "5"}


def test_a_parameter_that_the_template_does_not_have_is_an_error(template: Path) -> None:
    with pytest.raises(LocalStackError, match="no such parameter: A"):
        LocalStack(LocalStackOptions(template=template, parameters={"A": "b"}))


def test_what_is_changed_for_this_machine_is_said(
    template: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "arm64")
    options = LocalStackOptions(template=template, requests_per_minute=600, tick_track_runs=True)

    found = {item.what: item.how for item in LocalStack(options).not_emulated}

    assert found["Parameter RequestsPerMinute"] == "600 instead of 2000"
    assert "Parameter Architecture" not in found
    assert "Schedule of track_runs" in found


def test_undeclared_parameters_are_not_invented(tmp_path: Path) -> None:
    path = tmp_path / "template.yaml"
    path.write_text("Resources: {Queue: {Type: AWS::SQS::Queue}}")

    assert LocalStack(LocalStackOptions(template=path)).parameters == {}
