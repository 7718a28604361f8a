"""Hostile text costs no more time than other text: every pattern and reader is nearly linear.

Times are CPU times of this process, and the bound is generous. Quadratic work on 64 KiB takes ten
times as long.
"""

import contextlib
import gzip
import importlib
import inspect
import pkgutil
import random
import re
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

import local_stack
import router_cli
import search_router
from search_router.domain import strict_json
from search_router.domain.errors import InvalidInputError
from search_router.domain.intake.labels import parse_label
from search_router.domain.intake.prompt_reader import PromptReader
from search_router.domain.local_tier.terms import words_of
from search_router.domain.logs.dialects import Dialect, find_dialect
from search_router.domain.logs.rows import read_row
from search_router.domain.queries import normalised_query
from search_router.domain.serving.decisions import ModelReply, decide
from search_router.domain.splits.formats import RowFormat
from search_router.domain.splits.rows import raw_rows
from search_router.domain.streams import MAX_MEMBERS, Line, gunzip
from tests.records import MODALITIES, a_serving_model

SIZE = 64 * 1024
BOUND_SECONDS = 0.1
UNITS = (
    *('a', 'A', '0', '"', '""', 'a""', '"a', '"a"', '",', '","', '\\', '\\"', '\\u', '\\ud800'),
    *('{', '[', '{"a":', '[{', '}', "'", "a'", 'a-', '-', '_', '.', '/', 'a/', 'a.', ' ', '\t'),
    *(' a', ' ,', ', ', ' and', 'and ', '{{', '{{ ', '}}', '{a', '=', ' =', '\n', '\r\n', '1.'),
    *('1e', '1,', '$1', ' A', 'Credential=', 'JSON with ', ', "reasoning": "', '\u0301\u0316'),
    *('\u00fc', '\u0344', '\ufdfa', '\u1100\u1161', '\u200d'),
)  # fmt: skip


