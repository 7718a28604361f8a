"""ShardPrompts: the objects and the run of a prompt file, and the reasons of failed runs."""

import hashlib
import json
from collections.abc import Callable

import pytest

from search_router.domain.errors import NotFoundError, UnavailableError
from search_router.domain.events import PromptsSharded, RunFailed
from search_router.domain.intake import datasets
from search_router.domain.lifecycle.runs import RunState
from search_router.domain.uploads import ObjectRef
from tests.fakes import UPLOAD_BUCKET, InMemoryRuns, InMemoryUploads
from tests.records import SIXTEEN, conversation, dataset_of, gzipped, jsonl, label, local_tier_of
from tests.unit.use_cases.world import World, ignored, labelled_rows, ran

GOOD = jsonl(labelled_rows(150))


def test_a_good_file_becomes_a_training_set_a_holdout_and_a_run(world: World) -> None:
    body = GOOD + b"broken\n\n" + GOOD[: GOOD.index(b"\n") + 1]

    run = world.sharded(body)

    assert (run.state, run.reason) == (RunState.SHARDED, "")
    assert (run.counts.rows_in, run.counts.rejected, run.counts.duplicates) == (152, 1, 1)
    assert run.counts.training + run.counts.holdout == 150
    folder = f"runs/{run.run_id}"
    local_model = f"models/local/{local_tier_of(run).version}"
    assert sorted(world.objects.bodies) == [local_model] + [
        f"{folder}/{name}"
        for name in (
            "holdout.jsonl",
            "manifest.json",
            "rejected.jsonl",
            "shards/shard-00000.jsonl",
            "training.jsonl",
        )
    ]
    training = world.objects.get(f"{folder}/training.jsonl")
    assert training.count(b"\n") == run.counts.training
    assert dataset_of(run).training_sha256 == hashlib.sha256(training).hexdigest()
    assert world.objects.get(f"{folder}/shards/shard-00000.jsonl") == training
    [rejected] = world.rows(f"{folder}/rejected.jsonl")
    assert (rejected["line_number"], rejected["byte_offset"]) == (151, len(GOOD))
    manifest = world.text(f"{folder}/manifest.json")
    assert manifest["source"] == {
        "bucket": UPLOAD_BUCKET,
        "key": "prompts/labels.jsonl",
        "version_id": "v1",
    }
    assert manifest["training_sha256"] == dataset_of(run).training_sha256
    assert sum(manifest["balance"].values()) == run.counts.training
    assert manifest["counts"] == run.counts.model_dump()
    assert manifest["rejection"] == ""
    assert world.events.published == [PromptsSharded(run_id=run.run_id)]


def test_the_run_records_what_serving_needs(world: World) -> None:
    run = world.sharded(jsonl([{**row, "system": [{"text": "Go."}]} for row in labelled_rows(150)]))

    assert dataset_of(run).system_prompt == "Go."
    assert dataset_of(run).prior == pytest.approx((0.35, 0.35, 0.15, 0.15), abs=0.02)
    assert (run.source.bucket, run.source.key, run.source.version_id) == (
        UPLOAD_BUCKET,
        "prompts/labels.jsonl",
        "v1",
    )


@pytest.mark.parametrize("pack", [lambda body: body, gzipped], ids=["plain", "gzip"])
@pytest.mark.parametrize("chunk_bytes", [1, 2, 100, 10**6])
def test_packed_or_not_and_in_any_chunks_the_training_set_is_the_same(
    world: World, pack: Callable[[bytes], bytes], chunk_bytes: int
) -> None:
    suffix = ".jsonl" if pack(b"") == b"" else ".jsonl.gz"
    world.uploads.chunk_bytes = chunk_bytes

    run = world.sharded(pack(b"\xef\xbb\xbf" + GOOD), f"prompts/labels{suffix}")

    assert (run.counts.rejected, run.counts.accepted) == (0, 150)
    assert dataset_of(run).training_sha256 == dataset_of(World().sharded(GOOD)).training_sha256


