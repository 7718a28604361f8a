"""Events: ids that can be checked, room for later versions, nothing else to believe."""

import json
from typing import Any

import pytest
from pydantic import ValidationError

from search_router.domain import naming
from search_router.domain.events import (
    SOURCE,
    ApprovalNeeded,
    ModelDeployed,
    ModelEvaluated,
    ModelPromoted,
    ModelRejected,
    PromptsSharded,
    QueryLogPartsComplete,
    QueryLogRouted,
    RouterEvent,
    RunFailed,
    SegmentPartsComplete,
    SegmentsIndexed,
    UploadMissed,
)
from search_router.domain.uploads import ObjectRef

RUN, LOG = "run-0123456789ab", "log-0123456789ab"
ALL: list[RouterEvent] = [
    PromptsSharded(run_id=RUN),
    ModelDeployed(run_id=RUN),
    ModelEvaluated(run_id=RUN),
    ModelPromoted(run_id=RUN, champion_version=1),
    ModelRejected(run_id=RUN, reason="worse"),
    ApprovalNeeded(run_id=RUN, reason="unsure", approve_with="promote", reject_with="reject"),
    RunFailed(run_id=RUN, reason="too few rows"),
    QueryLogPartsComplete(log_id=LOG),
    QueryLogRouted(log_id=LOG),
    SegmentPartsComplete(upload_id="seg-0123456789ab"),
    SegmentsIndexed(upload_id="seg-0123456789ab", collection="films"),
    UploadMissed.of(ObjectRef("uploads", "prompts/ä b+%25.jsonl", "v1")),
]


def test_the_contract_lists_every_event_by_its_name() -> None:
    assert {type(event) for event in ALL} == set(RouterEvent.__subclasses__())
    assert all(event.detail_type == type(event).__name__ for event in ALL)
    assert SOURCE == "search-router"


@pytest.mark.parametrize("event", ALL, ids=lambda event: event.detail_type)
def test_an_event_reads_back_and_ignores_what_a_later_version_adds(event: RouterEvent) -> None:
    detail = {**event.model_dump(), "added_later": {"x": 1}}

    assert type(event).model_validate(detail) == event


@pytest.mark.parametrize(
    "run_id",
    ["", "run-0123456789a", "run-" + 33 * "0", "run-0123456789aB", f"x{RUN}", f"{RUN}\n", LOG,
     "../etc", f"{RUN}/x", None, 7],
)  # fmt: skip
def test_an_id_that_is_none_of_ours_is_refused(run_id: Any) -> None:
    with pytest.raises(ValidationError):
        PromptsSharded(run_id=run_id)


@pytest.mark.parametrize("version", ["v1", None])
def test_a_missed_upload_reads_like_the_event_that_s3_should_have_sent(version: str | None) -> None:
    source = ObjectRef("uploads", "prompts/ä b+%25.jsonl", version)

    detail = json.loads(UploadMissed.of(source).model_dump_json())

    assert detail == {
        "bucket": {"name": "uploads"},
        "object": {"key": "prompts/ä b+%25.jsonl", "version-id": version, "sequencer": ""},
    }
    s3_says_more = {**detail, "reason": "PutObject", "version": "0"}
    assert UploadMissed.model_validate(s3_says_more).source == source


def test_our_own_ids_are_accepted() -> None:
    PromptsSharded(run_id=naming.run_id("b", "prompts/ä.jsonl", None))
    QueryLogRouted(log_id=naming.log_id("b", "query-logs/ä.jsonl", "v"))
