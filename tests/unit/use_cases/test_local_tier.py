"""The local tier from the training set to the rows: trained, carried, compared, served."""

import json

import pytest

from router_cli.console import CommandError
from router_cli.label import abstained_queries
from search_router.domain.local_tier.artifact import unpack, version_of
from search_router.domain.logs.query_logs import SplitMessage
from search_router.domain.logs.results import PartStats
from search_router.domain.serving.decisions import Tier
from search_router.domain.serving.local_tier import LocalTierMode
from search_router.use_cases.log_parts import MAX_ABSTAINED
from tests.fakes import FakeModel, always
from tests.records import (
    MODALITIES,
    a_champion,
    conversation,
    dataset_of,
    jsonl,
    label,
    local_tier_of,
)
from tests.unit.domain.local_examples import labelled
from tests.unit.use_cases.world import AUDIO, VISUAL, World, labelled_rows, ran, routed

NEW_OF_KNOWN_PATTERNS = [f"query {n} {'bark' if n % 2 else 'red'}" for n in range(2_000, 2_040)]
UNLIKE_ANY = ["interview with the director", "weather in Lisbon tomorrow"]
LOG = jsonl([{"query": query} for query in NEW_OF_KNOWN_PATTERNS + UNLIKE_ANY])


def serving(mode: LocalTierMode, shadow_fraction: float = 0.0) -> World:
    world = World(local_tier=mode, shadow_fraction=shadow_fraction)
    world.promoted()
    world.model.asked.clear()
    return world


def routed_log(world: World, body: bytes = LOG) -> tuple[SplitMessage, PartStats]:
    world.split_log(body)
    message = world.queue.sent[-1]
    return message, routed(world.route(message))


def rows_of(world: World, message: SplitMessage) -> list[dict[str, object]]:
    return world.rows(f"logs/{message.log_id}/parts/part-00000.jsonl")


def test_it_is_trained_with_the_training_set_and_promoted_with_the_model() -> None:
    world = World()

    run = world.promoted()

    champion = world.champions.current()
    assert champion is not None
    assert champion.serving.local_model == local_tier_of(run).version
    artifact = world.objects.get(f"models/local/{local_tier_of(run).version}")
    assert version_of(artifact) == local_tier_of(run).version
    assert not unpack(artifact, MODALITIES).gate.closed


def test_training_again_writes_the_same_again(world: World) -> None:
    first, again = world.sharded(), world.sharded()

    assert again.run_id != first.run_id
    assert local_tier_of(again).version == local_tier_of(first).version
    assert sum(key.startswith("models/") for key in world.objects.bodies) == 1


def test_without_labels_there_is_none(world: World) -> None:
    body = jsonl([{"query": f"query {n}"} for n in range(200)])

    assert dataset_of(world.sharded(body)).local_tier is None


def test_when_on_it_answers_what_it_knows_for_nothing() -> None:
    world = serving(LocalTierMode.ON)

    message, stats = routed_log(world)

    rows = rows_of(world, message)
    assert stats.tiers == {"local": len(NEW_OF_KNOWN_PATTERNS), "distilled": len(UNLIKE_ANY)}
    assert stats.model_calls == len(UNLIKE_ANY)
    assert (stats.local_asked, stats.local_abstained) == (len(rows), len(UNLIKE_ANY))
    for row in rows[: len(NEW_OF_KNOWN_PATTERNS)]:
        assert row["audio"] == (AUDIO if "bark" in str(row["query"]) else VISUAL)[1]
        assert row["model"] == f"models/local/{local_tier_of(world.run(ran_id(world))).version}"
        costs = ("latency_ms", "input_tokens", "output_tokens", "cost_usd")
        assert [row[name] for name in costs] == [0, 0, 0, 0]


def ran_id(world: World) -> str:
    champion = world.champions.current()
    assert champion is not None
    return champion.run_id


def test_in_shadow_it_is_compared_and_never_served() -> None:
    world = serving(LocalTierMode.SHADOW)

    _, stats = routed_log(world)

    assert "local" not in stats.tiers
    assert stats.model_calls == len(NEW_OF_KNOWN_PATTERNS) + len(UNLIKE_ANY)
    assert stats.compared == stats.agreeing == len(NEW_OF_KNOWN_PATTERNS)
    assert stats.difference == 0


