"""The files that intake is measured on; labelled ones come from the project's own generator."""

import json
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

from router_cli.synthesis import training_records

MEBIBYTE = 1024**2
LONG_LINE_BYTES = 64 * MEBIBYTE
_SEED = 11
_ENDLESS = 10**9


def labelled_lines() -> Iterator[bytes]:
    """Yield labelled records with reasoning, without end."""
    for record in training_records(_SEED, _ENDLESS, with_reasoning=True):
        yield json.dumps(record, ensure_ascii=False).encode() + b"\n"


def odd_lines() -> Iterator[bytes]:
    """Yield short forms that take the slow way, as many as are allowed in 1 GiB, without end.

    Every query is new, and nearly every label.
    """
    padding = "x" * 240
    for number in range(_ENDLESS):
        share = (100_000 + number % 800_000) / 1_000_000
        weights = f'"audio": {share}, "visual": {1 - share:.6f}, "transcription": 0, "metadata": 0'
        query = f"{number} \\ud83d\\ude00 {padding}"
        yield f'{{"reference": {{{weights}}}, "query": "{query}"}}\n'.encode()


def write_file(path: Path, lines: Iterable[bytes], size: int) -> None:
    """Write lines until a file has about this size."""
    written = 0
    with path.open("wb") as file:
        for line in lines:
            file.write(line)
            written += len(line)
            if written >= size:
                return


def with_a_long_line(path: Path) -> None:
    """Write 1,000 good lines, one line of 64 MiB, and 1,000 more."""
    good = list(islice(labelled_lines(), 2_000))
    with path.open("wb") as file:
        file.writelines(good[:1_000])
        file.write(b'{"query": "')
        for _ in range(LONG_LINE_BYTES // MEBIBYTE):
            file.write(b"x" * MEBIBYTE)
        file.write(b'"}\n')
        file.writelines(good[1_000:])
