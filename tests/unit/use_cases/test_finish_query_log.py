"""Closing a log: said at least once, and never while ledger and parts disagree."""

import re
from collections.abc import Callable

import pytest

from search_router.domain.errors import ConflictError, UnavailableError
from search_router.domain.events import QueryLogRouted
from search_router.domain.logs.query_logs import LogState
from search_router.domain.logs.results import PartStats
from search_router.domain.logs.summary import summarise
from tests.fakes import FakeModel, InMemoryLedger, reply
from tests.records import jsonl, label
from tests.unit.use_cases.world import World, ignored, student

ROWS = [{"query": f"query {n % 50}", "pad": "x" * 500} for n in range(300)]
BODY = jsonl(ROWS) + b"broken\n"


@pytest.fixture
def complete(serving_world: World) -> World:
    """A log whose two parts are in the ledger."""
    serving_world.split_log(BODY)
    for message in serving_world.queue.sent:
        serving_world.route(message)
    serving_world.events.published.clear()
    return serving_world


def log_id(world: World) -> str:
    return str(world.queue.sent[0].log_id)


def test_a_complete_log_is_summed_up_and_closed(complete: World) -> None:
    world, folder = complete, f"logs/{log_id(complete)}"

    total = world.finish(log_id(world))

    assert isinstance(total, PartStats)
    assert (total.rows_in, total.routed, total.rejected) == (301, 300, 1)
    summary = world.text(f"{folder}/summary.json")
    assert (summary["rows_in"], summary["parts"], summary["champion_version"]) == (301, 2, 1)
    assert summary["source"] == "s3://uploads/query-logs/searches.jsonl"
    assert summary["latency_ms"]["p50"] == pytest.approx(800, rel=0.05)
    assert set(summary["weight_histograms"]) == {"visual", "audio", "transcription", "metadata"}
    manifest = world.text(f"{folder}/manifest.json")
    assert [part["key"] for part in manifest["parts"]] == [
        f"{folder}/parts/part-00000.jsonl",
        f"{folder}/parts/part-00001.jsonl",
    ]
    assert sum(part["rows"] for part in manifest["parts"]) == 300
    assert all(part["bytes"] == len(world.objects.get(part["key"])) for part in manifest["parts"])
    assert world.log(log_id(world)).state is LogState.ROUTED
    assert world.events.published == [QueryLogRouted(log_id=log_id(world))]


def test_the_answers_are_compared_with_the_training_labels(world: World) -> None:
    # GIVEN a champion that was trained on as many barks as reds
    world.promoted()
    # WHEN a log asks for one of them only, and one query cannot be answered
    world.model.answering = lambda serving, query: (
        reply("no idea") if query == "query 7" else student(serving, query + " bark")
    )
    world.split_log(jsonl([{"query": f"query {n}"} for n in range(40)]))
    world.route(world.queue.sent[0])
    world.finish(log_id(world))
    # THEN the summary says so, and the unanswered query is not counted as an answer
    summary = world.text(f"logs/{log_id(world)}/summary.json")
    drift = summary["drift"]
    assert drift["largest"] in ("visual", "audio")
    assert drift["modalities"]["audio"]["divergence"] == pytest.approx(0.31, abs=0.03)
    assert drift["modalities"]["audio"]["mean_shift"] == pytest.approx(0.25, abs=0.03)
    assert drift["expected_by_chance"] < 0.06
    assert (summary["fallback"], summary["fallback_share"]) == (1, 0.025)
    assert summary["cost_usd_per_million_rows"] == pytest.approx(summary["cost_usd"] * 25_000)
    assert "interrupted attempts" in summary["cost_not_counted"]
    assert list(summary["latency_ms"]) == ["mean", "p50", "p95", "p99"]


