"""The fake of S3 Vectors over HTTP: its limits, its ranking, its filters, its faults."""

import itertools
import json
import math
import random
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError
from hypothesis import given, settings
from hypothesis import strategies as st

from local_stack.bedrock_fake.faults import Fault
from local_stack.s3_vectors_fake import FakeS3Vectors, S3VectorsSettings
from tests.integration.fake_bench import NO_RETRIES, SESSION

BUCKET, INDEX = {"vectorBucketName": "bucket"}, {"vectorBucketName": "bucket", "indexName": "index"}
TEXT = [{"metadataKey": "text", "language": "en"}]
UNCHECKED = NO_RETRIES.merge(Config(parameter_validation=False))
Vectors = Sequence[Mapping[str, Any]]


def client_of(fake: FakeS3Vectors, config: Config = NO_RETRIES) -> Any:
    return SESSION.client("s3vectors", endpoint_url=fake.url, config=config)


def create(s3_vectors: Any, dimension: int = 2) -> None:
    s3_vectors.create_vector_bucket(**BUCKET)
    s3_vectors.create_index(
        **INDEX,
        dataType="float32",
        dimension=dimension,
        distanceMetric="cosine",
        metadataConfiguration={
            "nonFilterableMetadataKeys": ["text"],
            "textSearchConfigurations": TEXT,
        },
    )


@pytest.fixture
def fake() -> Iterator[FakeS3Vectors]:
    with FakeS3Vectors() as served:
        yield served


@pytest.fixture
def client(fake: FakeS3Vectors) -> Iterator[Any]:
    made = client_of(fake)
    create(made)
    yield made
    made.close()


@pytest.fixture
def unchecked(fake: FakeS3Vectors, client: Any) -> Iterator[Any]:
    """A client that sends what its own validation would stop."""
    made = client_of(fake, UNCHECKED)
    yield made
    made.close()


def vector(key: str, *data: float, **metadata: Any) -> dict[str, Any]:
    return {"key": key, "data": {"float32": [*data]}, "metadata": metadata}


def keys(reply: Mapping[str, Any]) -> list[str]:
    return [found["key"] for found in reply["vectors"]]


# --- Buckets and indexes --------------------------------------------------------------------------


def test_an_index_is_described_as_it_was_created(client: Any) -> None:
    index = client.get_index(**INDEX)["index"]

    assert (index["dimension"], index["distanceMetric"], index["indexMode"]) == (
        2,
        "cosine",
        "ENHANCED",
    )
    assert index["metadataConfiguration"] == {
        "nonFilterableMetadataKeys": ["text"],
        "textSearchConfigurations": [{"metadataKey": "text", "language": "en", "status": "ACTIVE"}],
    }
    assert index["indexArn"] == "arn:aws:s3vectors:us-east-1:000000000000:bucket/bucket/index/index"
    assert client.get_index(indexArn=index["indexArn"])["index"] == index
    (bucket,) = client.list_vector_buckets()["vectorBuckets"]
    described = client.get_vector_bucket(vectorBucketArn=bucket["vectorBucketArn"])["vectorBucket"]
    assert described["defaultIndexMode"] == "ENHANCED"


def test_indexes_are_listed_by_prefix_in_pages(client: Any) -> None:
    new = {"dataType": "float32", "dimension": 3, "distanceMetric": "cosine"}
    for name in ("films.a", "films.b", "other"):
        client.create_index(**BUCKET, indexName=name, **new)

    first = client.list_indexes(**BUCKET, prefix="films.", maxResults=1)
    second = client.list_indexes(**BUCKET, prefix="films.", nextToken=first["nextToken"])

    assert [one["indexName"] for one in first["indexes"]] == ["films.a"]
    assert [one["indexName"] for one in second["indexes"]] == ["films.b"]


