"""The segment index on S3 Vectors, against the fake, which validates every request and reply."""

import json
import math
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from botocore.config import Config
from hypothesis import given, settings
from hypothesis import strategies as st

from local_stack.bedrock_fake.faults import Fault
from local_stack.s3_vectors_fake import FakeS3Vectors
from search_router import ports
from search_router.adapters import s3_vectors
from search_router.adapters.s3_vectors import S3VectorsIndex, index_name
from search_router.dependencies import dependencies
from search_router.domain.errors import (
    BadRequestError,
    ConflictError,
    InvalidInputError,
    NotFoundError,
    SearchRouterError,
    ThrottledError,
    UnavailableError,
)
from search_router.domain.search.filters import Filter, Operator, parse_filter
from search_router.domain.search.index import (
    Candidate,
    Collection,
    EmbeddingPurpose,
    IndexEntry,
    ListQuery,
    Vector,
)
from tests.aws_calls import aws_calls
from tests.integration.fake_bench import NO_RETRIES, SESSION
from tests.integration.world import Bedrock, World

BUCKET = "vectors"
FILMS = Collection(
    name="films",
    modalities=("visual", "camera_angle"),
    embedding_model="amazon.nova-2-multimodal-embeddings-v1:0",
    dimension=2,
    created_at=datetime(2026, 11, 30, tzinfo=UTC),
)


@dataclass(frozen=True)
class Rig:
    """An index in an empty bucket of a fake."""

    fake: FakeS3Vectors
    client: Any
    index: ports.SegmentIndex

    def find(self, **query: Any) -> Sequence[Candidate]:
        return self.index.search(
            FILMS, ListQuery("visual", **({"vector": None, "text": ""} | query))
        )

    def ids(self, **query: Any) -> list[str]:
        return [hit.segment_id for hit in self.find(**query)]


def make() -> Iterator[Rig]:
    with FakeS3Vectors() as fake:
        config = NO_RETRIES.merge(Config(parameter_validation=False))
        client = SESSION.client("s3vectors", endpoint_url=fake.url, config=config)
        client.create_vector_bucket(vectorBucketName=BUCKET)
        index = S3VectorsIndex(client, BUCKET)
        index.create(FILMS)
        yield Rig(fake, client, index)
        client.close()


@pytest.fixture
def rig() -> Iterator[Rig]:
    yield from make()


@pytest.fixture(scope="module")
def shared() -> Iterator[Rig]:
    """An index that each example fills anew."""
    yield from make()


def vec(*numbers: float) -> Vector:
    return array("f", numbers)


def entry(segment: str, *numbers: float, text: str = "", **attributes: Any) -> IndexEntry:
    video = segment.partition(".")[0]
    return IndexEntry(segment, vec(*(numbers or (1, 0))), text, video, 1.5, 4.25, attributes)


def test_a_hit_has_what_was_put_and_its_raw_scores(rig: Rig) -> None:
    rig.index.put(
        FILMS,
        "visual",
        [
            entry("v1.1", 1, 1, text="a red door", year=2021, people=["Ann", "Bo"], live=True),
            entry("v1.2", -1, 0),
        ],
    )

    hits = rig.find(vector=vec(1, 0), text="Doors!")

    assert [hit.segment_id for hit in hits] == ["v1.1", "v1.2"]
    first, second = hits
    assert first[3:] == (
        "v1",
        1.5,
        4.25,
        {"year": 2021, "people": ["Ann", "Bo"], "live": True},
        "a red door",
    )
    assert first.cosine == pytest.approx(math.sqrt(0.5), abs=1e-6)
    assert first.bm25 is not None
    assert first.bm25 > 0
    assert second.cosine == pytest.approx(-1, abs=1e-6)
    assert second.bm25 is None
    assert (second.attributes, second.text) == ({}, "")


