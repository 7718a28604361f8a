"""Estimates to the cent, from figures computed by hand.

Each prompt is a system prompt of 128 bytes and a query of 40: 168 bytes, 42 tokens. A label
is 72 bytes, 18 tokens. Nova Premier teaches at 2.50 and 12.50 USD per million input and output
tokens, Nova Pro answers at 0.80 and 3.20, and a million training tokens cost 1.00.
"""

import pytest

from search_router.domain.errors import InvalidInputError
from search_router.domain.intake.prompts import PromptRecord
from search_router.domain.intake.selection import IntakeBuilder, IntakeRules
from search_router.domain.lifecycle.estimates import (
    CostEstimate,
    answers_at_most_usd,
    estimate_costs,
    judge_at_most_usd,
)
from search_router.domain.lifecycle.teacher import teacher_prompt
from search_router.domain.prices import cost_usd, price_list
from search_router.domain.weights import Weights
from tests.records import MODALITIES, a_serving_model

TEACHER = "amazon.nova-premier-v1:0"
STUDENT = "amazon.nova-pro-v1:0:300k"
SYSTEM_PROMPT = "ü" * 64
LABEL = (0.4, 0.3, 0.2, 0.1)
REASONING = "é" * 50  # 100 bytes, 25 tokens


def estimated(
    label: Weights | None,
    reasoning: str | None,
    *,
    keep_reasoning: bool,
    student: str = STUDENT,
) -> CostEstimate:
    """Estimate a job of 4,486 training rows and 514 holdout rows."""
    builder = IntakeBuilder(IntakeRules(MODALITIES, 0.1, keep_reasoning=keep_reasoning))
    builder.begin("a.jsonl")
    records = [
        PromptRecord(n, f"über query number {n:021d}", label, reasoning, SYSTEM_PROMPT)
        for n in range(5_000)
    ]
    for n, record in enumerate(records):
        builder.add(record, n)
    selection = builder.select(lambda positions: ((n, records[n]) for n in positions))
    assert (selection.counts.training, selection.counts.holdout) == (4_486, 514)
    estimate = estimate_costs(selection, TEACHER, student)
    assert estimate.job_at_most_usd > estimate.training_usd + estimate.teacher_usd
    assert estimate.evaluation_at_most_usd > estimate.evaluation_usd + estimate.reference_usd
    return estimate.replace(job_at_most_usd=0.0, evaluation_at_most_usd=0.0)


def test_a_labelled_dataset_with_reasoning() -> None:
    estimate = estimated(LABEL, REASONING, keep_reasoning=True)

    # A row trains 168 + 72 + 100 = 340 bytes, 85 tokens. An answer with reasoning is 72 bytes, 100
    # of reasoning and 17 around it: 189 bytes, 47 tokens.
    assert estimate == CostEstimate(
        training_tokens=381_310,  # 4,486 * 85
        training_usd=0.3813,
        teacher_usd=0,
        storage_usd_per_month=1.95,
        serving_usd_per_million_with_reasoning=184.00,  # 42 * 0.80 + 47 * 3.20
        serving_usd_per_million_without_reasoning=91.20,  # 42 * 0.80 + 18 * 3.20
        reference_usd=0,
        evaluation_usd=0.1892,  # two models * 514 * 184.00 per million
    )
    assert estimate.total_usd == pytest.approx(0.5705)


def test_serving_is_estimated_to_the_cent() -> None:
    micro = "amazon.nova-micro-v1:0:128k"
    estimate = estimated(LABEL, REASONING, keep_reasoning=True, student=micro)

    assert estimate.serving_usd_per_million_with_reasoning == 8.05  # 42 * 0.035 + 47 * 0.14
    assert estimate.serving_usd_per_million_without_reasoning == 3.99  # 42 * 0.035 + 18 * 0.14
    assert estimate.evaluation_usd == 0.0083  # two models * 514 * 8.05 per million


def test_a_labelled_dataset_whose_reasoning_is_dropped() -> None:
    estimate = estimated(LABEL, REASONING, keep_reasoning=False)

    assert estimate == CostEstimate(
        training_tokens=269_160,  # 4,486 * 60: a row trains 168 + 72 = 240 bytes
        training_usd=0.2692,
        teacher_usd=0,
        storage_usd_per_month=1.95,
        serving_usd_per_million_with_reasoning=184.00,
        serving_usd_per_million_without_reasoning=91.20,
        reference_usd=0,
        evaluation_usd=0.0938,  # two models * 514 * 91.20 per million
    )


