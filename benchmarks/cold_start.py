"""What a cold start of the API costs: from nothing to the first answer, in CPU time.

`python -m benchmarks.cold_start` unpacks the layer and the API's function as they are deployed and
starts fresh processes on them, in turns: as `make build` leaves the layer, as `sam build` leaves
it, and the libraries alone, below which nothing of ours can be. Lambda's own part (fetching,
unpacking, its runtime) is in none of them.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.cloud import PROJECT, Quota, function_settings
from benchmarks.figures import Goal, Row, conclude
from local_stack.packaging import build_layer, user_cache_folder
from local_stack.processes import CALLER
from router_cli import synthesis
from search_router.adapters.dynamodb_items import document_item
from search_router.domain.serving.champions import Champion
from search_router.domain.weights import default_system_prompt

STARTS = 11
OUT = Path("bench-results/cold-start.json")


@dataclass(frozen=True, slots=True)
class Way:
    """One way to start: whose modules, and the folders they are imported from."""

    name: str
    modules: str
    layer: Path


@dataclass(frozen=True, slots=True)
class Start:
    """One cold start: CPU seconds of the imports and of the first answer, peak memory in KiB."""

    imports: float
    answer: float
    peak_kib: int

    @property
    def milliseconds(self) -> float:
        """CPU milliseconds until the first answer."""
        return 1_000 * (self.imports + self.answer)


def unpacked(folder: Path) -> Iterator[Way]:
    """Make both layers, and yield the ways in the table's order."""
    cache = user_cache_folder(os.environ)
    built = build_layer(PROJECT / "layers/shared", snapshot=folder / "sources", cache=cache)
    plain, compiled = folder / "plain", folder / "compiled"
    for source in built.folders:
        no_bytecode = shutil.ignore_patterns("__pycache__")
        shutil.copytree(source, plain, ignore=no_bytecode, dirs_exist_ok=True)
    shutil.copytree(plain, compiled)
    precompile = [str(PROJECT / ".ci/precompile"), sys.executable, str(compiled)]
    subprocess.run(precompile, check=True)  # noqa: S603 - our own script
    yield Way("ours, as make build leaves it", "functions", compiled)
    yield Way("as sam build leaves it", "functions", plain)
    yield Way("the limit: the libraries alone", "libraries", compiled)


def started(way: Way, given: bytes) -> Start:
    """Start one process cold and let it answer."""
    done = subprocess.run(  # noqa: S603 - our own module
        [sys.executable, "-S", PROJECT / "benchmarks/first_answer.py", way.modules],
        input=given,
        env=environment(way.layer),
        capture_output=True,
        check=True,
    )
    figures = json.loads(done.stderr.splitlines()[-1])
    return Start(figures["import"], figures["answer"], figures["peak_kib"])


def environment(layer: Path) -> dict[str, str]:
    """Return what Lambda would set; a layer cannot be written to, so no bytecode is kept."""
    folders = (layer, PROJECT / "functions/route_api")
    return {
        **CALLER,
        **function_settings("", Quota.deployed(2_000)),
        "PYTHONPATH": os.pathsep.join(map(str, folders)),
        "PYTHONDONTWRITEBYTECODE": "1",
        "LAMBDA_TASK_ROOT": str(folders[1]),
        "_X_AMZN_TRACE_ID": "",
        "POWERTOOLS_TRACE_DISABLED": "true",
    }


def event_and_replies() -> bytes:
    """Return the golden request and what AWS answers: a champion, no cached answer, an answer."""
    modalities = synthesis.DEFAULT_MODALITIES
    weights = (0.4, 0.3, 0.2, 0.1)
    champion = Champion.model_validate(
        {
            "version": 1,
            "run_id": "run-000000000001",
            "serving": {
                "model_id": "arn:aws:bedrock:us-east-1:0:custom-model-deployment/champion",
                "priced_as": "amazon.nova-micro-v1:0:128k",
                "system_prompt": default_system_prompt(modalities, with_reasoning=False),
                "modalities": modalities,
                "max_output_tokens": 200,
                "prior": weights,
            },
            "promoted_at": "2026-12-01T12:00:00Z",
        }
    )
    text = json.dumps(dict(zip(modalities, weights, strict=True)))
    replies: dict[str, Any] = {
        "DynamoDB_20120810.GetItem": {"Item": document_item("CHAMPION", "CURRENT", champion)},
        "DynamoDB_20120810.BatchGetItem": {"Responses": {}, "UnprocessedKeys": {}},
        "DynamoDB_20120810.BatchWriteItem": {"UnprocessedItems": {}},
        "": {
            "output": {"message": {"role": "assistant", "content": [{"text": text}]}},
            "stopReason": "end_turn",
            "usage": {"inputTokens": 60, "outputTokens": 30, "totalTokens": 90},
            "metrics": {"latencyMs": 0},
        },
    }
    event = json.loads((PROJECT / "events/route_api.json").read_bytes())
    return json.dumps({"event": event, "replies": replies}).encode()


def row_of(way: Way, starts: Sequence[Start]) -> Row:
    """Show the quickest start, which the neighbours of this machine disturbed least."""
    best = min(starts, key=lambda start: start.milliseconds)
    return {
        "what": way.name,
        "import ms": round(1_000 * best.imports),
        "first answer ms": round(1_000 * best.answer),
        "both ms": round(best.milliseconds),
        "peak MiB": round(best.peak_kib / 1_024),
        "layer MB": round(sum(f.stat().st_size for f in way.layer.rglob("*.*")) / 1e6, 1),
    }


def main() -> int:
    """Run the benchmark."""
    given = event_and_replies()
    with tempfile.TemporaryDirectory(prefix="cold-start-") as folder:
        ways = list(unpacked(Path(folder)))
        starts: dict[str, list[Start]] = {way.name: [] for way in ways}
        for _ in range(STARTS):
            for way in ways:
                starts[way.name].append(started(way, given))
        rows = [row_of(way, starts[way.name]) for way in ways]
    ours, plain, limit = (float(str(row["both ms"])) for row in rows)
    goals = [
        Goal("beside the layer as sam build leaves it", ours / plain, 0.5, "of its CPU"),
        Goal("beside the libraries alone", ours / limit, 1.5, "of their CPU"),
    ]
    return conclude("cold start of the API, CPU until the first answer", rows, goals, OUT)


if __name__ == "__main__":
    raise SystemExit(main())