def test_a_vector_alone_and_a_text_alone_have_only_their_own_score(rig: Rig) -> None:
    rig.index.put(FILMS, "visual", [entry("v1.1", text="a red door"), entry("v1.2", text="blue")])

    by_vector, by_text = rig.find(vector=vec(1, 0)), rig.find(text="door")

    assert [hit.cosine for hit in by_vector] == pytest.approx([1, 1])
    assert [hit.bm25 for hit in by_vector] == [None, None]
    assert [(hit.segment_id, hit.cosine) for hit in by_text] == [("v1.1", None)]
    assert by_text[0].bm25 is not None


def test_each_modality_is_a_list_of_its_own(rig: Rig) -> None:
    rig.index.put(FILMS, "visual", [entry("v1.1")])

    assert rig.index.search(FILMS, ListQuery("camera_angle", vec(1, 0), "")) == []
    with pytest.raises(NotFoundError, match="search the list audio"):
        rig.index.search(FILMS, ListQuery("audio", vec(1, 0), ""))


def test_the_last_write_of_a_segment_replaces_those_before(rig: Rig) -> None:
    rig.index.put(FILMS, "visual", [entry("v1.1", text="red"), entry("v1.1", text="blue")])
    rig.index.put(FILMS, "visual", [entry("v1.1", text="green", year=1)])

    assert rig.ids(text="red blue") == []
    assert [hit.attributes for hit in rig.find(text="green")] == [{"year": 1}]


def test_deleted_segments_are_not_found(rig: Rig) -> None:
    rig.index.put(FILMS, "visual", [entry("v1.1"), entry("v1.2")])

    rig.index.delete(FILMS, "visual", ["v1.1", "no-such"])

    assert rig.ids(vector=vec(1, 0)) == ["v1.2"]


def test_create_and_drop_can_be_repeated(rig: Rig) -> None:
    rig.index.put(FILMS, "visual", [entry("v1.1")])
    rig.index.create(FILMS)
    assert rig.ids(vector=vec(1, 0)) == ["v1.1"]

    rig.index.drop(FILMS)
    rig.index.drop(FILMS)

    with pytest.raises(NotFoundError):
        rig.find(vector=vec(1, 0))


def test_an_index_of_another_dimension_is_not_adopted(rig: Rig) -> None:
    name = index_name(FILMS, "visual")
    rig.client.delete_index(vectorBucketName=BUCKET, indexName=name)
    rig.client.create_index(
        vectorBucketName=BUCKET,
        indexName=name,
        dataType="float32",
        dimension=3,
        distanceMetric="cosine",
    )

    with pytest.raises(ConflictError, match=r"has dimension 3 .* Delete the index"):
        rig.index.create(FILMS)


def test_the_bucket_may_be_named_by_its_arn(rig: Rig) -> None:
    arn = f"arn:aws:s3vectors:us-east-1:000000000000:bucket/{BUCKET}"
    by_arn = S3VectorsIndex(rig.client, arn)

    by_arn.put(FILMS, "visual", [entry("v1.1")])

    assert rig.ids(vector=vec(1, 0)) == ["v1.1"]


