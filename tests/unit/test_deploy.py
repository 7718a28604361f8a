"""`make deploy`: what it asks SAM for, what it refuses, and the workflow that runs it."""

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

from tests.unit.template_checks import PROJECT, expanded_template

RECORDING = """#!/bin/sh
echo "$0" "$@" >> calls.txt
exit $(cat fails 2>/dev/null || echo 0)
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of what `.ci/deploy` reads, with programs that record their arguments."""
    for name in (".ci", "stages"):
        shutil.copytree(PROJECT / name, tmp_path / name)
    shutil.copy(PROJECT / "samconfig.toml", tmp_path)
    built = tmp_path / ".aws-sam" / "build"
    built.mkdir(parents=True)
    (built / "template.yaml").touch()
    for name in ("sam", "search-router"):
        (tmp_path / name).write_text(RECORDING)
        (tmp_path / name).chmod(0o700)
    return tmp_path


def deploy(project: Path, stage: str = "dev", **environment: str) -> tuple[int, str, list[str]]:
    """Return exit code, what was said, and the calls that were made."""
    clean = {name: value for name, value in os.environ.items() if name not in ("CI", "TAGS")}
    done = subprocess.run(
        [".ci/deploy", "./sam", "./search-router", stage],
        cwd=project,
        env={**clean, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    calls = project / "calls.txt"
    made = calls.read_text().splitlines() if calls.exists() else []
    return done.returncode, done.stderr, made


def test_a_stage_is_checked_then_deployed_with_the_parameters_of_its_file(project: Path) -> None:
    code, _, (check, call) = deploy(project)

    assert code == 0
    assert check == (
        "./search-router doctor --before-deploy --stack-name search-router-dev "
        "--parameter Stage=dev --parameter LogRetentionDays=14"
    )
    assert call.startswith(f"./sam deploy --config-file {project}/samconfig.toml")
    assert "--stack-name search-router-dev" in call
    assert "--parameter-overrides Stage=dev LogRetentionDays=14" in call
    assert "--tags application=search-router stage=dev" in call
    assert "--guided" not in call
    assert "--no-confirm-changeset" not in call


def test_a_pipeline_is_asked_nothing(project: Path) -> None:
    _, _, (_, call) = deploy(project, "prod", CI="1", TAGS="team=search")

    assert "--no-confirm-changeset" in call
    assert "--tags application=search-router stage=prod team=search" in call


def test_a_blocker_stops_the_deployment(project: Path) -> None:
    (project / "fails").write_text("1")

    code, _, made = deploy(project)

    assert (code, len(made)) == (1, 1)
    assert "doctor" in made[0]


def test_guided_answers_stay_out_of_the_tracked_file(project: Path) -> None:
    before = (project / "samconfig.toml").read_bytes()

    _, _, (_, call) = deploy(project, GUIDED="1")

    kept = project / "stages" / "dev.guided.toml"
    assert f"--config-file {kept}" in call
    assert "--guided" in call
    assert (project / "samconfig.toml").read_bytes() == before
    ignored = (PROJECT / ".gitignore").read_text().splitlines()
    assert "stages/*.guided.toml" in ignored
    # The next deployment uses them.
    _, _, made = deploy(project)
    assert f"--config-file {kept}" in made[-1]
    assert "--parameter-overrides" not in made[-1]


@pytest.mark.parametrize(
    ("stage", "message"),
    [
        ("qa", "no stages/qa.conf. Copy stages/dev.conf and edit it."),
        ("../dev", "not a stage: ../dev."),
        ("Prod", "not a stage: Prod."),
    ],
)
def test_an_unknown_stage_is_an_error(project: Path, stage: str, message: str) -> None:
    code, said, made = deploy(project, stage)

    assert (code, made) == (1, [])
    assert message in said


def test_a_stage_of_any_name_is_a_file(project: Path) -> None:
    (project / "stages" / "qa.conf").write_text("# ours\nLocalTier=on")

    _, _, (_, call) = deploy(project, "qa")

    assert "--parameter-overrides Stage=qa LocalTier=on" in call


def test_nothing_is_deployed_that_was_not_built(project: Path) -> None:
    (project / ".aws-sam" / "build" / "template.yaml").unlink()

    assert deploy(project)[:2] == (1, "nothing is built. Run make build.\n")


def test_a_failed_creation_is_deleted() -> None:
    """CloudFormation cannot update a stack in ROLLBACK_COMPLETE."""
    config = tomllib.loads((PROJECT / "samconfig.toml").read_text())
    assert config["default"]["deploy"]["parameters"]["on_failure"] == "DELETE"


@pytest.mark.parametrize("file", sorted(PROJECT.glob("stages/*.conf")), ids=lambda file: file.stem)
def test_a_stages_file_names_parameters_of_the_template(file: Path) -> None:
    parameters = expanded_template()["Parameters"]
    lines = [line for line in file.read_text().splitlines() if line and not line.startswith("#")]
    assert {line.partition("=")[0] for line in lines} <= parameters.keys()


def test_the_workflow_pins_its_actions_and_uses_no_stored_keys() -> None:
    text = (PROJECT / ".github" / "workflows" / "deploy.yml").read_text()
    workflow = yaml.safe_load(text)
    steps = [step for job in workflow["jobs"].values() for step in job["steps"]]

    used = [step["uses"] for step in steps if "uses" in step]
    assert used
    assert all(re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", name) for name in used)
    assert "secrets." not in text
    assert workflow["permissions"] == {"contents": "read"}
    assert workflow["jobs"]["deploy"]["permissions"]["id-token"] == "write"
    commands = [step["run"] for step in steps if "run" in step]
    assert commands == [
        "make lint",
        "make test",
        "make build",
        'make deploy STAGE="$STAGE" CI=1',
    ]
    # Expressions in a script could be code of whoever chooses the input.
    assert not any("${{" in command for command in commands)
