"""A user's own templates and vocabulary: what is accepted, and the error for each mistake."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router_cli.synthesis import (
    BUILT_IN,
    evaluation_rows,
    query_log_rows,
    read_catalogue,
    record_query,
    training_records,
)
from search_router.domain.errors import InvalidInputError

SURGERY = {
    "keep_built_in": False,
    "vocabulary": {"procedure": ["hip replacement", "skin graft", "cataract removal"]},
    "templates": [
        {
            "text": "{procedure} filmed over the shoulder in {year}",
            "weights": {"visual": 0.4, "camera_angle": 0.6},
            "difficulty": "easy",
        },
        {"text": "surgeon dictates notes on {procedure}", "weights": {"transcription": 1}},
        {"text": "{procedure} in {city}, {year}", "weights": {"visual": 0.8, "metadata": 0.2}},
        {"text": "monitor beeps, {procedure}", "weights": {"visual": 1.0}, "held_out": True},
    ],
}
SURGERY_MODALITIES = ("visual", "transcription", "camera_angle", "metadata")


@pytest.fixture
def user_file(tmp_path: Path) -> Any:
    def write(value: object) -> Path:
        path = tmp_path / "mine.json"
        path.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")
        return path

    return write


def test_own_templates_alone_make_records_evaluation_and_log(user_file: Any) -> None:
    catalogue = read_catalogue(user_file(SURGERY))
    records = list(training_records(1, 60, SURGERY_MODALITIES, catalogue=catalogue))
    assert all(
        any(term in record_query(r).casefold() for term in ("hip", "skin", "cataract"))
        for r in records
    )
    assert not any("monitor beeps" in record_query(r).casefold() for r in records)

    held_out = evaluation_rows(
        1, 3, modalities=SURGERY_MODALITIES, held_out_templates=True, catalogue=catalogue
    )
    assert all("monitor beeps" in row["query"].casefold().replace("  ", " ") for row in held_out)

    log = query_log_rows(1, 200, 50, modalities=SURGERY_MODALITIES, catalogue=catalogue)
    assert len({row["query"] for row in log}) == 50


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_a_file_may_have_a_byte_order_mark(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "mine.json"
    path.write_bytes(json.dumps(SURGERY).encode(encoding))

    assert read_catalogue(path).vocabulary["procedure"] == (
        "hip replacement",
        "skin graft",
        "cataract removal",
    )


def test_own_templates_join_the_built_in_ones(user_file: Any) -> None:
    own = {"templates": [{"text": "slow zoom of {animal} eyes", "weights": {"zoom": 1.0}}]}
    catalogue = read_catalogue(user_file(own))
    assert len(catalogue.templates) == len(BUILT_IN.templates) + 1
    modalities = ("visual", "audio", "zoom")
    queries = [record_query(r) for r in training_records(1, 300, modalities, catalogue=catalogue)]
    assert sum("slow zoom" in query for query in queries) > 30


def test_an_own_slot_replaces_the_built_in_one(user_file: Any) -> None:
    catalogue = read_catalogue(user_file({"vocabulary": {"city": ["Atlantis"]}}))
    assert catalogue.vocabulary["city"] == ("Atlantis",)
    assert catalogue.vocabulary["animal"] == BUILT_IN.vocabulary["animal"]


def test_an_empty_file_object_changes_nothing(user_file: Any) -> None:
    assert read_catalogue(user_file({})) == BUILT_IN


def test_terms_with_braces_are_text_not_slots(user_file: Any) -> None:
    own = {
        "keep_built_in": False,
        "vocabulary": {"tag": ["{city}", "{}", "}{"]},
        "templates": [{"text": "{tag} {tag}", "weights": {"visual": 0.5, "audio": 0.5}}],
    }
    catalogue = read_catalogue(user_file(own))
    records = training_records(1, 50, ("visual", "audio"), catalogue=catalogue)
    queries = {record_query(r) for r in records}
    assert any("{city}" in query for query in queries)
    assert "{city} {city}" not in queries  # no term twice while there are others


def test_a_slot_named_more_often_than_it_has_terms_repeats_them(user_file: Any) -> None:
    own = {
        "keep_built_in": False,
        "vocabulary": {"one": ["x"]},
        "templates": [{"text": "{one} {one}", "weights": {"visual": 0.5, "audio": 0.5}}],
    }
    catalogue = read_catalogue(user_file(own))
    records = training_records(1, 40, ("visual", "audio"), catalogue=catalogue)
    assert "x x" in {record_query(r) for r in records}


def test_without_built_in_templates_every_modality_must_be_weighed(user_file: Any) -> None:
    catalogue = read_catalogue(user_file(SURGERY))
    with pytest.raises(InvalidInputError, match="no template weighs audio, mood: add one"):
        training_records(1, 1, ("visual", "mood", "audio"), catalogue=catalogue)


def test_a_catalogue_without_held_out_templates_says_so(user_file: Any) -> None:
    modalities = ("visual", "zoom")
    own = {"keep_built_in": False, **template(weights={"visual": 0.8, "zoom": 0.2})}
    catalogue = read_catalogue(user_file(own))
    with pytest.raises(InvalidInputError, match="no held-out template"):
        evaluation_rows(1, 1, modalities=modalities, held_out_templates=True, catalogue=catalogue)
    log = query_log_rows(1, 40, 15, modalities=modalities, catalogue=catalogue)
    assert sum(1 for _ in log) == 40


def template(**changes: object) -> dict[str, object]:
    return {"templates": [{"text": "a {city}", "weights": {"visual": 1.0}, **changes}]}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("{", "file: .*at character"),
        ('{"templates": [], "templates": []}', "file: an object names a key twice"),
        ('{"vocabulary": {"a": ["\\ud800"]}}', "half of a surrogate pair"),
        ("[" * 100_000, "nested deeper"),
        ([], "file: expected a JSON object"),
        ({"template": []}, r"unknown key 'template'; expected keep_built_in, templates, vocab"),
        ({"keep_built_in": "no"}, "keep_built_in: expected true or false"),
        ({"keep_built_in": False}, "templates: without the built-in ones"),
        ({"vocabulary": []}, "vocabulary: expected an object"),
        ({"vocabulary": {"Ward": ["a"]}}, r"vocabulary\['Ward'\]: a slot name is lower case"),
        ({"vocabulary": {"ward": []}}, r"vocabulary\['ward'\]: expected a list of at least one"),
        ({"vocabulary": {"ward": "a"}}, "expected a list of at least one term"),
        ({"vocabulary": {"ward": ["a", " "]}}, "term 2 is missing, blank or not a text"),
        ({"vocabulary": {"ward": ["a", 7]}}, "term 2 is missing, blank or not a text"),
        ({"vocabulary": {"ward": ["a", "a"]}}, "a term is listed twice"),
        ({"vocabulary": {"ward": ["a\nb"]}}, "term 1 has a line end"),
        ({"vocabulary": {"ward": ["a" * 1_001]}}, "term 1 is longer than 1000"),
        ({"templates": {}}, "templates: expected a list"),
        ({"templates": ["a"]}, r"templates\[0\]: expected a JSON object"),
        (template(text=None), r"templates\[0\]: text is missing"),
        (template(text="a {town}"), "a slot that no vocabulary has: town"),
        (template(text="a {City}"), "a brace that is not part of a {slot}"),
        (template(text="a {city"), "a brace that is not part of a {slot}"),
        (template(text="{city}" * 150), "can grow to 1500 characters"),
        (template(weight={}), "unknown key 'weight'"),
        (template(difficulty="tricky"), "difficulty is one of easy, medium, hard"),
        (template(difficulty=None), "difficulty is one of"),
        (template(held_out=1), "held_out is true or false"),
        (template(weights=None), "weights is an object of modalities"),
        (template(weights={}), "the weights sum to 0.0000, not 1"),
        (template(weights={"visual": 0.7}), "the weights sum to 0.7000, not 1"),
        (template(weights={"visual": 0.65, "audio": 0.35}), "not multiples of 0.1"),
        (template(weights={"visual": 1.5, "audio": -0.5}), r"visual is not in \[0, 1\]"),
        (template(weights={"visual": True}), "visual is not a number"),
        (template(weights={"visual": "1"}), "visual is not a number"),
        (template(weights={"Visual": 1.0}), "a name that no modality can have: 'Visual'"),
        (template(weights={"reasoning": 1.0}), "a name that no modality can have"),
    ],
)
def test_each_mistake_is_named_with_its_place(user_file: Any, value: object, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message) as caught:
        read_catalogue(user_file(value))
    assert str(caught.value).startswith("mine.json cannot be used\n  ")


def test_at_most_ten_mistakes_are_listed(user_file: Any) -> None:
    value = {"vocabulary": {"ward": []}, "templates": [{"text": "{ward}"}] * 20}
    with pytest.raises(InvalidInputError) as caught:
        read_catalogue(user_file(value))
    lines = str(caught.value).splitlines()
    assert len(lines) == 12
    assert lines[-1] == "  and 11 more"
    assert "slot" not in "".join(lines[2:])  # the slot is known, only its terms are wrong


def test_a_missing_file_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_catalogue(tmp_path / "absent.json")


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=8) | st.integers(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["templates", "vocabulary", "text", "weights", "difficulty", "held_out", "visual"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=60, deadline=None)
@given(value=json_values)
def test_any_json_is_a_catalogue_or_an_error(
    tmp_path_factory: pytest.TempPathFactory, value: object
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.json"
    path.write_text(json.dumps(value), encoding="utf-8")
    try:
        catalogue = read_catalogue(path)
    except InvalidInputError:
        return
    assert len(list(training_records(1, 5, catalogue=catalogue))) == 5