def test_large_writes_are_split_at_500_vectors_and_20_mib(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = [entry(f"v1.{n}") for n in range(1_001)]
    with aws_calls() as calls:
        rig.index.put(FILMS, "visual", entries)
        rig.index.delete(FILMS, "visual", [one.segment_id for one in entries])
        rig.index.put(FILMS, "visual", [])
        rig.index.delete(FILMS, "visual", [])
    assert [len(call.parameters["vectors"]) for call in calls.made[:3]] == [500, 500, 1]
    assert [len(call.parameters["keys"]) for call in calls.made[3:]] == [500, 500, 1]

    # Texts of characters that JSON escapes are six times as large on the wire.
    wide = [entry(f"v1.{n}", text="\u00e9" * 9_000) for n in range(450)]
    with aws_calls() as calls:
        rig.index.put(FILMS, "visual", wide)
    first, second = (len(call.parameters["vectors"]) for call in calls.made)
    assert first + second == 450
    assert 380 < first < 20 * 1024 * 1024 / (9_000 * 6)
    assert len(rig.ids(vector=vec(1, 0), limit=600)) == 450


@pytest.mark.parametrize("dimension", [256, 3_072])
def test_no_batch_exceeds_the_limit_even_with_the_longest_numbers(dimension: int) -> None:
    longest = array("f", [-1.1754943508222875e-38]) * dimension
    entries = [entry(f"v1.{n}", text="\u00e9" * 100)._replace(vector=longest) for n in range(500)]
    vectors = [s3_vectors._vector(one) for one in entries]

    batches = list(s3_vectors._batches(iter(vectors), dimension))

    assert [one for batch in batches for one in batch] == vectors
    assert all(len(json.dumps({"vectors": batch})) < 20 * 1024 * 1024 for batch in batches)


def test_more_hits_than_a_page_holds_are_read_page_by_page(rig: Rig) -> None:
    rig.fake.change(page_size=4)
    rig.index.put(FILMS, "visual", [entry(f"v1.{n}", 1, n / 10) for n in range(30)])

    with aws_calls() as calls:
        found = rig.ids(vector=vec(1, 0), limit=10)

    assert found == [f"v1.{n}" for n in range(10)]
    assert len(calls.made) == 3
    assert len(rig.ids(vector=vec(1, 0), limit=100)) == 30


def test_a_query_text_is_cut_between_words(rig: Rig) -> None:
    rig.index.put(FILMS, "visual", [entry("v1.1", text="red"), entry("v1.2", text="door")])

    with aws_calls() as calls:
        found = rig.ids(text="  red " + "blue " * 204 + "door " * 50)
        rig.find(text="x" * 2_000)
        rig.find(vector=vec(1, 0), text="   ")

    sent = [call.parameters.get("queryTexts", [{}])[0].get("text") for call in calls.made]
    assert found == ["v1.1"]
    assert sent[0].endswith("blue blue")
    assert 1_000 < len(sent[0]) <= 1_024
    assert sent[1:] == ["x" * 1_024, None]


@pytest.mark.parametrize(
    ("expressions", "found"),
    [
        (["genre:drama"], ["1", "3"]),
        (["genre:!=drama"], ["2", "4"]),
        (["people:Bo"], ["1", "2"]),
        (["people:!=Bo"], ["3", "4"]),
        (["year:2015"], ["1", "2"]),  # the number and the text
        (["year:!=2015"], ["3", "4"]),
        (["year:>=2015"], ["1", "3"]),  # numbers only
        (["year:<2015"], []),
        (["live:true"], ["1", "2"]),  # the boolean and the text
        (["live:false"], ["3"]),
        (["genre:drama", "year:>2015"], ["3"]),
        (["video_id:v2"], ["2"]),
        (["no-such:x"], []),
        (["start:<2"], ["1", "2", "3", "4"]),
    ],
)
def test_filters_compare_as_the_domain_says(
    rig: Rig, expressions: list[str], found: list[str]
) -> None:
    rows: dict[str, dict[str, Any]] = {
        "1": {"genre": "drama", "people": ["Ann", "Bo"], "year": 2015, "live": True},
        "2": {"genre": ["news", "talk"], "people": ["Bo"], "year": "2015", "live": "true"},
        "3": {"genre": "drama", "people": ["Cy"], "year": 2021.5, "live": False},
        "4": {},
    }
    rig.index.put(
        FILMS,
        "visual",
        [
            entry(key, 1, int(key) / 10, text="red", **row)._replace(video_id=f"v{key}")
            for key, row in rows.items()
        ],
    )
    filters = tuple(map(parse_filter, expressions))

    assert rig.ids(vector=vec(1, 0), filters=filters) == found
    assert sorted(rig.ids(text="red", filters=filters)) == found


def test_a_filter_on_the_text_is_rejected(rig: Rig) -> None:
    with pytest.raises(BadRequestError, match="filter on text is not possible"):
        rig.find(text="red", filters=(parse_filter("text:red"),))


def test_our_own_keys_win_over_attributes_of_the_same_name(rig: Rig) -> None:
    attributes = {"video_id": "x", "text": "blue"}
    rig.index.put(FILMS, "visual", [entry("v1.1", text="red")._replace(attributes=attributes)])

    (hit,) = rig.find(text="red blue")

    assert (hit.video_id, hit.text, hit.attributes) == ("v1", "red", {})


def test_names_of_indexes_are_valid_and_differ(rig: Rig) -> None:
    long = FILMS.model_copy(update={"name": "The.Films_" * 20})
    collections = [
        FILMS,
        long,
        FILMS.model_copy(update={"name": "films."}),
        FILMS.model_copy(update={"name": "---"}),
        FILMS.model_copy(update={"dimension": 3}),
        FILMS.model_copy(update={"embedding_model": "other"}),
    ]
    modalities = ("visual", "camera_angle", "camera-angle", "x" * 100, "_")
    names = {index_name(one, modality) for one in collections for modality in modalities}

    assert len(names) == len(collections) * len(modalities)
    assert all(3 <= len(name) <= 63 for name in names)
    rig.index.drop(FILMS)
    for name in names:
        rig.client.create_index(
            vectorBucketName=BUCKET,
            indexName=name,
            dataType="float32",
            dimension=2,
            distanceMetric="cosine",
        )


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault.THROTTLE, ThrottledError),
        (Fault.UNAVAILABLE, UnavailableError),
        (Fault.MODEL_TIMEOUT, UnavailableError),
        (Fault.INTERNAL, UnavailableError),
        (Fault.LOST_REPLY, UnavailableError),
    ],
)
def test_every_call_maps_the_errors_of_the_service(
    rig: Rig, fault: Fault, error: type[SearchRouterError]
) -> None:
    calls: dict[str, Callable[[], object]] = {
        "CreateIndex": lambda: rig.index.create(FILMS.model_copy(update={"name": "other"})),
        "GetIndex": lambda: rig.index.create(FILMS),
        "PutVectors": lambda: rig.index.put(FILMS, "visual", [entry("v1.1")]),
        "DeleteVectors": lambda: rig.index.delete(FILMS, "visual", ["v1.1"]),
        "QueryVectors": lambda: rig.find(vector=vec(1, 0)),
        "DeleteIndex": lambda: rig.index.drop(FILMS),
    }
    for operation, call in calls.items():
        rig.fake.fail_next(operation, fault)
        with pytest.raises(error):
            call()