def test_disagreement_shows() -> None:
    world = serving(LocalTierMode.SHADOW)
    world.model = FakeModel(always(label(0.1, 0.1, 0.7, 0.1)))

    _, stats = routed_log(world)

    assert (stats.compared, stats.agreeing) == (len(NEW_OF_KNOWN_PATTERNS), 0)
    assert stats.difference > 0.2 * stats.compared


def test_answers_that_are_the_prior_are_not_compared() -> None:
    world = serving(LocalTierMode.SHADOW)
    world.model = FakeModel(always("I cannot"))

    assert routed_log(world)[1].compared == 0


def test_when_off_nobody_asks_it() -> None:
    _, stats = routed_log(serving(LocalTierMode.OFF))

    assert (stats.local_asked, stats.compared) == (0, 0)
    assert "local" not in stats.tiers


def test_the_sample_asked_of_both_is_chosen_by_the_query_alone() -> None:
    parts = []
    for _ in range(2):
        world = serving(LocalTierMode.ON, shadow_fraction=0.5)
        message, stats = routed_log(world)
        parts.append([row["tier"] for row in rows_of(world, message)])
        assert 8 <= stats.compared <= 32
        assert stats.tiers["local"] + stats.compared == len(NEW_OF_KNOWN_PATTERNS)

    assert parts[0] == parts[1]


def test_what_it_refuses_is_kept_for_labelling() -> None:
    world = serving(LocalTierMode.SHADOW)

    message, _ = routed_log(world, LOG + jsonl([{"query": UNLIKE_ANY[0] + " "}]))

    kept = world.rows(f"logs/{message.log_id}/abstained/part-00000.jsonl")
    assert sorted(row["query"] for row in kept) == sorted(UNLIKE_ANY)


def test_the_refused_are_a_labelling_queue() -> None:
    world = serving(LocalTierMode.SHADOW)
    message, _ = routed_log(world)

    queue = abstained_queries(world.objects, message.log_id)

    assert sorted(queue.values()) == sorted(UNLIKE_ANY)
    with pytest.raises(CommandError, match="local tier abstained"):
        abstained_queries(world.objects, "log-000000000000")


def test_the_summary_tells_what_it_did() -> None:
    world = serving(LocalTierMode.ON, shadow_fraction=0.5)
    message, _ = routed_log(world)
    world.finish(message.log_id)

    reported = world.text(f"logs/{message.log_id}/summary.json")["local_tier"]

    assert reported["asked"] == len(NEW_OF_KNOWN_PATTERNS) + len(UNLIKE_ANY)
    assert reported["served"] + reported["compared"] + reported["abstained"] == reported["asked"]
    assert (reported["agreement"], reported["mean_difference"]) == (1.0, 0.0)


def test_repeats_and_cached_rows_count_for_the_tier_that_answered() -> None:
    # GIVEN a log in which each query comes three times, and a later log with the same queries
    world = serving(LocalTierMode.ON)
    queries = [*NEW_OF_KNOWN_PATTERNS, *UNLIKE_ANY]
    body = jsonl([{"query": query} for query in [*queries, *queries, *queries]])
    message, stats = routed_log(world, body)
    world.finish(message.log_id)

    summary = world.text(f"logs/{message.log_id}/summary.json")

    # THEN the tiers show how rows were served, the first figures who answered
    known, others = len(NEW_OF_KNOWN_PATTERNS), len(UNLIKE_ANY)
    assert stats.tiers == {"local": known, "distilled": others, "cache": 2 * len(queries)}
    assert next(iter(summary)) == "answered_by"
    assert summary["answered_by"] == {"local": 3 * known, "distilled": 3 * others, "fallback": 0}
    assert summary["local_share"] == round(known / len(queries), 6)
    assert summary["repeats"] == 2 * len(queries)
    by_model = [str(row["model"]) for row in rows_of(world, message)]
    assert sum(model.startswith("models/local/") for model in by_model) == 3 * known
    assert summary["local_tier"]["answerable_share"] == round(known / len(queries), 6)


