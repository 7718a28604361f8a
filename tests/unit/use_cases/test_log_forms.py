"""Query logs in every encoding, line end, delimiter and compression: the same rows, or a reason."""

import csv
import io
import json
from collections.abc import Callable
from itertools import product

import pytest

from search_router.domain.logs.query_logs import LogState
from search_router.domain.uploads import encoded_metadata
from tests.records import gzipped
from tests.unit.use_cases.world import World

QUERIES = ["dogs barking", "a, b; c", "café \U0001f600", "日本 語", "büro | mieten", "red cars 17"]
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be")
LINE_ENDS = ("\n", "\r\n", "\r")
PACKINGS: tuple[Callable[[bytes], bytes], ...] = (
    bytes,
    gzipped,
    lambda body: gzipped(body) + bytes(512),
    lambda body: gzipped(body[:7]) + gzipped(body[7:]),
)


def table(delimiter: str) -> Callable[[str], str]:
    def write(end: str) -> str:
        file = io.StringIO(newline="")
        writer = csv.writer(file, delimiter=delimiter, lineterminator=end)
        writer.writerows([("n", "query"), *enumerate(QUERIES)])
        return file.getvalue()

    return write


FORMATS: dict[str, tuple[str, Callable[[str], str]]] = {
    "JSON Lines": (
        "jsonl",
        lambda end: "".join(json.dumps({"query": query}) + end for query in QUERIES),
    ),
    "JSON Lines named .LOG": (
        "LOG",
        lambda end: "".join(
            json.dumps({"r": {"query": query}}, ensure_ascii=False) + end for query in QUERIES
        ),
    ),
    "plain": ("txt", lambda end: "".join(query + end for query in QUERIES)),
    "comma": ("csv", table(",")),
    "semicolon": ("csv", table(";")),
    "bar": ("CSV", table("|")),
    "tab": ("tsv", table("\t")),
    "tab named .csv": ("csv", table("\t")),
    "comma named .tsv": ("tsv", table(",")),
    "sep line": ("csv", lambda end: f"sep=;{end}{table(';')(end)}"),
}


def encoded(text: str, encoding: str) -> bytes:
    mark = "\ufeff" if encoding.startswith(("utf-16", "utf-32")) else ""
    return (mark + text).encode(encoding)


@pytest.mark.parametrize("name", FORMATS)
def test_every_cell_of_the_table_is_routed_with_the_same_queries(
    serving_world: World, name: str
) -> None:
    suffix, write = FORMATS[name]
    world = serving_world
    for number, (encoding, end, pack) in enumerate(product(ENCODINGS, LINE_ENDS, PACKINGS)):
        body = pack(encoded(write(end), encoding))
        sent = len(world.queue.sent)

        log = world.split_log(body, f"query-logs/{number}.{suffix}")

        cell = (encoding, end, number % len(PACKINGS))
        assert log.state is LogState.ROUTING, (cell, log.reason)
        for message in world.queue.sent[sent:]:
            world.route(message)
        found = [
            row["query"]
            for message in world.queue.sent[sent:]
            for row in world.rows(f"logs/{log.log_id}/parts/part-{message.split:05d}.jsonl")
        ]
        assert found == QUERIES, cell


@pytest.mark.parametrize("encoding", ENCODINGS[2:])
@pytest.mark.parametrize("name", FORMATS)
def test_wide_encodings_without_a_byte_order_mark_are_rejected_with_a_guess(
    serving_world: World, name: str, encoding: str
) -> None:
    suffix, write = FORMATS[name]

    log = serving_world.split_log(write("\n").encode(encoding), f"query-logs/a.{suffix}")

    guess = encoding.upper().replace("-LE", "LE").replace("-BE", "BE")
    assert log.state is LogState.FAILED
    assert f"not UTF-8: likely {guess} without a byte order mark" in log.reason
    assert serving_world.queue.sent == []


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"PK\x03\x04....", "a ZIP archive or an Excel workbook"),
        (b"BZh91AY&SY", "compressed with bzip2"),
        (b"\x28\xb5\x2f\xfd....", "compressed with Zstandard"),
        (gzipped(gzipped(b"query\ndogs\n")), "gzipped twice"),
        (gzipped(b"query\ndogs\n")[:-9], "truncated"),
        (b"\xff\xfe\x00\x00" + b"\xff" * 8, "damaged UTF-32"),
    ],
)
def test_what_is_not_text_is_rejected_with_its_kind(
    serving_world: World, body: bytes, reason: str
) -> None:
    log = serving_world.split_log(body, "query-logs/a.csv.gz")

    assert log.state is LogState.FAILED
    assert reason in log.reason
    assert serving_world.queue.sent == []