def test_an_error_does_not_quote_texts(rig: Rig) -> None:
    secret = entry("v1.1", text="secret", k={"secret": 1})

    with pytest.raises(InvalidInputError) as raised:
        rig.index.put(FILMS, "visual", [secret])
    with pytest.raises(InvalidInputError) as searched:
        rig.find(text="secret", vector=vec(1, 0, 0))

    assert "secret" not in f"{raised.value} {searched.value}"
    assert str(raised.value) == "write to the segment index: ValidationException"


def test_the_functions_are_wired_to_index_patiently_and_to_search_promptly(
    world: World, bedrock: Bedrock, s3_vectors: FakeS3Vectors
) -> None:
    wired = dependencies()
    setup = SESSION.client("s3vectors", endpoint_url=s3_vectors.url)
    setup.create_vector_bucket(vectorBucketName=wired.settings.vector_bucket.rpartition("/")[2])
    films = FILMS.model_copy(update={"dimension": 256})
    texts = ["a man opens a red door", "a woman cooks soup"]

    s3_vectors.fail_next("PutVectors", Fault.THROTTLE)
    bedrock.fake.fail_next("InvokeModel", Fault.THROTTLE)
    wired.segment_index.create(films)
    indexed = wired.embedder.embed(texts, EmbeddingPurpose.INDEX)
    entries = [
        entry(f"v1.{n}", text=text)._replace(vector=found)
        for n, (text, found) in enumerate(zip(texts, indexed, strict=True))
        if not isinstance(found, InvalidInputError)
    ]
    wired.segment_index.put(films, "visual", entries)
    (asked,) = wired.api_embedder.embed(["someone enters the gate"], EmbeddingPurpose.RETRIEVAL)
    assert not isinstance(asked, InvalidInputError)
    hits = wired.api_segment_index.search(films, ListQuery("visual", asked, "door"))

    assert [hit.segment_id for hit in hits] == ["v1.0", "v1.1"]
    s3_vectors.fail_next("QueryVectors", Fault.UNAVAILABLE)
    with pytest.raises(UnavailableError):
        wired.api_segment_index.search(films, ListQuery("visual", asked, ""))
    bedrock.fake.fail_next("InvokeModel", Fault.UNAVAILABLE)
    with pytest.raises(UnavailableError):
        wired.api_embedder.embed(["red"], EmbeddingPurpose.RETRIEVAL)


