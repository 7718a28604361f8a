"""Rejected rows of a run or a query log: counted by reason, and written to a file."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from router_cli.console import print_json, print_table, say
from router_cli.outputs import output
from router_cli.stack import Stack
from search_router.domain import naming
from search_router.domain.intake.prompts import cause_of

Row = Mapping[str, Any]


def of_log(stack: Stack, log_id: str) -> Iterator[Row]:
    """Yield the rejected rows of a query log in input order: offset, reason and text."""
    return _rows(stack, naming.upload_key(log_id, "rejected/"))


def of_run(stack: Stack, run_id: str) -> Iterator[Row]:
    """Yield the rejected lines of a run's upload in order: file, line, reason, detail and text."""
    return _rows(stack, naming.run_key(run_id, "rejected.jsonl"))


def show(what: str, rows: Iterator[Row], out: Path | None, *, as_json: bool) -> None:
    """Print the reasons, the most frequent first; write the rows to `out` if given."""
    reasons: Counter[str] = Counter()
    first: dict[str, Row] = {}
    with output(out) if out else nullcontext() as file:
        for row in rows:
            reason = cause_of(row.get("detail") or row["reason"])
            reasons[reason] += 1
            first.setdefault(reason, row)
            if file:
                file.write(json.dumps(row, ensure_ascii=False).encode("utf-8", "replace") + b"\n")
    if as_json:
        listed = [{"reason": reason, "rows": count} for reason, count in reasons.most_common()]
        print_json({"id": what, "rejected": reasons.total(), "reasons": listed})
        return
    print_table(
        f"Rejected rows of {what}",
        ["reason", "rows", "first"],
        [(reason, count, _place(first[reason])) for reason, count in reasons.most_common()],
    )
    say(f"{reasons.total():,} rows were rejected{f', written to {out}' if out else ''}.")


def _rows(stack: Stack, prefix: str) -> Iterator[Row]:
    for key, _ in stack.objects.list(prefix):
        yield from map(json.loads, stack.objects.get(key).splitlines())


def _place(row: Row) -> str:
    if row.get("line_number") is None:
        return f"byte {row['byte_offset']:,}"
    return f"{row.get('file', '')} line {row['line_number']:,}".lstrip()
