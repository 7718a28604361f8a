"""The dialect: found from the first rows, or rejected with the cause and the remedy."""

import contextlib
import time

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
from tests.records import jsonl

BOM = b"\xef\xbb\xbf"


@pytest.mark.parametrize(
    ("key", "sample", "found"),
    [
        ("a.txt", b"dogs {red}\n", (RowFormat.TEXT, "query")),
        ("a.txt", b'{"query": "dogs"}', (RowFormat.JSONL, "query")),
        ("a.CSV", b'{"query": "dogs"}\n{"q": "x"}', (RowFormat.JSONL, "query")),
        ("a.ndjson", b'{"query": "dogs"}', (RowFormat.JSONL, "query")),
        ("a.LOG.GZ", b'{"query": "dogs"}', (RowFormat.JSONL, "query")),
        ("a.jsonl", b'{"userQuery": "dogs", "query": "x y"}', (RowFormat.JSONL, "userQuery")),
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
        (b"dogs barking,2026\n", r"the first row \(2 fields\) is not a header"),
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
        with pytest.raises(InvalidInputError, match=r"expected .jsonl, .ndjson, .json, .log, "):
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


UBI = {"user_query": "red cars", "query": '{"query": {"match_all": {}}}', "client_id": "c-1"}
SLOW_LOG = {"source": {"query": {"match": {"title": {"query": "red cars"}}}}, "took": 5}


@pytest.mark.parametrize(
    ("rows", "field"),
    [
        ([UBI], "user_query"),
        ([{"_index": "ubi_queries", "_source": UBI}], "_source.user_query"),
        ([{"query": "{}", "attributes": {"user_query": "dogs"}}], "attributes.user_query"),
        ([SLOW_LOG], "source.query.match.title.query"),
        ([{"query": None, "q": "x"}, {"query": "dogs"}, {"query": "cats"}], "query"),
        ([{"user_query": "x"}, *[{"query": "dogs"}] * 9], "query"),
        ([{"query": "17", "q": "dogs"}, {"query": "18", "q": "cats"}], "q"),
        ([{"query": "q-1", "q": "dogs"}, {"query": "q-2", "q": "cats"}], "q"),
        ([{"query": "2026-05-01T00:00:00Z", "q": "dogs"}], "q"),
        ([{"query": "1984"}, {"query": "dogs"}, {"query": "cats"}], "query"),
        ([{"query": "7b1c9a52-0f3e-4a4d-9a53-2f0b6f3c9d10"}], None),
    ],
)
def test_the_query_field_is_found_by_its_name_and_its_values(
    rows: list[dict[str, object]], field: str | None
) -> None:
    dialect = find_dialect("a.jsonl", jsonl(rows), whole=True)

    assert (dialect and dialect.query_field) == field


@pytest.mark.parametrize(
    ("sample", "field", "columns"),
    [
        (b",query,clicks\n0,red cars,1\n", "query", ("column_1", "query", "clicks")),
        (b"query,a,a\nred cars,1,2\n", "query", ("query", "a", "a_2")),
        (b"query,,\nred cars,,\n", "query", ("query", "column_2", "column_3")),
        (b"column_1,,query\nx,y,red cars\n", "query", ("column_1", "column_2", "query")),
        (b"query,query\nred cars,7\n", "query", ("query", "query_2")),
        (b"Query Text;n\nred, blue cars;1\n", "Query Text", ("Query Text", "n")),
        (b"query|n\nred cars|1\n", "query", ("query", "n")),
        (b"query\tn\nred cars\t1\n", "query", ("query", "n")),
        (b"sep=,\r\nquery,n\r\nred cars,1\r\n", "query", ("query", "n")),
        (BOM + b'"sep=;"\nquery;a,b\nred cars;1\n', "query", ("query", "a,b")),
        (b"query\nred; blue\ngreen; white\n", "query", ("query",)),
        (b"query\nred, blue\ngreen, white\n", "query", ("query",)),
        (b"query,user_query\n{},red cars\n", "user_query", ("query", "user_query")),
    ],
)
@pytest.mark.parametrize("key", ["a.csv", "a.tsv"])
def test_a_table_is_read_with_its_own_delimiter_and_usable_names(
    key: str, sample: bytes, field: str, columns: tuple[str, ...]
) -> None:
    dialect = find_dialect(key, sample, whole=True)

    assert dialect is not None
    assert (dialect.query_field, dialect.columns) == (field, columns)


@pytest.mark.parametrize(
    "wanted", ["H\u00e4ufigste Suche", "Ha\u0308ufigste Suche", "h\u00e4ufigste suche"]
)
def test_a_column_may_be_named_in_any_case_and_composition(wanted: str) -> None:
    sample = "H\u00e4ufigste Suche,Klicks\nb\u00fcro,9\n".encode()

    dialect = find_dialect("a.csv", sample, whole=True, wanted=wanted)

    assert dialect is not None
    assert dialect.query_field == "H\u00e4ufigste Suche"


@pytest.mark.parametrize(
    ("sample", "reason"),
    [
        (b'[{"query": "a b"}, {"query": "c"}]', "one JSON array"),
        (b'[\n  {"query": "a b"},\n  {"query": "c"}\n]', "one JSON array"),
        (b'{\n  "query": "a b"\n}\n{\n  "query": "c"\n}\n', "over several lines"),
        (b'{"query": "a b"}{"query": "c"}', "several JSON objects on one line"),
        (b'{"query": "a b"},{"query": "c"}\n', "several JSON objects on one line"),
        (b'2026-05-01 {"query": "a b"}\n', r"text before .* \(fields of the objects: query\)"),
        (b"query,n\na b,1\n", "a table separated by ',', not JSON Lines"),
        (b"query\tn\na b\t1\n", "a table separated by 'tab', not JSON Lines"),
        (b'{"query": "a b"},\n{"query": "c"},\n', "a comma after each JSON object"),
        (b"{'query': 'a b'}\n{'query': 'c'}\n", "line 1: not JSON at character 1. Write one"),
        (b"a b\nc\n", "no line is a JSON object. Name the file .txt"),
        (
            b'{"text": "a b", "n": {"m": "c"}, "k": 1}\n',
            r"\(fields: text, n.m, k\). Name the field",
        ),
        (b'{"a b": "a b"}\n', r"no row has a query field. Name the field"),
        (b'{"query": "{}"}\n', r"query holds JSON \(fields: query\)"),
        (b'{"query": "17"}\n{"query": "18"}\n', "query holds numbers"),
    ],
)
def test_what_is_not_json_lines_with_a_query_is_rejected_with_its_cause(
    sample: bytes, reason: str
) -> None:
    with pytest.raises(InvalidInputError, match=reason) as caught:
        raise_unless_found("a.jsonl", sample)
    assert "a b" not in str(caught.value)


def raise_unless_found(key: str, sample: bytes) -> None:
    if find_dialect(key, sample, whole=True) is None:
        raise no_query_field(sample, "")


@pytest.mark.parametrize(
    ("sample", "wanted", "reason"),
    [
        (b"date,term\n2026,a b\n", "", r"query column \(columns: date, term\). Name the column"),
        (b"date,term\n2026,a b\n", "nope", r"column 'nope' \(columns: date, term\)"),
        (b"query,n\n{},1\n[],2\n", "", "query holds JSON"),
        (b"query,n\n1,1\n2,2\n", "", "query holds numbers"),
        (b"Report of May\n\nSearch term,n\na b,1\n", "", "the header is in line 3"),
        (b"Report of May\nx,y\nTerm,n\na b,1\n", "term", "the header is in line 3"),
        (b"Report of May\nterm,n\na b,1\n", "", "the first line is a title"),
        (b"17,a b\n18,c\n", "", "is not a header"),
        (b"a b,news\nc,news\na b,news\n", "", r"no row has a query column. Name the column"),
        (b'[{"query": "a b"}]', "", "one JSON array"),
    ],
)
def test_a_table_without_a_query_column_is_rejected_with_its_cause(
    sample: bytes, wanted: str, reason: str
) -> None:
    with pytest.raises(InvalidInputError, match=reason) as caught:
        find_dialect("a.csv", sample, whole=True, wanted=wanted)
    assert "a b" not in str(caught.value)


def test_the_name_of_a_column_above_plain_queries_is_a_header() -> None:
    assert find_dialect("a.txt", b"query\r\ndogs\r\n", whole=True) == Dialect(
        format=RowFormat.TEXT, query_field="query", header_end=5
    )


@pytest.mark.parametrize(
    "line",
    [
        b"{" * 60_000,
        b"{}" + b" " * 60_000 + b"x",
        b"1" * 60_000 + b"a",
        b'{"query": "' + b"1" * 60_000,
    ],
)
def test_hostile_lines_take_linear_time(line: bytes) -> None:
    sample = line + b"\n" + line + b'"}\n'
    started = time.process_time()

    for key in ("a.jsonl", "a.csv", "a.txt"):
        with contextlib.suppress(InvalidInputError):
            raise_unless_found(key, sample)

    assert time.process_time() - started < 5
