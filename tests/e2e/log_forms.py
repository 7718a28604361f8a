"""One query log in the eight forms that it may be uploaded in."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.records import gzipped

FORMS = tuple(
    f"{form}{packed}" for form in ("jsonl", "csv", "tsv", "txt") for packed in ("", ".gz")
)


def write_forms(rows: Sequence[Mapping[str, str]], folder: Path, name: str) -> list[Path]:
    """Write the same rows, none of which holds a tab or a line end, in every form."""
    columns = list(rows[0])
    table = io.StringIO(newline="")
    writer = csv.DictWriter(table, columns, lineterminator="\r\n")
    writer.writeheader()
    writer.writerows(rows)
    lines = ["\t".join(columns), *("\t".join(row[name] for name in columns) for row in rows)]
    texts = {
        "jsonl": "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows),
        "csv": table.getvalue(),
        "tsv": "\n".join(lines) + "\n",
        "txt": "".join(row["query"] + "\n" for row in rows),
    }
    paths = []
    for form in FORMS:
        body = texts[form.removesuffix(".gz")].encode("utf-8")
        path = folder / f"{name}.{form}"
        path.write_bytes(gzipped(body) if form.endswith(".gz") else body)
        paths.append(path)
    return paths
