"""`results --athena-ddl`: a table definition that reads every column of the rows."""

import re
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router_cli.__main__ import main
from router_cli.routed_logs.parts import rows_of
from router_cli.routed_logs.tables import SERDE, columns_of, table_definition
from search_router.domain.logs.results import result_line
from search_router.domain.logs.rows import LogRow
from search_router.domain.weights import Modalities
from tests.records import MODALITIES, SIXTEEN, a_decision
from tests.unit.router_cli.conftest import route_log
from tests.unit.use_cases.world import World

ODD = [
    "User Id", "user id", "USER-ID", "user.id", "1st", "Größe", "日本", "", "select", "it's", 'a"b',
    "back`tick", "back\\slash", "new\nline", "query", "tier", "input_tier", "x" * 300,
]  # fmt: skip
VALUES: dict[str, object] = {
    "string": "text", "bigint": 2**40, "double": 0.25, "boolean": True, "json": {"a": [1]},
}  # fmt: skip


class Table(NamedTuple):
    """What Athena would know after running the statement."""

    name: str
    columns: dict[str, str]
    keys: dict[str, str]
    location: str

    def read(self, row: dict[str, Any]) -> dict[str, Any]:
        """Read a row as the SerDe does: each column by its mapping, or by its own name."""
        return {name: row.get(self.keys.get(name, name)) for name in self.columns}


def unescaped(literal: str) -> str:
    """Read a Hive string literal."""
    text = re.sub(r"\\u([0-9a-f]{4})", lambda found: chr(int(found[1], 16)), literal)
    return re.sub(r"\\(.)", r"\1", text)


def parsed(definition: str) -> Table:
    """Read the statement, strictly: what this does not know is a failure."""
    statement = re.fullmatch(
        r"CREATE EXTERNAL TABLE IF NOT EXISTS `(\w+)` \(\n(.*?)\n\)\n"
        rf"ROW FORMAT SERDE '{re.escape(SERDE)}'\n"
        r"WITH SERDEPROPERTIES \(\n(.*?)\n\)\nLOCATION '(s3://[^']+/)';\n",
        definition,
        re.DOTALL,
    )
    assert statement, definition
    columns = {}
    for line in statement[2].split(",\n"):
        column = re.fullmatch(r"  `([a-z_][a-z0-9_]*)` (string|bigint|double|boolean)", line)
        assert column, line
        assert column[1] not in columns, "a column twice"
        columns[column[1]] = column[2]
    properties = dict(re.findall(r"'([\w.]+)' = '((?:[^'\\]|\\.)*)'", statement[3]))
    assert properties.pop("case.insensitive") == "FALSE", "keys may differ in case only"
    keys = {name.removeprefix("mapping."): unescaped(key) for name, key in properties.items()}
    assert set(keys) <= set(columns)
    return Table(statement[1], columns, keys, statement[4])


def fits(value: object, kind: str) -> bool:
    """Tell whether the SerDe gives this value back in a column of that type."""
    if value is None or kind == "string":
        return True
    if kind == "boolean":
        return isinstance(value, bool)
    if isinstance(value, bool):
        return False
    whole = isinstance(value, int) and -(2**63) <= value < 2**63
    return whole if kind == "bigint" else isinstance(value, int | float)


def check(definition: str, rows: list[dict[str, Any]]) -> Table:
    """Every value of every row must be in exactly one column, and fit it."""
    table = parsed(definition)
    for row in rows:
        read = table.read(row)
        sources = [table.keys.get(name, name) for name in table.columns]
        assert len(set(sources)) == len(sources), "a key is read by two columns"
        assert set(row) <= set(sources)
        for name, value in read.items():
            assert fits(value, table.columns[name]), (name, value, table.columns[name])
    return table


def results(columns: list[dict[str, object]], modalities: Modalities) -> list[dict[str, Any]]:
    """Render log rows with these columns as the parts hold them, and parse them back."""
    weights = tuple(1 / len(modalities) for _ in modalities)
    decision = a_decision(weights)
    lines = [
        result_line(LogRow(place, f"query {place}", row), f"log.{place}", decision, modalities)
        for place, row in enumerate(columns)
    ]
    return list(rows_of(b"".join(lines)))


@pytest.mark.parametrize("modalities", [MODALITIES, SIXTEEN], ids=["4", "16"])
@pytest.mark.parametrize("kind", VALUES)
def test_odd_column_names_of_every_type_are_read(kind: str, modalities: Modalities) -> None:
    rows = results([dict.fromkeys(ODD, VALUES[kind]), {"late": 1}], modalities)

    table = check(
        table_definition("t", columns_of(rows, modalities), "s3://data/logs/x/parts/"), rows
    )

    expected = "string" if kind == "json" else kind
    assert table.columns["user_id"] == expected
    assert [name for name in table.columns if name in modalities] == list(modalities)
    assert all(table.columns[name] == "double" for name in (*modalities, "cost_usd"))
    assert all(table.columns[n] == "bigint" for n in ("latency_ms", "byte_offset"))
    assert list(table.columns)[-1] == "byte_offset"


@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(ODD) | st.text(st.characters(codec="utf-8"), max_size=5),
            st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
            max_size=6,
        ),
        max_size=5,
    )
)
def test_the_table_reads_columns_of_any_name_and_type(
    columns: list[dict[str, object]],
) -> None:
    rows = results(columns, MODALITIES)

    check(table_definition("t", columns_of(rows, MODALITIES), "s3://data/logs/x/parts/"), rows)


def test_athena_ddl_prints_the_table_definition(
    world: World, routed: str, answer: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["results", routed, "--athena-ddl"]) == 0
    printed = capsys.readouterr().out

    parts = [body for key, body in world.objects.bodies.items() if f"{routed}/parts/" in key]
    table = check(printed, [row for part in parts for row in rows_of(part)])

    assert table.name == f"search_router_{routed.replace('-', '_')}"
    assert table.location == f"s3://data/logs/{routed}/parts/"
    assert table.keys == {"user_id": "User Id"}
    assert table.columns["user_id"] == "bigint"
    assert answer("results", routed, "--athena-ddl")["ddl"] == printed


def test_the_folder_of_the_parts_has_no_other_objects(world: World, routed: str) -> None:
    inside = [key for key in world.objects.bodies if key.startswith(f"logs/{routed}/parts/")]

    assert all(re.fullmatch(r".*/part-\d+\.jsonl", key) for key in inside)


def test_a_log_without_own_columns_gets_only_the_result_columns(
    world: World, answer: Callable[..., Any]
) -> None:
    log_id = route_log(world, b"dogs\ncats\n", "query-logs/searches.txt")

    table = parsed(answer("results", log_id, "--athena-ddl")["ddl"])

    assert list(table.columns)[:2] == ["row_id", "query"]
    assert table.keys == {}
