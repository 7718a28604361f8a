"""Training records and evaluation rows: valid, evenly spread, repeatable, without overlap."""

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router_cli.synthesis import (
    BUILT_IN,
    DEFAULT_MODALITIES,
    evaluation_rows,
    record_query,
    training_records,
    write_jsonl,
)
from router_cli.synthesis.catalogue import DIFFICULTIES, SLOT, TENTHS
from router_cli.synthesis.draws import Draw
from router_cli.synthesis.labels import configured_tenths
from router_cli.synthesis.sources import QuerySource, query_shapes
from search_router.domain.errors import InvalidInputError
from search_router.domain.intake.prompt_reader import PromptReader
from search_router.domain.intake.prompts import PromptRecord
from search_router.domain.queries import fingerprint
from search_router.domain.streams import Line

FIVE = (*DEFAULT_MODALITIES, "mood")

seeds = st.integers(min_value=-(2**70), max_value=2**70)
modality_sets = st.one_of(
    st.just(DEFAULT_MODALITIES),
    st.lists(
        st.sampled_from((*FIVE, "camera_angle", "licensing_window")),
        min_size=2,
        max_size=7,
        unique=True,
    ).map(tuple),
)


def label_of(record: dict[str, Any]) -> dict[str, Any]:
    label: dict[str, Any] = json.loads(record["messages"][1]["content"][0]["text"])
    return label


def leader(label: dict[str, float]) -> str:
    top = max(label.values())
    leaders = [name for name, weight in label.items() if weight == top]
    return leaders[0] if len(leaders) == 1 else "balanced"


def sha256_of(path: Path, rows: Iterable[dict[str, Any]]) -> str:
    write_jsonl(path, rows)
    return hashlib.sha256(path.read_bytes()).hexdigest()


@settings(max_examples=40, deadline=None)
@given(seed=seeds, modalities=modality_sets, with_reasoning=st.booleans())
def test_every_record_is_accepted_by_the_intake_with_a_label_on_the_grid(
    seed: int, modalities: tuple[str, ...], with_reasoning: bool
) -> None:
    records = training_records(seed, 60, modalities, with_reasoning=with_reasoning)
    for number, record in enumerate(records, start=1):
        data = json.dumps(record, ensure_ascii=False).encode()
        read = PromptReader(modalities).read(Line(number, 0, data, len(data)))
        assert isinstance(read, PromptRecord)
        assert bool(read.reasoning) is with_reasoning

        label = label_of(record)
        label.pop("reasoning", None)
        assert tuple(label) == modalities
        assert all(weight == round(weight * 10) / 10 for weight in label.values())
        assert sum(round(weight * 10) for weight in label.values()) == 10


def test_a_record_has_the_shape_of_the_reference_dataset() -> None:
    record = next(training_records(1, 1, with_reasoning=True))
    assert list(record) == ["schemaVersion", "system", "messages"]
    assert record["schemaVersion"] == "bedrock-conversation-2024"
    assert record["system"] == [
        {
            "text": "Return JSON with visual, audio, transcription, metadata weights (sum=1.0) "
            "and reasoning for the given video search query."
        }
    ]
    assert [message["role"] for message in record["messages"]] == ["user", "assistant"]


@pytest.mark.parametrize("modalities", [DEFAULT_MODALITIES, FIVE])
def test_records_are_spread_evenly_over_the_dominant_modality(modalities: tuple[str, ...]) -> None:
    counts = Counter(leader(label_of(record)) for record in training_records(3, 2_000, modalities))
    fair = 2_000 / (len(modalities) + 1)
    assert set(counts) == {*modalities, "balanced"}
    # noise turns some ties into leads and the other way round, hence the margin
    assert all(0.85 * fair < count < 1.15 * fair for count in counts.values())


@pytest.mark.parametrize("modalities", [DEFAULT_MODALITIES, FIVE, ("visual", "audio")])
def test_templates_are_spread_evenly_over_modality_and_difficulty(
    modalities: tuple[str, ...],
) -> None:
    source = QuerySource(query_shapes(BUILT_IN, modalities), Draw(1, "test"))
    counts = Counter(source.shape().cell for _ in range((len(modalities) + 1) * 3 * 20))
    groups = (*modalities, "balanced")
    assert counts == {(group, difficulty): 20 for group in groups for difficulty in DIFFICULTIES}


