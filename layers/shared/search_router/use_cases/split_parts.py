"""Read one split's rows and write its part.

The part is written once; a worker that finds it stored uses its statistics instead of its own. The
rejected rows beside it depend only on the split and on whether it was given up.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from typing import Generic, NamedTuple, TypeVar

from search_router.domain import naming
from search_router.domain.errors import ConflictError, NotFoundError
from search_router.domain.splits.ledger import SplitMarker, packed
from search_router.domain.splits.plan import Layout, UploadSplit
from search_router.domain.splits.rows import (
    RejectedRow,
    raw_rows,
    raw_rows_of_range,
    rejected_row,
    rejected_unread,
)
from search_router.domain.streams import Line
from search_router.ports import ObjectInfo, ObjectStore, UploadStore

STATS = "stats"
_GIVEN_UP = "given-up"

MarkerT = TypeVar("MarkerT", bound=SplitMarker)


class StoredPart(NamedTuple, Generic[MarkerT]):
    """A part as its object describes it; `given_up` is the reason if the split was given up."""

    marker: MarkerT
    given_up: str


class SplitParts(ABC, Generic[MarkerT]):
    """Reads one split and writes its part; `interrupted` deliveries before are recorded in it."""

    def __init__(
        self,
        message: UploadSplit,
        uploads: UploadStore,
        objects: ObjectStore,
        interrupted: int = 0,
    ) -> None:
        self._message = message
        self._interrupted = interrupted
        self._uploads = uploads
        self._objects = objects
        self._key = naming.part_key(message.upload, message.split)
        self._source = {
            "upload": message.upload,
            "version": message.version_id or "",
            "range": f"{message.start}-{message.end}",
        }

    @abstractmethod
    def rejections(self) -> Iterable[RejectedRow]:
        """Read the split and return its invalid rows."""

    @abstractmethod
    def given_up(self, rejected: int) -> MarkerT:
        """Return the marker of an empty part whose rows are all rejected."""

    @abstractmethod
    def _marker(self, found: ObjectInfo) -> MarkerT:
        """Return the marker of a stored part."""

    @abstractmethod
    def _identity(self) -> tuple[str, int]:
        """Read the split and return the identity and the number of rows of its part."""

    def stored(self) -> StoredPart[MarkerT] | None:
        """Return the part that an attempt has written, if any.

        Raises ConflictError if the part was cut from another range or version.
        """
        try:
            found = self._objects.info(self._key)
        except NotFoundError:
            return None
        if any(found.metadata.get(name) != text for name, text in self._source.items()):
            raise self._other_rows()
        return StoredPart(self._marker(found), found.metadata.get(_GIVEN_UP, ""))

    def give_up(self, reason: str) -> MarkerT:
        """Reject every row of the split unread and write an empty part."""
        rejections = list(self._unread(reason))
        self.put_rejections(rejections)
        return self.write_once(self.given_up(len(rejections)), b"", given_up=reason)

    def check(self, stored: StoredPart[MarkerT]) -> None:
        """Compare a stored part's rows with the split's; raises ConflictError if they differ."""
        try:
            ours = self._identity()
        except NotFoundError:
            return  # the upload was deleted: there is nothing to compare with
        if stored.given_up:
            ours = (stored.marker.identity, 0)
        if ours != (stored.marker.identity, stored.marker.rows):
            raise self._other_rows()

    def rewrite_rejections(self, stored: StoredPart[MarkerT]) -> None:
        """Write the rejected rows that belong to a stored part.

        If one attempt gave the split up and another did not, either may have written its rejected
        rows last.
        """
        self.put_rejections(self._unread(stored.given_up) if stored.given_up else self.rejections())

    def put_rejections(self, rows: Iterable[RejectedRow]) -> None:
        """Write the rejected rows of the split."""
        key = naming.rejected_part_key(self._message.upload, self._message.split)
        self._objects.put(key, b"".join(map(rejected_row, rows)))

    def write_once(self, ours: MarkerT, body: bytes, given_up: str = "") -> MarkerT:
        """Write the part, or return the marker of the one that another attempt wrote first."""
        metadata = {
            **self._source,
            "rows": str(ours.rows),
            "identity": ours.identity,
            STATS: packed(ours.stats),
        }
        if given_up:
            metadata[_GIVEN_UP] = given_up
        if self._objects.put_once(self._key, body, metadata):
            return ours
        theirs = self.stored()
        if theirs is None:
            raise self._other_rows()
        if theirs.given_up != given_up:
            self.rewrite_rejections(theirs)
        elif (theirs.marker.identity, theirs.marker.rows) != (ours.identity, ours.rows):
            raise self._other_rows()
        return theirs.marker

    def lines(self) -> Iterator[Line]:
        """Yield the split's lines; raises NotFoundError if the upload was deleted."""
        message, layout = self._message, self._message.row_layout
        start, end = message.start, message.end
        if message.layout is Layout.COPY:
            copy = self._objects.get(naming.split_copy_key(message.upload, start, end))
            return raw_rows([copy], start, layout, message.first_line)
        if message.layout is Layout.ROWS:
            rows = self._uploads.read(message.source, start, end)
            return raw_rows(rows, start, layout, message.first_line)
        # From the byte before the range to the end of the range's last line.
        first, last = max(0, start - 1), end + layout.max_row_bytes + 1
        return raw_rows_of_range(
            self._uploads.read(message.source, first, last), start, end, layout
        )

    def numbered(self, row: RejectedRow, line: Line) -> RejectedRow:
        """Return a rejection with the number of its line, if that is known."""
        return row._replace(line_number=line.number) if self._message.first_line else row

    def _unread(self, reason: str) -> Iterator[RejectedRow]:
        for line in self.lines():
            row = rejected_unread(line, self._message.row_layout, reason)
            if row is not None:
                yield self.numbered(row, line)

    def _other_rows(self) -> ConflictError:
        message = self._message
        return ConflictError(f"split {message.split} of {message.upload} holds other rows")
