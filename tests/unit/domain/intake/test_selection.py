"""Selection: every row is accounted for, and the order of the rows does not matter."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from search_router.domain.errors import UnavailableError
from search_router.domain.intake import sides, survey
from search_router.domain.intake.prompt_files import PromptFile, read_prompts
from search_router.domain.intake.prompts import (
    PromptRecord,
    RejectedLine,
    RejectReason,
)
from search_router.domain.intake.selection import (
    IntakeBuilder,
    IntakeCounts,
    IntakeRules,
    Selection,
)
from search_router.domain.intake.training_records import SHARD_BYTES, TrainingRow, shards
from search_router.domain.queries import fingerprint
from search_router.domain.weights import Weights, default_system_prompt
from tests.records import MODALITIES

LABELS: list[Weights] = [
    (0.4, 0.3, 0.2, 0.1),
    (0.5, 0.3, 0.1, 0.1),
    (0.25, 0.25, 0.25, 0.25),
    (1.0, 0.0, 0.0, 0.0),
    (0.0, 1.0, 0.0, 0.0),
    (0.0, 0.0, 1.0, 0.0),
]
QUERIES = ["dogs", "Dogs ", "DOGS", "cats", "a\u00a0b", "A b", *(f"query {n}" for n in range(9))]
RECORDS = st.builds(
    PromptRecord,
    line_number=st.just(0),
    query=st.sampled_from(QUERIES),
    weights=st.none() | st.sampled_from(LABELS),
    reasoning=st.none() | st.sampled_from(["because", "since"]),
    system_prompt=st.sampled_from([None, "Be brief."]),
)
REJECTED = st.just(RejectedLine(0, 0, RejectReason.INVALID_JSON, "", None))


@dataclass(frozen=True)
class TakenIn:
    """Both passes over some records."""

    selection: Selection

    @property
    def counts(self) -> IntakeCounts:
        return self.selection.counts

    @property
    def rejection(self) -> str:
        return self.selection.rejection

    @property
    def training(self) -> Sequence[PromptRecord]:
        return records_of(self.selection.training)

    @property
    def holdout(self) -> Sequence[PromptRecord]:
        return records_of(self.selection.holdout)

    @property
    def shards(self) -> list[bytes]:
        return list(shards(self.selection.training))


def records_of(rows: Sequence[TrainingRow]) -> Sequence[PromptRecord]:
    """Parse the lines of rows, which must hold the rows' own queries and labels."""
    body = joined(rows)
    file = PromptFile("", read=lambda: [body])
    records = list(read_prompts(file, MODALITIES))
    assert [(it.query, it.weights) for it in records] == [(row.query, row.label) for row in rows]
    return records


def joined(rows: Sequence[TrainingRow]) -> bytes:
    return b"".join(row.line for row in rows)


def take_in(
    records: Sequence[PromptRecord | RejectedLine],
    holdout_fraction: float = 0.1,
    *,
    keep_reasoning: bool = True,
) -> TakenIn:
    builder = IntakeBuilder(IntakeRules(MODALITIES, holdout_fraction, keep_reasoning))
    builder.begin("")
    for position, record in enumerate(records):
        builder.add(record, position)

    def read_rows(positions: Sequence[int]) -> Iterator[tuple[int, PromptRecord]]:
        for position in positions:
            record = records[position]
            assert isinstance(record, PromptRecord)
            yield position, record

    return TakenIn(builder.select(read_rows))


def record(query: str, weights: Weights | None = None, **changes: Any) -> PromptRecord:
    return PromptRecord(1, query, weights, None, None)._replace(**changes)


def many(count: int) -> list[PromptRecord]:
    return [record(f"query {n}", LABELS[n % 2]) for n in range(count)]


def bytes_of(result: TakenIn) -> bytes:
    """Everything an intake becomes in the bucket."""
    rest = [
        result.counts.model_dump(),
        result.selection.prior(),
        result.selection.balance(),
        result.selection.histograms(),
        dict(result.selection.noise),
        result.selection.training_sha256,
    ]
    sides = (joined(result.selection.training), joined(result.selection.holdout))
    return b"--".join([*sides, *result.shards]) + json.dumps(rest).encode()