def test_2000_records_hold_far_more_than_1200_queries_and_some_repeats_that_differ() -> None:
    labels = defaultdict(list)
    for record in training_records(11, 2_000):
        labels[fingerprint(record_query(record))].append(json.dumps(label_of(record)))
    assert 1_450 < len(labels) < 1_700
    repeated = [found for found in labels.values() if len(found) > 1]
    differing = [found for found in repeated if len(set(found)) > 1]
    assert 0.1 < len(differing) / len(repeated) < 0.5


def test_the_teachers_noise_moves_one_step_on_about_one_label_in_seven() -> None:
    # GIVEN the labels of every query that occurs often enough to show its rule
    labels = defaultdict(list)
    for record in training_records(2, 6_000):
        weights = tuple(round(10 * weight) for weight in label_of(record).values())
        labels[record_query(record)].append(weights)
    often = [found for found in labels.values() if len(found) >= 7]

    # WHEN each is compared with the commonest label of its query
    moves = Counter(
        sum(abs(a - b) for a, b in zip(label, Counter(found).most_common(1)[0][0], strict=True))
        for found in often
        for label in found
    )

    # THEN nearly all differ by nothing or by 0.1 moved (a mistaken commonest label may show two)
    assert 0.10 < moves[2] / moves.total() < 0.20
    assert (moves[0] + moves[2]) / moves.total() > 0.98


def test_reasoning_is_added_without_changing_queries_or_weights() -> None:
    plain = list(training_records(9, 300))
    explained = list(training_records(9, 300, with_reasoning=True))
    assert [record_query(r) for r in plain] == [record_query(r) for r in explained]
    for without, with_text in zip(plain, explained, strict=True):
        label = label_of(with_text)
        assert 20 < len(label.pop("reasoning")) < 200
        assert label == label_of(without)


def test_edge_cases_occur() -> None:
    queries = [record_query(record) for record in training_records(1, 2_000)]
    assert min(map(len, queries)) <= 2
    assert max(map(len, queries)) > 300
    assert max(len(query.encode()) for query in queries) < 2_000
    for wanted in ('"', "\u201c", "\\", "🎬", "京都", "é", "  "):
        assert any(wanted in query for query in queries), wanted


def test_different_seeds_make_different_records() -> None:
    first, second = ([record_query(r) for r in training_records(s, 50)] for s in (1, -1))
    assert first != second


def test_a_shorter_run_is_the_start_of_a_longer_one() -> None:
    assert list(training_records(4, 30)) == list(islice(training_records(4, 500), 30))


@settings(max_examples=25, deadline=None)
@given(seed=seeds, other=seeds)
def test_evaluation_rows_never_overlap_the_training_queries(seed: int, other: int) -> None:
    trained = {fingerprint(record_query(r)) for r in training_records(seed, 300)}
    queries = [record_query(record) for record in training_records(seed, 300)]
    disguised = [f"  {query}\u3000" for query in queries]
    rows = list(evaluation_rows(other, 100, disguised))
    found = [fingerprint(row["query"]) for row in rows]
    assert len(set(found)) == 100
    assert trained.isdisjoint(found)


def test_evaluation_rows_carry_a_reference_and_nothing_else() -> None:
    for row in evaluation_rows(1, 50, modalities=FIVE):
        assert list(row) == ["query", "reference"]
        assert list(json.loads(row["reference"])) == list(FIVE)


def test_held_out_templates_share_no_wording_with_the_training_templates() -> None:
    held_out = [template for template in BUILT_IN.templates if template.held_out]
    patterns = {
        SLOT.sub("{}", template.text).casefold()
        for template in BUILT_IN.templates
        if not template.held_out
    }
    assert held_out
    for template in held_out:
        assert SLOT.sub("{}", template.text).casefold() not in patterns
    rows = evaluation_rows(1, 100, held_out_templates=True)
    assert sum(row["query"].startswith(("newest ", "play me some ")) for row in rows) > 0
    trained = (record_query(record) for record in training_records(1, 2_000))
    assert not any("play me some " in query for query in trained)