def test_mean_weights_and_shifts_are_exact(world: World) -> None:
    # GIVEN a champion whose labels have the mean `prior`, and a model with uneven answers
    run = world.promoted()
    champion = world.champions.current()
    assert champion is not None
    prior = champion.serving.prior
    answers = {0: (1.0, 0.0, 0.0, 0.0), 1: (0.05, 0.05, 0.35, 0.55), 2: (0.33, 0.33, 0.33, 0.01)}
    world.model.answering = lambda _, query: (
        reply("no idea") if query.endswith("9") else reply(label(*answers[int(query[-1]) % 3]))
    )
    # WHEN a log is routed
    log = world.split_log(jsonl([{"query": f"query {n}"} for n in range(60)]))
    world.route(world.queue.sent[-1])
    world.finish(log.log_id)
    # THEN the means are those of the rows, and the shifts leave the prior's rows out
    rows = world.rows(f"logs/{log.log_id}/parts/part-00000.jsonl")
    summary = world.text(f"logs/{log.log_id}/summary.json")
    assert run.promoted
    for name, trained in zip(champion.serving.modalities, prior, strict=True):
        own = [row[name] for row in rows if row["status"] != "fallback"]
        assert summary["weight_means"][name] == round(sum(row[name] for row in rows) / 60, 4)
        shift = summary["drift"]["modalities"][name]["mean_shift"]
        assert shift == pytest.approx(sum(own) / len(own) - trained, abs=0.000_051)
    assert summary["latency_ms"]["mean"] == 800


def test_a_champion_without_training_labels_gives_no_drift(complete: World) -> None:
    complete.finish(log_id(complete))

    assert complete.text(f"logs/{log_id(complete)}/summary.json")["drift"] is None


def test_the_cost_of_a_model_without_a_price_is_unknown(serving_world: World) -> None:
    champion = serving_world.champions.current()
    assert champion is not None
    unpriced = champion.serving.replace(priced_as="other.model-v1:0")
    serving_world.split_log(jsonl([{"query": "dogs"}]))
    serving_world.champions.install(champion.replace(serving=unpriced))
    serving_world.route(serving_world.queue.sent[0])
    serving_world.finish(log_id(serving_world))

    summary = serving_world.text(f"logs/{log_id(serving_world)}/summary.json")
    assert summary["model_calls"] == 1
    assert (summary["cost_usd"], summary["cost_usd_per_million_rows"]) == (None, None)


def test_figures_without_data_are_unknown(serving_world: World) -> None:
    log = serving_world.split_log(BODY)

    summary = summarise(log, None, PartStats(rows_in=9, rejected=9))

    assert (summary["fallback_share"], summary["cost_usd_per_million_rows"]) == (None, None)
    assert (summary["cost_usd"], summary["weight_means"], summary["drift"]) == (0, {}, None)
    local = summarise(log, None, PartStats(local_asked=2, local_us=8))["local_tier"]
    assert local == {
        "asked": 2, "served": 0, "abstained": 0, "answerable_share": 1.0, "mean_us": 4.0,
        "compared": 0, "agreement": None, "mean_difference": None,
    }  # fmt: skip


def test_attempts_that_ended_early_are_counted(serving_world: World) -> None:
    # GIVEN a log of one split whose first two attempts reached no model
    world = serving_world
    world.split_log(jsonl([{"query": "dogs"}]))
    [message] = world.queue.sent
    for receives in (1, 2):
        with pytest.raises(UnavailableError):
            world.route(message, FakeModel(student, calls_left=0), receives=receives)
    # WHEN the third routes it
    world.route(message, receives=3)
    world.finish(log_id(world))
    # THEN the summary tells of two, and what they may have cost unseen
    assert world.text(f"logs/{log_id(world)}/summary.json")["interrupted"] == 2


def test_sums_over_the_rows_are_the_summary(complete: World) -> None:
    total = complete.finish(log_id(complete))
    rows = [row for split in (0, 1) for row in complete.rows(
        f"logs/{log_id(complete)}/parts/part-0000{split}.jsonl")]  # fmt: skip

    assert isinstance(total, PartStats)
    assert total.cost_usd == pytest.approx(sum(row["cost_usd"] for row in rows))
    assert total.input_tokens == sum(row["input_tokens"] for row in rows)
    assert total.model_calls == len(complete.model.asked) == 50


