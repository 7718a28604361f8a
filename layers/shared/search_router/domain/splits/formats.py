"""The format of an upload's rows: what decides where a row begins and ends."""

from enum import StrEnum

from pydantic import BaseModel, ConfigDict

MAX_ROW_BYTES = 64 * 1024


class RowFormat(StrEnum):
    """The format of a file's rows."""

    JSONL = "jsonl"
    TEXT = "text"
    CSV = "csv"
    TSV = "tsv"


class RowLayout(BaseModel):
    """How to find the rows of a file.

    Rows start at byte `header_end`. A row of a `quoted` file may span lines. `separator` is that of
    a CSV. A row of more than `max_row_bytes` is rejected.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    format: RowFormat
    header_end: int = 0
    quoted: bool = False
    separator: str = ","
    max_row_bytes: int = MAX_ROW_BYTES

    @property
    def delimiter(self) -> str:
        """The separator of fields in a CSV or TSV."""
        return "\t" if self.format is RowFormat.TSV else self.separator
