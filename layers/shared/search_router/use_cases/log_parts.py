"""Read one split of a query log; write its part and the queries without a local answer."""

import json
from collections.abc import Iterator, Sequence

from search_router.domain import naming
from search_router.domain.logs.query_logs import SplitMessage
from search_router.domain.logs.results import PartBuilder, PartMarker, PartStats, rows_identity
from search_router.domain.logs.rows import LogRow, read_row
from search_router.domain.queries import normalised_query
from search_router.domain.serving.cascade import Routing
from search_router.domain.splits.ledger import unpacked
from search_router.domain.splits.rows import RejectedRow
from search_router.domain.weights import Modalities
from search_router.ports import ObjectInfo, ObjectStore, UploadStore
from search_router.use_cases.split_parts import STATS, SplitParts

MAX_ABSTAINED = 500  # queries stored per split; they are in hash order, so a random sample


class LogParts(SplitParts[PartMarker]):
    """Reads one split of a query log and writes its part."""

    def __init__(
        self,
        message: SplitMessage,
        uploads: UploadStore,
        objects: ObjectStore,
        interrupted: int = 0,
    ) -> None:
        super().__init__(message, uploads, objects, interrupted)
        self._dialect = message.dialect

    def rows(self) -> list[LogRow | RejectedRow]:
        """Read the split's rows; raises NotFoundError if the upload was deleted."""
        rows: list[LogRow | RejectedRow] = []
        for line in self.lines():
            row = read_row(line, self._dialect)
            if isinstance(row, RejectedRow):
                row = self.numbered(row, line)
            if row is not None:
                rows.append(row)
        return rows

    def rejections(self) -> Iterator[RejectedRow]:
        """Read the split and return its invalid rows."""
        return (row for row in self.rows() if isinstance(row, RejectedRow))

    def write(
        self,
        rows: list[LogRow | RejectedRow],
        routing: Routing,
        modalities: Modalities,
    ) -> PartMarker:
        """Write the rejected rows and the part; a part that is stored already wins."""
        part = PartBuilder(self._message.upload, modalities, self._interrupted, routing.local)
        for row in rows:
            if isinstance(row, RejectedRow):
                part.reject()
            else:
                key = normalised_query(row.query)
                part.add(row, key, routing.decisions[key])
        self.put_rejections(row for row in rows if isinstance(row, RejectedRow))
        self._put_abstained(routing.local.abstained)
        return self.write_once(part.marker(self._message.split), part.body())

    def given_up(self, rejected: int) -> PartMarker:
        """Return the marker of an empty part whose rows are all rejected."""
        part = PartBuilder(self._message.upload, (), self._interrupted)
        for _ in range(rejected):
            part.reject()
        return part.marker(self._message.split)

    def _marker(self, found: ObjectInfo) -> PartMarker:
        return PartMarker(
            log_id=self._message.upload,
            split=self._message.split,
            rows=int(found.metadata["rows"]),
            identity=found.metadata["identity"],
            size=found.size,
            stats=unpacked(PartStats, found.metadata[STATS]),
        )

    def _identity(self) -> tuple[str, int]:
        rows = [row for row in self.rows() if isinstance(row, LogRow)]
        return rows_identity(self._message.upload, rows), len(rows)

    def _put_abstained(self, queries: Sequence[str]) -> None:
        """Write the queries that the local model abstained on: labels of these help it most.

        A later attempt may find more of them cached and write fewer.
        """
        if not queries:
            return
        key = naming.abstained_part_key(self._message.upload, self._message.split)
        lines = (
            json.dumps({"query": query}, ensure_ascii=False) for query in queries[:MAX_ABSTAINED]
        )
        self._objects.put(key, "".join(f"{line}\n" for line in lines).encode("utf-8"))