@pytest.mark.parametrize(
    ("call", "code"),
    [
        (create, "ConflictException"),
        (lambda c: c.delete_vector_bucket(**BUCKET), "ConflictException"),
        (lambda c: c.create_vector_bucket(vectorBucketName="Bucket"), "ValidationException"),
        (lambda c: c.create_vector_bucket(vectorBucketName="a" * 64), "ValidationException"),
        (lambda c: c.get_vector_bucket(), "ValidationException"),
        (lambda c: c.get_vector_bucket(vectorBucketName="no-such"), "NotFoundException"),
        (lambda c: c.get_index(**BUCKET, indexName="no-such"), "NotFoundException"),
        (lambda c: c.get_index(**BUCKET, indexName="../bucket"), "NotFoundException"),
        (lambda c: c.delete_index(**BUCKET, indexName="no-such"), "NotFoundException"),
        (lambda c: c.put_vectors(**BUCKET, vectors=[vector("a", 1, 0)]), "ValidationException"),
    ],
)
def test_what_the_service_rejects_is_rejected(
    client: Any, call: Callable[[Any], object], code: str
) -> None:
    with pytest.raises(ClientError, match=code):
        call(client)


def test_an_index_that_is_deleted_is_gone_with_its_vectors(client: Any) -> None:
    client.put_vectors(**INDEX, vectors=[vector("a", 1, 0)])

    client.delete_index(**INDEX)

    with pytest.raises(ClientError, match="NotFoundException"):
        client.get_vectors(**INDEX, keys=["a"])
    client.delete_vector_bucket(**BUCKET)
    create(client)
    assert client.get_vectors(**INDEX, keys=["a"])["vectors"] == []


def test_vectors_survive_a_restart_on_the_same_folder(tmp_path: Path) -> None:
    options = S3VectorsSettings(folder=str(tmp_path))
    with FakeS3Vectors(options) as first:
        client = client_of(first)
        create(client)
        client.put_vectors(
            **INDEX, vectors=[vector("a", 1, 0, text="a red door"), vector("b", 0, 1, n=1)]
        )
        client.put_vectors(**INDEX, vectors=[vector("b", 1, 1, text="red doors", n=2)])
        client.delete_vectors(**INDEX, keys=["a"])

    with FakeS3Vectors(options) as second:
        client = client_of(second)
        (found,) = client.query_vectors(
            **INDEX,
            topK=5,
            queryVector={"float32": [1, 1]},
            queryTexts=[{"text": "door", "metadataKey": "text"}],
            returnMetadata=True,
            returnScores=True,
        )["vectors"]
        client.put_vectors(**INDEX, vectors=[vector("c", 1, 0)])
        assert keys(client.list_vectors(**INDEX)) == ["c", "b"]

    assert (found["key"], found["metadata"]) == ("b", {"text": "red doors", "n": 2})
    assert found["scores"]["vectorDistance"] == pytest.approx(0, abs=1e-6)
    assert found["scores"]["bm25Scores"][0]["score"] > 0


# --- Limits ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("vectors", "reason"),
    [
        ([vector("a", 1, 0, 0)], "length 2"),
        ([vector("a", 0, 0)], "Zero vectors"),
        ([vector("a", math.nan, 0)], "Invalid type"),
        ([vector("a", 1e39, 0)], "NaN or Infinity"),
        ([vector("a", 1, 0), vector("b", 0, 0)], "Zero vectors"),
        ([vector(str(n), 1, 0) for n in range(501)], "less than or equal to 500"),
        ([], "min"),
        ([vector("a" * 1025, 1, 0)], "less than or equal to 1024"),
        ([vector("a", 1, 0, **{f"k{n}": 1 for n in range(51)})], "50 keys"),
        ([vector("a", 1, 0, k="x" * 2041)], "2048 bytes"),
        ([vector("a", 1, 0, text="x" * 40_960)], "40960 bytes"),
        ([vector("a", 1, 0, k={"nested": 1})], "must be strings"),
        ([vector("a", 1, 0, k=None)], "must be strings"),
        ([vector("a", 1, 0, k=[["x"]])], "must be strings"),
        ([vector("a", 1, 0, k=10**400)], "must be strings"),
        ([vector("a", 1, 0, k="\ud800")], "UTF-8"),
        ([vector("\ud800", 1, 0)], "UTF-8"),
    ],
)
def test_vectors_outside_the_limits_are_rejected_and_none_is_written(
    client: Any, unchecked: Any, vectors: Vectors, reason: str
) -> None:
    with pytest.raises(ClientError, match=rf"(?s)ValidationException.*{reason}"):
        unchecked.put_vectors(**INDEX, vectors=vectors)

    assert client.list_vectors(**INDEX)["vectors"] == []


