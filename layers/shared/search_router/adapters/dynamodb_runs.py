"""Runs and the cost of their jobs in the state table, replaced by conditional writes."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from search_router.adapters.aws_errors import aws_errors
from search_router.adapters.dynamodb_items import (
    ABSENT,
    RUNS,
    document_item,
    get_item,
    key,
    put,
    query_items,
    read_document,
    remove_from_worklist,
    revision_condition,
    run_item,
)
from search_router.domain.errors import ConflictError, UnavailableError
from search_router.domain.lifecycle.budget import Spending
from search_router.domain.lifecycle.runs import Run

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_OPEN = "OPEN"
PROMPTS, LOGS = "SPENDING", "SPENDING#LOGS"


class DynamoRunRepository:
    """Stores runs; writes are conditional on `revision`."""

    def __init__(self, client: "DynamoDBClient", table: str) -> None:
        self._client = client
        self._table = table

    def create(self, run: Run) -> Run:
        """Store a new run, or return the one stored under its id."""
        try:
            with aws_errors("create a run"):
                self._client.transact_write_items(
                    TransactItems=[
                        put(self._table, run_item(run), **ABSENT),
                        put(self._table, key(_OPEN, run.run_id)),
                    ]
                )
        except ConflictError:
            stored = self.get(run.run_id)
            if stored is None:
                raise
            return stored
        return run

    def get(self, run_id: str) -> Run | None:
        """Read a run consistently."""
        item = get_item(self._client, self._table, RUNS, run_id)
        return read_document(item, Run) if item else None

    def replace(self, run: Run) -> None:
        """Store a run's next revision; repeating the same write is no conflict."""
        try:
            with aws_errors("move a run"):
                self._client.put_item(
                    TableName=self._table, Item=run_item(run), **revision_condition(run)
                )
        except ConflictError:
            if self.get(run.run_id) != run:
                raise

    def reopen(self, run: Run) -> None:
        """Store a run's next revision and add it to the open runs, in one write."""
        with aws_errors("reopen a run"):
            self._client.transact_write_items(
                TransactItems=[
                    put(self._table, run_item(run), **revision_condition(run)),
                    put(self._table, key(_OPEN, run.run_id)),
                ]
            )

    def open(self) -> Iterator[Run]:
        """Yield the open runs."""
        for item in list(query_items(self._client, self._table, _OPEN)):
            if (run := self.get(item["sk"]["S"])) is not None:
                yield run

    def close(self, run: Run) -> None:
        """Remove a run from the open runs, unless it changed meanwhile."""
        remove_from_worklist(
            self._client,
            self._table,
            _OPEN,
            key(RUNS, run.run_id),
            ConditionExpression="revision = :seen",
            ExpressionAttributeValues={":seen": {"N": str(run.revision)}},
        )

    def record_job(self, job_name: str, run_id: str) -> None:
        """Record that a run waits for a job."""
        with aws_errors("record a job"):
            self._client.put_item(TableName=self._table, Item=key(f"JOB#{job_name}", run_id))

    def runs_of_job(self, job_name: str) -> Sequence[str]:
        """Return the runs that wait for a job."""
        items = query_items(self._client, self._table, f"JOB#{job_name}")
        return [item["sk"]["S"] for item in items]

    def all(self) -> Iterator[Run]:
        """Yield every run, oldest first; the sort keys are hashes."""
        items = query_items(self._client, self._table, RUNS)
        runs = [read_document(item, Run) for item in items]
        yield from sorted(runs, key=lambda run: (run.created_at, run.run_id))


class DynamoSpendingLedger:
    """Stores a budget's spending in one item; writes are conditional on `revision`."""

    def __init__(self, client: "DynamoDBClient", table: str, budget: str = PROMPTS) -> None:
        self._client = client
        self._table = table
        self._key = (budget, "CURRENT")

    def read(self) -> Spending:
        """Read the spending, which is empty before the first job."""
        item = get_item(self._client, self._table, *self._key)
        return read_document(item, Spending) if item else Spending()

    def replace(self, spending: Spending) -> None:
        """Store the next revision; raises UnavailableError after a concurrent write."""
        try:
            with aws_errors("record a purchase"):
                self._client.put_item(
                    TableName=self._table,
                    Item=document_item(*self._key, spending, revision=spending.revision),
                    ConditionExpression="attribute_not_exists(pk) OR revision = :before",
                    ExpressionAttributeValues={":before": {"N": str(spending.revision - 1)}},
                )
        except ConflictError:
            if self.read() != spending:  # repeating the same write is no conflict
                raise UnavailableError("record a purchase: concurrent write") from None