def test_asking_for_more_queries_than_there_are_fails_with_advice(tmp_path: Path) -> None:
    two = [t for t in BUILT_IN.templates if t.text in ("{glyph}", '"{phrase}"')]
    small = type(BUILT_IN)(tuple(two), BUILT_IN.vocabulary, with_built_in=True)
    with pytest.raises(InvalidInputError, match="Ask for fewer, or add terms"):
        list(evaluation_rows(1, 10_000, catalogue=small))


@pytest.mark.parametrize(
    ("modalities", "message"),
    [
        (("visual",), "2 to 16"),
        (("visual", "visual"), "named twice"),
        (("visual", "Mood"), "not a modality name"),
        (("visual", "reasoning"), "not a modality name"),
    ],
)
def test_wrong_modalities_are_rejected_before_the_first_row(
    modalities: tuple[str, ...], message: str
) -> None:
    with pytest.raises(InvalidInputError, match=message):
        training_records(1, 1, modalities)


def test_a_negative_count_is_rejected_before_the_first_row() -> None:
    with pytest.raises(InvalidInputError, match="count is negative"):
        training_records(1, -1)
    with pytest.raises(InvalidInputError, match="count is negative"):
        evaluation_rows(1, -1)


def test_a_fifth_modality_leads_the_queries_that_name_it_and_no_other() -> None:
    for record in training_records(6, 400, (*DEFAULT_MODALITIES, "camera_angle")):
        named = "camera angle" in record_query(record).casefold().replace("  ", " ")
        label = label_of(record)
        assert (leader(label) == "camera_angle") is named
        assert named or label["camera_angle"] <= 0.1  # 0.1 by the teacher's noise


@pytest.mark.parametrize("template", BUILT_IN.templates, ids=lambda template: template.text[:40])
def test_every_built_in_template_is_sound(template: Any) -> None:
    leads = sorted(template.profile.get(name, 0) for name in DEFAULT_MODALITIES)
    assert sum(leads) == sum(template.profile.values()) == TENTHS
    assert set(SLOT.findall(template.text)) <= set(BUILT_IN.vocabulary)
    assert not set("{}") & set(SLOT.sub("", template.text))
    assert leads[-1] == leads[-2] or leads[-1] - leads[-2] >= 2  # one step of noise moves no lead


@given(profile=st.lists(st.integers(0, 10), min_size=2, max_size=7).filter(any))
def test_a_restricted_profile_sums_to_one_and_keeps_its_order(profile: list[int]) -> None:
    # GIVEN a profile of modalities of which the first is not configured
    names = tuple(f"m{i}" for i in range(len(profile)))
    kept = [*profile[1:], 0]

    # WHEN it is restricted to the others and one that it does not know
    tenths = configured_tenths(dict(zip(names, profile, strict=True)), (*names[1:], "absent"))

    # THEN it is dropped if too little is left, or scaled without changing what outweighs what
    assert (tenths is None) is (2 * sum(kept) < TENTHS)
    if tenths is not None:
        assert sum(tenths) == TENTHS
        assert tenths[-1] == 0
        by_weight = sorted(range(len(kept)), key=lambda i: (kept[i], tenths[i]))
        assert [tenths[i] for i in by_weight] == sorted(tenths)


def test_records_are_the_same_bytes_on_every_python(tmp_path: Path) -> None:
    rows = training_records(2024, 500, with_reasoning=True)
    assert (
        sha256_of(tmp_path / "a.jsonl", rows)
        == "225e8b2fbb025bc103ad42d448dbbc955df2a327494dfcc4288cd50b813512f0"
    )
    rows = training_records(2024, 500, (*DEFAULT_MODALITIES, "mood"))
    assert (
        sha256_of(tmp_path / "b.jsonl", rows)
        == "4054adce19abfaf12560641732522f738afb6c26ec7d7a67f848c6c8035136d0"
    )
    rows = evaluation_rows(2024, 200)
    assert (
        sha256_of(tmp_path / "c.jsonl", rows)
        == "77f9c056618c79618678b95d210f7d0c45907300d9ea1941d94e392465b97e59"
    )
