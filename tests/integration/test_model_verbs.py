"""`distill`, `promote`, `rollback`, `champions` over the adapters that they use on AWS."""

import json
from typing import Any

import boto3
import pytest

from router_cli.__main__ import main
from router_cli.stack import Stack as CommandStack
from search_router.dependencies import dependencies
from search_router.domain.lifecycle.runs import RunState
from tests.integration.material import labelled
from tests.integration.stack import Stack
from tests.integration.world import DATA, REGION, STATE

PROMPTS = labelled(300)
OTHER = labelled(320)


@pytest.fixture
def command(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> Stack:
    """Let the verbs work on the stack under test."""
    outputs = {"DataBucketName": DATA, "StateTableName": STATE}
    client: Any = boto3.client  # one call for all services
    opened = CommandStack(outputs, lambda name: client(name, REGION), "", lambda: None, REGION)
    monkeypatch.setattr("router_cli.models.open_stack", lambda _: opened)
    return stack


def test_champions_lists_a_rollback(command: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    command.train("prompts/labels.jsonl", PROMPTS)
    command.pass_an_hour()
    command.train("prompts/more.jsonl", OTHER)
    capsys.readouterr()

    assert main(["rollback", "--to", "v1", "--reason", "worse", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["champion_version"] == 1
    assert main(["champions", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)

    rows = [(row["version"], row["serves"], row["deployed"]) for row in listed["champions"]]
    assert rows == [(1, True, True), (2, False, True)]
    [move] = [move for move in listed["moves"] if move["to_version"] < (move["from_version"] or 0)]
    assert move["reason"].startswith("rolled back by ")
    assert move["reason"].endswith(": worse")
    assert [row["file"] for row in listed["champions"]] == [
        "prompts/labels.jsonl", "prompts/more.jsonl",
    ]  # fmt: skip
    assert all(0 <= row["error"] < 0.2 for row in listed["champions"])
    assert main(["champions"]) == 0
    assert "Champions" in capsys.readouterr().out
    assert main(["rollback"]) == 1
    assert "no previous version" in capsys.readouterr().err


def test_distill_again_pays_for_another_job(
    command: Stack, capsys: pytest.CaptureFixture[str]
) -> None:
    command.bedrock.fake.change(job_failure="The machine was on fire.")
    run = command.train("prompts/labels.jsonl", PROMPTS)
    assert run.state is RunState.FAILED
    command.bedrock.fake.change(job_failure="")
    capsys.readouterr()

    assert main(["distill", run.run_id]) == 1
    assert "new one with --again" in capsys.readouterr().err
    assert main(["distill", run.run_id, "--again", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["attempt"] == 2
    command.deliver_events()
    command.end_jobs()
    for _ in range(2):
        command.tick()
    command.deliver_events()

    after = dependencies().runs.get(run.run_id)
    assert after is not None
    assert (after.state, after.attempt) == (RunState.PROMOTED, 2)
    assert command.bought() == {"jobs": 2, "deployments": 1}


def test_promote_approves_a_run(
    command: Stack, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROMOTION_POLICY", "ask-always")
    made = dependencies()
    clock = made.clock
    dependencies.cache_clear()
    dependencies().clock = clock
    run = command.train("prompts/labels.jsonl", PROMPTS)
    assert run.state is RunState.AWAITING_APPROVAL
    capsys.readouterr()

    assert main(["promote", run.run_id]) == 0
    assert "is now champion version 1" in capsys.readouterr().err
    assert command.champion().run_id == run.run_id
    assert main(["promote", run.run_id]) == 1


def test_prune_deletes_the_models_that_nothing_needs(
    command: Stack, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of three champions the first is needed neither now nor for a rollback."""
    first = command.train("prompts/labels.jsonl", PROMPTS)
    for number in (320, 340):
        command.pass_an_hour()
        command.train(f"prompts/{number}.jsonl", labelled(number))
    bedrock: Any = boto3.client("bedrock", REGION)
    bedrock.delete_custom_model_deployment(
        customModelDeploymentIdentifier=first.deployment.arn if first.deployment else ""
    )
    capsys.readouterr()

    assert main(["prune", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert (listed["deleted"], listed["usd_per_month"]) == (False, 1.95)
    assert first.training is not None
    assert listed["models"] == [first.training.model_arn]
    assert main(["prune", "--yes"]) == 0
    assert "1 models deleted" in capsys.readouterr().err
    assert main(["prune", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["models"] == []