def test_a_repeated_event_changes_nothing(complete: World) -> None:
    complete.finish(log_id(complete))
    writes = dict(complete.objects.writes)

    assert ignored(complete.finish(log_id(complete))) == "the upload is ROUTED with 2 of 2 parts"
    assert complete.objects.writes == writes
    assert len(complete.events.published) == 1


def test_an_early_or_forged_event_closes_nothing(serving_world: World) -> None:
    world = serving_world
    world.split_log(BODY)
    world.route(world.queue.sent[1])

    assert ignored(world.finish(log_id(world))) == "the upload is ROUTING with 1 of 2 parts"
    assert ignored(world.finish("log-000000000000")) == "the upload is not in the ledger"
    assert world.events.published == []


def test_a_failed_log_is_not_closed(world: World) -> None:
    log = world.split_log(BODY)

    assert ignored(world.finish(log.log_id)) == "the upload is FAILED with 0 of 0 parts"


def lose_a_part(world: World) -> None:
    del world.objects.bodies[f"logs/{log_id(world)}/parts/part-00001.jsonl"]


def add_a_part(world: World) -> None:
    world.objects.put(f"logs/{log_id(world)}/parts/part-00002.jsonl", b"{}\n")


def rename_a_part(world: World) -> None:
    lose_a_part(world)
    add_a_part(world)


def change_a_part(world: World) -> None:
    world.objects.bodies[f"logs/{log_id(world)}/parts/part-00001.jsonl"] += b"{}\n"


def lose_a_marker(world: World) -> None:
    del world.ledger._markers[(log_id(world), 0)]


def break_a_marker(world: World) -> None:
    [first, _] = world.ledger.markers(log_id(world))
    broken = first.model_copy(update={"stats": first.stats.model_copy(update={"routed": 1})})
    world.ledger._markers[(log_id(world), 0)] = broken


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lose_a_part, "1 parts for 2 splits"),
        (add_a_part, "3 parts for 2 splits"),
        (rename_a_part, "2 parts for 2 splits"),
        (change_a_part, r"part 1 has \d+ bytes, \d+ were written"),
        (lose_a_marker, "1 markers for 2 splits"),
        (break_a_marker, "the rows of split 0 do not add up"),
    ],
)
def test_a_disagreement_is_raised_and_fails_the_log(
    complete: World, damage: Callable[[World], None], reason: str
) -> None:
    damage(complete)

    with pytest.raises(ConflictError, match=reason):
        complete.finish(log_id(complete))

    log = complete.log(log_id(complete))
    assert log.state is LogState.FAILED
    assert re.search(reason, log.reason)
    assert complete.events.published == []
    assert f"logs/{log_id(complete)}/manifest.json" not in complete.objects.bodies


def test_a_retry_after_a_crash_before_the_closing_write_closes_the_log(
    complete: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unavailable(*_: object) -> None:
        raise UnavailableError("move a query log")

    with monkeypatch.context() as patch:
        patch.setattr(InMemoryLedger, "move", unavailable)
        with pytest.raises(UnavailableError):
            complete.finish(log_id(complete))
    complete.finish(log_id(complete))

    assert complete.log(log_id(complete)).state is LogState.ROUTED
    assert complete.events.published == [QueryLogRouted(log_id=log_id(complete))] * 2


def test_two_deliveries_at_once_write_the_same(
    complete: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = complete.log(log_id(complete))
    complete.finish(log_id(complete))
    first = dict(complete.objects.bodies)
    monkeypatch.setattr(InMemoryLedger, "get", lambda *_: before)  # read before the other closed it

    complete.finish(log_id(complete))

    assert complete.objects.bodies == first, "the same bytes"
