"""The operations on vectors: put, get, list, delete and query."""

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from local_stack.bedrock_fake.clock import Clock
from local_stack.bedrock_fake.contract import Params
from local_stack.bedrock_fake.settings import LiveSettings
from local_stack.s3_vectors_fake.buckets import Buckets
from local_stack.s3_vectors_fake.errors import invalid, one_page, utf8
from local_stack.s3_vectors_fake.filters import Mask, check_metadata
from local_stack.s3_vectors_fake.settings import S3VectorsSettings
from local_stack.s3_vectors_fake.store import Entry, Stored, VectorStore

MAX_TOP_K = 10_000
_LIST_PAGE = 500
_RANK_CONSTANT = 60  # of reciprocal rank fusion


@dataclass(slots=True)
class Hit:
    """One row that a search found."""

    row: int
    distance: float | None = None
    bm25: dict[str, float] = field(default_factory=dict)
    fused: float = 0.0


class Vectors:
    """Answers the operations on the vectors of all indexes."""

    def __init__(
        self, buckets: Buckets, settings: LiveSettings[S3VectorsSettings], clock: Clock
    ) -> None:
        self._buckets = buckets
        self._settings = settings
        self._clock = clock

    def put(self, params: Params) -> Params:
        """Answer PutVectors: all vectors or, if one is invalid, none."""
        store = self._buckets.store(params)
        entries = []
        for vector in params["vectors"]:
            metadata = vector.get("metadata", {})
            check_metadata(metadata, store.config.non_filterable)
            data = _numbers(vector["data"], store.config.dimension)
            entries.append(Entry(utf8(vector["key"]), data, metadata))
        store.put(entries)
        return {}

    def get(self, params: Params) -> Params:
        """Answer GetVectors; unknown keys are left out."""
        store = self._buckets.store(params)
        keys = [utf8(key) for key in params["keys"]]
        with store.locked():
            return {"vectors": [_output(store, one, params) for one in store.by_keys(keys)]}

    def list_vectors(self, params: Params) -> Params:
        """Answer ListVectors, by row; a segment is every n-th row."""
        store = self._buckets.store(params)
        count, index = params.get("segmentCount", 1), params.get("segmentIndex", 0)
        if index >= count or ("segmentCount" in params) != ("segmentIndex" in params):
            raise invalid("segmentIndex must be less than segmentCount")
        with store.locked():
            rows = store.all_rows()
            own = [int(row) for row in rows[rows % count == index]]
            page, more = one_page(own, params, _LIST_PAGE)
            vectors = [_output(store, one, params) for one in store.by_rows(page)]
        return {"vectors": vectors, **more}

    def delete(self, params: Params) -> Params:
        """Answer DeleteVectors; unknown keys are ignored."""
        store = self._buckets.store(params)
        store.delete([utf8(key) for key in params["keys"]])
        return {}

    def query(self, params: Params) -> Params:
        """Answer QueryVectors: one page of the ranked hits."""
        started = time.monotonic()
        store = self._buckets.store(params)
        _check_query(params, store)
        start = _offset(params)
        end = min(start + int(self._settings.current.page_size), params["topK"])
        with store.locked():
            hits = _search(store, params)
            page = store.by_rows([hit.row for hit in hits[start:end]])
        vectors = [
            _result(stored, hit, params) for stored, hit in zip(page, hits[start:end], strict=True)
        ]
        more = {"nextToken": f"{end}.{_digest(params)}"} if end < len(hits) else {}
        rest = self._settings.current.query_latency_ms / 1000 - (time.monotonic() - started)
        if rest > 0:
            self._clock.sleep(rest)
        return {"vectors": vectors, "distanceMetric": "cosine", **more}


