"""`search-router` against a running local stack."""

import argparse
import csv
import io
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest

from local_stack.launcher import PROJECT
from local_stack.state_file import find_running_stack, runtime_folder
from router_cli import synthesis
from router_cli.__main__ import main
from router_cli.stack import Stack, open_stack
from router_cli.upload import upload
from search_router.domain import naming
from search_router.domain.logs.query_logs import LogPlan, LogState, split_messages
from tests.e2e.log_forms import FORMS, write_forms
from tests.records import MODALITIES
from tests.waiting import eventually

FAST = ("--requests-per-minute", "6000")


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A runtime folder of its own, so that no other stack of this user is found or stopped."""
    folder = tmp_path_factory.mktemp("command")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", str(folder))
        yield folder


@pytest.fixture(scope="module")
def stack(places: Path) -> Iterator[Path]:
    """A running stack; the value is a folder for files."""
    assert main(["local", "up", "--parameter", "Stage=test"]) == 0
    yield places
    assert main(["local", "down"]) == 0
    assert main(["runs", "--local"]) == 1


def answer(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    """Run one verb with `--local --json` and return the one object that it prints."""
    code = main([*arguments, "--local", "--json"])
    output = capsys.readouterr()
    assert code == 0, output.err
    reply: dict[str, Any] = json.loads(output.out)
    return reply


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run one verb that must fail and return what it says."""
    assert main([*arguments, "--local", "--json"]) == 1
    return capsys.readouterr().err


def test_a_parameter_reaches_the_functions(stack: Path) -> None:
    local = find_running_stack(runtime_folder(os.environ))
    variables = local.client("lambda").get_function_configuration(
        FunctionName=local.outputs["RouteApiFunctionName"]
    )["Environment"]["Variables"]
    assert variables["STAGE"] == "test"


