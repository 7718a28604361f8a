"""`search-router collections`, `segments ID` and `reindex NAME`: what a stack can search."""

import argparse
from typing import Any

from router_cli.console import CommandError, Steps, print_json, print_table, say
from router_cli.search import time_code
from router_cli.stack import Stack, open_stack
from search_router.domain import naming
from search_router.domain.search.index import Collection
from search_router.domain.search.segment_records import SegmentRecord, written_by
from search_router.domain.search.segments import Segment
from search_router.use_cases.calibrate import Calibrate
from search_router.use_cases.reindex import Reindex

_REPORT_EVERY = 10_000  # records
_DATE = len("2026-12-01")


def collections(arguments: argparse.Namespace) -> int:
    """List the collections, or delete one."""
    stack = open_stack(arguments)
    if arguments.delete:
        return _delete(stack, arguments)
    listed = [_described(stack, one, count=arguments.count) for one in stack.collections.all()]
    if arguments.json:
        print_json({"collections": listed})
        return 0
    columns = ["name", "modalities", "embedding_model", "dimension", "created_at"]
    titles = ["collection", "modalities", "embedding model", "dimension", "created"]
    if arguments.count:
        columns.insert(1, "segments")
        titles.insert(1, "segments")
    rows = [[_shown(one[column]) for column in columns] for one in listed]
    for row in rows:
        row[-1] = str(row[-1])[:_DATE]
    print_table("Collections", titles, rows)
    return 0


def show(arguments: argparse.Namespace) -> int:
    """Show the record of one segment."""
    stack = open_stack(arguments)
    collection = stack.collection(arguments.collection)
    segment_id = arguments.segment_id
    record = stack.segments.get_many(collection.name, [segment_id]).get(segment_id)
    if record is None:
        raise CommandError(f"no such segment in collection {collection.name}: {segment_id}.")
    fields = _record(record)
    if arguments.json:
        print_json(fields)
        return 0
    rows = [(name.replace("_", " "), value) for name, value in fields.items() if name != "segment"]
    if record.segment is not None:
        rows += _segment_rows(record.segment)
    print_table(segment_id, ["", ""], rows)
    return 0


def reindex(arguments: argparse.Namespace) -> int:
    """Rebuild the index of a collection from its records."""
    stack = open_stack(arguments)
    collection = stack.collection(arguments.collection)
    rebuild = Reindex(stack.segments, stack.segment_index, Calibrate(stack.segments, stack.objects))
    with Steps().step(f"index {collection.name} again") as details:
        segments = rebuild(collection, _report)
        details.append(f"{segments:,} segments")
    if arguments.json:
        print_json({"collection": collection.name, "segments": segments})
    return 0


def _report(records: int) -> None:
    if records % _REPORT_EVERY == 0:
        say(f"{records:,} records")


def _delete(stack: Stack, arguments: argparse.Namespace) -> int:
    """Delete a collection's lists, records and calibration, and its entry last."""
    collection = stack.collection(arguments.delete)
    name = collection.name
    uploads = (one for one in stack.segment_uploads.open() if one.collection == name)
    if in_work := [one.upload for one in uploads if one.state.is_unfinished]:
        raise CommandError(
            f"collection {name} has uploads in work: {', '.join(in_work)}. "
            "Wait until `search-router runs` shows them as INDEXED."
        )
    if arguments.yes:
        stack.segment_index.drop(collection)
        stack.segments.drop(name)
        calibration = {
            "Bucket": stack.outputs["DataBucketName"],
            "Key": naming.calibration_key(name),
        }
        stack.client("s3").delete_object(**calibration)
        stack.collections.delete(name)
    if arguments.json:
        print_json({"collection": name, "deleted": arguments.yes})
    elif arguments.yes:
        say(f"{name} is deleted. Its uploaded files stay in the upload bucket.")
    else:
        say(
            f"Nothing was deleted. `search-router collections --delete {name} --yes` deletes the "
            "index and the records of the collection."
        )
    return 0


def _described(stack: Stack, collection: Collection, *, count: bool) -> dict[str, Any]:
    segments = {"segments": stack.segments.count(collection.name)} if count else {}
    return {**collection.model_dump(mode="json"), **segments}


def _shown(value: object) -> object:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return value


def _record(record: SegmentRecord) -> dict[str, Any]:
    """Return a record without its vectors; their dimensions tell that they exist."""
    write, segment = written_by(record.order), record.segment
    fields: dict[str, Any] = {
        "segment_id": record.segment_id,
        "outcome": record.outcome.value,
        "upload": write.upload,
        "byte_offset": write.byte_offset,
    }
    if segment is not None:
        fields["segment"] = {
            "video_id": segment.video_id,
            "start": segment.start,
            "end": segment.end,
            "texts": dict(segment.texts),
            "attributes": dict(segment.attributes),
            "vectors": {name: len(vector) for name, vector in record.vectors.items()},
        }
    return fields


def _segment_rows(segment: Segment) -> list[tuple[str, object]]:
    times = f"{time_code(segment.start)}\u2013{time_code(segment.end)}"
    rows: list[tuple[str, object]] = [("video", segment.video_id), ("time", times)]
    rows += [(f"text of {name}", text) for name, text in segment.texts.items()]
    return rows + [(name, _shown(value)) for name, value in segment.attributes.items()]