def test_a_damaged_character_rejects_its_row_only(serving_world: World) -> None:
    body = b"\xff\xfe" + "dogs\n".encode("utf-16-le") + b"\x00\xd8" + "\ncats\n".encode("utf-16-le")
    world = serving_world

    log = world.split_log(body + b"x", "query-logs/a.txt")
    world.route(world.queue.sent[0])

    parts, rejected = (
        f"logs/{log.log_id}/{kind}/part-00000.jsonl" for kind in ("parts", "rejected")
    )
    assert [row["query"] for row in world.rows(parts)] == ["dogs", "cats"]
    assert ["not UTF-8" in row["reason"] for row in world.rows(rejected)] == [True, True]


def test_the_plan_records_how_a_log_is_read_and_what_is_doubtful(serving_world: World) -> None:
    log = serving_world.split_log("query\tn\rdogs\t1\rcats\r".encode("utf-16"), "query-logs/a.csv")

    plan = serving_world.text(f"logs/{log.log_id}/plan.json")
    assert plan["form"] == {"packed": False, "encoding": "utf-16-le", "cr_only": True}
    assert (plan["dialect"]["format"], plan["dialect"]["query_field"]) == ("tsv", "query")
    assert plan["warnings"] == ["1 of the first 2 rows are rejected; line 3: 1 fields instead of 2"]


@pytest.mark.parametrize(
    ("body", "warning"),
    [
        (b"id\tquery\n1\tdogs\n", "did you mean a table? Name it .tsv"),
        (b"query\ndogs\n", "the first line is the name of a column and is not routed"),
        (b'{"query": "dogs"}\n', "read as JSON Lines, in spite of its name"),
        (b"query\n", "no rows after the header"),
    ],
)
def test_a_doubtful_log_is_routed_with_a_warning(
    serving_world: World, body: bytes, warning: str
) -> None:
    log = serving_world.split_log(body, "query-logs/a.txt")

    for message in serving_world.queue.sent:
        serving_world.route(message)
    serving_world.finish(log.log_id)
    for name in ("plan", "summary"):
        [found] = serving_world.text(f"logs/{log.log_id}/{name}.json")["warnings"]
        assert warning in found


def test_a_query_field_in_any_script_can_be_named(serving_world: World) -> None:
    world = serving_world
    body = "Häufigste Suche,Klicks\nbüro,9\n".encode()

    field = encoded_metadata("Häufigste Suche")
    world.split(world.uploads.upload("query-logs/a.csv", body, query_field=field))

    assert field.isascii()
    assert world.queue.sent[0].dialect.query_field == "Häufigste Suche"


@pytest.mark.parametrize("pack", [bytes, gzipped])
def test_rejected_rows_have_line_numbers_where_lines_are_counted(
    serving_world: World, pack: Callable[[bytes], bytes]
) -> None:
    world = serving_world
    good = b'"dogs\nbarking",' + b"x" * 500 + b"\n"
    body = b"query,n\n" + good * 300 + b"\n,7\n" + good * 300 + b"ragged\n"

    log = world.split_log(pack(body), "query-logs/a.csv")
    for message in world.queue.sent:
        world.route(message)

    rejected = [
        row
        for message in world.queue.sent
        for row in world.rows(f"logs/{log.log_id}/rejected/part-{message.split:05d}.jsonl")
    ]
    assert len(world.queue.sent) > 1
    assert [row["line_number"] for row in rejected] == [603, 1_204]
    assert [body[row["byte_offset"] :][:2] for row in rejected] == [b",7", b"ra"]


def test_a_split_whose_lines_before_are_not_counted_has_no_line_numbers(
    serving_world: World,
) -> None:
    world = serving_world
    row = b'{"query": "dogs", "pad": "' + b"x" * 500 + b'"}\n'

    log = world.split_log(b"first\n" + row * 600 + b"last\n", "query-logs/a.jsonl")
    for message in world.queue.sent:
        world.route(message)

    first, last = (
        world.rows(f"logs/{log.log_id}/rejected/part-{split:05d}.jsonl")
        for split in (0, log.splits - 1)
    )
    assert (first[0]["line_number"], last[0]["line_number"]) == (1, None)