@given(st.lists(RECORDS | REJECTED, max_size=60), st.sampled_from([0.01, 0.3, 0.9]))
def test_every_row_is_accounted_for(
    records: list[PromptRecord | RejectedLine], fraction: float
) -> None:
    result = take_in(records, fraction)
    counts = result.counts

    assert counts.rows_in == counts.accepted + counts.rejected == len(records)
    assert counts.accepted == (
        counts.training + counts.holdout + counts.duplicates + counts.sampled_out
    )
    assert (len(result.training), len(result.holdout)) == (counts.training, counts.holdout)
    assert counts.shards == len(result.shards)


@given(st.lists(RECORDS, max_size=40).flatmap(lambda r: st.tuples(st.just(r), st.permutations(r))))
def test_the_order_of_the_rows_changes_no_byte(
    orders: tuple[list[PromptRecord], list[PromptRecord]],
) -> None:
    in_order, shuffled = orders

    assert bytes_of(take_in(shuffled)) == bytes_of(take_in(in_order))


@given(st.lists(RECORDS, max_size=60), st.lists(RECORDS, max_size=60))
@example([record(f"query {n}") for n in range(9)], [record(f"QUERY  {n}") for n in range(9)])
def test_a_query_is_never_on_both_sides_not_even_over_two_files(
    first: list[PromptRecord], second: list[PromptRecord]
) -> None:
    results = [take_in(records, 0.5) for records in (first, second)]

    trained = {fingerprint(row.query) for result in results for row in result.training}
    held_out = {fingerprint(row.query) for result in results for row in result.holdout}
    assert not trained & held_out


@given(st.lists(st.sampled_from(LABELS), min_size=2, max_size=9))
@example([(1.0, 0.0, 0.0, 0.0), (0.0, 1.0, 0.0, 0.0), (0.0, 0.0, 1.0, 0.0)])
def test_conflicting_labels_agree_on_valid_weights_on_their_grid(labels: list[Weights]) -> None:
    result = take_in([record("dogs", label) for label in labels])
    [row] = [*result.training, *result.holdout]

    assert row.weights is not None
    assert sum(row.weights) == pytest.approx(1.0, abs=1e-9)
    assert all(w / 0.05 == pytest.approx(round(w / 0.05)) for w in row.weights)
    assert result.counts.conflicts == (len(set(labels)) > 1)


def test_conflicting_labels_become_their_median_by_component() -> None:
    labels = [(0.4, 0.3, 0.2, 0.1), (0.5, 0.3, 0.1, 0.1), (0.6, 0.2, 0.1, 0.1)]

    result = take_in([record("dogs", label) for label in labels])

    assert [row.weights for row in (*result.training, *result.holdout)] == [(0.5, 0.3, 0.1, 0.1)]


def test_the_label_given_most_often_wins_a_majority() -> None:
    rows = [record("dogs", LABELS[0])] * 3 + [record("dogs", LABELS[3])]

    result = take_in(rows)

    assert [row.weights for row in (*result.training, *result.holdout)] == [LABELS[0]]


def test_labels_without_any_common_ground_become_their_mean() -> None:
    """Three one-hot labels have the median (0, 0, 0, 0), which is no weight vector."""
    result = take_in([record("dogs", label) for label in LABELS[3:]])

    [row] = [*result.training, *result.holdout]
    assert row.weights == (0.4, 0.3, 0.3, 0.0)


def test_a_label_beats_a_row_without_one_and_keeps_its_own_reasoning() -> None:
    rows = [
        record("dogs"),
        record("dogs", LABELS[0], reasoning="since"),
        record("dogs", LABELS[0], reasoning="because"),
        record("dogs", LABELS[3], reasoning="another label's"),
    ]

    forwards, backwards = take_in(rows), take_in(rows[::-1])

    [row] = [*forwards.training, *forwards.holdout]
    assert row.weights == LABELS[0]
    assert row.reasoning in ("since", "because")
    assert [row] == [*backwards.training, *backwards.holdout]


def test_a_label_that_no_row_has_keeps_no_reasoning() -> None:
    rows = [record("dogs", label, reasoning="because") for label in LABELS[3:]]

    [row] = [*take_in(rows).training, *take_in(rows).holdout]

    assert row.reasoning is None


def test_the_noise_is_the_mean_difference_of_all_pairs() -> None:
    """Three labels make three pairs: two differ by 0.1 in two of four weights, one is equal."""
    labels = [LABELS[0], LABELS[0], LABELS[1]]

    noise = take_in([*map(partial(record, "dogs"), labels), record("cats", LABELS[2])]).selection

    assert noise.noise["repeated_queries"] == 1
    assert noise.noise["pairs"] == 3
    assert noise.noise["identical"] == pytest.approx(1 / 3)
    assert noise.noise["mean_difference"] == pytest.approx(2 * 0.05 / 3)


