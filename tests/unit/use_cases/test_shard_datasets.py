"""ShardPrompts on folders: one run per marker, independent of the files' order and names."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_router.domain.errors import NotFoundError, UnavailableError
from search_router.domain.events import PromptsSharded, UploadMissed
from search_router.domain.intake import datasets, prompt_files
from search_router.domain.lifecycle.runs import Run, RunState
from search_router.domain.uploads import ObjectRef
from tests.fakes import InMemoryRuns
from tests.records import conversation, dataset_of, gzipped, job_of, jsonl, label
from tests.unit.use_cases.world import World, ignored, labelled_rows, ran

FOLDER = "prompts/monday/"
ROWS = labelled_rows(320)
LINES = [jsonl([row]) for row in ROWS]
SIXTEEN_FILES = {f"part-{n:02d}.jsonl": b"".join(LINES[n::16]) for n in range(16)}


def complete(world: World, files: dict[str, bytes]) -> ObjectRef:
    """Upload files, then the marker; return the marker."""
    for name, body in files.items():
        ignored(world.shard(world.uploads.upload(FOLDER + name, body)))
    return world.uploads.upload(f"{FOLDER}_SUCCESS", b"")


def sharded(world: World, files: dict[str, bytes]) -> Run:
    return ran(world.shard(complete(world, files)))


def files_of(world: World, run: Run) -> dict[str, bytes]:
    """Return what the run left, by name; the manifest without what names versions."""
    folder = f"runs/{run.run_id}/"
    return {
        key.removeprefix(folder): body
        for key, body in world.objects.bodies.items()
        if key.startswith(folder) and not key.endswith(("files.json", "manifest.json"))
    }


def test_files_wait_for_their_marker_and_then_become_one_run(world: World) -> None:
    for name, body in SIXTEEN_FILES.items():
        reason = ignored(world.shard(world.uploads.upload(FOLDER + name, body)))
        assert reason == (
            "a file of a dataset: upload prompts/monday/_SUCCESS after it to start a run"
        )
    assert list(world.runs.all()) == []

    run = ran(world.shard(world.uploads.upload(f"{FOLDER}_SUCCESS", b"")))

    assert (run.state, run.source.key) == (RunState.SHARDED, "prompts/monday/_SUCCESS")
    assert (run.counts.rows_in, run.counts.rejected) == (320, 0)
    assert (
        dataset_of(run).training_sha256
        == dataset_of(World().sharded(b"".join(LINES))).training_sha256
    )
    assert world.events.published == [PromptsSharded(run_id=run.run_id)]


def test_the_manifest_names_every_file_with_its_version_and_rows(world: World) -> None:
    files = {"b.jsonl": b"".join(LINES), "a.jsonl.gz": gzipped(LINES[0] + b"broken\n")}

    run = sharded(world, files)

    described = world.text(f"runs/{run.run_id}/manifest.json")
    assert described["files"] == [
        {
            "key": f"{FOLDER}a.jsonl.gz",
            "version_id": "v2",
            "size": len(files["a.jsonl.gz"]),
            "rows_in": 2,
            "rejected": 1,
        },
        {
            "key": f"{FOLDER}b.jsonl",
            "version_id": "v1",
            "size": len(files["b.jsonl"]),
            "rows_in": 320,
            "rejected": 0,
        },
    ]
    [rejected] = world.rows(f"runs/{run.run_id}/rejected.jsonl")
    assert (rejected["file"], rejected["line_number"]) == (f"{FOLDER}a.jsonl.gz", 2)
    assert described["estimate"]["training_tokens"] > 0


def test_a_dataset_uploaded_out_of_order_and_twice_is_one_training_set_and_one_job(
    world: World,
) -> None:
    runs = []
    for step in (3, 5):
        names = [f"part-{n * step % 16:02d}.jsonl" for n in range(16)]
        runs.append(sharded(world, {name: SIXTEEN_FILES[name] for name in names}))
        world.start(runs[-1].run_id)

    first, second = (files_of(world, run) for run in runs)
    assert first == second
    assert runs[0].run_id != runs[1].run_id, "each marker is an intake of its own"
    assert job_of(world.run(runs[0].run_id)).job_name == job_of(world.run(runs[1].run_id)).job_name
    assert len(world.customizer.jobs) == 1


@given(
    rows=st.lists(st.integers(0, 40), max_size=60),
    cuts=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=60, max_size=60),
    names=st.permutations(["a.jsonl", "b.jsonl.gz", "deeper/c.jsonl", "d.jsonl"]),
)
def test_how_rows_lie_in_files_and_what_these_are_called_changes_no_byte(
    rows: list[int], cuts: list[tuple[int, int]], names: list[str]
) -> None:
    """Repetitions differ in case, label and reasoning: which survives is decided by content."""
    lines = [varied(row, index) for index, row in enumerate(rows)]

    def taken_in(side: int) -> tuple[dict[str, bytes], Run]:
        world = World(keep_reasoning=True)
        parts: dict[str, list[bytes]] = {name: [] for name in names}
        for line, cut in zip(lines, cuts, strict=False):
            parts[names[cut[side]]].append(line)
        files = {name: b"".join(part[:: 1 - 2 * side]) for name, part in parts.items()}
        packed = {n: gzipped(b) if n.endswith(".gz") else b for n, b in files.items()}
        run = sharded(world, packed)
        return files_of(world, run), run

    (one, run), (other, again) = taken_in(0), taken_in(1)

    assert one == other
    assert (run.counts, dataset_of(run).prior, run.reason) == (
        again.counts,
        dataset_of(again).prior,
        again.reason,
    )
    counts = run.counts
    assert counts.accepted == (
        counts.training + counts.holdout + counts.duplicates + counts.sampled_out
    )
    assert counts.rows_in == counts.accepted + counts.rejected == len(rows)


def varied(row: int, index: int) -> bytes:
    query = [f"query {row % 7}", f"QUERY  {row % 7}", f"query {row}"][index % 3]
    weights = [(0.4, 0.3, 0.2, 0.1), (0.1, 0.2, 0.3, 0.4), (1.0, 0.0, 0.0, 0.0)][row % 3]
    reasoned = label(*weights)[:-1] + f', "reasoning": "because {index % 4}"}}'
    return jsonl([conversation(query, reasoned if index % 2 else label(*weights))])


def test_a_changed_file_and_a_new_marker_are_another_run(world: World) -> None:
    before = sharded(world, SIXTEEN_FILES)

    after = sharded(world, {"part-03.jsonl": b"".join(LINES[:9])})

    assert after.run_id != before.run_id
    assert after.counts.rows_in == 320 - 20 + 9
    assert dataset_of(after).training_sha256 != dataset_of(before).training_sha256


def test_a_file_that_comes_after_its_marker_waits_for_the_next_one(world: World) -> None:
    early = sharded(world, {"a.jsonl": b"".join(LINES[:200])})

    reason = ignored(world.shard(world.uploads.upload(f"{FOLDER}b.jsonl", b"".join(LINES[200:]))))
    late = ran(world.shard(world.uploads.upload(f"{FOLDER}_SUCCESS", b"")))

    assert "upload prompts/monday/_SUCCESS after it" in reason
    assert (early.counts.rows_in, late.counts.rows_in) == (200, 320)


def test_a_retry_reads_the_files_of_the_first_attempt_whatever_was_uploaded_meanwhile(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    marker = complete(world, SIXTEEN_FILES)
    with monkeypatch.context() as patch:
        patch.setattr(InMemoryRuns, "create", _fail)
        with pytest.raises(UnavailableError):
            world.shard(marker)
    before = dict(world.objects.bodies)
    world.uploads.upload(f"{FOLDER}part-00.jsonl", b"another\n")
    world.uploads.upload(f"{FOLDER}part-99.jsonl", b"".join(LINES))

    run = ran(world.shard(marker))

    assert run.state is RunState.SHARDED
    assert world.objects.bodies == before, "the same bytes at the same keys"


def _fail(*_: object) -> None:
    raise UnavailableError("not now")


def test_what_writers_leave_beside_the_files_is_not_read(world: World) -> None:
    hidden = {".a.jsonl.crc": b"x", "_temporary/0/a.jsonl": b"x", "_metadata": b"x"}

    run = sharded(world, {**SIXTEEN_FILES, **hidden})

    assert (run.state, run.counts.rows_in) == (RunState.SHARDED, 320)


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({}, "the dataset has no files. Upload _SUCCESS after them."),
        ({".hidden": b"x"}, "the dataset has no files"),
        ({"a.jsonl": b"", "b.jsonl": b"\n"}, "the files have no rows"),
        ({"a.jsonl": LINES[0], "b.csv": b"x"}, "not a prompt file: prompts/monday/b.csv"),
        (
            {"a.jsonl": LINES[0], "b.jsonl.gz": gzipped(b"x" * 99)[:-3]},
            "prompts/monday/b.jsonl.gz: the gzip data is truncated",
        ),
        (
            {
                "a.jsonl": b"\n" + jsonl([conversation("x", system=[{"text": "One."}])]),
                "b.jsonl": b"".join(LINES),
            },
            "first seen at prompts/monday/a.jsonl line 2, prompts/monday/b.jsonl line 1",
        ),
    ],
)
def test_a_dataset_that_no_job_can_start_from_is_a_failed_run_with_the_location(
    world: World, files: dict[str, bytes], reason: str
) -> None:
    run = sharded(world, files)

    assert run.state is RunState.FAILED
    assert reason in run.reason


def test_the_limits_are_for_all_files_together(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    total = sum(map(len, LINES))
    monkeypatch.setattr(datasets, "MAX_DATASET_BYTES", total - 1)

    reason = sharded(world, SIXTEEN_FILES).reason
    assert f"{total} bytes, the limit is {total - 1}" in reason


def test_the_limits_hold_for_what_is_unpacked_too(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = {f"{name}.gz": gzipped(body) for name, body in SIXTEEN_FILES.items()}
    total = sum(map(len, LINES))
    monkeypatch.setattr(prompt_files, "MAX_DATASET_BYTES", total - 1)

    assert f"part-15.jsonl.gz: more than {total - 1} bytes in all" in sharded(world, packed).reason


@pytest.mark.parametrize(("limit", "rejected"), [(320, False), (319, True)])
def test_more_lines_than_the_limit_are_rejected(
    world: World, monkeypatch: pytest.MonkeyPatch, limit: int, rejected: bool
) -> None:
    monkeypatch.setattr(prompt_files, "MAX_DATASET_LINES", limit)

    assert (f"more than {limit} lines in all" in sharded(world, SIXTEEN_FILES).reason) is rejected


def test_more_files_than_the_limit_are_rejected(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets, "MAX_DATASET_FILES", 15)

    assert "16, the limit is 15" in sharded(world, SIXTEEN_FILES).reason


def test_a_file_that_was_deleted_meanwhile_is_a_failed_run(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    marker = complete(world, SIXTEEN_FILES)
    listed = list(world.uploads.latest(marker.bucket, FOLDER))
    world.uploads.erase(listed[3].source)
    monkeypatch.setattr(type(world.uploads), "latest", lambda *_: iter(listed))

    run = ran(world.shard(marker))

    assert run.state is RunState.FAILED
    assert "no version" in run.reason


def test_the_schedule_finds_a_marker_whose_event_got_lost(world: World) -> None:
    marker = complete(world, SIXTEEN_FILES)
    world.clock.sleep(16 * 60)

    assert world.tick().uploads_missed == 1
    assert world.events.of(UploadMissed) == [UploadMissed.of(marker)]
    world.shard(marker)
    assert world.tick().uploads_missed == 0


def test_an_erased_bucket_is_not_found(world: World) -> None:
    with pytest.raises(NotFoundError):
        world.uploads.info(ObjectRef("elsewhere", "prompts/monday/_SUCCESS", "v1"))
