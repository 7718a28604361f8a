"""What belongs to one split: its rows, wherever they lie, and its part, written once.

The part decides. Whoever finds one takes its statistics, whatever answers he has himself; the
rejected rows beside it are a function of the split and of whether the part is routed.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
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

MAX_ABSTAINED = 500  # kept of one split; they come in the order of their hashes, a fair sample
_STATS = "stats"
_UNROUTED = "unrouted"


class StoredPart(NamedTuple):
    """A part as its object tells it; `unrouted` is why it holds no rows, if it was given up."""

    marker: PartMarker
    unrouted: str


class SplitParts:
    """Reads one split and writes its part, which tells how many deliveries were `interrupted`."""

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

    def rows(self) -> list[LogRow | RejectedRow]:
        """Read the split's rows; raises NotFoundError when the upload is gone."""
        read = (read_row(line, self._message.dialect) for line in self._lines())
        return [row for row in read if row is not None]

    def stored(self) -> StoredPart | None:
        """Return the part that some attempt has written, if any.

        Raises ConflictError for one that was cut elsewhere: that is nobody's attempt at this split.
        """
        key = naming.part_key(self._message.log_id, self._message.split)
        try:
            found = self._objects.info(key)
        except NotFoundError:
            return None
        metadata = found.metadata
        if any(metadata.get(name) != text for name, text in self._place().items()):
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
        """Write the rejected rows and the part; a part that is there already wins."""
        part = PartBuilder(self._message.log_id, modalities, self._interrupted)
        part.add_local_tier(routing.local)
        written: dict[str, str] = {}  # normalised → as first written
        for row in rows:
            if isinstance(row, RejectedRow):
                part.reject()
            else:
                key = normalised_query(row.query)
                written.setdefault(key, row.query)
                part.add(row, key, routing.decisions[key])
        self._put_rejections(row for row in rows if isinstance(row, RejectedRow))
        self._put_refused(written, routing.local.abstained)
        return self._written(part, unrouted="")

    def give_up(self, reason: str) -> PartMarker:
        """Reject every row of the split, without looking into it, and write an empty part."""
        part = PartBuilder(self._message.log_id, (), self._interrupted)
        rejections = list(self._unread(reason))
        for _ in rejections:
            part.reject()
        self._put_rejections(iter(rejections))
        return self._written(part, unrouted=reason)

    def check(self, stored: StoredPart) -> None:
        """Compare a part's rows with the split's; raises ConflictError if they are others."""
        try:
            rows = [row for row in self.rows() if isinstance(row, LogRow)]
        except NotFoundError:
            return  # nobody can tell any more
        ours = (
            ("", 0) if stored.unrouted else (rows_identity(self._message.log_id, rows), len(rows))
        )
        theirs = ("" if stored.unrouted else stored.marker.identity, stored.marker.rows)
        if ours != theirs:
            raise self._other_rows()

    def mend(self, stored: StoredPart) -> None:
        """Write the rejected rows that belong to a part again.

        Two attempts, of which one gave up and the other did not, may have written each other's.
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
        # From the byte before it to the end of its last line.
        first, last = max(0, start - 1), end + MAX_ROW_BYTES + 1
        return raw_rows_of_range(self._uploads.read(message.source, first, last), start, end)

    def _unread(self, reason: str) -> Iterator[RejectedRow]:
        for line in self._lines():
            row = rejected_unread(line, self._message.dialect, reason)
            if row is not None:
                yield row

    def _put_rejections(self, rows: Iterator[RejectedRow]) -> None:
        key = naming.rejected_part_key(self._message.log_id, self._message.split)
        self._objects.put(key, b"".join(map(rejected_row, rows)))

    def _put_refused(self, written: Mapping[str, str], refused: Sequence[str]) -> None:
        """Keep what the local tier refused: a label of one of these is worth most.

        Which ones depends on what was cached, so a later attempt may write others: either will do.
        """
        if not refused:
            return
        kept = set(refused[:MAX_ABSTAINED])
        lines = (
            json.dumps({"query": query}, ensure_ascii=False)
            for key, query in written.items()
            if key in kept
        )
        body = "".join(f"{line}\n" for line in lines).encode("utf-8")
        self._objects.put(
            naming.abstained_part_key(self._message.log_id, self._message.split), body
        )

    def _written(self, part: PartBuilder, unrouted: str) -> PartMarker:
        ours = part.marker(self._message.split)
        metadata = {
            **self._place(),
            "rows": str(ours.rows),
            "identity": ours.identity,
            _STATS: packed_stats(ours.stats),
        }
        if unrouted:
            metadata[_UNROUTED] = unrouted
        key = naming.part_key(self._message.log_id, self._message.split)
        if self._objects.put_once(key, part.body(), metadata):
            return ours
        theirs = self.stored()
        if theirs is None:
            raise self._other_rows()
        if theirs.unrouted != unrouted:
            self.mend(theirs)
        elif (theirs.marker.identity, theirs.marker.rows) != (ours.identity, ours.rows):
            raise self._other_rows()
        return theirs.marker

    def _place(self) -> dict[str, str]:
        message = self._message
        return {
            "log": message.log_id,
            "version": message.version_id or "",
            "range": f"{message.start}-{message.end}",
        }

    def _other_rows(self) -> ConflictError:
        return ConflictError(
            f"split {self._message.split} of {self._message.log_id} holds other rows"
        )
