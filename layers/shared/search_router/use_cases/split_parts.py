"""Read one split's rows and write its part.

The part is written once; a worker that finds it stored uses its statistics instead of its own. The
rejected rows beside it depend only on the split and on whether it was given up.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from search_router.domain import naming
from search_router.domain.errors import ConflictError, NotFoundError
from search_router.domain.logs.dialects import MAX_ROW_BYTES
from search_router.domain.logs.query_logs import Layout, SplitMessage
from search_router.domain.logs.results import (
    PartBuilder,
    PartMarker,
    packed_stats,
    rows_identity,
    unpacked_stats,
)
from search_router.domain.logs.rows import (
    LogRow,
    RejectedRow,
    raw_rows,
    raw_rows_of_range,
    read_row,
    rejected_row,
    rejected_unread,
)
from search_router.domain.queries import normalised_query
from search_router.domain.serving.cascade import Routing
from search_router.domain.streams import Line
from search_router.domain.weights import Modalities
from search_router.ports import ObjectStore, UploadStore

MAX_ABSTAINED = 500  # queries stored per split; they are in hash order, so a random sample
_STATS = "stats"
_UNROUTED = "unrouted"


class StoredPart(NamedTuple):
    """A part as its object describes it; `unrouted` is the reason if the split was given up."""

    marker: PartMarker
    unrouted: str


class SplitParts:
    """Reads one split and writes its part; `interrupted` deliveries before are recorded in it."""

    def __init__(
        self,
        message: SplitMessage,
        uploads: UploadStore,
        objects: ObjectStore,
        interrupted: int = 0,
    ) -> None:
        self._message = message
        self._interrupted = interrupted
        self._uploads = uploads
        self._objects = objects
        self._key = naming.part_key(message.log_id, message.split)
        self._source = {
            "log": message.log_id,
            "version": message.version_id or "",
            "range": f"{message.start}-{message.end}",
        }

    def rows(self) -> list[LogRow | RejectedRow]:
        """Read the split's rows; raises NotFoundError if the upload was deleted."""
        read = (read_row(line, self._message.dialect) for line in self._lines())
        return [row for row in read if row is not None]

    def stored(self) -> StoredPart | None:
        """Return the part that an attempt has written, if any.

        Raises ConflictError if the part was cut from another range or version.
        """
        try:
            found = self._objects.info(self._key)
        except NotFoundError:
            return None
        metadata = found.metadata
        if any(metadata.get(name) != text for name, text in self._source.items()):
            raise self._other_rows()
        marker = PartMarker(
            log_id=self._message.log_id,
            split=self._message.split,
            rows=int(metadata["rows"]),
            identity=metadata["identity"],
            size=found.size,
            stats=unpacked_stats(metadata[_STATS]),
        )
        return StoredPart(marker, metadata.get(_UNROUTED, ""))

    def write(
        self,
        rows: list[LogRow | RejectedRow],
        routing: Routing,
        modalities: Modalities,
    ) -> PartMarker:
        """Write the rejected rows and the part; a part that is stored already wins."""
        part = PartBuilder(self._message.log_id, modalities, self._interrupted, routing.local)
        for row in rows:
            if isinstance(row, RejectedRow):
                part.reject()
            else:
                key = normalised_query(row.query)
                part.add(row, key, routing.decisions[key])
        self._put_rejections(row for row in rows if isinstance(row, RejectedRow))
        self._put_abstained(routing.local.abstained)
        return self._write_once(part, unrouted="")

    def give_up(self, reason: str) -> PartMarker:
        """Reject every row of the split unread and write an empty part."""
        part = PartBuilder(self._message.log_id, (), self._interrupted)
        rejections = list(self._unread(reason))
        for _ in rejections:
            part.reject()
        self._put_rejections(rejections)
        return self._write_once(part, unrouted=reason)

    def check(self, stored: StoredPart) -> None:
        """Compare a stored part's rows with the split's; raises ConflictError if they differ."""
        try:
            rows = [row for row in self.rows() if isinstance(row, LogRow)]
        except NotFoundError:
            return  # the upload was deleted: there is nothing to compare with
        ours = (
            ("", 0) if stored.unrouted else (rows_identity(self._message.log_id, rows), len(rows))
        )
        theirs = ("" if stored.unrouted else stored.marker.identity, stored.marker.rows)
        if ours != theirs:
            raise self._other_rows()

    def rewrite_rejections(self, stored: StoredPart) -> None:
        """Write the rejected rows that belong to a stored part.

        If one attempt gave the split up and another did not, either may have written its rejected
        rows last.
        """
        if stored.unrouted:
            self._put_rejections(self._unread(stored.unrouted))
        else:
            self._put_rejections(row for row in self.rows() if isinstance(row, RejectedRow))

    def _lines(self) -> Iterator[Line]:
        message = self._message
        start, end, dialect = message.start, message.end, message.dialect
        if message.layout is Layout.COPY:
            copy = self._objects.get(naming.split_copy_key(message.log_id, start, end))
            return raw_rows([copy], start, dialect)
        if message.layout is Layout.ROWS:
            return raw_rows(self._uploads.read(message.source, start, end), start, dialect)
        # From the byte before the range to the end of the range's last line.
        first, last = max(0, start - 1), end + MAX_ROW_BYTES + 1
        return raw_rows_of_range(self._uploads.read(message.source, first, last), start, end)

    def _unread(self, reason: str) -> Iterator[RejectedRow]:
        for line in self._lines():
            row = rejected_unread(line, self._message.dialect, reason)
            if row is not None:
                yield row

    def _put_rejections(self, rows: Iterable[RejectedRow]) -> None:
        key = naming.rejected_part_key(self._message.log_id, self._message.split)
        self._objects.put(key, b"".join(map(rejected_row, rows)))

    def _put_abstained(self, queries: Sequence[str]) -> None:
        """Write the queries that the local model abstained on: labels of these help it most.

        A later attempt may find more of them cached and write fewer.
        """
        if not queries:
            return
        key = naming.abstained_part_key(self._message.log_id, self._message.split)
        lines = (
            json.dumps({"query": query}, ensure_ascii=False) for query in queries[:MAX_ABSTAINED]
        )
        self._objects.put(key, "".join(f"{line}\n" for line in lines).encode("utf-8"))

    def _write_once(self, part: PartBuilder, unrouted: str) -> PartMarker:
        """Write the part, or return the marker of the one that another attempt wrote first."""
        ours = part.marker(self._message.split)
        metadata = {
            **self._source,
            "rows": str(ours.rows),
            "identity": ours.identity,
            _STATS: packed_stats(ours.stats),
        }
        if unrouted:
            metadata[_UNROUTED] = unrouted
        if self._objects.put_once(self._key, part.body(), metadata):
            return ours
        theirs = self.stored()
        if theirs is None:
            raise self._other_rows()
        if theirs.unrouted != unrouted:
            self.rewrite_rejections(theirs)
        elif (theirs.marker.identity, theirs.marker.rows) != (ours.identity, ours.rows):
            raise self._other_rows()
        return theirs.marker

    def _other_rows(self) -> ConflictError:
        message = self._message
        return ConflictError(f"split {message.split} of {message.log_id} holds other rows")