def hostile(size: int = SIZE) -> Iterator[str]:
    """Yield texts of at most `size` bytes that make ambiguous patterns backtrack."""
    for unit in UNITS:
        repeated = unit * (size // len(unit.encode("utf-8", "surrogatepass")) - 40)
        for before, after in (("", ""), ("", "!"), ('"', "x"), ('{"query": "', '"x')):
            yield before + repeated + after


def seconds(work: Callable[[], object]) -> float:
    """Return the CPU time of some work, whatever it returns or raises for bad input."""
    started = time.process_time()
    with contextlib.suppress(InvalidInputError, ValueError):
        work()
    return time.process_time() - started


def slowest(works: Iterator[tuple[str, Callable[[], object]]]) -> tuple[float, str]:
    """Return the worst time; what takes too long is measured again, because machines pause."""
    worst = (0.0, "")
    for name, work in works:
        taken = seconds(work)
        if taken > BOUND_SECONDS / 2:
            taken = min(taken, seconds(work))
        worst = max(worst, (taken, name))
        if taken > BOUND_SECONDS:
            break
    return worst


def patterns() -> dict[str, tuple[re.Pattern[Any], bool]]:
    """Return every compiled pattern by name, and whether its module searches with it."""
    found: dict[str, tuple[re.Pattern[Any], bool]] = {}
    for package in (search_router, router_cli, local_stack):
        for module_info in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if module_info.name.endswith("__main__"):
                continue
            module = importlib.import_module(module_info.name)
            source = inspect.getsource(module)
            for name, value in vars(module).items():
                if isinstance(value, re.Pattern):
                    searches = rf"\b{name}\.(?:search|sub|split|findall|finditer)\b"
                    found[f"{module_info.name}.{name}"] = (
                        value,
                        re.search(searches, source) is not None,
                    )
    return found


PATTERNS = patterns()


def test_every_pattern_is_found() -> None:
    assert len(PATTERNS) > 30
    assert any(searches for _, searches in PATTERNS.values())
    assert any(not searches for _, searches in PATTERNS.values())


@pytest.mark.parametrize("name", PATTERNS)
def test_no_pattern_takes_long(name: str) -> None:
    pattern, searches = PATTERNS[name]

    def works() -> Iterator[tuple[str, Callable[[], object]]]:
        for text in hostile():
            data: Any = text if isinstance(pattern.pattern, str) else text.encode()
            shown = f"{text[:12]!r}…{text[-3:]!r}"
            yield shown, partial(pattern.fullmatch, data)
            yield shown, partial(pattern.match, data)
            if searches:
                yield shown, partial(pattern.findall, data)

    taken, text = slowest(works())

    assert taken < BOUND_SECONDS, text


def test_an_ambiguous_pattern_would_be_found() -> None:
    ambiguous = re.compile(r'"(?:[^"]|"")*""(?:[^"]|"")*"')
    text = '"' + 'a""' * 8_000 + "x"

    assert seconds(lambda: ambiguous.fullmatch(text)) > BOUND_SECONDS


LINE_FORMATS = {
    "jsonl": Dialect(format=RowFormat.JSONL, query_field="query"),
    "text": Dialect(format=RowFormat.TEXT, query_field="query"),
    "tsv": Dialect(format=RowFormat.TSV, query_field="q", columns=("q", "b")),
    "quoted tsv": Dialect(format=RowFormat.TSV, query_field="q", columns=("q", "b"), quoted=True),
    "csv": Dialect(format=RowFormat.CSV, query_field="q", columns=("q", "b"), quoted=True),
}


def read_log_row(data: bytes, dialect: Dialect) -> None:
    for line in raw_rows([data], 0, dialect):
        read_row(line, dialect)


def readers() -> dict[str, Callable[[bytes], object]]:
    """Return what reads one row, line, query, label or answer of a user's or a model's."""
    serving, prompts = a_serving_model(), PromptReader(MODALITIES)
    rows = {
        f"a row of {name}": lambda data, dialect=dialect: read_log_row(data, dialect)
        for name, dialect in LINE_FORMATS.items()
    }
    return {
        **rows,
        "JSON": strict_json.loads,
        "a header": lambda data: find_dialect("a.tsv", data, whole=True),
        "the first row of a log": lambda data: find_dialect("a.jsonl", data, whole=True),
        "a line of prompts": lambda data: prompts.read(Line(1, 0, data[:16_000], 16_000)),
        "a query": lambda data: normalised_query(data.decode("utf-8", "replace")),
        "the words of a query": lambda data: words_of(data[:4_000].decode("utf-8", "replace")),
        "a label": lambda data: parse_label(data.decode("utf-8", "replace"), MODALITIES),
        "an answer": lambda data: decide(
            ModelReply(data.decode("utf-8", "replace"), "end_turn", 1, 1, 1), serving
        ),
        "gzip": lambda data: list(gunzip([data], SIZE)),
    }


def rows() -> Iterator[bytes]:
    """Yield hostile rows: repeated units, each also as a value, and random mixtures of units."""
    draw = random.Random(0)  # noqa: S311 - repeatable rows
    for text in hostile(SIZE - 64):
        if text.count("\n") < 2:  # else these are thousands of lines, not one row
            yield text.encode("utf-8", "surrogatepass")
    for _ in range(60):
        units = draw.choices(UNITS, k=draw.randint(2, 6))
        mixed = "".join(draw.choices(units, k=SIZE // 4)).encode("utf-8", "surrogatepass")
        row = mixed[: SIZE - 64].replace(b"\n", b" ")
        yield draw.choice((b"", b'"', b'{"query": "', b'{"q": ["')) + row


@pytest.mark.parametrize("name", readers())
def test_no_row_takes_long(name: str) -> None:
    read = readers()[name]

    taken, text = slowest((f"{row[:24]!r}", partial(read, row)) for row in rows())

    assert taken < BOUND_SECONDS, text


def test_tiny_gzip_members_take_linear_time() -> None:
    members = gzip.compress(b"", mtime=0) * 50_000  # 1 MB in one chunk

    assert seconds(lambda: list(gunzip([members], SIZE))) < 1.0


def test_gzip_members_are_bounded() -> None:
    member = gzip.compress(b"", mtime=0)

    assert list(gunzip([member * MAX_MEMBERS], SIZE)) == []
    with pytest.raises(InvalidInputError, match="more than 100000 gzip members"):
        list(gunzip([member * (MAX_MEMBERS + 1)], SIZE))
