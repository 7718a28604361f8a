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


_DELIMITERS = {RowFormat.CSV: ",", RowFormat.TSV: "\t"}


class RowLayout(BaseModel):
    """How to find the rows of a file.

    Rows start at byte `header_end`. A row of a `quoted` file may span lines. A row of more than
    `max_row_bytes` is rejected.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    format: RowFormat
    header_end: int = 0
    quoted: bool = False
    max_row_bytes: int = MAX_ROW_BYTES

    @property
    def delimiter(self) -> str:
        """The separator of fields in a CSV or TSV."""
        return _DELIMITERS[self.format]