@given(st.lists(st.sampled_from(LABELS), min_size=2, max_size=12))
def test_the_noise_without_pairing_equals_the_noise_with(labels: list[Weights]) -> None:
    noise = take_in([record("dogs", label) for label in labels]).selection.noise

    pairs = [
        sum(abs(a - b) for a, b in zip(one, other, strict=True)) / 4
        for one, other in combinations(labels, 2)
    ]
    assert noise["mean_difference"] == pytest.approx(sum(pairs) / len(pairs))
    assert noise["identical"] == pytest.approx(sum(pair == 0 for pair in pairs) / len(pairs))


def test_the_noise_of_labels_without_a_pair_is_unknown() -> None:
    noise = take_in([record("dogs", LABELS[0]), record("cats", LABELS[2])]).selection.noise

    assert (noise["pairs"], noise["identical"], noise["mean_difference"]) == (0, None, None)


def test_repetitions_to_the_letter_are_told_from_others() -> None:
    queries = ("red dogs", "red dogs", "red  dogs", "cats")
    counts = take_in([record(query) for query in queries]).counts

    assert (counts.duplicates, counts.exact_duplicates) == (2, 1)


def test_a_missing_system_prompt_is_filled_in_from_the_file_or_the_default() -> None:
    some = take_in([record("a"), record("b", system_prompt="Be brief.")])
    none = take_in([record("a"), record("b")])

    assert some.selection.system_prompt == "Be brief."
    assert all(b"Be brief." in row.line for row in some.selection.training)
    assert none.selection.system_prompt == default_system_prompt(MODALITIES)


def test_differing_system_prompts_are_rejected_with_their_lines() -> None:
    rows = many(200)
    rows[4] = record("x", system_prompt="Be brief.", line_number=5)
    rows[9] = record("y", system_prompt="Be long.", line_number=10)
    rows[11] = record("z", system_prompt="Be brief.", line_number=12)

    assert take_in(rows).rejection == (
        "the system prompts differ: first seen at line 5, line 10. "
        "Use the same system prompt in all rows."
    )


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([], "the file has no rows"),
        ([RejectedLine(1, 0, RejectReason.INVALID_JSON, "", None)] * 7, "none of the 7 rows"),
        (many(50), "Bedrock needs at least 100"),
        (many(20) * 50, "Bedrock needs at least 100"),
        (many(150), ""),
    ],
)
def test_a_dataset_that_bedrock_would_reject_is_rejected_with_the_reason(
    rows: list[PromptRecord | RejectedLine], reason: str
) -> None:
    rejection = take_in(rows).rejection

    assert bool(rejection) is bool(reason)
    assert reason in rejection


def test_ninety_nine_training_rows_are_too_few_and_a_hundred_are_enough() -> None:
    in_training = {row.query for row in take_in(many(200)).training}
    training = [row for row in many(200) if row.query in in_training]

    assert "at least 100" in take_in(training[:99]).rejection
    assert take_in(training[:100]).rejection == ""


def test_the_holdout_is_about_the_asked_fraction_and_at_most_a_thousand() -> None:
    small, large = take_in(many(2_000)), take_in(many(12_000))

    assert 150 <= small.counts.holdout <= 250
    assert large.counts.holdout == 1_000
    assert large.counts.sampled_out > 100


def test_the_holdout_is_no_slice_of_the_training_order() -> None:
    result = take_in(many(500))

    trained, held_out = (
        [fingerprint(row.query) for row in rows] for rows in (result.training, result.holdout)
    )
    assert trained == sorted(trained)
    assert min(trained) < max(held_out)
    assert min(held_out) < max(trained)


def test_more_than_bedrock_takes_is_sampled_in_proportion() -> None:
    rare = (0.1, 0.1, 0.1, 0.7)
    rows = [record(f"query {n}", rare if n % 10 == 0 else LABELS[0]) for n in range(18_000)]

    result = take_in(rows)

    assert len(result.training) == sides.MAX_TRAINING_ROWS
    assert result.selection.balance()["metadata"] == pytest.approx(1_500, abs=30)
    assert result.counts.sampled_out == 18_000 - 15_000 - result.counts.holdout


