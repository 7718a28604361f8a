"""Runs as items of the state table, for all who write one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from search_router.adapters.dynamodb_items import Item, document_item

if TYPE_CHECKING:
    from search_router.domain.lifecycle.runs import Run

RUNS = "RUNS"


def run_item(run: Run) -> Item:
    """Return a run as an item."""
    return document_item(RUNS, run.run_id, run, revision=run.revision, state=run.state.value)


def revision_condition(run: Run) -> Item:
    """Return the condition that the stored run is the one that `run` was made from."""
    return {
        "ConditionExpression": "revision = :before",
        "ExpressionAttributeValues": {":before": {"N": str(run.revision - 1)}},
    }
