"""The segment index on Amazon S3 Vectors: one vector index per collection and modality.

The modality's text is a full-text key of its index. One QueryVectors with a vector and a text
returns cosine distance and BM25 of each hit; its own order only nominates candidates.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from search_router.adapters.aws_errors import aws_errors
from search_router.domain.errors import BadRequestError, ConflictError, NotFoundError
from search_router.domain.search.filters import Filter, Operator
from search_router.domain.search.index import (
    Candidate,
    Collection,
    IndexEntry,
    ListQuery,
)

# Metadata keys of our own; the attributes of a segment are stored beside them.
VIDEO_ID, START, END, TEXT = "video_id", "start", "end", "text"

MAX_BATCH = 500  # vectors of PutVectors and DeleteVectors
MAX_BATCH_BYTES = 20 * 1024 * 1024 - 64 * 1024  # of a request, without what surrounds the vectors
MAX_QUERY_CHARACTERS = 1_024
_NUMBER_BYTES = 26  # the longest number of a vector in JSON, with its separator
_ENTRY_BYTES = 64  # the JSON around one vector
_HASH_CHARACTERS = 12
_COLLECTION_CHARACTERS, _MODALITY_CHARACTERS = 30, 19  # with hash and dots, 63 in all
_SYMBOLS = {
    Operator.EQUAL: "$eq",
    Operator.NOT_EQUAL: "$ne",
    Operator.LESS: "$lt",
    Operator.AT_MOST: "$lte",
    Operator.GREATER: "$gt",
    Operator.AT_LEAST: "$gte",
}
_BOOLEANS = {"true": True, "false": False}


class S3VectorsIndex:
    """The lists of all collections in one vector bucket, named by its name or ARN.

    `language` is that of the texts, one of S3 Vectors' language codes; new indexes get it.
    """

    def __init__(self, client: Any, bucket: str, language: str = "en") -> None:
        self._client = client
        self._bucket = bucket.rpartition("/")[2]
        self._language = language

    def create(self, collection: Collection) -> None:
        """Create the indexes that do not exist yet.

        Raises ConflictError if one exists with another dimension or metric.
        """
        for modality in collection.modalities:
            self._create(collection, modality)

    def put(self, collection: Collection, modality: str, entries: Sequence[IndexEntry]) -> None:
        """Write entries in batches; of several with one segment id, the last is written."""
        index = self._index(collection, modality)
        latest = {entry.segment_id: entry for entry in entries}
        for vectors in _batches(map(_vector, latest.values()), collection.dimension):
            with aws_errors("write to the segment index", with_query=True):
                self._client.put_vectors(**index, vectors=vectors)

    def delete(self, collection: Collection, modality: str, segment_ids: Sequence[str]) -> None:
        """Delete entries in batches; those that do not exist are ignored."""
        index = self._index(collection, modality)
        keys = iter(dict.fromkeys(segment_ids))
        while batch := list(islice(keys, MAX_BATCH)):
            with aws_errors("delete from the segment index"):
                self._client.delete_vectors(**index, keys=batch)

    def search(self, collection: Collection, query: ListQuery) -> Sequence[Candidate]:
        """Return the hits of one list; raises NotFoundError if its index does not exist."""
        request = self._index(collection, query.modality) | _request(query)
        hits: list[Mapping[str, Any]] = []
        while len(hits) < query.limit:
            with aws_errors(f"search the list {query.modality}", with_query=True):
                page = self._client.query_vectors(**request)
            hits += page["vectors"]
            if not page.get("nextToken"):
                break
            request["nextToken"] = page["nextToken"]
        return [_candidate(hit) for hit in hits[: query.limit]]

    def drop(self, collection: Collection) -> None:
        """Delete the collection's indexes; those that do not exist are ignored."""
        for modality in collection.modalities:
            try:
                with aws_errors("delete a segment index"):
                    self._client.delete_index(**self._index(collection, modality))
            except NotFoundError:
                continue

    def _index(self, collection: Collection, modality: str) -> dict[str, Any]:
        return {"vectorBucketName": self._bucket, "indexName": index_name(collection, modality)}

    def _create(self, collection: Collection, modality: str) -> None:
        index = self._index(collection, modality)
        try:
            with aws_errors("create a segment index"):
                self._client.create_index(
                    **index,
                    dataType="float32",
                    dimension=collection.dimension,
                    distanceMetric="cosine",
                    metadataConfiguration={
                        "nonFilterableMetadataKeys": [TEXT],
                        "textSearchConfigurations": [
                            {"metadataKey": TEXT, "language": self._language}
                        ],
                    },
                )
        except ConflictError:
            self._adopt(collection, index)

    def _adopt(self, collection: Collection, index: Mapping[str, Any]) -> None:
        with aws_errors("read a segment index"):
            found = self._client.get_index(**index)["index"]
        if (found["dimension"], found["distanceMetric"]) != (collection.dimension, "cosine"):
            raise ConflictError(
                f"index {index['indexName']} has dimension {found['dimension']} and metric "
                f"{found['distanceMetric']}, but the collection needs {collection.dimension} and "
                "cosine. Delete the index."
            )