def test_metadata_and_batches_at_the_limits_are_written(client: Any) -> None:
    at_limit = vector("a", 1, 0, k="x" * (2048 - len('{"k":""}')), text="x" * 38_000)
    client.put_vectors(**INDEX, vectors=[at_limit, *(vector(str(n), 1, 0) for n in range(499))])

    got = client.get_vectors(**INDEX, keys=["a"], returnMetadata=True, returnData=True)["vectors"]
    client.delete_vectors(**INDEX, keys=[str(n) for n in range(500)])

    assert got == [at_limit]
    assert keys(client.list_vectors(**INDEX)) == ["a"]


def test_a_request_larger_than_20_mib_is_rejected(client: Any) -> None:
    large = [vector(str(n), 1, 0, text="x" * 40_900) for n in range(500)]

    client.put_vectors(**INDEX, vectors=large)
    with pytest.raises(ClientError, match="20 MiB"):
        client.put_vectors(**INDEX, vectors=[{**one, "key": "k" * 1_024} for one in large])


def test_the_last_of_several_vectors_with_one_key_is_kept(client: Any) -> None:
    client.put_vectors(**INDEX, vectors=[vector("a", 1, 0, n=1), vector("a", 0, 1, n=2)])
    client.put_vectors(**INDEX, vectors=[vector("a", 1, 1, n=3)])

    reply = client.query_vectors(**INDEX, topK=9, queryVector={"float32": [1, 1]})

    assert keys(reply) == ["a"]
    (found,) = client.get_vectors(**INDEX, keys=["a"], returnData=True)["vectors"]
    assert found["data"] == {"float32": [1, 1]}


# --- Queries --------------------------------------------------------------------------------------


def texts(query: str) -> dict[str, Any]:
    return {"queryTexts": [{"text": query, "metadataKey": "text"}]}


def test_distances_are_exact_cosine_distances_in_order(fake: FakeS3Vectors) -> None:
    rng = np.random.default_rng(7)
    data = rng.standard_normal((300, 16)).astype(np.float32)
    query = rng.standard_normal(16).astype(np.float32)
    client = client_of(fake)
    create(client, dimension=16)
    client.put_vectors(
        **INDEX, vectors=[vector(str(n), *row) for n, row in enumerate(data.tolist())]
    )

    reply = client.query_vectors(
        **INDEX, topK=20, queryVector={"float32": query.tolist()}, returnDistance=True
    )

    lengths = np.linalg.norm(data.astype(float), axis=1) * np.linalg.norm(query.astype(float))
    distances = 1 - data.astype(float) @ query.astype(float) / lengths
    nearest = np.argsort(distances)[:20]
    assert keys(reply) == [str(n) for n in nearest]
    assert [found["distance"] for found in reply["vectors"]] == pytest.approx(
        distances[nearest], abs=1e-6
    )
    assert all("scores" not in found and "metadata" not in found for found in reply["vectors"])


def test_text_is_stemmed_and_stop_words_do_not_match(client: Any) -> None:
    client.put_vectors(
        **INDEX,
        vectors=[
            vector("door", 1, 0, text="He opens the red door"),
            vector("doors", 1, 0, text="many doors, and more doors"),
            vector("other", 1, 0, text="the rest of them"),
            vector("none", 1, 0),
        ],
    )

    def matched(query: str) -> list[str]:
        return keys(client.query_vectors(**INDEX, topK=9, **texts(query)))

    assert matched("a DOOR for the others") == ["doors", "door"]
    assert matched("opening") == ["door"]
    assert matched("the of") == matched('"') == matched("\x00 OR NEAR(") == []


def test_bm25_is_the_textbook_formula(client: Any) -> None:
    documents = {"a": "red door", "b": "red red car", "c": "blue car on a road at night", "d": "x"}
    client.put_vectors(
        **INDEX, vectors=[vector(key, 1, 0, text=text) for key, text in documents.items()]
    )

    reply = client.query_vectors(**INDEX, topK=9, **texts("red car"), returnScores=True)

    stop = {"on", "a", "at"}
    words = {k: [w for w in text.split() if w not in stop] for k, text in documents.items()}
    mean = sum(map(len, words.values())) / 4

    def score(own: list[str]) -> float:
        total = 0.0
        for term in ("red", "car"):
            holders = sum(term in other for other in words.values())
            idf = math.log(1 + (4 - holders + 0.5) / (holders + 0.5))
            count = own.count(term)
            total += idf * count * 2.2 / (count + 1.2 * (0.25 + 0.75 * len(own) / mean))
        return total

    expected = {key: score(own) for key, own in words.items() if score(own)}
    assert keys(reply) == sorted(expected, key=lambda key: -expected[key]) == ["b", "a", "c"]
    for found in reply["vectors"]:
        (only,) = found["scores"]["bm25Scores"]
        assert only["metadataKey"] == "text"
        assert only["score"] == pytest.approx(expected[found["key"]], rel=1e-5)
        assert found["scores"].keys() == {"bm25Scores"}


