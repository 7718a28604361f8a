"""A collection as an OpenSearch index: its mapping, and its segments as bulk requests.

A text field and a knn_vector field for each modality, attributes as keywords, numbers and booleans.
`cosinesimil` is the distance of the collection's own index (docs.opensearch.org: k-NN vector,
Methods and engines, Bulk).

A hybrid query ranks differently from GET /search: at most five sub-queries, scores stretched by
min-max to the best and worst hit of each sub-query, no calibrated floor, and no ranking profile.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from router_cli.console import CommandError
from router_cli.opensearch import check_modalities
from search_router.domain.search.index import AttributeValue, Collection
from search_router.domain.search.segment_records import SegmentRecord
from search_router.domain.search.segments import Segment

INDEX, BULK = "index.json", "bulk-{:05d}.ndjson"
MAX_BULK_BYTES = 10 * 1024 * 1024  # OpenSearch advises 5 to 15 MiB a request; its limit is 100 MB
_FIELDS: dict[str, dict[str, Any]] = {
    "video_id": {"type": "keyword"},
    "start": {"type": "double"},
    "end": {"type": "double"},
}
_VECTORS, _ATTRIBUTES = "vectors", "attributes"
_DEFAULT_FIELD_LIMIT = 1_000  # index.mapping.total_fields.limit
_SINGLE_DIGITS = 9  # enough to read a 32-bit float back


def write_index(collection: Collection, records: Iterable[SegmentRecord], folder: Path) -> int:
    """Write the mapping and the bulk files of a collection; return the number of segments.

    Bulk files that an earlier export left in the folder are deleted. Raises CommandError if a
    hybrid query cannot have as many sub-queries as the collection has modalities.
    """
    check_modalities(collection.modalities)
    if taken := {*_FIELDS, _VECTORS, _ATTRIBUTES}.intersection(collection.modalities):
        raise CommandError(f"a field of the index has a modality's name: {', '.join(taken)}.")
    for old in folder.glob("bulk-*.ndjson"):
        old.unlink()
    kinds: defaultdict[str, set[type]] = defaultdict(set)
    count = 0
    for number, body in enumerate(_bodies(collection, records, kinds), start=1):
        (folder / BULK.format(number)).write_bytes(b"".join(body))
        count += len(body)
    text = json.dumps(mapping(collection, kinds), indent=2, ensure_ascii=False) + "\n"
    (folder / INDEX).write_text(text, encoding="utf-8")
    return count


def mapping(collection: Collection, kinds: dict[str, set[type]]) -> dict[str, Any]:
    """Return the body that creates the index; `kinds` are the types of each attribute's values."""
    vector = {
        "type": "knn_vector",
        "dimension": collection.dimension,
        "method": {"name": "hnsw", "engine": "lucene", "space_type": "cosinesimil"},
    }
    texts = {name: {"type": "text", "analyzer": "english"} for name in collection.modalities}
    attributes = {name: {"type": _field_type(types)} for name, types in sorted(kinds.items())}
    fields = len(attributes) + 2 * len(texts) + len(_FIELDS) + 2
    index: dict[str, Any] = {"knn": True}
    if fields > _DEFAULT_FIELD_LIMIT:
        index["mapping.total_fields.limit"] = fields
    properties = {
        **_FIELDS,
        **texts,
        _VECTORS: {"properties": dict.fromkeys(collection.modalities, vector)},
        _ATTRIBUTES: {"properties": attributes},
    }
    return {
        "settings": {"index": index},
        "mappings": {"dynamic": False, "properties": properties},
    }


def _bodies(
    collection: Collection, records: Iterable[SegmentRecord], kinds: dict[str, set[type]]
) -> Iterator[list[bytes]]:
    """Yield the segments of each bulk request, and add the types of their attributes to `kinds`."""
    body: list[bytes] = []
    size = 0
    for record in records:
        if record.segment is None:
            continue
        lines = _lines(collection, record, record.segment)
        for name, value in record.segment.attributes.items():
            kinds[_field_name(name)].add(_kind(value))
        if body and size + len(lines) > MAX_BULK_BYTES:
            yield body
            body, size = [], 0
        body.append(lines)
        size += len(lines)
    if body:
        yield body


def _lines(collection: Collection, record: SegmentRecord, segment: Segment) -> bytes:
    action = {"index": {"_index": collection.name, "_id": record.segment_id}}
    vectors = {
        name: [float(f"{number:.{_SINGLE_DIGITS}g}") for number in vector]
        for name, vector in record.vectors.items()
    }
    document = {
        "video_id": segment.video_id,
        "start": segment.start,
        "end": segment.end,
        **segment.texts,
        _VECTORS: vectors,
        _ATTRIBUTES: {_field_name(name): value for name, value in segment.attributes.items()},
    }
    return b"".join(
        json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
        for value in (action, document)
    )


def _field_name(attribute: str) -> str:
    """Return an attribute's field; a dot in it would make it an object."""
    return attribute.replace(".", "_")


def _kind(value: AttributeValue) -> type:
    if isinstance(value, bool):
        return bool
    return float if isinstance(value, int | float) else str


def _field_type(kinds: set[type]) -> str:
    """Return the type of a field; a keyword takes values of all types."""
    if kinds == {bool}:
        return "boolean"
    return "double" if kinds == {float} else "keyword"
