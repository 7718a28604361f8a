"""The dialect: found from the name and the first rows, or refused with what was looked for."""

import pytest

from search_router.domain.errors import InvalidInputError
from search_router.domain.logs.dialects import (
    Dialect,
    fields_of,
    find_dialect,
    log_format,
    no_query_field,
    value_at,
)
from search_router.domain.splits.formats import RowFormat

BOM = b"\xef\xbb\xbf"


@pytest.mark.parametrize(
    ("key", "sample", "found"),
    [
        ("a.txt", b'{"query": "dogs"}', (RowFormat.TEXT, "query")),
        ("a.jsonl", b'{"query": "dogs"}\n', (RowFormat.JSONL, "query")),
        ("a.jsonl", b'{"ts": 1, "q": "dogs"}', (RowFormat.JSONL, "q")),
        ("a.jsonl", b'{"q": "x", "query": "y"}', (RowFormat.JSONL, "query")),
        ("a.jsonl", b'{"query": 7, "user_query": "y"}', (RowFormat.JSONL, "user_query")),
        ("a.jsonl", BOM + b'{"search_query": "x"}\r\n', (RowFormat.JSONL, "search_query")),
        ("a.jsonl", b'\n \nbroken\n[]\n{"url_query":"x"}', (RowFormat.JSONL, "url_query")),
        ("a.jsonl", b'{"query": "x"}\n{"query": "cut of', (RowFormat.JSONL, "query")),
        ("a.jsonl.gz", b'{"Query": "dogs"}\n', (RowFormat.JSONL, "Query")),
        ("a.jsonl", b'{"a": {"q": "x"}, "b": {"query": "y"}}', (RowFormat.JSONL, "a.q")),
        ("a.jsonl", b'{"request": {"query": "x"}, "q": "y"}', (RowFormat.JSONL, "q")),
        (
            "a.jsonl",
            b'{"request": {"body": {"query": "x"}}}',
            (RowFormat.JSONL, "request.body.query"),
        ),
        ("a.jsonl", b"{" + b"x" * 70_000 + b'}\n{"q": "x"}\n', (RowFormat.JSONL, "q")),
    ],
)
def test_the_dialect_is_found_from_the_key_and_the_first_rows(
    key: str, sample: bytes, found: tuple[RowFormat, str]
) -> None:
    expected = Dialect(format=found[0], query_field=found[1])

    assert find_dialect(key, sample, whole=True) == expected


@pytest.mark.parametrize(
    "sample", [b"", b"dogs\ncats\n", b'{"text": "dogs"}', b'{"query": null}', b"\n" * 99]
)
def test_a_sample_without_a_query_has_no_dialect(sample: bytes) -> None:
    assert find_dialect("a.jsonl", sample, whole=True) is None
    assert find_dialect("a.txt", b" \n\n", whole=True) is None
    assert "looked for query, q, user_query" in str(no_query_field(""))
    assert "'text'" in str(no_query_field("text"))


@pytest.mark.parametrize(
    ("key", "sample", "wanted", "field"),
    [
        ("a.jsonl", b'{"query": "x", "text": "y"}', "text", "text"),
        ("a.jsonl", b'{"a": {"b": "x"}, "query": "y"}', "a.b", "a.b"),
        ("a.jsonl", b'{"a.b": "x"}', "a.b", "a.b"),
        ("a.jsonl", b'{"query": "x"}', "text", None),
        ("a.csv", b"query,text\n", "text", "text"),
        ("a.tsv", b"query\trequest.query\n", "request.query", "request.query"),
    ],
)
def test_the_query_field_may_be_named(
    key: str, sample: bytes, wanted: str, field: str | None
) -> None:
    dialect = find_dialect(key, sample, whole=True, wanted=wanted)

    assert (dialect and dialect.query_field) == field


@pytest.mark.parametrize(
    ("key", "sample", "columns", "quoted"),
    [
        ("a.csv", b"ts,query\n1,dogs\n", ("ts", "query"), True),
        ("a.csv", b'"t,s","a ""query""",query\r\n', ("t,s", 'a "query"', "query"), True),
        ("a.csv", b'"two\nlines",query\n', ("two\nlines", "query"), True),
        ("a.tsv", b"ts\tquery\n", ("ts", "query"), False),
        ("a.tsv", b'"ts"\tquery\n', ('"ts"', "query"), False),
        ("a.tsv", b'"ts"\t"query"\n', ("ts", "query"), True),
        ("a.csv", BOM + b'\n\n"query"\n', ("query",), True),
        ("a.csv", BOM + b'"query"', ("query",), True),
    ],
)
def test_a_header_names_the_columns(
    key: str, sample: bytes, columns: tuple[str, ...], quoted: bool
) -> None:
    dialect = find_dialect(key, sample, whole=True)

    assert dialect is not None
    assert (dialect.columns, dialect.quoted) == (columns, quoted)
    assert dialect.header_end == len(sample.rstrip()) or dialect.header_end == sample.index(b"\n1")


@pytest.mark.parametrize(
    ("sample", "reason"),
    [
        (b"dogs barking,2026\n", r"the first row \(2 fields\) has no column named one of query"),
        (b"query,a,a\n", "has a column twice"),
        (b"query," + b"x" * 17_000 + b"\n", "the header is longer than 16384 bytes"),
        (b"query,caf\xe9\n", "the header is not UTF-8 at byte 9"),
        (b'query,"a"b\n', "not CSV"),
    ],
)
def test_an_unusable_header_is_rejected_without_being_quoted(sample: bytes, reason: str) -> None:
    with pytest.raises(InvalidInputError, match=reason) as caught:
        find_dialect("a.csv", sample, whole=True)
    assert "dogs" not in str(caught.value)


def test_a_header_that_may_go_on_after_the_sample_is_waited_for() -> None:
    assert find_dialect("a.csv", b"ts,que", whole=False) is None
    assert find_dialect("a.csv", b'ts,"query\n', whole=False) is None
    assert find_dialect("a.csv", b"\n\n", whole=False) is None
    assert find_dialect("a.csv", b"query", whole=True) is not None


def test_other_suffixes_are_rejected() -> None:
    for key in ("a.parquet", "a.gz", "a.jsonl.zip", "csv"):
        with pytest.raises(InvalidInputError, match=r"expected .jsonl, .txt, .csv, .tsv, each"):
            log_format(key)


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ('"new york" hotel\t1', ['"new york" hotel', "1"]),
        ('"new york"\t1', ['"new york"', "1"]),
        ('"say ""hi"""\t1', ['say "hi"', "1"]),
        ('"""new york"""\t1', ['"new york"', "1"]),
        ('""\t"', ['""', '"']),
        ("a\t\t", ["a", "", ""]),
    ],
)
def test_quotes_in_a_tsv_are_text_unless_a_csv_writer_made_them(
    text: str, fields: list[str]
) -> None:
    dialect = Dialect(format=RowFormat.TSV, query_field="query")

    assert fields_of(text, dialect) == fields


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("q", "a"),
        ("r.query", "b"),
        ("r.s.t", "c"),
        ("u.v", "d"),
        ("r.x", None),
        ("q.x", None),
        ("", None),
    ],
)
def test_a_path_leads_to_a_value_or_to_none(path: str, value: str | None) -> None:
    row = {"q": "a", "r": {"query": "b", "s": {"t": "c"}}, "u.v": "d", "u": {"v": "e"}}

    assert value_at(row, path) == value