# --- Against a reference --------------------------------------------------------------------------

_WORDS = ["red", "door", "car", "night", "walks", "talks"]
_ENTRIES = st.lists(
    st.tuples(
        st.integers(0, 9),
        st.lists(st.sampled_from(_WORDS), max_size=4),
        st.fixed_dictionaries(
            {},
            optional={
                "genre": st.sampled_from(["drama", "news", ["drama", "news"]]),
                "year": st.sampled_from([2014, 2015, 2016, "2015"]),
            },
        ),
    ),
    min_size=1,
    max_size=20,
)
_EXPRESSIONS = ["genre:drama", "genre:!=drama", "year:>2014", "year:<=2015", "year:2015"]


def meets(one: Filter, attributes: Mapping[str, Any]) -> bool:
    """The domain's meaning of a filter."""
    value = attributes.get(one.field, [])
    values = value if isinstance(value, list) else [value]
    equal = any(x in (one.text, one.number) for x in values)
    numbers = [x for x in values if isinstance(x, int | float)]
    assert one.number is not None or one.operator in (Operator.EQUAL, Operator.NOT_EQUAL)
    match one.operator:
        case Operator.EQUAL:
            return equal
        case Operator.NOT_EQUAL:
            return not equal
        case Operator.GREATER:
            return any(x > (one.number or 0) for x in numbers)
        case _:
            return any(x <= (one.number or 0) for x in numbers)


@settings(max_examples=50, deadline=None)
@given(
    _ENTRIES,
    st.lists(st.sampled_from(_EXPRESSIONS), max_size=2),
    st.lists(st.sampled_from(_WORDS), min_size=1, max_size=3),
    st.integers(0, 2**31),
)
def test_a_search_finds_what_a_scan_of_all_segments_finds(
    shared: Rig,
    rows: list[tuple[int, list[str], dict[str, Any]]],
    expressions: list[str],
    words: list[str],
    seed: int,
) -> None:
    shared.index.delete(FILMS, "visual", [str(n) for n in range(10)])
    rng = np.random.default_rng(seed)
    entries = {
        str(n): entry(str(n), *rng.standard_normal(2), text=" ".join(text), **attributes)
        for n, text, attributes in rows
    }
    shared.index.put(FILMS, "visual", list(entries.values()))
    query, filters = vec(*rng.standard_normal(2)), tuple(map(parse_filter, expressions))
    expected = {
        key: float(np.dot(one.vector, query) / (math.hypot(*one.vector) * math.hypot(*query)))
        for key, one in entries.items()
        if all(meets(each, one.attributes) for each in filters)
    }

    hits = shared.find(vector=query, text=" ".join(words), filters=filters)

    assert {hit.segment_id: hit.cosine for hit in hits} == pytest.approx(expected, abs=1e-5)
    assert {hit.segment_id for hit in hits if hit.bm25 is not None} == {
        key for key in expected if set(words) & set(entries[key].text.split())
    }
    assert all(hit.attributes == entries[hit.segment_id].attributes for hit in hits)