def test_a_hybrid_search_is_ordered_by_reciprocal_rank_and_has_the_scores_of_its_lists(
    client: Any,
) -> None:
    client.put_vectors(
        **INDEX,
        vectors=[
            vector("both", 1, 0.2, text="red door"),
            vector("near", 1, 0, text="blue"),
            vector("word", -1, 0, text="red"),
        ],
    )

    reply = client.query_vectors(
        **INDEX, topK=2, queryVector={"float32": [1, 0]}, **texts("red"), returnScores=True
    )

    scores = {found["key"]: found["scores"] for found in reply["vectors"]}
    assert keys(reply) == ["both", "near"] or keys(reply) == ["both", "word"]
    assert scores["both"]["fused"] == pytest.approx(2 / 62)
    assert scores["both"].keys() == {"fused", "bm25Scores", "vectorDistance"}
    everything = client.query_vectors(
        **INDEX, topK=3, queryVector={"float32": [1, 0]}, **texts("red"), returnScores=True
    )
    scores = {found["key"]: found["scores"] for found in everything["vectors"]}
    assert scores["near"].keys() == {"fused", "vectorDistance"}
    assert scores["word"]["vectorDistance"] == pytest.approx(2)


def test_a_hit_that_the_vector_search_did_not_find_has_no_distance(client: Any) -> None:
    near = [vector(f"near {n}", 1, n / 100, text="blue") for n in range(3)]
    client.put_vectors(**INDEX, vectors=[*near, vector("far", -1, 0, text="red")])

    reply = client.query_vectors(
        **INDEX, topK=2, queryVector={"float32": [1, 0]}, **texts("red"), returnScores=True
    )

    scores = {found["key"]: found["scores"] for found in reply["vectors"]}
    assert scores["far"].keys() == {"fused", "bm25Scores"}


def test_hits_come_in_pages_of_one_query(fake: FakeS3Vectors, client: Any) -> None:
    fake.change(page_size=4)
    client.put_vectors(**INDEX, vectors=[vector(str(n), 1, n / 10, text="red") for n in range(12)])
    query = {**INDEX, "topK": 10, "queryVector": {"float32": [1, 0]}, **texts("red")}

    pages = list(client.get_paginator("query_vectors").paginate(**query))

    assert [len(page["vectors"]) for page in pages] == [4, 4, 2]
    assert len(set(itertools.chain(*map(keys, pages)))) == 10
    other = {**query, "topK": 9, "nextToken": pages[0]["nextToken"]}
    for wrong in (other, {**query, "nextToken": "4"}, {**query, "nextToken": "x"}):
        with pytest.raises(ClientError, match="pagination token is invalid"):
            client.query_vectors(**wrong)


@pytest.mark.parametrize(
    "query",
    [
        {"topK": 1},
        {"topK": 10_001, "queryVector": {"float32": [1, 0]}},
        {"topK": 1, "queryVector": {"float32": [1, 0, 0]}},
        {"topK": 1, "queryVector": {"float32": [0, 0]}},
        {"topK": 1, "queryVector": {"float32": [1, 0]}, "queryMode": "CLASSIC"},
        {"topK": 1, **texts("x" * 1_025)},
        {"topK": 1, "queryTexts": [{"text": "x", "metadataKey": "no-such"}]},
        {"topK": 1, "queryTexts": texts("x")["queryTexts"] * 2},
        {"topK": 1, **texts("x"), "filter": {"text": "x"}},
        {"topK": 1, **texts("x"), "filter": {}},
        {"topK": 1, **texts("x"), "filter": []},
        {"topK": 1, **texts("x"), "filter": {"a": {}}},
        {"topK": 1, **texts("x"), "filter": {"a": {"$near": 1}}},
        {"topK": 1, **texts("x"), "filter": {"a": {"$gt": "1"}}},
        {"topK": 1, **texts("x"), "filter": {"a": ["x"]}},
        {"topK": 1, **texts("x"), "filter": {"$and": []}},
        {"topK": 1, **texts("x"), "filter": {"$not": [{"a": 1}]}},
        {"topK": 1, **texts("x"), "filter": {"a": {"$in": []}}},
        {"topK": 1, **texts("x"), "filter": {"a": {"$exists": 1}}},
        {"topK": 1, **texts("x"), "filter": {"a": "\ud800"}},
    ],
)
def test_a_query_outside_the_contract_is_rejected(unchecked: Any, query: dict[str, Any]) -> None:
    with pytest.raises(ClientError, match="ValidationException"):
        unchecked.query_vectors(**INDEX, **query)