def test_a_mark_after_an_empty_gzip_member_is_still_the_files_first(world: World) -> None:
    packed = gzipped(b"") + gzipped(b"\xef\xbb\xbf" + GOOD)

    assert world.sharded(packed, "prompts/labels.jsonl.gz").counts.rejected == 0


def test_offsets_of_rejected_lines_count_the_byte_order_mark(world: World) -> None:
    run = world.sharded(b"\xef\xbb\xbf" + GOOD + b"broken")

    [rejected] = world.rows(f"runs/{run.run_id}/rejected.jsonl")
    assert rejected["byte_offset"] == 3 + len(GOOD)


@pytest.mark.parametrize(
    ("key", "body", "reason"),
    [
        ("prompts/a.jsonl", b"", "the file has no rows"),
        ("prompts/a.jsonl", b"\n \r\n\n", "the file has no rows"),
        ("prompts/a.jsonl", b"\xef\xbb\xbf", "the file has no rows"),
        ("prompts/a.jsonl", b"one\ntwo\n[]\n", "none of the 3 rows is valid"),
        ("prompts/a.jsonl", jsonl(labelled_rows(99)), "Bedrock needs at least 100"),
        ("prompts/a.jsonl", jsonl(labelled_rows(90) * 5), "Bedrock needs at least 100"),
        (
            "prompts/a.jsonl",
            GOOD + jsonl([conversation("x", system=[{"text": "Other."}])]),
            "the system prompts differ: first seen at line 1, line 151",
        ),
        (
            "prompts/a.csv",
            GOOD,
            "not a prompt file: prompts/a.csv. Upload .jsonl, .ndjson or .json, each also .gz.",
        ),
        ("prompts/a.jsonl", b"\x1f\x8b" + GOOD, "the gzip data is damaged"),
        ("prompts/a.jsonl.gz", gzipped(GOOD)[:-9], "the gzip data is truncated"),
        ("prompts/a.jsonl.gz", gzipped(bytes(64 * 1024**2)), "more than 200 times"),
    ],
)
def test_a_file_that_bedrock_would_reject_is_a_failed_run_with_a_reason(
    world: World, key: str, body: bytes, reason: str
) -> None:
    run = world.sharded(body, key)

    assert run.state is RunState.FAILED
    assert reason in run.reason
    assert world.events.published == [RunFailed(run_id=run.run_id, reason=run.reason)]
    assert world.run(run.run_id) == run
    world.start(run.run_id)
    assert world.customizer.calls == 0, "no request to Bedrock"


def test_a_failed_run_has_its_rejected_lines_and_manifest(world: World) -> None:
    run = world.sharded(b"one\ntwo\n")

    rows = world.rows(f"runs/{run.run_id}/rejected.jsonl")
    assert [(row["line_number"], row["text"]) for row in rows] == [(1, "one"), (2, "two")]
    assert world.text(f"runs/{run.run_id}/manifest.json")["rejection"] == run.reason


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("prompts/", "a folder"),
        ("prompts/new folder/", "a folder"),
        (
            "prompts/set/part.jsonl",
            "a file of a dataset: upload prompts/set/_SUCCESS after it",
        ),
        (
            "prompts/set/deeper/part.jsonl",
            "upload prompts/set/_SUCCESS after it to start a run",
        ),
        ("prompts/set/deeper/_SUCCESS", "too deep: upload it to prompts/set/"),
        ("prompts/_SUCCESS", "belongs in a folder"),
    ],
)
def test_folders_and_their_files_are_ignored(world: World, key: str, reason: str) -> None:
    assert reason in ignored(world.shard(world.uploads.upload(key, b"")))
    assert list(world.runs.all()) == []
    assert world.events.published == []


def test_a_file_over_the_limit_is_rejected_before_it_is_read(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets, "MAX_DATASET_BYTES", len(GOOD) - 1)

    reason = world.sharded(GOOD).reason
    assert f"{len(GOOD)} bytes, the limit is {len(GOOD) - 1}" in reason


def test_a_deleted_upload_is_recorded_once_and_not_retried(world: World) -> None:
    source = world.uploads.upload("prompts/a.jsonl", GOOD)
    world.uploads.erase(source)

    run = ran(world.shard(source))

    assert run.state is RunState.FAILED
    assert "no version v1" in run.reason


