"""The ledger's records of an upload: its head, and a marker for each part."""

import base64
import zlib
from datetime import datetime
from enum import StrEnum
from typing import ClassVar, Self, TypeVar

from pydantic import BaseModel, ConfigDict

from search_router.domain.uploads import ObjectRef

ModelT = TypeVar("ModelT", bound=BaseModel)


class UploadState(StrEnum):
    """The base of the states of an upload: planned, in work, done, failed, in this order."""

    @property
    def predecessors(self) -> frozenset[Self]:
        """The states from which an upload may reach this one."""
        unfinished = list(type(self))[:2]
        return frozenset(unfinished[: list(type(self)).index(self)])

    @property
    def is_unfinished(self) -> bool:
        """Whether splits are still to be queued or processed, or results to be merged."""
        return self in list(type(self))[:2]


class UploadHead(BaseModel):
    """An upload in the ledger: its state, its `splits`, and how many have their `parts`.

    `rows` is the plan's, an estimate unless `rows_are_counted`. `id_name` is the name of the field
    that holds the id.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    id_name: ClassVar[str]
    planned: ClassVar[UploadState]
    in_work: ClassVar[UploadState]
    done: ClassVar[UploadState]
    failed: ClassVar[UploadState]

    state: UploadState
    reason: str = ""
    source_bucket: str
    source_key: str
    source_version: str | None
    splits: int
    parts: int = 0
    rows: int = 0
    rows_are_counted: bool = False
    created_at: datetime
    updated_at: datetime

    @property
    def planned_rows(self) -> str:
        """The number of rows in words, with "about" for an estimate."""
        return f"{'' if self.rows_are_counted else 'about '}{self.rows:,}"

    @property
    def upload(self) -> str:
        """The id of the upload."""
        raise NotImplementedError

    @property
    def source(self) -> ObjectRef:
        """The uploaded object."""
        return ObjectRef(self.source_bucket, self.source_key, self.source_version)

    @property
    def is_complete(self) -> bool:
        """Whether every split has its part in the ledger."""
        return self.parts >= self.splits


class SplitCounts(BaseModel):
    """The base of a part's statistics: every row of the split is counted once."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    rows_in: int = 0
    rejected: int = 0
    interrupted: int = 0

    @property
    def add_up(self) -> bool:
        """Whether every row is counted once."""
        raise NotImplementedError

    def sums(self, other: Self) -> dict[str, int | float]:
        """Return the sums of all fields that are numbers."""
        return {
            name: getattr(self, name) + getattr(other, name)
            for name, field in type(self).model_fields.items()
            if field.annotation in (int, float)
        }


class SplitMarker(BaseModel):
    """The ledger's entry for one part; `identity` is a hash of the rows that it was made of.

    `size` is the part's, in bytes, and `rows` its number of lines.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    split: int
    rows: int
    identity: str
    size: int
    stats: SplitCounts

    @property
    def upload(self) -> str:
        """The id of the upload."""
        raise NotImplementedError


def packed(record: BaseModel) -> str:
    """Serialise statistics as ASCII that fits S3's 2 KB of metadata with sixteen modalities."""
    text = record.model_dump_json(exclude_defaults=True)
    return base64.b64encode(zlib.compress(text.encode("utf-8"), 9)).decode()


def unpacked(kind: type[ModelT], text: str) -> ModelT:
    """Deserialise the text that `packed` returned."""
    return kind.model_validate_json(zlib.decompress(base64.b64decode(text)))