def test_doctor_finds_the_local_stack_healthy(
    stack: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = answer(capsys, "doctor")
    by_status: dict[str, set[str]] = {}
    for finding in found["findings"]:
        by_status.setdefault(finding["status"], set()).add(finding["check"])

    assert found["blockers"] == 0
    # The emulator has no Service Quotas, no metrics, and no subscriptions.
    assert by_status["unknown"] == {"Bedrock quotas"}
    assert by_status["warning"] == {"alarm subscriptions", "alarms"}
    assert {"credentials", "teacher access", "permissions", "champion"} <= by_status["ok"]


def test_from_a_prompt_file_to_the_results_of_a_log(
    stack: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # GIVEN a stack without a champion
    assert "503" in refusal(capsys, "route", "dogs barking")
    # WHEN prompts are uploaded
    prompts = stack / "prompts.jsonl"
    synthesis.write_jsonl(prompts, synthesis.training_records(3, 300))
    run_id = answer(capsys, "upload", "prompts", str(prompts))["id"]
    # THEN the run ends with a champion
    eventually(lambda: run_of(capsys, run_id)["state"] in ("PROMOTED", "REJECTED", "FAILED"))
    assert run_of(capsys, run_id)["state"] == "PROMOTED"
    assert answer(capsys, "runs", run_id)["evaluation"]["candidate"]["invalid"] == 0
    # AND its report tells of it
    answer(capsys, "report", run_id, "--out", str(stack / "report"))
    facts = json.loads((stack / "report/report.json").read_text())
    assert facts["evaluation"]["candidate"]["n"] > 20
    assert "A local run" in (stack / "report/report.html").read_text()
    # AND a query is routed, the second time from the cache
    replies = [answer(capsys, "route", "dogs barking at night") for _ in range(2)]
    assert [reply["tier"] for reply in replies] == ["distilled", "cache"]
    assert replies[0]["weights"] == replies[1]["weights"]
    assert sum(replies[0]["weights"].values()) == pytest.approx(1)
    # AND a query log becomes results
    log = stack / "log.jsonl"
    synthesis.write_jsonl(log, synthesis.query_log_rows(3, 400, 50))
    log_id = answer(capsys, "upload", "query-log", str(log))["id"]
    eventually(lambda: main(["results", log_id, "--local", "--json"]) == 0)
    capsys.readouterr()
    out = stack / "results.jsonl"
    summary = answer(capsys, "results", log_id, "--out", str(out))
    assert (summary["rows_in"], summary["distinct"]) == (400, 50)
    assert len(out.read_bytes().splitlines()) == 400


DOOR = {
    "segment_id": "door.1",
    "video_id": "door",
    "start": 62,
    "end": 70.5,
    "texts": {"visual": "a lumberjack opens a purple door", "audio": "a door creaks"},
    "attributes": {"genre": "test", "year": 2021, "people": ["Ann"]},
}
WINDOW = {
    **DOOR,
    "segment_id": "door.2",
    "texts": {"visual": "\x1b[2Ja purple window\u202e"},
    "attributes": {"genre": "test", "year": 1999},
}
QUERY = "lumberjack at a purple door"


def upload_rows(
    stack: Path, capsys: pytest.CaptureFixture[str], rows: list[dict[str, Any]]
) -> dict[str, Any]:
    """Upload rows into the collection films and return what became of them."""
    file = stack / "segments.jsonl"
    synthesis.write_jsonl(file, rows)
    return answer(capsys, "upload", "segments", str(file), "--collection", "films")


def find(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    """Search films; the reply agrees with the OpenAPI document."""
    reply = answer(capsys, "search", *arguments, "--collection", "films")
    document = json.loads((PROJECT / "docs/openapi.json").read_text("utf-8"))
    schema = {"$ref": "#/components/schemas/SearchReply", "components": document["components"]}
    jsonschema.Draft202012Validator(schema).validate(reply)
    assert reply["degraded"] == []
    return reply


def ids(reply: Any) -> list[str]:
    return [hit["segment_id"] for hit in reply["hits"]]


def test_segments_are_uploaded_searched_and_deleted(
    stack: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # WHEN a catalogue is uploaded, THEN every row is accounted for
    rows = [*synthesis.segment_rows(3, 60), DOOR, WINDOW]
    first = upload_rows(stack, capsys, [*rows, {"segment_id": "bad"}])
    counts = ("rows_in", "indexed", "unchanged", "deleted", "superseded", "rejected")
    assert [first[name] for name in counts] == [63, 62, 0, 0, 0, 1]
    assert first["reasons"] == {"start is not a number of seconds from 0": 1}
    [films] = answer(capsys, "collections", "--count")["collections"]
    assert (films["name"], films["segments"], films["dimension"]) == ("films", 62, 256)
    # AND a search finds it by words and meaning, with the weights of the router
    eventually(lambda: find(capsys, QUERY)["tier"] not in ("late", "base"))
    found = find(capsys, QUERY, "--explain")
    assert ids(found)[0] == "door.1"
    best = found["hits"][0]
    assert (best["start"], best["end"], best["attributes"]["year"]) == (62, 70.5, 2021)
    snippet = best["snippet"]
    words = [snippet["text"][start:end] for start, end in snippet["matches"]]
    assert words == ["lumberjack", "purple", "door"]
    for hit in found["hits"]:
        assert sum(one["contribution"] for one in hit["explain"]) == pytest.approx(hit["score"])
    # AND filters, weights, pages and groups narrow it down
    assert set(ids(find(capsys, "--filter", "genre:test"))) == {"door.1", "door.2"}
    assert ids(find(capsys, QUERY, "--filter", "genre:test", "--filter", "year:<2000")) == [
        "door.2"
    ]
    weighted = find(capsys, QUERY, "--weights", "audio:1", "-k", "1")
    assert (weighted["lists_asked"], weighted["tier"]) == (["audio"], "override")
    following = find(
        capsys, QUERY, "--weights", "audio:1", "-k", "1", "--cursor", weighted["cursor"]
    )
    assert ids(weighted) == ["door.1"] != ids(following)
    grouped = find(capsys, QUERY, "--group-video", "--no-route")
    assert grouped["tier"] == "base"
    assert len({hit["video_id"] for hit in grouped["hits"]}) == len(grouped["hits"])
    assert "weights: moon is not a modality" in refusal(
        capsys, "search", QUERY, "--collection", "films", "--weights", "moon:1"
    )
    assert "no such collection: none" in refusal(capsys, "search", QUERY, "--collection", "none")
    # AND a hostile text is shown without its control characters
    narrow = ["--weights", "visual:1", "--filter", "genre:test", "--filter", "year:1999"]
    assert main(["search", "window", *narrow, "--collection", "films", "--local"]) == 0
    shown = capsys.readouterr().out
    assert "[2Ja purple *window*" in shown
    assert not {"\x1b", "\u202e"} & set(shown)
    # AND the same rows cost nothing, and a deletion is found no more
    second = upload_rows(stack, capsys, [*rows, {"segment_id": "door.1", "deleted": True}])
    assert [second[name] for name in counts] == [63, 0, 61, 1, 1, 0]
    assert second["embeddings"] == 0
    assert "door.1" not in ids(find(capsys, QUERY, "--no-route"))
    record = answer(capsys, "segments", "door.1", "--collection", "films")
    assert (record["outcome"], record["upload"]) == ("deleted", second["id"])
    # AND the index can be rebuilt, exported and deleted
    before = find(capsys, QUERY, "--no-route")["hits"]
    assert answer(capsys, "reindex", "films")["segments"] == 61
    assert find(capsys, QUERY, "--no-route")["hits"] == before
    out = str(stack / "index")
    exported = answer(capsys, "export", "opensearch", "--collection", "films", "--out", out)
    assert exported["segments"] == 61
    assert answer(capsys, "collections", "--delete", "films", "--yes")["deleted"] is True
    assert answer(capsys, "collections")["collections"] == []
    assert len(answer(capsys, "runs")["segment_uploads"]) == 2


def test_an_unknown_run_or_log_is_an_error_with_advice(
    stack: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "`search-router runs` lists all runs" in refusal(capsys, "runs", "run-000000000000")
    assert "`search-router runs` lists all logs" in refusal(capsys, "results", "log-000000000000")
    assert "none.jsonl" in refusal(capsys, "upload", "prompts", str(stack / "none.jsonl"))


def test_generated_queries_are_labelled_once_and_make_a_valid_prompt_file(
    stack: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    queries, labelled = stack / "queries.jsonl", stack / "labelled.jsonl"
    make = ["generate", "prompts", "--unlabelled", "--count", "150", "--out", str(queries)]
    assert main(make) == 0
    # WHEN a teacher labels them, is killed in mid-line, and is started again
    first = answer(capsys, "label", str(queries), "--out", str(labelled), *FAST)
    with labelled.open("ab") as file:
        file.write(b'{"schemaVersion": "bedro')
    second = answer(capsys, "label", str(queries), "--out", str(labelled), *FAST)
    # THEN every query was asked once, and a job could start from what came out
    assert first["labelled"] == first["queries"] > 100
    assert first["cost_usd"] > 0
    assert (second["labelled"], second["already_labelled"]) == (0, first["queries"])
    assert main(["validate", "--json", str(labelled)]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["rejected"], report["balance"]["unlabelled"]) == (0, 0)


HOSTILE = [
    "=cmd|' /C calc'!A0",
    'he said "no", twice',
    "caf\u00e9 \u2028 \U0001f600",
    "<script>alert(1)</script>",
    "{{7*7}} ${HOME} %s",
    "'; DROP TABLE logs; --",
    "-1",
    "\u202egpj.exe",
    "null",
    "a,b;c|d",
]


@pytest.fixture(scope="module")
def routed(stack: Path) -> dict[str, str]:
    """One log in all eight forms, routed by a champion; the log's id by form."""
    local = open_stack(argparse.Namespace(local=True))
    if local.champions.current() is None:
        prompts = stack / "more prompts.jsonl"
        synthesis.write_jsonl(prompts, synthesis.training_records(4, 300))
        upload(local, "prompts", prompts)
    eventually(lambda: local.champions.current() is not None)
    asked = [row["query"] for row in synthesis.query_log_rows(5, 300, 60)] + HOSTILE
    rows = [{"query_id": f"q{n}", "query": query, "tier": "x"} for n, query in enumerate(asked)]
    files = write_forms(rows, stack, "forms")
    ids = {form: upload(local, "query-log", file) for form, file in zip(FORMS, files, strict=True)}

    def all_are_routed() -> bool:
        logs = list(local.ledger.all())
        assert not [log.reason for log in logs if log.state is LogState.FAILED]
        return set(ids.values()) <= {log.log_id for log in logs if log.state is LogState.ROUTED}

    eventually(all_are_routed)
    return ids


def test_a_log_is_routed_the_same_in_all_eight_forms(
    stack: Path, routed: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    asked = [json.loads(line) for line in (stack / "forms.jsonl").read_bytes().split(b"\n") if line]
    found = {}
    for form, log_id in routed.items():
        out = stack / f"{form}.results.jsonl"
        summary = answer(capsys, "results", log_id, "--out", str(out))
        rows = [json.loads(line) for line in out.read_bytes().split(b"\n") if line]
        assert summary["rows_in"] == summary["routed"] + summary["fallback"] == len(asked)
        assert [row["query"] for row in rows] == [row["query"] for row in asked], form
        if not form.startswith("txt"):
            assert [row["input_tier"] for row in rows] == ["x"] * len(asked)
        found[form] = [
            (row["query"], *(row[name] for name in MODALITIES), row["status"]) for row in rows
        ]

    assert all(rows == found["jsonl"] for rows in found.values())


def _without_quotes(query: str) -> str:
    """Leave out the quotes that stop spreadsheets from reading a formula, also after `;`."""
    return query.replace(";'", ";").removeprefix("'")


def test_a_log_is_read_as_csv_as_a_table_and_as_pipelines(
    stack: Path, routed: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    log_id, out = routed["csv.gz"], stack / "rows.csv"

    answer(capsys, "results", log_id, "--format", "csv", "--out", str(out))
    rows = list(csv.DictReader(io.StringIO(out.read_bytes().decode("utf-8-sig"), newline="")))
    written = [row["query"] for row in rows[-len(HOSTILE) :]]
    assert list(map(_without_quotes, written)) == list(map(_without_quotes, HOSTILE))
    definition = answer(capsys, "results", log_id, "--athena-ddl")["ddl"]
    assert all(f"  `{name}` " in definition for name in rows[0])
    exported = answer(capsys, "export", "opensearch", log_id, "--out", str(stack / "os"))
    assert exported["queries"] == len({row["query"] for row in rows})
    assert 1 < exported["pipelines"] <= exported["queries"] + 1


def test_two_models_are_compared_over_a_log(
    stack: Path, routed: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    store = ("--store", str(stack / "compare.sqlite"), *FAST)

    report = answer(capsys, "compare", routed["jsonl"], "--against", "champion", *store)
    assert (report["moved"], report["mean_absolute_change"]) == (0, 0), "the same model"
    base = answer(capsys, "compare", routed["jsonl"], "--against", "amazon.nova-micro-v1:0", *store)
    assert base["queries"] == report["queries"]
    assert base["moved"] > 0
    assert base["total_cost_usd"] > 0


def test_redrive_sends_dead_letters_again_and_duplicates_nothing(
    routed: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    # GIVEN dead letters: splits that are done, and a run that failed for good
    local = open_stack(argparse.Namespace(local=True))
    log_id = routed["jsonl.gz"]
    plan = LogPlan.model_validate_json(local.objects.get(naming.upload_key(log_id, "plan.json")))
    sqs, dead = local.client("sqs"), local.outputs["SplitDeadLetterQueueUrl"]
    for message in split_messages(plan):
        sqs.send_message(QueueUrl=dead, MessageBody=message.model_dump_json())
    event = {"detail-type": "QueryLogPartsComplete", "detail": {"log_id": "nobody's"}}
    function = local.outputs["FinishQueryLogFunctionName"]
    local.client("lambda").invoke(
        FunctionName=function, InvocationType="Event", Payload=json.dumps(event)
    )
    eventually(lambda: answer(capsys, "redrive")["events"])
    # WHEN they are shown and sent again
    parts, ledger = written_parts(local, log_id), list(local.ledger.markers(log_id))
    report = answer(capsys, "redrive", "--yes")
    # THEN each is explained, handed on, and changes nothing
    assert len(report["splits"]) == plan.splits
    assert all("changes nothing" in split["why"] for split in report["splits"])
    assert f"{function} failed 3 times" in report["events"][0]["why"]
    assert report["sent_again"] == {"splits": plan.splits, "events": 1}
    queue = local.outputs["SplitQueueUrl"]
    eventually(lambda: unhandled(sqs, queue) == 0)
    assert written_parts(local, log_id) == parts
    assert list(local.ledger.markers(log_id)) == ledger
    assert answer(capsys, "redrive")["splits"] == []


def written_parts(local: Stack, log_id: str) -> dict[str, tuple[str, str]]:
    """Return when each part was written, and what it holds."""
    listed = local.client("s3").list_objects_v2(
        Bucket=local.outputs["DataBucketName"], Prefix=naming.upload_key(log_id, "parts/")
    )
    return {part["Key"]: (str(part["LastModified"]), part["ETag"]) for part in listed["Contents"]}


def unhandled(sqs: Any, queue: str) -> int:
    """Return how many messages wait or are being handled."""
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    counts = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=names)["Attributes"]
    return sum(map(int, counts.values()))


def run_of(capsys: pytest.CaptureFixture[str], run_id: str) -> dict[str, Any]:
    """Return a run as the list shows it; an empty state while it is not recorded."""
    runs = answer(capsys, "runs")["runs"]
    return next((run for run in runs if run["run_id"] == run_id), {"state": ""})


def test_cleanup_lists_then_deletes_everything(
    stack: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # The last test of this file: it needs what the others left, and leaves them nothing.
    spent = answer(capsys, "cost")
    bases = {item["what"].split()[0]: item["basis"] for item in spent["items"]}
    assert bases["job"] == "estimate before the job"
    assert bases["evaluation"] == bases["query"] == "measured tokens"
    assert spent["monthly_usd"] >= 1.95
    assert any("judge" in part for part in spent["not_counted"])
    there = answer(capsys, "cleanup")
    kinds = [thing["kind"] for thing in there["remaining"] if thing["billed"]]
    assert {"deployment", "custom model", "bucket", "table", "stack"} <= set(kinds)
    assert "it is called search-router" in refusal(capsys, "cleanup", "--yes", "search")
    assert answer(capsys, "cleanup") == there

    assert answer(capsys, "cleanup", "--yes", "search-router") == {
        "deleted": True,
        "remaining": [],
    }

    connection = find_running_stack(runtime_folder(os.environ))
    bedrock = connection.client("bedrock")
    assert bedrock.list_custom_models()["modelSummaries"] == []
    assert bedrock.list_custom_model_deployments()["modelDeploymentSummaries"] == []
    buckets = [one["Name"] for one in connection.client("s3").list_buckets()["Buckets"]]
    assert buckets == ["local-stack-artifacts"]  # the launcher's own, with the functions' code
    assert connection.client("s3vectors").list_vector_buckets()["vectorBuckets"] == []
    assert connection.client("dynamodb").list_tables()["TableNames"] == []
    assert connection.client("lambda").list_functions()["Functions"] == []