def _search(store: VectorStore, params: Params) -> list[Hit]:
    """Return the hits in ranked order, at most topK."""
    top, texts = params["topK"], params.get("queryTexts", [])
    allowed: Mask | None = store.allowed(params["filter"]) if "filter" in params else None
    hits: dict[int, Hit] = {}
    if "queryVector" in params:
        vector = _numbers(params["queryVector"], store.config.dimension)
        rows, distances = store.nearest(vector, allowed, top)
        for hit, distance in _ranked(hits, rows, distances):
            hit.distance = distance
    for text in texts:
        key = text["metadataKey"]
        rows, scores = store.search_text(key, text["text"], allowed, top)
        for hit, score in _ranked(hits, rows, scores):
            hit.bm25[key] = score
    if "queryVector" in params and not texts:
        return list(hits.values())
    if "queryVector" in params or len(texts) > 1:
        order = sorted(hits.values(), key=lambda hit: (-hit.fused, hit.row))
        return order[:top]
    return list(hits.values())


def _ranked(
    hits: dict[int, Hit], rows: NDArray[np.int64], scores: NDArray[np.float32]
) -> list[tuple[Hit, float]]:
    """Add the rows of one list to the hits, with their share of the fused score."""
    found = []
    for rank, (row, score) in enumerate(zip(rows.tolist(), scores.tolist(), strict=True), 1):
        hit = hits.setdefault(row, Hit(row))
        hit.fused += 1 / (_RANK_CONSTANT + rank)
        found.append((hit, score))
    return found


def _result(stored: Stored, hit: Hit, params: Params) -> Params:
    is_hybrid = "queryVector" in params and "queryTexts" in params
    result: Params = {"key": stored.key}
    if params.get("returnMetadata"):
        result["metadata"] = stored.metadata
    if params.get("returnDistance") and hit.distance is not None:
        result["distance"] = hit.distance
    if params.get("returnScores") and "queryTexts" in params:
        scores: Params = {"fused": hit.fused} if is_hybrid else {}
        if hit.bm25:
            scores["bm25Scores"] = [
                {"metadataKey": key, "score": score} for key, score in hit.bm25.items()
            ]
        if is_hybrid and hit.distance is not None:
            scores["vectorDistance"] = hit.distance
        result["scores"] = scores
    return result


def _output(store: VectorStore, stored: Stored, params: Params) -> Params:
    result: Params = {"key": stored.key}
    if params.get("returnData"):
        result["data"] = {"float32": store.data(stored.row)}
    if params.get("returnMetadata"):
        result["metadata"] = stored.metadata
    return result


def _check_query(params: Params, store: VectorStore) -> None:
    texts = params.get("queryTexts", [])
    keys = [text["metadataKey"] for text in texts]
    if "queryVector" not in params and not texts:
        raise invalid("A request must include queryVector, queryTexts, or both")
    if params["topK"] > MAX_TOP_K:
        raise invalid(f"topK must be at most {MAX_TOP_K}")
    if params.get("queryMode", "ENHANCED") != "ENHANCED":
        raise invalid("CLASSIC can't be specified for an ENHANCED index")
    if len(set(keys)) < len(keys) or set(keys) - store.config.languages.keys():
        raise invalid("Each query text must target a distinct searchable metadata key")


def _numbers(data: Mapping[str, Any], dimension: int) -> NDArray[np.float32]:
    """Return a vector; ValidationException if it has another dimension, or no direction."""
    values = data.get("float32", [])
    if len(values) != dimension:
        raise invalid(f"Vector must have length {dimension}, but has length {len(values)}")
    with np.errstate(over="ignore"):
        vector = np.array(values, dtype=np.float64).astype(np.float32)
    if not np.isfinite(vector).all():
        raise invalid("Vector contains invalid values (NaN or Infinity)")
    if not vector.any():
        raise invalid("Zero vectors are not allowed with the cosine distance metric")
    return vector


def _offset(params: Params) -> int:
    """Return the position of the page's first hit; a token belongs to one query."""
    if "nextToken" not in params:
        return 0
    offset, _, digest = params["nextToken"].partition(".")
    if not offset.isdecimal() or digest != _digest(params):
        raise invalid("The pagination token is invalid")
    return int(offset)


def _digest(params: Params) -> str:
    query = {name: value for name, value in params.items() if name != "nextToken"}
    return hashlib.sha256(json.dumps(query, sort_keys=True).encode()).hexdigest()[:16]