def index_name(collection: Collection, modality: str) -> str:
    """Return the name of the index of one modality.

    Embedding model and dimension are part of it, because an index cannot change them.
    """
    parts = (collection.name, modality, collection.embedding_model, str(collection.dimension))
    digest = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:_HASH_CHARACTERS]
    readable = (
        _slug(collection.name, _COLLECTION_CHARACTERS),
        _slug(modality, _MODALITY_CHARACTERS),
        digest,
    )
    return ".".join(part for part in readable if part)


def _slug(text: str, length: int) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:length].strip("-")


def _vector(entry: IndexEntry) -> dict[str, Any]:
    attributes = {
        name: list(value) if isinstance(value, list | tuple) else value
        for name, value in entry.attributes.items()
    }
    own = {VIDEO_ID: entry.video_id, START: entry.start, END: entry.end}
    text = {TEXT: entry.text} if entry.text else {}
    return {
        "key": entry.segment_id,
        "data": {"float32": entry.vector.tolist()},
        "metadata": {**attributes, **own, **text},
    }


def _batches(vectors: Iterator[dict[str, Any]], dimension: int) -> Iterator[list[dict[str, Any]]]:
    """Yield batches within the limits of PutVectors."""
    batch: list[dict[str, Any]] = []
    size = 0
    for vector in vectors:
        described = len(json.dumps([vector["key"], vector["metadata"]]))
        needed = described + dimension * _NUMBER_BYTES + _ENTRY_BYTES
        if batch and (len(batch) == MAX_BATCH or size + needed > MAX_BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(vector)
        size += needed
    if batch:
        yield batch


def _request(query: ListQuery) -> dict[str, Any]:
    """Return the parameters of QueryVectors; raises BadRequestError for a filter on the text."""
    request: dict[str, Any] = {"topK": query.limit, "returnMetadata": True}
    text = _cut(query.text)
    if query.vector is not None:
        request |= {"queryVector": {"float32": query.vector.tolist()}, "returnDistance": True}
    if text:
        texts = [{"text": text, "metadataKey": TEXT}]
        request |= {"queryTexts": texts, "returnScores": True}
    if query.filters:
        request["filter"] = _filter(query.filters)
    return request


def _cut(text: str) -> str:
    """Return a query within the limit of QueryVectors, cut between words if there are several."""
    text = text.strip()
    if len(text) <= MAX_QUERY_CHARACTERS:
        return text
    words, space, _ = text[: MAX_QUERY_CHARACTERS + 1].rpartition(" ")
    return words.rstrip() if space else text[:MAX_QUERY_CHARACTERS]


def _filter(filters: Sequence[Filter]) -> dict[str, Any]:
    conditions = [condition for one in filters for condition in _conditions(one)]
    return conditions[0] if len(conditions) == 1 else {"$and": conditions}


def _conditions(one: Filter) -> list[dict[str, Any]]:
    """Return the conditions of one filter, all of which must hold.

    S3 Vectors does not convert types: a value that is also a number or a boolean is compared as
    that and as a text.
    """
    if one.field == TEXT:
        raise BadRequestError(f"filter on {TEXT} is not possible. Search for the words instead.")
    symbol = _SYMBOLS[one.operator]
    if one.operator not in (Operator.EQUAL, Operator.NOT_EQUAL):
        return [{one.field: {symbol: one.number}}]
    values: list[str | float | bool] = [one.text]
    if one.number is not None:
        values.append(one.number)
    if one.text.lower() in _BOOLEANS:
        values.append(_BOOLEANS[one.text.lower()])
    compared = [{one.field: {symbol: value}} for value in values]
    if one.operator is Operator.NOT_EQUAL or len(compared) == 1:
        return compared
    return [{"$or": compared}]


def _candidate(hit: Mapping[str, Any]) -> Candidate:
    metadata = dict(hit["metadata"])
    scores = hit.get("scores", {})
    distance = scores.get("vectorDistance", hit.get("distance"))
    bm25 = [score["score"] for score in scores.get("bm25Scores", ())]
    return Candidate(
        segment_id=hit["key"],
        cosine=None if distance is None else 1.0 - distance,
        bm25=bm25[0] if bm25 else None,
        video_id=metadata.pop(VIDEO_ID),
        start=metadata.pop(START),
        end=metadata.pop(END),
        text=metadata.pop(TEXT, ""),
        attributes=metadata,
    )