def test_an_overwritten_upload_is_read_by_the_version_of_its_event(world: World) -> None:
    first = world.uploads.upload("prompts/a.jsonl", GOOD)
    second = world.uploads.upload("prompts/a.jsonl", b"something else")

    newer, older = ran(world.shard(second)), ran(world.shard(first))

    assert newer.run_id != older.run_id
    assert (newer.state, older.state) == (RunState.FAILED, RunState.SHARDED)
    assert older.counts.accepted == 150


def test_a_repeated_event_changes_nothing_and_is_published_again(world: World) -> None:
    source = world.uploads.upload("prompts/a.jsonl", GOOD)

    first = world.shard(source)
    writes = dict(world.objects.writes)
    second = world.shard(source)

    assert second == first
    assert world.objects.writes == writes
    assert len(list(world.runs.all())) == 1
    assert len(world.events.of(PromptsSharded)) == 2


def test_a_late_event_of_a_run_that_moved_on_publishes_nothing(world: World) -> None:
    run = world.training()
    world.events.published.clear()

    again = ran(world.shard(ObjectRef(UPLOAD_BUCKET, run.source.key, run.source.version_id)))

    assert again.state is RunState.TRAINING
    assert world.events.published == []


def test_a_retry_recovers_from_a_crash_before_the_run_is_recorded(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = world.uploads.upload("prompts/a.jsonl", GOOD)
    with monkeypatch.context() as patch:
        patch.setattr(InMemoryRuns, "create", _fail)
        with pytest.raises(UnavailableError):
            world.shard(source)
    before = dict(world.objects.bodies)

    run = ran(world.shard(source))

    assert run.state is RunState.SHARDED
    assert world.objects.bodies == before, "the same bytes at the same keys"


def test_a_retry_recovers_from_a_crash_before_the_event(world: World) -> None:
    source = world.uploads.upload("prompts/a.jsonl", GOOD)
    world.events.failing = UnavailableError("publish an event")
    with pytest.raises(UnavailableError):
        world.shard(source)
    world.events.failing = None

    run = ran(world.shard(source))

    assert world.events.published == [PromptsSharded(run_id=run.run_id)]


def test_a_read_that_fails_for_now_leaves_no_run(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = world.uploads.upload("prompts/a.jsonl", GOOD)
    monkeypatch.setattr(InMemoryUploads, "info", _fail)

    with pytest.raises(UnavailableError):
        world.shard(source)

    assert list(world.runs.all()) == []


def _fail(*_: object) -> None:
    raise UnavailableError("not now")


def test_of_two_deliveries_at_once_the_first_record_wins(world: World) -> None:
    source = world.uploads.upload("prompts/a.jsonl", GOOD)
    first = ran(world.shard(source))

    stored = world.runs.create(first.model_copy(update={"reason": "the slower one"}))

    assert stored == first


def test_a_hostile_key_stays_in_the_record_and_out_of_our_keys(world: World) -> None:
    run = world.sharded(GOOD, "prompts/ä b+%25..'\"\n.jsonl")

    assert run.state is RunState.SHARDED
    ours = (f"runs/{run.run_id}/", f"models/local/{local_tier_of(run).version}")
    assert all(key.startswith(ours) for key in world.objects.bodies)


def test_sixteen_modalities_go_through_like_four() -> None:
    world = World(modalities=SIXTEEN)
    answer = label(*[1 / 16] * 16, modalities=SIXTEEN)

    run = world.sharded(jsonl([conversation(f"query {n}", answer) for n in range(150)]))

    assert (run.state, dataset_of(run).prior) == (RunState.SHARDED, (1 / 16,) * 16)
    assert set(json.loads(answer)) == set(dataset_of(run).modalities)


def test_an_upload_to_another_bucket_is_not_found(world: World) -> None:
    with pytest.raises(NotFoundError):
        world.uploads.info(ObjectRef("elsewhere", "prompts/a.jsonl", "v1"))
