"""Benchmark a cold start of the API, in CPU time until its first answer: `make bench-cold-start`.

New processes start in turn from the unpacked layer: as `make build` leaves it, as `sam build`
leaves it, and with the libraries only, which is the lower limit. What Lambda adds (download,
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
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.cloud import Quota, function_settings
from benchmarks.figures import Goal, Row, conclude, options
from benchmarks.lambda_process import PROJECT
from benchmarks.timing import interleaved, ratio
from local_stack.packaging import build_layer, user_cache_folder
from local_stack.processes import CALLER
from router_cli import synthesis
from search_router.adapters.dynamodb_items import document_item
from search_router.domain.serving.champions import Champion
from search_router.domain.weights import default_system_prompt

STARTS = 11


@dataclass(frozen=True, slots=True)
class Way:
    """What to import, and from which layer."""

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
        """Return the CPU milliseconds until the first answer."""
        return 1_000 * (self.imports + self.answer)


def unpacked(folder: Path) -> Iterator[Way]:
    """Build both layers and yield the ways in the table's order."""
    cache = user_cache_folder(os.environ)
    built = build_layer(PROJECT / "layers/shared", snapshot=folder / "sources", cache=cache)
    plain, compiled = folder / "plain", folder / "compiled"
    for source in built.folders:
        no_bytecode = shutil.ignore_patterns("__pycache__")
        shutil.copytree(source, plain, ignore=no_bytecode, dirs_exist_ok=True)
    shutil.copytree(plain, compiled)
    precompile = [str(PROJECT / ".ci/precompile"), sys.executable, str(compiled)]
    subprocess.run(precompile, check=True)  # noqa: S603 - our own script
    yield Way("layer of make build", "functions", compiled)
    yield Way("layer of sam build", "functions", plain)
    yield Way("limit: libraries only", "libraries", compiled)


def started(way: Way, given: bytes) -> Start:
    """Start one process and return the figures of its first answer."""
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
    """Return Lambda's environment; its layers are read-only, so Python writes no bytecode."""
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
    """Return the example request and AWS's replies: a champion, a cache miss, a model's answer."""
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
    """Return the figures of the start with the least CPU time."""
    best = min(starts, key=lambda start: start.milliseconds)
    return {
        "what": way.name,
        "import CPU ms": round(1_000 * best.imports),
        "answer CPU ms": round(1_000 * best.answer),
        "total CPU ms": round(best.milliseconds),
        "peak MiB": round(best.peak_kib / 1_024),
        "layer MB": round(sum(f.stat().st_size for f in way.layer.rglob("*.*")) / 1e6, 1),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark and return the exit code."""
    options_given = options("cold_start", __doc__).parse_args(arguments)
    given = event_and_replies()
    with tempfile.TemporaryDirectory(prefix="cold-start-") as folder:
        ways = list(unpacked(Path(folder)))
        starts: dict[str, list[Start]] = {way.name: [] for way in ways}

        def start(way: Way) -> float:
            starts[way.name].append(started(way, given))
            return starts[way.name][-1].milliseconds

        times = interleaved({way.name: partial(start, way) for way in ways}, STARTS)
        rows = [row_of(way, starts[way.name]) for way in ways]
    ours, plain, limit = times.values()
    goals = [
        Goal("layer of make build / of sam build", ratio(ours, plain), 0.5, "times"),
        Goal("layer of make build / libraries only", ratio(ours, limit), 1.5, "times"),
    ]
    title = "cold start of the API, CPU until the first answer"
    return conclude(title, rows, goals, options_given.json)


if __name__ == "__main__":
    sys.exit(main())
