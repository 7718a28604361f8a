"""A model's answer: what passes the weight contract, what is repaired, what becomes the prior."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_router.domain.errors import InvalidInputError
from search_router.domain.queries import normalised_query, query_digest
from search_router.domain.serving.decisions import (
    Decision,
    Status,
    Tier,
    cached_value,
    decide,
    decision_from_cache,
    parse_answer,
    prior_decision,
)
from tests.fakes import reply
from tests.records import MODALITIES, PRIOR, SIXTEEN, a_decision, a_serving_model, label

SERVING = a_serving_model()
GOOD = label(0.1, 0.6, 0.2, 0.1)
WEIGHTS = (0.1, 0.6, 0.2, 0.1)


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        f"  {GOOD}\n",
        json.dumps({**json.loads(GOOD), "reasoning": "a {brace} and a ```fence```"}),
        json.dumps(dict(reversed(json.loads(GOOD).items())), indent=2),
    ],
    ids=["plain", "white space", "reasoning", "other order"],
)
def test_an_answer_that_meets_the_contract_is_ok(text: str) -> None:
    decision = decide(reply(text), SERVING)

    assert (decision.status, decision.tier, decision.weights) == (
        Status.OK,
        Tier.DISTILLED,
        WEIGHTS,
    )
    assert decision.problem == ""


@pytest.mark.parametrize(
    "text",
    [
        f"```json\n{GOOD}\n```",
        f"```\n{GOOD}\n```",
        f"Here are the weights:\n{GOOD}",
        f"{GOOD}\nI chose audio because of the barking.",
    ],
    ids=["json fence", "fence", "prose before", "prose after"],
)
def test_fences_and_prose_are_cut_off_and_counted_as_a_repair(text: str) -> None:
    decision = decide(reply(text), SERVING)

    assert (decision.status, decision.weights) == (Status.REPAIRED, WEIGHTS)


@pytest.mark.parametrize("weights", [(0.1, 0.6, 0.2, 0.11), (0.1, 0.6, 0.2, 0.09)])
def test_a_sum_that_is_slightly_off_is_scaled_and_counted_as_a_repair(
    weights: tuple[float, ...],
) -> None:
    decision = decide(reply(label(*weights)), SERVING)

    assert decision.status is Status.REPAIRED
    assert math.fsum(decision.weights) == pytest.approx(1.0, abs=1e-9)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "no JSON object"),
        ("I cannot help with that.", "no JSON object"),
        ("}{", "no JSON object"),
        ('{"visual": 0.1, "audio": 0.6, "transcription": 0.3}', "missing metadata"),
        (GOOD.replace("}", ', "mood": 0.0}'), "unexpected mood"),
        (GOOD.replace("visual", "Visual"), "missing visual"),
        (GOOD.replace("0.6", "NaN"), "NaN is not JSON"),
        (GOOD.replace("0.6", "1e999"), "too large"),
        (GOOD.replace("0.6", "9" * 350), "audio is not in [0, 1]"),
        (GOOD.replace("0.6", '"0.6"'), "audio is not a number"),
        (GOOD.replace("0.6", "null"), "audio is not a number"),
        (label(0, 1, 0, 0).replace("1", "true"), "audio is not a number"),
        (label(-0.1, 0.8, 0.2, 0.1), "visual is not in [0, 1]"),
        (label(0.2, 0.6, 0.2, 0.1), "sum to 1.1000"),
        (label(0.1, 0.6, 0.2, 0.08), "sum to 0.9800"),
        (GOOD.replace('"visual"', '"audio"'), "names a key twice"),
        (f"{GOOD} or {GOOD}", "text after the JSON value"),
        (f"[{GOOD}, 1]}}", "text after the JSON value"),
        ('{"a":' * 5_000 + "1" + "}" * 5_000, "nested deeper"),
        (GOOD.replace("visual", "\ud800"), "not valid Unicode"),
    ],
)
def test_any_other_answer_is_invalid_and_the_prior_is_served(text: str, problem: str) -> None:
    decision = decide(reply(text), SERVING)

    assert (decision.status, decision.tier, decision.weights) == (
        Status.FALLBACK,
        Tier.FALLBACK,
        PRIOR,
    )
    assert problem in decision.problem


@pytest.mark.parametrize("stop_reason", ["max_tokens", "content_filtered", "guardrail_intervened"])
def test_a_good_answer_that_was_cut_short_is_invalid(stop_reason: str) -> None:
    decision = decide(reply(GOOD, stop_reason), SERVING)

    assert (decision.status, decision.problem) == (
        Status.FALLBACK,
        f"stop reason {stop_reason}",
    )


def test_an_invalid_answer_costs_as_much_as_a_valid_one() -> None:
    good, bad = decide(reply(GOOD), SERVING), decide(reply("?"), SERVING)

    assert good.cost_usd == pytest.approx((60 * 0.035 + 30 * 0.14) / 1e6)
    assert (bad.cost_usd, bad.input_tokens, bad.output_tokens, bad.latency_ms, bad.model) == (
        good.cost_usd,
        60,
        30,
        800,
        SERVING.model_id,
    )


def test_the_prior_alone_costs_nothing() -> None:
    assert prior_decision(PRIOR, "outage") == Decision(
        PRIOR, Tier.FALLBACK, Status.FALLBACK, model="", problem="outage"
    )


def test_sixteen_modalities_are_read_like_four() -> None:
    weights, repaired = parse_answer(label(*[1 / 16] * 16, modalities=SIXTEEN), SIXTEEN)

    assert (weights, repaired) == ((1 / 16,) * 16, False)


@given(st.text(max_size=80) | st.text('{}[]",:0.1eE+-', max_size=40))
def test_any_answer_is_a_decision_with_valid_weights(text: str) -> None:
    decision = decide(reply(text), SERVING)

    assert math.fsum(decision.weights) == pytest.approx(1.0, abs=1e-9)
    assert (decision.status is Status.FALLBACK) == (decision.weights == PRIOR)


@given(st.lists(st.floats(0, 1), min_size=4, max_size=4))
def test_valid_weights_come_back_summing_to_one(weights: list[float]) -> None:
    try:
        parsed, _ = parse_answer(label(*weights), MODALITIES)
    except InvalidInputError:
        assert abs(math.fsum(weights) - 1) > 0.01
    else:
        assert abs(math.fsum(weights) - 1) <= 0.01 + 1e-9
        assert abs(math.fsum(parsed) - 1) <= 1e-9


@pytest.mark.parametrize("status", [Status.OK, Status.REPAIRED])
def test_for_anybody_else_a_cached_answer_has_no_cost(status: Status) -> None:
    decision = a_decision((1 / 3, 1 / 3, 1 / 3, 0.0), status=status)
    value = cached_value(decision, "log-1/0")

    for somebody_else in ("log-1/1", "log-2/0", ""):
        assert decision_from_cache(value, somebody_else) == Decision(
            decision.weights, Tier.CACHE, status, "champion"
        )


@pytest.mark.parametrize("status", [Status.OK, Status.REPAIRED])
def test_the_asker_gets_its_own_call_back_with_all_that_it_cost(status: Status) -> None:
    decision = a_decision((1 / 3, 1 / 3, 1 / 3, 0.0), status=status)

    assert decision_from_cache(cached_value(decision, "log-1/0"), "log-1/0") == decision


def test_answers_without_an_owner_are_cache_hits_for_all() -> None:
    assert decision_from_cache(cached_value(a_decision(), ""), "").tier is Tier.CACHE


def test_equal_queries_are_recognised_by_form_and_white_space_but_not_by_case() -> None:
    assert normalised_query("  cafe\u0301 \u00a0 noise\n") == "café noise"
    assert query_digest("cafe\u0301  noise") == query_digest("café noise")
    assert query_digest("Apple") != query_digest("apple")
    assert len(query_digest("")) == 32


@given(st.text(st.characters(codec="utf-8")))
def test_normalising_twice_changes_nothing(query: str) -> None:
    assert normalised_query(normalised_query(query)) == normalised_query(query)