# --- Filters against a reference ------------------------------------------------------------------

_VALUES = st.sampled_from(["drama", "news", "1", 1, 2, 2.5, True, False])
_METADATA = st.dictionaries(
    st.sampled_from(["a", "b"]), _VALUES | st.lists(_VALUES, max_size=3), max_size=2
)
_CONDITIONS = st.one_of(
    st.tuples(st.sampled_from(["$eq", "$ne"]), _VALUES),
    st.tuples(st.sampled_from(["$gt", "$gte", "$lt", "$lte"]), st.sampled_from([1, 2, 2.5])),
    st.tuples(st.sampled_from(["$in", "$nin"]), st.lists(_VALUES, min_size=1, max_size=3)),
    st.tuples(st.just("$exists"), st.booleans()),
).map(lambda pair: {pair[0]: pair[1]})
_FILTERS: st.SearchStrategy[Any] = st.recursive(
    st.dictionaries(st.sampled_from(["a", "b"]), _VALUES | _CONDITIONS, min_size=1, max_size=2),
    lambda inner: st.tuples(
        st.sampled_from(["$and", "$or"]), st.lists(inner, min_size=1, max_size=3)
    ).map(lambda pair: {pair[0]: pair[1]}),
    max_leaves=5,
)
_ORDERS: dict[str, Callable[[Any, Any], bool]] = {
    "$gt": lambda x, y: x > y,
    "$gte": lambda x, y: x >= y,
    "$lt": lambda x, y: x < y,
    "$lte": lambda x, y: x <= y,
}


def allows(filter_: Any, metadata: Mapping[str, Any]) -> bool:
    """The documented meaning of a filter, row by row."""
    return all(_allows(name, condition, metadata) for name, condition in filter_.items())


def _allows(name: str, condition: Any, metadata: Mapping[str, Any]) -> bool:
    if name in ("$and", "$or"):
        return {"$and": all, "$or": any}[name](allows(one, metadata) for one in condition)
    value = metadata.get(name, [])
    values = value if isinstance(value, list) else [value]
    ((operator, wanted),) = (
        condition.items() if isinstance(condition, dict) else {"$eq": condition}.items()
    )
    match operator:
        case "$eq" | "$ne":
            return any(_same(one, wanted) for one in values) == (operator == "$eq")
        case "$in" | "$nin":
            found = any(_same(one, other) for one in values for other in wanted)
            return found == (operator == "$in")
        case "$exists":
            return bool(values) is wanted
        case _:
            numbers = (x for x in values if isinstance(x, int | float) and not isinstance(x, bool))
            return any(_ORDERS[operator](number, wanted) for number in numbers)


def _same(one: object, other: object) -> bool:
    def is_number(x: object) -> bool:
        return isinstance(x, int | float) and not isinstance(x, bool)

    return one == other and (type(one) is type(other) or (is_number(one) and is_number(other)))


@pytest.fixture(scope="module")
def filtered() -> Iterator[Any]:
    """A client whose index is filled anew by each example."""
    with FakeS3Vectors() as served:
        made = client_of(served)
        create(made)
        yield made
        made.close()


@settings(max_examples=60, deadline=None)
@given(st.lists(_METADATA, min_size=1, max_size=25), _FILTERS)
def test_filters_apply_inside_each_list_as_documented(
    filtered: Any, rows: list[dict[str, Any]], filter_: Any
) -> None:
    stale = keys(filtered.list_vectors(**INDEX))
    if stale:
        filtered.delete_vectors(**INDEX, keys=stale)
    filtered.put_vectors(
        **INDEX,
        vectors=[vector(str(n), 1, n / 100, text="red", **row) for n, row in enumerate(rows)],
    )
    allowed = [str(n) for n, row in enumerate(rows) if allows(filter_, row)]
    query = {**INDEX, "filter": filter_, "topK": 3}

    by_vector = filtered.query_vectors(**query, queryVector={"float32": [1, 0]})
    by_text = filtered.query_vectors(**query, **texts("red"))

    assert keys(by_vector) == allowed[:3]
    assert len(keys(by_text)) == min(3, len(allowed))
    assert set(keys(by_text)) <= set(allowed)


