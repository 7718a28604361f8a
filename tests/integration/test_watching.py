"""What the handlers measure in trouble, and how the schedule finds what S3 did not tell."""

import json
from datetime import timedelta
from typing import Any

import pytest

from search_router.domain.lifecycle.runs import RunState
from search_router.domain.logs.query_logs import LogState
from search_router.domain.uploads import ObjectRef
from search_router.use_cases.track_runs import UPLOAD_PATIENCE
from tests.fakes import START
from tests.integration.stack import Stack
from tests.integration.world import UPLOADS
from tests.records import jsonl

LOG = jsonl([{"query": f"query {n}"} for n in range(10)])


def measured(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """Return the last values of every metric without a dimension of its own."""
    found: dict[str, Any] = {}
    for line in capsys.readouterr().out.splitlines():
        if '"CloudWatchMetrics"' in line:
            found |= json.loads(line)
    return found


def test_a_throttled_split_is_measured_although_it_fails(
    stack: Stack, capsys: pytest.CaptureFixture[str]
) -> None:
    stack.serve()
    stack.upload("query-logs/a.jsonl", LOG)
    stack.bedrock.fake.change(requests_per_minute=1e-9)
    (message,) = stack.world.messages()

    assert not stack.handle(message)

    found = measured(capsys)
    assert found["SplitsFailed"] == [1.0]
    assert found["ModelThrottles"][0] > 0
    assert "RowsIn" not in found


def test_a_query_that_nobody_can_answer_is_measured(
    stack: Stack, capsys: pytest.CaptureFixture[str]
) -> None:
    assert stack.ask("dogs")["status"] == 503

    assert measured(capsys)["QueriesUnanswered"] == [1.0]


@pytest.mark.parametrize(
    ("function", "key"),
    [("shard_prompts", "prompts/lost.jsonl"), ("split_query_log", "query-logs/lost.jsonl")],
)
def test_a_lost_upload_is_found_and_taken_in(
    stack: Stack, capsys: pytest.CaptureFixture[str], function: str, key: str
) -> None:
    # GIVEN an upload that nobody heard of
    source = stack.world.upload(key, LOG, at=START)

    # WHEN the schedule comes by before, and after it should have become something
    stack.tick()
    stack.tick()
    assert [name for name, _ in stack.published() if name == "UploadMissed"] == []
    stack.bedrock.clock.advance(UPLOAD_PATIENCE - timedelta(minutes=10))
    stack.tick()

    # THEN it says so in the words of S3, and the function takes it in as if S3 had spoken
    assert measured(capsys)["UploadsMissed"] == [1.0]
    ((name, detail),) = stack.published()
    assert name == "UploadMissed"
    assert detail == {
        "bucket": {"name": UPLOADS},
        "object": {"key": key, "version-id": source.version_id, "sequencer": ""},
    }
    event = stack.load_event(function) | {"source": "search-router", "detail-type": name}
    stack.invoke(function, event | {"detail": detail})
    assert became(stack, source) in (RunState.FAILED, LogState.FAILED)  # neither file is usable

    # AND nobody speaks of it again
    stack.tick()
    assert [name for name, _ in stack.published()].count("UploadMissed") == 1
    stack.world.erase(source)


def became(stack: Stack, source: ObjectRef) -> str:
    is_prompts = source.key.startswith("prompts/")
    return stack.run_of(source).state if is_prompts else stack.log_of(source).state
