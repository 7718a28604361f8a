"""Parquet query logs and results, in bounded memory; pyarrow is imported when it is used."""

import datetime
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import IO, Any

from router_cli.console import CommandError
from router_cli.routed_logs.tables import text_of

_MAGIC = b"PAR1"
_BATCH_ROWS = 5_000


def is_parquet(path: Path) -> bool:
    """Return whether a file is Parquet, by its content."""
    with path.open("rb") as file:
        return file.read(len(_MAGIC) + 1)[: len(_MAGIC)] == _MAGIC and path.stat().st_size > 12


def json_lines(path: Path) -> Iterator[bytes]:
    """Yield the rows of a Parquet file as JSON Lines, some thousand at a time.

    Times are written in ISO 8601, decimals as numbers' text, NaN and infinity as null.
    """
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(_BATCH_ROWS):
                lines = (json.dumps(_plain(row), ensure_ascii=False) for row in batch.to_pylist())
                yield "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogatepass")
    except pyarrow.ArrowException:
        raise CommandError(f"not a complete Parquet file: {path}. Copy it again.") from None


def write_parquet(
    rows: Iterable[dict[str, Any]], columns: Mapping[str, str], out: IO[bytes]
) -> None:
    """Write rows; `columns` are the names and their types in Athena.

    A value of another type than its column, an object or a list is written as its JSON text.
    """
    import pyarrow
    import pyarrow.parquet

    kinds = {
        "string": pyarrow.string(),
        "bigint": pyarrow.int64(),
        "double": pyarrow.float64(),
        "boolean": pyarrow.bool_(),
    }
    schema = pyarrow.schema([(name, kinds[kind]) for name, kind in columns.items()])
    remaining = iter(rows)
    sink = pyarrow.PythonFile(_Counted(out), mode="w")
    with pyarrow.parquet.ParquetWriter(sink, schema, compression="zstd") as writer:
        while batch := list(islice(remaining, _BATCH_ROWS)):
            arrays = [
                pyarrow.array([_cell(row.get(name), kind) for row in batch], kinds[kind])
                for name, kind in columns.items()
            ]
            writer.write_batch(pyarrow.record_batch(arrays, schema=schema))


class _Counted:
    """A stream that counts what is written, because a pipe has no position."""

    closed = False

    def __init__(self, out: IO[bytes]) -> None:
        self._out = out
        self._written = 0

    def write(self, data: bytes) -> int:
        self._out.write(data)
        self._written += len(data)
        return len(data)

    def tell(self) -> int:
        return self._written

    def flush(self) -> None:
        self._out.flush()

    def close(self) -> None:
        """Leave the stream open: who opened it closes it."""


def _cell(value: object, kind: str) -> object:
    if value is None or kind == "boolean":
        return value
    if kind == "double":
        return float(value)  # type: ignore[arg-type]  # all values of the column are numbers
    return text_of(value) if kind == "string" else value


def _plain(value: Any) -> Any:
    """Return a value in a form that JSON can hold."""
    if isinstance(value, dict):
        return {str(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    return str(value) if isinstance(value, Decimal | datetime.timedelta) else value