# --- Concurrency, faults, process -----------------------------------------------------------------


def test_a_write_is_visible_to_the_next_query_whatever_came_before(client: Any) -> None:
    chance = random.Random(3)  # noqa: S311
    present: dict[str, list[float]] = {}
    for step in range(120):
        key = str(chance.randrange(12))
        if chance.random() < 0.3 and key in present:
            del present[key]
            client.delete_vectors(**INDEX, keys=[key])
        else:
            present[key] = [chance.uniform(-1, 1), chance.uniform(0.1, 1)]
            client.put_vectors(
                **INDEX, vectors=[vector(key, *present[key], text=f"red w{step}", n=step)]
            )
        reply = client.query_vectors(**INDEX, topK=20, queryVector={"float32": [0.3, 0.7]})
        angles = {k: -(0.3 * x + 0.7 * y) / math.hypot(x, y) for k, (x, y) in present.items()}
        assert keys(reply) == sorted(angles, key=lambda k: angles[k])
        assert set(keys(client.query_vectors(**INDEX, topK=20, **texts("red")))) == set(present)


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (Fault.THROTTLE, "TooManyRequestsException"),
        (Fault.MODEL_TIMEOUT, "RequestTimeoutException"),
        (Fault.INTERNAL, "InternalServerException"),
        (Fault.UNAVAILABLE, "ServiceUnavailableException"),
    ],
)
def test_the_next_call_meets_the_fault(
    fake: FakeS3Vectors, client: Any, fault: Fault, code: str
) -> None:
    fake.fail_next("GetIndex", fault)

    with pytest.raises(ClientError, match=code):
        client.get_index(**INDEX)

    assert client.get_index(**INDEX)["index"]["dimension"] == 2
    with pytest.raises(ValueError, match="424"):
        fake.fail_next("GetIndex", Fault.MODEL_ERROR)


def test_a_lost_reply_is_work_done(fake: FakeS3Vectors, client: Any) -> None:
    fake.fail_next("PutVectors", Fault.LOST_REPLY)

    with pytest.raises(ConnectionClosedError):
        client.put_vectors(**INDEX, vectors=[vector("a", 1, 0)])

    assert keys(client.list_vectors(**INDEX)) == ["a"]


def test_vectors_are_listed_in_pages_and_segments(client: Any) -> None:
    client.put_vectors(**INDEX, vectors=[vector(str(n), 1, n) for n in range(7)])

    pages = client.get_paginator("list_vectors").paginate(**INDEX, PaginationConfig={"PageSize": 3})
    halves = [client.list_vectors(**INDEX, segmentCount=2, segmentIndex=n) for n in (0, 1)]

    every = {str(n) for n in range(7)}
    assert [len(page["vectors"]) for page in pages] == [3, 3, 1]
    assert set(keys(halves[0])) | set(keys(halves[1])) == every
    assert not set(keys(halves[0])) & set(keys(halves[1]))


def test_the_process_serves_records_calls_and_ends_with_its_stdin(tmp_path: Path) -> None:
    calls = tmp_path / "calls.jsonl"
    with subprocess.Popen(
        [sys.executable, "-m", "local_stack.s3_vectors_fake", "--calls-file", str(calls)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        url = json.loads(process.stdout.readline())["url"]
        client = SESSION.client("s3vectors", endpoint_url=url)
        create(client)
        client.query_vectors(**INDEX, topK=1, **texts("secret words"))
        process.stdin.close()
        assert process.wait(30) == 0

    recorded = [json.loads(line) for line in calls.read_text().splitlines()]
    assert [call["operation"] for call in recorded] == [
        "CreateVectorBucket",
        "CreateIndex",
        "QueryVectors",
    ]
    assert recorded[2]["access_key"] == "test"
    assert recorded[2]["parameters"]["indexName"] == "index"
    assert not re.search("secret", calls.read_text())