def test_sampling_fills_the_training_set_and_does_not_depend_on_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = [record(f"query {n}", LABELS[n % 6 if n % 6 != 2 else 0]) for n in range(127)]
    rows += [record(f"without {n}") for n in range(30)]
    before = take_in(rows).selection.balance()
    monkeypatch.setattr(sides, "MAX_TRAINING_ROWS", 50)

    one, other = take_in(rows), take_in(rows[::-1])

    assert len(one.training) == 50
    order = [fingerprint(row.query) for row in one.training]
    assert order == sorted(order), "not one modality after the other"
    assert bytes_of(one) == bytes_of(other)
    for name, kept in one.selection.balance().items():
        assert abs(kept - 50 * before[name] / sum(before.values())) < 1


def test_shards_hold_a_thousand_rows_and_join_to_the_training_file() -> None:
    result = take_in(many(2_400))

    lines = [shard.count(b"\n") for shard in result.shards]
    assert lines == [1_000, 1_000, len(result.training) - 2_000]
    assert b"".join(result.shards) == joined(result.selection.training)


def test_prior_balance_and_histograms_describe_the_training_rows() -> None:
    result = take_in([*many(100), *(record(f"plain {n}") for n in range(10))], 0.001)

    share = sum(row.weights == LABELS[0] for row in result.training) / 100
    assert result.selection.prior() == pytest.approx(
        (0.5 - 0.1 * share, 0.3, 0.1 + 0.1 * share, 0.1)
    )
    assert result.selection.balance() == {
        "visual": 100, "audio": 0, "transcription": 0, "metadata": 0, "unlabelled": 10,
    }  # fmt: skip
    assert result.selection.histograms()["audio"] == [0] * 3 + [100] + [0] * 6


def test_without_labels_the_prior_is_uniform() -> None:
    assert take_in([record("dogs")]).selection.prior() == (0.25,) * 4


def test_shards_are_also_cut_by_size() -> None:
    rows = [record(f"query {n} " + "x" * 15_000, LABELS[0]) for n in range(600)]

    result = take_in(rows)

    assert b"".join(result.shards) == joined(result.selection.training)
    assert result.counts.shards == len(result.shards) == 3
    assert all(0 < len(shard) <= SHARD_BYTES for shard in result.shards)


def test_a_row_missing_in_the_second_pass_is_a_transient_error() -> None:
    builder = IntakeBuilder(IntakeRules(MODALITIES, 0.1))
    builder.begin("")
    builder.add(record("dogs"), 0)

    with pytest.raises(UnavailableError, match="changed since"):
        builder.select(lambda _positions: [])


def test_a_reasoning_is_kept_or_stripped_and_the_prompt_asks_accordingly() -> None:
    rows = [record(f"query {n}", LABELS[0], reasoning="because") for n in range(20)]

    kept, stripped = (take_in(rows, keep_reasoning=keep) for keep in (True, False))

    assert {row.reasoning for row in kept.training} == {"because"}
    assert {row.reasoning for row in stripped.training} == {None}
    assert [row.query for row in kept.training] == [row.query for row in stripped.training]
    assert "and reasoning" in kept.selection.system_prompt
    assert "reasoning" not in stripped.selection.system_prompt


@pytest.mark.parametrize("keep", [True, False])
def test_the_two_default_prompts_are_one_and_a_datasets_own_stays(keep: bool) -> None:
    ours = [default_system_prompt(MODALITIES, with_reasoning=value) for value in (True, False)]
    rows = [record(f"query {n}", LABELS[0], system_prompt=ours[n % 2]) for n in range(200)]
    own = [row._replace(system_prompt="Weigh it, with reasoning.") for row in rows]

    assert take_in(rows, keep_reasoning=keep).rejection == ""
    assert take_in(rows, keep_reasoning=keep).selection.system_prompt == ours[not keep]
    assert take_in(own, keep_reasoning=keep).selection.system_prompt == own[0].system_prompt
    assert "differ" in take_in([*rows, own[0]], keep_reasoning=keep).rejection


def test_a_record_that_the_datasets_prompt_makes_too_long_is_rejected_with_its_line() -> None:
    rows = many(200)
    rows[0] = rows[0]._replace(system_prompt="x" * 2_000)
    rows[7] = record("y" * 15_000, line_number=8)

    assert take_in(rows).rejection.startswith("training record too long: line 8 takes 17")


def test_labels_beyond_the_numbered_ones_cost_their_weights_and_change_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = [record(f"query {n % 40}", LABELS[n % 6]) for n in range(120)]
    expected = bytes_of(take_in(rows))
    monkeypatch.setattr(survey, "_MAX_NUMBERED", 3)

    assert bytes_of(take_in(rows)) == expected
