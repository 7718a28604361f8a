"""`upload query-log`: the plan that it shows, a log that failed, and the dry run."""

import json
from pathlib import Path
from typing import Any

import pytest

from router_cli import upload
from router_cli.__main__ import main
from router_cli.stack import Stack
from search_router.domain.uploads import QUERY_FIELD_METADATA, decoded_metadata, encoded_metadata
from tests.records import gzipped
from tests.unit.use_cases.world import World


class Uploads:
    """S3 that uploads into the world, where the log is planned at once."""

    def __init__(self, world: World) -> None:
        self._world = world

    def upload_file(self, path: str, bucket: str, key: str, ExtraArgs: Any) -> None:  # noqa: N803
        field = ExtraArgs["Metadata"].get(QUERY_FIELD_METADATA)
        assert field is None or field.isascii()
        options = {} if field is None else {"query_field": field}
        self._source = self._world.uploads.upload(key, Path(path).read_bytes(), **options)
        self._world.split(self._source)

    def head_object(self, Bucket: str, Key: str) -> dict[str, str | None]:  # noqa: N803
        return {"VersionId": self._source.version_id}


@pytest.fixture
def sent(world: World, stack: Stack, monkeypatch: pytest.MonkeyPatch) -> World:
    s3 = Uploads(world)
    opened = Stack(stack.outputs, lambda _: s3, "", lambda: None, "us-east-1")
    vars(opened).update(objects=world.objects, ledger=world.ledger)
    monkeypatch.setattr(upload, "open_stack", lambda _: opened)
    return world


def test_the_plan_of_an_uploaded_log_is_shown(
    sent: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "log.CSV"
    log.write_bytes("Häufigste Suche;n\rbüro;1\rragged\r".encode("utf-16"))

    assert main(["upload", "query-log", str(log), "--query-field", "häufigste suche"]) == 0

    told = capsys.readouterr().err
    assert "UTF-16-LE, CR line ends; table separated by ';'; query field: H" in told
    assert "Warning: 1 of the first 2 rows are rejected; line 3: 1 fields instead of 2" in told
    assert main(["upload", "query-log", str(log), "--query-field", "n", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["state"], len(shown["warnings"])) == ("ROUTING", 2)


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_a_log_that_failed_is_exit_code_1_with_its_reason(
    sent: World, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str]
) -> None:
    log = tmp_path / "log.jsonl"
    log.write_bytes(b'[{"query": "dogs"}]')

    assert main(["upload", "query-log", str(log), *options]) == 1

    printed = capsys.readouterr()
    assert "one JSON array, not JSON Lines" in printed.out + printed.err


def test_the_dry_run_shows_the_first_ten_queries_as_they_would_be_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "log.jsonl.gz"
    rows = [{"user_query": f" query  {n} ", "query": "{}"} for n in range(20)]
    log.write_bytes(gzipped(b"".join(json.dumps(row).encode() + b"\n" for row in rows) + b"x\n"))

    assert main(["upload", "query-log", str(log), "--dry-run", "--json"]) == 0

    shown = json.loads(capsys.readouterr().out)
    assert [row["query"] for row in shown["queries"]] == [f"query {n}" for n in range(10)]
    assert shown["rejections"] == [{"line": 21, "reason": "not JSON at character 0"}]
    assert (shown["rows"], shown["rejected"]) == (21, 1)
    assert shown["read_as"].endswith("gzipped; JSON Lines; query field: user_query")
    assert main(["upload", "query-log", str(log), "--dry-run"]) == 0
    printed = capsys.readouterr()
    assert "query 9" in printed.out
    assert "21 rows, 1 of them rejected. Nothing was uploaded." in printed.err


@pytest.mark.parametrize(
    ("name", "body", "message"),
    [
        ("a.txt", b"\x1a\n", "1 rows, 1 of them rejected"),
        ("a.csv", b"date,term\n2026,dogs\n", "(columns: date, term). Name the column with --query"),
        ("a.csv.gz", gzipped(b"query\ndogs\n")[:-5], "truncated"),
        ("missing.csv", None, "missing.csv: No such file or directory"),
    ],
)
def test_a_dry_run_without_a_query_is_exit_code_1(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    name: str,
    body: bytes | None,
    message: str,
) -> None:
    log = tmp_path / name
    if body is not None:
        log.write_bytes(body)

    assert main(["upload", "query-log", str(log), "--dry-run"]) == 1

    assert message in capsys.readouterr().err


@pytest.mark.parametrize("name", ["query", "a.b", "Häufigste Suche", "検索", " padded ", "=?x"])
def test_a_field_name_survives_the_metadata_of_an_object(name: str) -> None:
    assert encoded_metadata(name).isascii()
    assert decoded_metadata(encoded_metadata(name)) == name
