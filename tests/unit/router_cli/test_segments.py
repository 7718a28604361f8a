"""Segments in the command: upload, list, show, index again, delete, export to OpenSearch."""

import json
import re
from array import array
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from router_cli import opensearch_index
from router_cli.__main__ import main
from router_cli.stack import Stack
from search_router.domain.search.segment_uploads import SegmentState
from tests.records import jsonl
from tests.unit.router_cli.conftest import OUTPUTS, Clients
from tests.unit.use_cases.test_index_segments import Indexing, a_deletion, a_row

Answer = Callable[..., Any]
REPEATS = 3


@pytest.fixture
def indexing(stack: Stack, clients: Clients) -> Indexing:
    """The use cases of indexing on the stack's ports; an upload is indexed before it returns."""
    world = Indexing()
    vars(stack).update(
        objects=world.objects,
        segment_uploads=world.ledger,
        collections=world.collections,
        segments=world.records,
        segment_index=world.index,
    )

    def store(key: str, body: bytes) -> str:
        world.clock.advance(timedelta(seconds=5))
        source = world.uploads.upload(key, body)
        world.queue.sent.clear()
        world.split(source)
        for split in world.queue.sent:
            world.work(split)
            world.finish(split.upload_id)
        return source.version_id or ""

    clients.s3.store = store
    return world


@pytest.fixture
def upload(indexing: Indexing, answer: Answer, tmp_path: Path) -> Callable[..., Any]:
    """Upload rows into the collection films with the command."""

    def run(*rows: object, code: int = 0) -> Any:
        file = tmp_path / "rows.jsonl"
        file.write_bytes(jsonl(list(rows)))
        return answer("upload", "segments", str(file), "--collection", "films", code=code)

    return run


