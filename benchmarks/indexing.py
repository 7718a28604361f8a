"""Measures indexing with the tests' ports in memory: rows per second, conservation, embeddings."""

import json
import time
from collections import Counter
from collections.abc import Iterator
from random import Random

from benchmarks.figures import Goal, Row
from benchmarks.timing import current_usage
from search_router.domain.search.segment_uploads import SegmentCounts, SegmentUpload
from tests.unit.use_cases.test_index_segments import Indexing

CHANGED_SHARE = 0.01
_TEXTS = 3  # visual and audio, and metadata, which is made of the attributes
_WORDS = [f"word{number}" for number in range(5_000)]


def measure_indexing(segments: int) -> tuple[list[Goal], list[Row]]:
    """Index a file, then again with 1 % of its segments changed."""
    world = Indexing()
    before = current_usage().peak_bytes
    first, seconds, plain = _indexed(world, _file(segments, changed=frozenset()))
    draw = Random(2)  # noqa: S311 - not for security
    changed = frozenset(draw.sample(range(segments), int(segments * CHANGED_SHARE)))
    second, again_seconds, _ = _indexed(world, _file(segments, changed))
    stored = {modality: len(entries) for (_, modality), entries in world.index.lists.items()}
    grown = current_usage().peak_bytes - before
    rows: list[Row] = [
        _row("index a file", first, seconds),
        _row("again, 1 % changed", second, again_seconds),
        {"what": "parse the rows, nothing else", "rows/s": first.rows_in / plain},
        {"what": "memory grown, index included", "MiB": grown // 2**20},
    ]
    goals = [
        Goal("rows that are lost", float(_lost(first, segments) + _lost(second, segments)), 0, ""),
        Goal("segments missing in a list", float(segments - min(stored.values())), 0, ""),
        Goal(
            "embeddings of a second upload",
            100 * second.embeddings / (_TEXTS * segments),
            105 * CHANGED_SHARE,
            "%",
        ),
        Goal("outcomes of a second upload: indexed", second.indexed / len(changed), 1.0, "x"),
    ]
    return goals, rows


def _row(what: str, counts: SegmentCounts, seconds: float) -> Row:
    return {
        "what": what,
        "rows": counts.rows_in,
        "rows/s": counts.rows_in / seconds,
        "embeddings": counts.embeddings,
    }


def _indexed(world: Indexing, body: bytes) -> tuple[SegmentCounts, float, float]:
    """Index a file; return its counts, the seconds, and those of parsing its rows alone."""
    started = time.perf_counter()
    world.queue.sent.clear()
    upload = world.planned(body)
    if not isinstance(upload, SegmentUpload) or upload.reason:
        raise RuntimeError(f"the upload was not planned: {upload}")
    total = SegmentCounts()
    for split in list(world.queue.sent):
        total += world.work(split)
    seconds = time.perf_counter() - started
    started = time.perf_counter()
    Counter(json.loads(line)["video_id"] for line in body.splitlines())
    return total, seconds, time.perf_counter() - started


def _lost(counts: SegmentCounts, segments: int) -> int:
    return abs(segments - sum(counts.by_outcome.values())) + abs(segments - counts.rows_in)


def _file(segments: int, changed: frozenset[int]) -> bytes:
    return b"".join(_lines(segments, changed))


def _lines(segments: int, changed: frozenset[int]) -> Iterator[bytes]:
    draw = Random(1)  # noqa: S311 - not for security
    for number in range(segments):
        visual, audio = (" ".join(draw.choices(_WORDS, k=20)) for _ in range(2))
        row = {
            "segment_id": f"s{number}",
            "video_id": f"v{number // 20}",
            "start": number % 20,
            "end": number % 20 + 1,
            "texts": {"visual": f"{visual} again" if number in changed else visual}
            | {"audio": audio},
            "attributes": {"title": f"title {number}"},
        }
        yield json.dumps(row).encode() + b"\n"