@pytest.mark.parametrize(
    ("keep_reasoning", "teacher_usd"),
    [
        # Bedrock adds 50 tokens to each prompt. The teacher answers 18 tokens, or 65 with 170
        # bytes of reasoning.
        (False, 2.0411),  # 4,486 * (92 * 2.50 + 18 * 12.50) per million
        (True, 4.6767),  # 4,486 * (92 * 2.50 + 65 * 12.50) per million
    ],
)
def test_a_dataset_without_labels_pays_the_teacher_for_both_sides(
    keep_reasoning: bool, teacher_usd: float
) -> None:
    detailed = round((len(teacher_prompt(MODALITIES, with_reasoning=False)) + 40) / 4)
    reference_usd = round(514 * (detailed * 2.50 + 18 * 12.50) / 1_000_000, 4)

    estimate = estimated(None, None, keep_reasoning=keep_reasoning)

    assert estimate == CostEstimate(
        training_tokens=269_160,
        training_usd=0.2692,
        teacher_usd=teacher_usd,
        storage_usd_per_month=1.95,
        serving_usd_per_million_with_reasoning=241.60,  # 42 * 0.80 + 65 * 3.20
        serving_usd_per_million_without_reasoning=91.20,
        reference_usd=reference_usd,
        evaluation_usd=0.0938,
    )
    assert estimate.total_usd == pytest.approx(0.2692 + teacher_usd + reference_usd + 0.0938)
    assert 0.4 < reference_usd < 0.7


def test_the_total_leaves_out_storage_and_serving() -> None:
    estimate = CostEstimate(
        training_tokens=1,
        training_usd=1.25,
        teacher_usd=2.50,
        storage_usd_per_month=100,
        serving_usd_per_million_with_reasoning=100,
        serving_usd_per_million_without_reasoning=100,
    )

    assert (estimate.reference_usd, estimate.evaluation_usd) == (0, 0)
    assert estimate.total_usd == 3.75


def test_a_call_costs_its_input_and_its_output() -> None:
    assert cost_usd("amazon.nova-pro-v1:0", 1_250_000, 0) == 1.00
    assert cost_usd("amazon.nova-pro-v1:0", 0, 1_250_000) == 4.00
    assert cost_usd("amazon.nova-pro-v1:0", 1_000_000, 1_000_000) == 4.00
    assert cost_usd("amazon.nova-pro-v1:0", 0, 0) == 0


def test_a_profile_without_a_price_of_its_own_costs_what_its_model_costs() -> None:
    own = price_list().of_tokens("us.amazon.nova-2-lite-v1:0")
    shared = price_list().of_tokens("us.amazon.nova-pro-v1:0")

    assert own is not None
    assert shared is not None
    assert (own.input, own.output) == (0.33, 2.75)
    assert (shared.input, shared.output) == (0.80, 3.20)


def test_the_upper_bound_of_a_job_covers_every_pair_that_bedrock_may_add() -> None:
    builder = IntakeBuilder(IntakeRules(MODALITIES, 0.0))
    builder.begin("a.jsonl")
    records = [PromptRecord(n, f"query {n:04d}", None, None, SYSTEM_PROMPT) for n in range(100)]
    for n, record in enumerate(records):
        builder.add(record, n)
    selection = builder.select(lambda positions: ((n, records[n]) for n in positions))

    estimate = estimate_costs(selection, "amazon.nova-pro-v1:0", "amazon.nova-micro-v1:0:128k")

    # Each prompt has the same length. The teacher answers 300 tokens at most.
    text = len(SYSTEM_PROMPT.encode()) + len("query 0000")
    trained = 5 * 15_000 * (text + 300) / 1_000_000
    taught = 15_000 * ((text + 200) * 0.80 + 300 * 3.20) / 1_000_000
    assert estimate.job_at_most_usd == pytest.approx(trained + taught + 1.95, abs=1e-4)


def test_the_upper_bound_of_answers_takes_a_token_per_byte_and_the_longest_answer() -> None:
    serving = a_serving_model(system_prompt="ü" * 10, max_output_tokens=200)

    usd = answers_at_most_usd(serving, ["dogs", "böse"])

    assert usd == pytest.approx(((4 + 5 + 2 * 220) * 0.035 + 2 * 200 * 0.14) / 1_000_000)


def test_a_model_without_a_price_is_not_called() -> None:
    with pytest.raises(InvalidInputError, match="no price for"):
        answers_at_most_usd(a_serving_model(priced_as="meta.llama-9"), ["dogs"])
    with pytest.raises(InvalidInputError, match="no price for"):
        judge_at_most_usd("meta.llama-9", b"{}\n", "rubric")
