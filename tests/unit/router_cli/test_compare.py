"""`compare`: which queries move, with each model asked once per query and a cost limit."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from router_cli.__main__ import main
from router_cli.stack import Stack
from search_router.domain.lifecycle.runs import Run, RunState
from tests.fakes import reply
from tests.records import (
    MODALITIES,
    STUDENT,
    SYSTEM_PROMPT,
    a_champion,
    a_deployment,
    a_run,
    a_training_job,
    jsonl,
    label,
)
from tests.unit.router_cli.conftest import Clients, route_log
from tests.unit.use_cases.world import World

Answer = Callable[..., Any]
SECOND = "arn:aws:bedrock:us-east-1:123456789012:custom-model-deployment/second"
OLD = {
    "dogs": (0.6, 0.2, 0.1, 0.1),
    "cats": (0.4, 0.3, 0.2, 0.1),
    "rain": (0.1, 0.7, 0.1, 0.1),
    "hymn": (0.25, 0.5, 0.15, 0.1),
}
NEW = {
    "dogs": (0.6, 0.2, 0.1, 0.1),  # stays
    "cats": (0.45, 0.25, 0.2, 0.1),  # changes by 0.05, not enough
    "rain": (0.1, 0.5, 0.3, 0.1),  # changes by 0.2
    "hymn": (0.45, 0.35, 0.1, 0.1),  # another leader
}
ROWS = ["dogs", "cats", "rain", "hymn", "rain", "Caf\u00e9 ", "hymn", "hymn"]
FAST = ("--requests-per-minute", "60000")


def answered(weights: Mapping[str, tuple[float, ...]], query: str) -> str:
    known = weights.get(query)
    return label(*known) if known else "no idea"


@pytest.fixture
def log_id(world: World, stack: Stack, clients: Clients) -> str:
    """A log routed by champion 1, and a champion 2 that answers otherwise."""
    world.champions.install(a_champion(version=1))
    world.model.answering = lambda _, query: reply(answered(OLD, query))
    routed = route_log(world, jsonl([{"query": query} for query in ROWS]))
    world.champions.install(a_champion(version=2, deployment_arn=SECOND))
    clients.runtime.answering = lambda model, query: answered(
        NEW if model == SECOND else OLD, query
    )
    return routed


@pytest.fixture
def compare(log_id: str, answer: Answer, tmp_path: Path) -> Answer:
    def run(*arguments: str) -> Any:
        store = ("--store", str(tmp_path / "store.sqlite"))
        return answer("compare", log_id, *store, *FAST, *arguments)

    return run


def test_compare_reports_which_queries_moved_and_how_far(
    compare: Answer, clients: Clients, tmp_path: Path
) -> None:
    out = tmp_path / "moved.jsonl"

    report = compare("--against", "v2", "--out", str(out))

    # Every distinct query was asked once of the new model, and none of the old.
    assert sorted(clients.runtime.asked) == sorted(
        (SECOND, SYSTEM_PROMPT, query) for query in {row.strip() for row in ROWS}
    )
    assert (report["queries"], report["rows"]) == (5, 8)
    assert (report["compared"], report["unanswered"]) == (4, 1)
    assert (report["dominant_changed"], report["dominant_changed_share"]) == (1, 0.25)
    assert report["dominant_changes"] == {"audio to visual": 1}
    assert report["dominant_changed_share_of_rows"] == pytest.approx(3 / 7, abs=1e-6)
    assert (report["moved"], report["moved_share_of_rows"]) == (2, pytest.approx(5 / 7, abs=1e-6))
    # 0.05 + 0.05 of cats, 0.2 + 0.2 of rain, 0.2 + 0.15 + 0.05 of hymn, over 16 weights.
    assert report["mean_absolute_change"] == pytest.approx(0.9 / 16, abs=1e-4)
    assert report["modalities"]["visual"]["mean_change"] == pytest.approx(0.25 / 4, abs=1e-4)
    assert report["modalities"]["audio"]["mean_change"] == pytest.approx(-0.4 / 4, abs=1e-4)
    assert report["largest_change"] == {"p50": 0.05, "p95": 0.2, "max": 0.2}
    hymn, rain = report["furthest"]
    assert (hymn["query"], hymn["dominant"], hymn["rows"]) == ("hymn", ["audio", "visual"], 3)
    assert (rain["query"], rain["modality"], rain["largest_change"]) == ("rain", "audio", 0.2)
    assert rain["base"]["audio"] == 0.7
    assert rain["against"]["audio"] == 0.5
    written = [json.loads(line) for line in out.read_bytes().splitlines()]
    assert sorted(moved["query"] for moved in written) == ["hymn", "rain"]


def test_compare_reports_the_cost_of_both_sides(compare: Answer) -> None:
    report = compare("--against", "champion")

    assert report["base"]["name"] == "v1 as recorded"
    assert report["base"]["recorded"] is True
    assert (report["base"]["model_calls"], report["base"]["fallback"]) == (5, 1)
    assert (report["against"]["model_calls"], report["against"]["fallback"]) == (5, 1)
    assert report["against"]["cost_usd"] == pytest.approx(5 * 6.3e-6)
    assert report["total_cost_usd"] == report["against"]["cost_usd"]
    assert report["estimated_cost_usd"] == pytest.approx(report["total_cost_usd"], rel=0.01)
    assert set(report["against"]["latency_ms"]) == {"mean", "p50", "p95", "p99"}


def test_base_asks_both_models(compare: Answer, clients: Clients) -> None:
    report = compare("--against", "2", "--base", "v1")

    assert len(clients.runtime.asked) == 10
    assert (report["base"]["name"], report["moved"]) == ("v1", 2)
    assert report["total_cost_usd"] == pytest.approx(10 * 6.3e-6)


def test_a_stopped_comparison_continues_where_it_was(
    compare: Answer, clients: Clients, log_id: str, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    # GIVEN a comparison that loses its permission in the middle
    clients.runtime.refused_after = 3
    store = ("--store", str(tmp_path / "store.sqlite"))
    assert main(["compare", log_id, *store, *FAST, "--against", "v2"]) == 1
    assert "AccessDenied" in capsys.readouterr().err
    assert len(clients.runtime.asked) == 3
    # WHEN it is started again
    clients.runtime.refused_after = None
    report = compare("--against", "v2")
    # THEN only what is missing is asked, but for an unusable answer, and the figures are whole
    assert len(clients.runtime.asked) <= 6
    assert {query for _, _, query in clients.runtime.asked} == {row.strip() for row in ROWS}
    assert (report["queries"], report["moved"]) == (5, 2)
    # AND a third time nothing is asked
    before = len(clients.runtime.asked)
    assert compare("--against", "v2", "--moved-by", "0.01")["moved"] == 3
    assert len(clients.runtime.asked) == before


def test_a_sample_is_repeatable(compare: Answer, clients: Clients) -> None:
    first = compare("--against", "v2", "--sample", "2")
    again = compare("--against", "v2", "--sample", "2")

    assert first["queries"] == again["queries"] == len(clients.runtime.asked) == 2


def test_an_estimate_above_the_limit_needs_confirmation(
    compare: Answer, log_id: str, clients: Clients, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr("router_cli.compare.CONFIRM_ABOVE_USD", 1e-6)
    store = ("--store", str(tmp_path / "store.sqlite"))

    assert main(["compare", log_id, *store, "--against", "v2"]) == 1

    told = capsys.readouterr().err
    assert "5 calls to make: about $0.0000" in told
    assert "Confirm with --yes" in told
    assert clients.runtime.asked == []
    assert compare("--against", "v2", "--yes")["moved"] == 2


def test_a_foundation_model_gets_the_prompt_of_the_champion(
    compare: Answer, clients: Clients
) -> None:
    report = compare("--against", STUDENT)

    assert {(model, prompt) for model, prompt, _ in clients.runtime.asked} == {
        ("amazon.nova-micro-v1:0", SYSTEM_PROMPT)
    }
    assert report["against"]["cost_usd"] > 0


def test_a_run_can_be_compared(compare: Answer, world: World, clients: Clients) -> None:
    run = deployed(world, deleted=False)

    assert compare("--against", run.run_id)["moved"] == 2
    assert {model for model, _, _ in clients.runtime.asked} == {SECOND}


def deployed(world: World, *, deleted: bool) -> Run:
    deployment = a_deployment(SECOND).replace(deleted=deleted)
    run = a_run(RunState.REJECTED, training=a_training_job(), deployment=deployment)
    return world.runs.create(run)


def five_modalities(world: World) -> str:
    five = (*MODALITIES, "ocr")
    world.champions.install(a_champion(version=3, modalities=five, prior=tuple(0.2 for _ in five)))
    return "v3"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (lambda _: "v9", "no such champion: v9. `search-router champions`"),
        (lambda _: "run-000000000009", "no such run: run-000000000009"),
        (lambda world: deployed(world, deleted=True).run_id, "is not deployed (REJECTED)"),
        (five_modalities, "has other modalities than the log"),
    ],
)
def test_a_model_that_cannot_be_compared_is_rejected_before_any_call(
    world: World, log_id: str, clients: Clients, tmp_path: Path,
    capsys: pytest.CaptureFixture[str], name: Callable[[World], str], reason: str,
) -> None:  # fmt: skip
    store = ("--store", str(tmp_path / "store.sqlite"))

    assert main(["compare", log_id, *store, "--against", name(world)]) == 1

    assert reason in capsys.readouterr().err
    assert clients.runtime.asked == []


@pytest.mark.parametrize("confirmed", [(), ("--yes",)])
def test_a_model_that_bedrock_does_not_have_is_never_asked(
    log_id: str, clients: Clients, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    confirmed: tuple[str, ...],
) -> None:  # fmt: skip
    # GIVEN a model name with a typo, whose price is unknown too
    clients.bedrock.missing = {"amazon.nova-mikro-v1:0"}
    store = ("--store", str(tmp_path / "store.sqlite"))
    wanted = ("--against", "amazon.nova-mikro-v1:0", "--sample", "2", *confirmed)

    # WHEN it is compared, also against the advice
    code = main(["compare", log_id, *store, *FAST, *wanted])

    # THEN nothing is asked, and the cost is not shown as $0
    shown = capsys.readouterr().err
    assert code == 1
    assert "2 calls to make: cost unknown" in shown
    assert ("no such model: amazon.nova-mikro-v1:0" if confirmed else "is unknown") in shown
    assert "$0" not in shown
    assert clients.runtime.asked == []


def test_a_model_without_a_price_is_asked_once_confirmed(compare: Answer) -> None:
    report = compare("--against", "other.model-v1:0", "--yes")

    assert report["moved"] == 0
    assert report["against"]["model_calls"] == 5
    assert report["against"]["cost_usd"] is None
    assert report["against"]["cost_usd_per_million_calls"] is None
    assert (report["estimated_cost_usd"], report["total_cost_usd"]) == (None, None)


def test_a_deployment_that_is_not_active_is_not_asked(
    log_id: str, clients: Clients, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clients.bedrock.deployment_status = "Failed"
    store = ("--store", str(tmp_path / "store.sqlite"))

    assert main(["compare", log_id, *store, *FAST, "--against", "v2"]) == 1

    assert "cannot ask v2: its deployment is Failed" in capsys.readouterr().err
    assert clients.runtime.asked == []


def test_unusable_first_answers_stop_a_comparison(
    world: World, stack: Stack, clients: Clients, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    # GIVEN a log of many queries, and a model that answers none of them
    world.model.answering = lambda *_: reply(label(0.7, 0.1, 0.1, 0.1))
    log_id = route_log(world, jsonl([{"query": f"query {n}"} for n in range(200)]))
    clients.runtime.answering = lambda *_: "as a language model"
    store = ("--store", str(tmp_path / "store.sqlite"))

    # WHEN it is compared
    code = main(["compare", log_id, *store, *FAST, "--against", STUDENT])

    # THEN twenty answers are enough to stop, and none is kept
    assert code == 1
    assert len(clients.runtime.asked) == 20
    shown = capsys.readouterr().err
    assert "none of the first 20 answers of" in shown
    assert "20 × no JSON object in the answer" in shown  # noqa: RUF001
    # AND after a repair all are asked
    clients.runtime.answering = lambda *_: label(0.7, 0.1, 0.1, 0.1)
    assert main(["compare", log_id, *store, *FAST, "--against", STUDENT]) == 0
    assert len(clients.runtime.asked) == 220


def test_nothing_compared_is_a_failure_and_no_figure_is_0(
    world: World, stack: Stack, clients: Clients, answer: Answer, tmp_path: Path
) -> None:
    # GIVEN a log whose only row got the prior
    world.model.answering = lambda *_: reply("no idea")
    log_id = route_log(world, jsonl([{"query": "dogs"}]))
    clients.runtime.answering = lambda *_: label(0.7, 0.1, 0.1, 0.1)
    store = ("--store", str(tmp_path / "store.sqlite"))

    report = answer("compare", log_id, *store, *FAST, "--against", STUDENT, code=1)

    assert report["compared"] == 0
    assert report["mean_absolute_change"] is None
    assert report["dominant_changed_share"] is None
    assert report["moved_share_of_rows"] is None
    assert report["largest_change"] == {"p50": None, "p95": None, "max": None}


def test_tables_have_no_control_characters(
    world: World, stack: Stack, clients: Clients, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    world.model.answering = lambda *_: reply(label(0.7, 0.1, 0.1, 0.1))
    clients.runtime.answering = lambda *_: label(0.1, 0.7, 0.1, 0.1)
    log_id = route_log(world, jsonl([{"query": "\x1b[2Jdogs"}]))

    code = main(["compare", log_id, "--store", str(tmp_path / "s"), *FAST, "--against", "v1"])

    shown = capsys.readouterr()
    assert code == 0
    assert "visual to audio" in shown.out
    assert "\x1b" not in shown.out
    assert "1 calls to make" in shown.err
    assert "Delete it when you are done" in shown.err


@pytest.mark.parametrize("wrong", [("--sample", "0"), ("--requests-per-minute", "-1"), ()])
def test_wrong_usage_is_exit_code_2(wrong: tuple[str, ...]) -> None:
    against = ("--against", "v1") if wrong else ()
    with pytest.raises(SystemExit) as refused:
        main(["compare", "log-000000000000", *against, *wrong])

    assert refused.value.code == 2
