"""`export opensearch`: what OpenSearch would accept, in the order of the sub-queries."""

import json
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router_cli import opensearch
from router_cli.__main__ import main
from router_cli.stack import Stack
from search_router.domain.weights import Weights, normalise
from tests.fakes import reply
from tests.records import MODALITIES, PRIOR, a_champion, jsonl, label
from tests.unit.router_cli.conftest import route_log
from tests.unit.use_cases.world import World

Answer = Callable[..., Any]
WEIGHTS = st.lists(st.floats(0, 1), min_size=2, max_size=5).filter(lambda w: sum(w) > 0.01)


def accept(body: Any, sub_queries: int) -> list[float]:
    """Check a pipeline as neural-search's ScoreCombinationUtil and its factory do."""
    assert set(body) <= {"description", "phase_results_processors"}
    [processor] = body["phase_results_processors"]
    assert list(processor) == ["normalization-processor"]
    options = processor["normalization-processor"]
    assert set(options) == {"normalization", "combination"}
    assert options["normalization"] == {"technique": "min_max"}
    combination = options["combination"]
    assert combination["technique"] == "arithmetic_mean"
    assert set(combination["parameters"]) == {"weights"}
    weights: list[float] = combination["parameters"]["weights"]
    assert all(isinstance(weight, float) for weight in weights), "an Integer is no Double"
    total = 0.0
    for weight in weights:
        [single] = struct.unpack("f", struct.pack("f", weight))
        assert 0.0 <= single <= 1.0
        [total] = struct.unpack("f", struct.pack("f", total + single))
    assert abs(total - 1.0) <= 0.01
    assert len(weights) == sub_queries <= 5
    return weights


@pytest.fixture
def exported(world: World, answer: Answer, tmp_path: Path) -> tuple[Any, Path]:
    """A log of four rows and three queries, one of which no model could answer."""
    answers = {
        "dogs": label(0.123, 0.477, 0.2, 0.2),
        "only pictures": label(1, 0, 0, 0),
        'say "}]': "no idea",
    }
    world.model.answering = lambda _, query: reply(answers[query])
    rows = [{"query": query} for query in ["dogs", "only pictures", 'say "}]', "dogs"]]
    log_id = route_log(world, jsonl(rows))
    return answer("export", "opensearch", log_id, "--out", str(tmp_path / "os")), tmp_path / "os"


def lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_bytes().split(b"\n") if line]


def test_every_pipeline_is_accepted_and_named_by_its_weights(exported: tuple[Any, Path]) -> None:
    report, folder = exported

    text = (folder / "pipelines.txt").read_text("utf-8")
    found = re.findall(r"PUT /_search/pipeline/(\S+)\n(\{.*?\n\})\n", text, re.DOTALL)

    weights = {name: accept(json.loads(body), 4) for name, body in found}
    assert weights == {
        "search-router-40-30-20-10": [0.4, 0.3, 0.2, 0.1],
        "search-router-12-48-20-20": [0.12, 0.48, 0.2, 0.2],
        "search-router-100-0-0-0": [1.0, 0.0, 0.0, 0.0],
    }
    assert "1.0," in text
    assert (report["pipelines"], report["default_pipeline"]) == (3, found[0][0])
    assert report["order"] == list(MODALITIES)
    assert json.loads(found[0][1])["description"] == (
        "visual 0.4, audio 0.3, transcription 0.2, metadata 0.1"
    )


def test_queries_name_their_pipeline_the_most_frequent_first(exported: tuple[Any, Path]) -> None:
    report, folder = exported

    queries = lines(folder / "queries.jsonl")

    assert report["queries"] == 3
    assert (queries[0]["query"], queries[0]["rows"]) == ("dogs", 2)
    pipelines = {row["query"]: row["pipeline"] for row in queries}
    assert pipelines['say "}]'] == "search-router-40-30-20-10", "without an answer: the prior"
    assert queries[0]["weights"] == {
        "visual": 0.12,
        "audio": 0.48,
        "transcription": 0.2,
        "metadata": 0.2,
    }