def out_of(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> str:
    assert main([*arguments]) == code
    captured = capsys.readouterr()
    return captured.out + captured.err


def test_an_upload_accounts_for_every_row(upload: Callable[..., Any]) -> None:
    upload(a_row(1), a_row(2), a_row(3))

    report = upload(
        a_row(1), a_row(2, end=99), a_deletion(3), a_row(4), a_row(4, end=77),
        {"segment_id": "s5"}, {"segment_id": "s6"}, {"segment_id": ""},
    )  # fmt: skip

    counts = ("rows_in", "indexed", "unchanged", "deleted", "superseded", "rejected")
    assert [report[name] for name in counts] == [8, 2, 1, 1, 1, 3]
    assert report["reasons"] == {
        "start is not a number of seconds from 0": 2, "segment_id is missing or blank": 1,
    }  # fmt: skip
    assert report["state"] == "INDEXED"


def test_the_ledger_is_printed_with_the_reasons_of_rejected_rows(
    indexing: Indexing, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_bytes(jsonl([a_row(1), {"segment_id": "s5"}]))

    shown = out_of(capsys, "upload", "segments", str(file), "--collection", "films")

    words = " ".join(shown.split())
    assert "Segments of films" in words
    assert "rows read 2 indexed 1 unchanged 0 deleted 0 superseded by a later row 0" in words
    assert "rejected 1 start is not a number of seconds from 0 1 texts embedded 3" in words


def test_a_failed_upload_is_an_error_with_its_reason(
    upload: Callable[..., Any], indexing: Indexing, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    file = tmp_path / "empty.jsonl"
    file.write_bytes(b"\n")

    shown = out_of(capsys, "upload", "segments", str(file), "--collection", "films", code=1)

    assert "failed: the file is empty" in shown


@pytest.mark.parametrize(
    ("name", "collection", "reason"),
    [
        ("rows.csv", "films", "not a segment file: expected .jsonl or .jsonl.gz"),
        ("rows.jsonl", "My Films", "not a collection name"),
        ("rows.jsonl", "a/b", "not in a collection's folder"),
    ],
)
def test_names_are_checked_before_anything_is_uploaded(
    indexing: Indexing, clients: Clients, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    name: str, collection: str, reason: str,
) -> None:  # fmt: skip
    (tmp_path / name).write_bytes(b"{}")

    shown = out_of(
        capsys, "upload", "segments", str(tmp_path / name), "--collection", collection, code=1
    )

    assert reason in shown
    assert clients.s3.uploaded == {}


def test_an_upload_that_takes_long_is_left_alone(
    upload: Callable[..., Any], clients: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("router_cli.upload._INDEXING_SECONDS", 0.05)
    monkeypatch.setattr("router_cli.upload._POLL_SECONDS", 0.01)
    clients.s3.store = lambda _key, _body: "v1"

    assert upload(a_row(1))["state"] == "in work"


def test_collections_are_listed_with_their_settings(
    upload: Callable[..., Any], answer: Answer, capsys: pytest.CaptureFixture[str]
) -> None:
    upload(a_row(1), a_row(2), a_deletion(2))

    [listed] = answer("collections", "--count")["collections"]

    assert (listed["name"], listed["segments"], listed["dimension"]) == ("films", 1, 4)
    assert listed["modalities"] == ["visual", "audio", "metadata"]
    assert "segments" not in answer("collections")["collections"][0]
    shown = out_of(capsys, "collections")
    assert re.search(r"films +visual, audio,.* embedder +4 +2026-12-01 *$", shown, re.MULTILINE)


def test_a_segment_is_shown_with_texts_attributes_and_upload(
    upload: Callable[..., Any], answer: Answer, capsys: pytest.CaptureFixture[str]
) -> None:
    first = upload(a_row(1, start=61, end=65))

    shown = answer("segments", "s1", "--collection", "films")

    assert (shown["outcome"], shown["upload"], shown["byte_offset"]) == ("indexed", first["id"], 0)
    assert shown["segment"]["texts"] == {
        "visual": "door 1", "audio": "bark 1", "metadata": "drama",
    }  # fmt: skip
    assert shown["segment"]["attributes"] == {"genre": "drama"}
    assert shown["segment"]["vectors"] == {"visual": 4, "audio": 4, "metadata": 4}
    table = " ".join(out_of(capsys, "segments", "s1", "--collection", "films").split())
    assert "video v1 time 01:01\u201301:05 text of visual door 1 text of audio bark 1" in table
    assert "genre drama" in table


def test_a_deleted_segment_says_which_upload_deleted_it(
    upload: Callable[..., Any], answer: Answer
) -> None:
    upload(a_row(1))
    second = upload(a_deletion(1))

    shown = answer("segments", "s1", "--collection", "films")

    assert (shown["outcome"], shown["upload"]) == ("deleted", second["id"])
    assert "segment" not in shown


def test_unknown_names_are_errors(
    upload: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    upload(a_row(1))

    assert "no such segment in collection films: s9" in out_of(
        capsys, "segments", "s9", "--collection", "films", code=1
    )
    for verb in (
        ["segments", "s1", "--collection", "x"],
        ["reindex", "x"],
        ["collections", "--delete", "x"],
        ["export", "opensearch", "--collection", "x"],
    ):
        assert "no such collection: x" in out_of(capsys, *verb, code=1)


def test_a_lost_index_is_rebuilt_without_embeddings(
    upload: Callable[..., Any], indexing: Indexing, answer: Answer
) -> None:
    upload(*(a_row(n) for n in range(REPEATS)), a_row(9), a_deletion(9))
    before = {place: dict(entries) for place, entries in indexing.index.lists.items()}
    calibration = indexing.objects.bodies.pop("collections/films/calibration.json")
    asked = len(indexing.embedder.asked)
    stale = indexing.index.lists["films", "visual"]["s1"]
    indexing.index.lists.clear()
    indexing.index.lists["films", "visual"] = {"s9": stale}

    report = answer("reindex", "films")

    assert report == {"collection": "films", "segments": REPEATS}
    assert indexing.index.lists == before, "what was deleted is deleted from the index too"
    assert indexing.objects.bodies["collections/films/calibration.json"] == calibration
    assert len(indexing.embedder.asked) == asked


def test_a_write_during_the_rebuild_wins(
    upload: Callable[..., Any], indexing: Indexing, answer: Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload(a_row(1))
    put = indexing.index.put
    interrupted: list[str] = []

    def racing(self: Any, collection: Any, modality: str, entries: Any) -> None:
        if not interrupted:
            interrupted.append(modality)
            indexing.indexed(a_row(1, texts={"visual": "window"}))
        put(collection, modality, entries)

    monkeypatch.setattr(type(indexing.index), "put", racing)
    answer("reindex", "films")

    assert interrupted
    assert indexing.texts("visual") == {"s1": "window"}
    assert indexing.texts("audio") == {}


def test_deleting_a_collection_leaves_nothing_of_it(
    upload: Callable[..., Any], indexing: Indexing, clients: Clients, answer: Answer
) -> None:
    upload(a_row(1))

    assert answer("collections", "--delete", "films") == {"collection": "films", "deleted": False}
    assert indexing.collections.get("films") is not None

    assert answer("collections", "--delete", "films", "--yes")["deleted"] is True
    assert (indexing.index.lists, indexing.records.stored) == ({}, {})
    assert indexing.collections.get("films") is None
    assert clients.s3.deleted == ["collections/films/calibration.json"]
    assert upload(a_row(1))["indexed"] == 1, "a new upload creates it again"


def test_a_collection_with_uploads_in_work_is_not_deleted(
    upload: Callable[..., Any], indexing: Indexing, capsys: pytest.CaptureFixture[str]
) -> None:
    upload(a_row(1))
    [split] = indexing.splits(a_row(2))

    shown = out_of(capsys, "collections", "--delete", "films", "--yes", code=1)

    assert f"films has uploads in work: {split.upload_id}" in shown
    assert indexing.collections.get("films") is not None


def test_uploads_are_listed_among_the_runs(
    upload: Callable[..., Any], answer: Answer, capsys: pytest.CaptureFixture[str]
) -> None:
    uploaded = upload(a_row(1))

    [listed] = answer("runs")["segment_uploads"]

    assert (listed["upload_id"], listed["state"]) == (uploaded["id"], SegmentState.INDEXED)
    assert uploaded["id"] in out_of(capsys, "runs")


def test_splits_that_failed_too_often_are_explained_and_sent_again(
    upload: Callable[..., Any], indexing: Indexing, clients: Clients, answer: Answer
) -> None:
    upload(a_row(1))
    [split] = indexing.splits(a_row(2))
    dead = OUTPUTS["SegmentDeadLetterQueueUrl"]
    clients.sqs.put(dead, split.model_dump_json(), receives=50)
    clients.sqs.put(OUTPUTS["SplitDeadLetterQueueUrl"], "not a split")

    report = answer("redrive", "--yes")

    [other, explained] = report["splits"]
    assert other["why"] == "not a split; it stays in the queue"
    assert explained["upload_id"] == split.upload_id
    assert "1 of 1 splits of its upload are missing" in explained["why"]
    assert "The log of index-segments has the cause" in explained["why"]
    assert report["sent_again"] == {"splits": 1, "events": 0}
    assert clients.sqs.bodies(dead) == []
    assert clients.sqs.bodies(OUTPUTS["SegmentQueueUrl"]) == [split.model_dump_json()]
    indexing.work(split)
    clients.sqs.put(dead, split.model_dump_json(), receives=50)
    why = answer("redrive")["splits"][-1]["why"]
    assert why == "its part is written and counted: sending it again changes nothing"


# --- OpenSearch ----------------------------------------------------------------------------------


@pytest.fixture
def exported(upload: Callable[..., Any], answer: Answer, tmp_path: Path) -> Callable[..., Any]:
    """Upload rows, export the collection; return the index body and the bulk lines."""

    def run(*rows: object) -> tuple[Any, list[Any]]:
        upload(*rows)
        folder = tmp_path / "os"
        report = answer("export", "opensearch", "--collection", "films", "--out", str(folder))
        files = sorted(folder.glob("bulk-*.ndjson"))
        bodies = [file.read_bytes() for file in files]
        assert all(body.endswith(b"\n") for body in bodies), "the bulk API wants a last newline"
        lines = [json.loads(line) for body in bodies for line in body.split(b"\n") if line]
        assert report["segments"] * 2 == len(lines)
        return json.loads((folder / "index.json").read_text("utf-8")), lines

    return run


def test_the_mapping_has_text_and_vector_fields_for_each_modality(
    exported: Callable[..., Any],
) -> None:
    index, _ = exported(a_row(1))

    assert index["settings"] == {"index": {"knn": True}}
    fields = index["mappings"]["properties"]
    for name in ("visual", "audio", "metadata"):
        assert fields[name] == {"type": "text", "analyzer": "english"}
        vector = fields["vectors"]["properties"][name]
        assert (vector["type"], vector["dimension"]) == ("knn_vector", 4)
        assert vector["method"]["space_type"] == "cosinesimil"
    assert fields["video_id"] == {"type": "keyword"}


def test_attributes_are_numbers_booleans_or_else_keywords(exported: Callable[..., Any]) -> None:
    index, lines = exported(
        a_row(1, attributes={"year": 2021, "hd": True, "people": ["Ann"], "a.b": "x", "mixed": 1}),
        a_row(2, attributes={"year": 1.5, "mixed": "one"}),
    )

    fields = index["mappings"]["properties"]["attributes"]["properties"]
    assert {name: field["type"] for name, field in fields.items()} == {
        "year": "double", "hd": "boolean", "people": "keyword", "a_b": "keyword",
        "mixed": "keyword",
    }  # fmt: skip
    assert set(lines[1]["attributes"]) <= set(fields)


def test_documents_hold_what_the_records_hold_and_no_deletions(
    exported: Callable[..., Any], indexing: Indexing
) -> None:
    hostile = 'say "}]\u2028\x1b[2J\n{"index": {}}'
    _, lines = exported(
        a_row(1, texts={"visual": hostile}, vectors={"audio": [0.1, 0.25, 1e-7, 3]}),
        a_row(2),
        a_deletion(2),
    )

    action, document = lines
    assert action == {"index": {"_index": "films", "_id": "s1"}}
    assert (document["video_id"], document["start"], document["end"]) == ("v1", 1.0, 2.0)
    assert document["visual"] == hostile
    assert "audio" not in document
    assert document["attributes"] == {"genre": "drama"}
    record = indexing.records.stored["films", "s1"]
    assert {name: array("f", numbers) for name, numbers in document["vectors"].items()} == dict(
        record.vectors
    ), "the exact single-precision numbers"


def test_bulk_files_stay_below_their_limit_and_replace_older_ones(
    exported: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [a_row(n) for n in range(40)]
    monkeypatch.setattr(opensearch_index, "MAX_BULK_BYTES", 2_000)
    exported(*rows)
    files = sorted((tmp_path / "os").glob("bulk-*.ndjson"))
    assert len(files) > 3
    assert all(file.stat().st_size <= 2_000 for file in files)
    assert [file.name for file in files[:2]] == ["bulk-00001.ndjson", "bulk-00002.ndjson"]

    monkeypatch.setattr(opensearch_index, "MAX_BULK_BYTES", 1_000_000)
    exported(*rows)

    assert [file.name for file in (tmp_path / "os").glob("bulk-*")] == ["bulk-00001.ndjson"]


def test_many_attributes_raise_the_limit_of_fields(exported: Callable[..., Any]) -> None:
    rows = [a_row(n, attributes={f"a{n}_{m}": m for m in range(40)}) for n in range(30)]

    index, _ = exported(*rows)

    fields = index["mappings"]["properties"]["attributes"]["properties"]
    assert len(fields) == 1_200
    assert index["settings"]["index"]["mapping.total_fields.limit"] >= 1_200


@pytest.mark.parametrize(
    ("modalities", "reason"),
    [
        (tuple(f"m{n}" for n in range(6)), "at most 5 sub-queries"),
        (("visual", "vectors"), "a field of the index has a modality's name: vectors"),
    ],
)
def test_collections_that_opensearch_cannot_search_are_rejected(
    upload: Callable[..., Any], indexing: Indexing, tmp_path: Path,
    capsys: pytest.CaptureFixture[str], modalities: tuple[str, ...], reason: str,
) -> None:  # fmt: skip
    indexing.rules = indexing.rules._replace(modalities=modalities)
    upload(a_row(1, texts={modalities[0]: "x"}))
    out = str(tmp_path / "os")

    shown = out_of(capsys, "export", "opensearch", "--collection", "films", "--out", out, code=1)

    assert reason in shown
    assert not list(tmp_path.glob("os/*"))