def test_no_more_than_a_bounded_number_is_kept() -> None:
    world = serving(LocalTierMode.SHADOW)
    words = [f"{chr(97 + n % 26)}{chr(97 + n // 26)}zz{n}" for n in range(MAX_ABSTAINED + 50)]

    message, stats = routed_log(world, jsonl([{"query": word} for word in words]))

    assert stats.local_abstained == MAX_ABSTAINED + 50
    kept = world.objects.get(f"logs/{message.log_id}/abstained/part-00000.jsonl")
    assert kept.count(b"\n") == MAX_ABSTAINED


@pytest.mark.parametrize("body", [None, b"", b"SRLOCAL1 damaged"])
def test_one_that_cannot_be_read_leaves_all_to_the_distilled_model(body: bytes | None) -> None:
    world = serving(LocalTierMode.ON)
    key = f"models/local/{local_tier_of(world.run(ran_id(world))).version}"
    if body is None:
        del world.objects.bodies[key]
    else:
        world.objects.bodies[key] = body

    _, stats = routed_log(world)

    assert set(stats.tiers) == {"distilled"}
    assert world.local_models.pop_failure_count() == 1
    routed_log(world, jsonl([{"query": "once more"}]))
    assert world.local_models.pop_failure_count() == 0  # what is damaged stays so: not read again


def test_a_closed_gate_is_as_none_at_all() -> None:
    world = World(local_tier=LocalTierMode.ON)
    rows = [
        conversation(f"query {n} {'bark' if n % 2 else 'red'}", label(*weights))
        for n in range(300)
        for weights in [(1.0, 0.0, 0.0, 0.0) if n % 3 else (0.0, 0.0, 0.5, 0.5)]
    ]
    run = world.sharded(jsonl(rows))

    version = local_tier_of(run).version
    assert unpack(world.objects.get(f"models/local/{version}"), MODALITIES).gate.closed
    serving_model = a_champion().serving.replace(local_model=version)
    assert world.local_models.tier(serving_model) is None


def test_a_log_planned_before_a_promotion_keeps_its_own_model() -> None:
    world = serving(LocalTierMode.ON)
    world.split_log(LOG)
    message = world.queue.sent[-1]
    first = world.run(ran_id(world))
    second = world.promoted(jsonl(labelled_rows(260, "other")), "prompts/other.jsonl")

    world.route(message)

    names = {row["model"] for row in rows_of(world, message) if row["tier"] == "local"}
    assert local_tier_of(first).version != local_tier_of(second).version
    assert names == {f"models/local/{local_tier_of(first).version}"}


def test_the_api_is_served_by_it_too() -> None:
    world = serving(LocalTierMode.ON)

    known, unlike = world.ask(NEW_OF_KNOWN_PATTERNS[0]), world.ask(UNLIKE_ANY[0])

    assert (known.decision.tier, unlike.decision.tier) == (Tier.LOCAL, Tier.DISTILLED)
    assert [query for _, query in world.model.asked] == [UNLIKE_ANY[0]]


def test_an_evaluation_measures_the_models_without_it_and_it_beside_them() -> None:
    world = World(local_tier=LocalTierMode.ON)
    run = ran(world.evaluate(world.evaluating().run_id))

    assert run.evaluation is not None
    local = run.evaluation.local_tier
    assert local is not None
    assert (local.version, local.n) == (local_tier_of(run).version, run.evaluation.candidate.n)
    assert (local.mae, local.dominant_agreement, local.rubric) == (0, 1, 5)
    assert local.answered > 0.8
    assert [point.coverage for point in local.risk_coverage][-1] == 1.0
    answers = json.loads(
        world.objects.get(f"runs/{run.run_id}/evaluation/candidate/answers-00000.json")
    )
    assert {answer["tier"] for answer in answers.values()} == {"distilled"}


def test_what_it_made_of_held_out_patterns_goes_with_the_run_into_its_evaluation() -> None:
    world = World()
    body = jsonl([conversation(query, label(*weights)) for query, weights in labelled(7, 600)])

    run = ran(world.evaluate(world.evaluating(body).run_id))

    hidden = local_tier_of(run).held_out_patterns
    assert hidden is not None
    assert hidden.queries >= 60
    assert run.evaluation is not None
    assert run.evaluation.local_tier is not None
    assert run.evaluation.local_tier.held_out_patterns == hidden
    assert local_tier_of(world.sharded()).held_out_patterns is None, "two patterns are too few"
