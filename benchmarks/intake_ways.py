"""The ways of taking in a prompt file that are compared: ours, the obvious one, and the limits."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from router_cli.prompt_files import prompt_file
from search_router.domain.intake.prompt_files import select_rows
from search_router.domain.intake.prompts import rejected_line
from search_router.domain.intake.selection import IntakeRules
from search_router.domain.intake.training_records import shards

MODALITIES = ("visual", "audio", "transcription", "metadata")
_CHUNK_BYTES = 256 * 1024


class _Block(BaseModel):
    model_config = ConfigDict(extra="forbid")

    text: str


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid")

    role: str
    content: list[_Block]


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid")

    schema_version: str = Field(alias="schemaVersion")
    system: list[_Block]
    messages: list[_Message]


class _Label(BaseModel):
    visual: float
    audio: float
    transcription: float
    metadata: float


def ours(file: Path, out: Path) -> dict[str, int]:
    """Take the file in as `shard_prompts` does, with the disk in the place of S3."""
    with (out / "rejected.jsonl").open("wb") as rejected:
        selection = select_rows(
            [prompt_file(file)],
            IntakeRules(MODALITIES, 0.1),
            lambda f, line: rejected.write(rejected_line(f.name, line)),
        )
    (out / "training.jsonl").write_bytes(b"".join(row.line for row in selection.training))
    (out / "holdout.jsonl").write_bytes(b"".join(row.line for row in selection.holdout))
    for number, shard in enumerate(shards(selection.training)):
        (out / f"shard-{number:05d}.jsonl").write_bytes(shard)
    return {"rows": selection.counts.rows_in, "rejected": selection.counts.rejected}


def obvious(file: Path, out: Path) -> dict[str, int]:
    """Do what anybody would write first; it checks far less."""
    rows = rejected = 0
    seen: set[str] = set()
    with file.open(encoding="utf-8") as lines, (out / "training.jsonl").open("w") as training:
        for line in lines:
            rows += 1
            try:
                record = _Record.model_validate(json.loads(line))
                _Label.model_validate(json.loads(record.messages[1].content[0].text))
            except (ValueError, ValidationError):
                rejected += 1
                continue
            query = " ".join(record.messages[0].content[0].text.lower().split())
            if query not in seen:
                seen.add(query)
                training.write(record.model_dump_json(by_alias=True) + "\n")
    return {"rows": rows, "rejected": rejected}


def json_loads(file: Path, _: Path) -> dict[str, int]:
    """Parse each line and forget it."""
    rows = rejected = 0
    with file.open("rb") as lines:
        for line in lines:
            rows += 1
            try:
                json.loads(line)
            except ValueError:
                rejected += 1
    return {"rows": rows, "rejected": rejected}


def reading(file: Path, _: Path) -> dict[str, int]:
    """Read the bytes and count the line ends."""
    rows = 0
    with file.open("rb") as source:
        while chunk := source.read(_CHUNK_BYTES):
            rows += chunk.count(b"\n")
    return {"rows": rows, "rejected": 0}


WAYS: Mapping[str, Callable[[Path, Path], dict[str, int]]] = {
    "ours": ours,
    "obvious": obvious,
    "json.loads": json_loads,
    "reading": reading,
}