def test_requests_contain_their_pipeline_and_the_quoted_query(exported: tuple[Any, Path]) -> None:
    _, folder = exported

    for body, row in zip(
        lines(folder / "requests.jsonl"), lines(folder / "queries.jsonl"), strict=True
    ):
        clauses = body["query"]["hybrid"]["queries"]
        weights = accept(body["search_pipeline"], len(clauses))
        assert dict(zip(MODALITIES, weights, strict=True)) == row["weights"]
        assert clauses == [{"match": {name: {"query": row["query"]}}} for name in MODALITIES]


def test_custom_sub_queries_are_filled_in_modality_order(
    routed: str, answer: Answer, tmp_path: Path
) -> None:
    own = {
        name: {"neural": {f"{name}_v": {"query_text": "{query}", "k": 50, "also": ["{query}", 1]}}}
        for name in reversed(MODALITIES)
    }
    (tmp_path / "own.json").write_text(json.dumps(own))

    answer("export", "opensearch", routed, "--out", str(tmp_path), "--sub-queries",
           str(tmp_path / "own.json"))  # fmt: skip

    first = lines(tmp_path / "requests.jsonl")[0]["query"]["hybrid"]["queries"]
    query = lines(tmp_path / "queries.jsonl")[0]["query"]
    assert [next(iter(clause["neural"])) for clause in first] == [f"{m}_v" for m in MODALITIES]
    assert first[0]["neural"]["visual_v"] == {"query_text": query, "k": 50, "also": [query, 1]}


@given(WEIGHTS, st.sampled_from([0.01, 0.05, 0.1]))
def test_opensearch_accepts_any_rounded_weights(weights: list[float], step: float) -> None:
    rounded = opensearch.rounded(normalise(tuple(weights)), step)

    assert accept(opensearch.pipeline(rounded), len(weights)) == list(rounded)
    assert all(abs(a - b) <= step for a, b in zip(rounded, normalise(tuple(weights)), strict=True))


def test_a_coarser_step_needs_fewer_pipelines(world: World, answer: Answer, tmp_path: Path) -> None:
    def grade(_: object, query: str) -> Any:
        part = int(query.removeprefix("query ")) / 100
        return reply(label(0.3 + part, 0.7 - part, 0.0, 0.0))

    world.model.answering = grade
    log_id = route_log(world, jsonl([{"query": f"query {n}"} for n in range(40)]))

    counts = [
        answer("export", "opensearch", log_id, "--out", str(tmp_path), "--step", step)["pipelines"]
        for step in ("0.01", "0.05", "0.1")
    ]

    assert counts == [41, 10, 6]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "not JSON"),
        ("[]", "exactly the keys visual, audio, transcription, metadata"),
        ('{"visual": {"match": {}}}', "exactly the keys"),
        (json.dumps({name: {} for name in MODALITIES}), "expected one query clause"),
        (json.dumps(dict.fromkeys(MODALITIES, "match")), "expected one query clause"),
    ],
)
def test_invalid_sub_queries_are_rejected(
    routed: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, reason: str
) -> None:
    (tmp_path / "own.json").write_text(text)
    own = ("--sub-queries", str(tmp_path / "own.json"))

    assert main(["export", "opensearch", routed, "--out", str(tmp_path / "os"), *own]) == 1

    assert reason in capsys.readouterr().err
    assert not (tmp_path / "os").exists()


def test_too_many_modalities_for_a_hybrid_query_are_rejected(
    world: World, stack: Stack, capsys: pytest.CaptureFixture[str]
) -> None:
    six = tuple(f"m{n}" for n in range(6))
    prior: Weights = tuple(1 / 6 for _ in six)
    world.champions.install(a_champion(version=2, modalities=six, prior=prior))
    world.model.answering = lambda *_: reply(label(*prior, modalities=six))
    log_id = route_log(world, jsonl([{"query": "dogs"}]))

    assert main(["export", "opensearch", log_id]) == 1

    assert "at most 5 sub-queries" in capsys.readouterr().err


def test_the_table_lists_the_sub_queries_in_modality_order(
    routed: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", "opensearch", routed, "--out", str(tmp_path)]) == 0

    shown = capsys.readouterr()
    assert re.search(r'4 +metadata +\{"match": \{"metadata"', shown.out)
    assert opensearch.pipeline_name(PRIOR) in shown.err
