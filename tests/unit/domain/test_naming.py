"""Keys and names: always inside the patterns of botocore's own service model."""

import re
from functools import cache
from typing import Any

import pytest
from botocore.loaders import Loader
from hypothesis import given
from hypothesis import strategies as st

from search_router.domain import naming
from search_router.domain.errors import InvalidInputError

UPLOADED = st.text(st.characters(codec="utf-8"), max_size=80)  # S3 keys may hold anything
VERSIONS = st.none() | UPLOADED
HEX = st.text("0123456789abcdef", min_size=64, max_size=64)


@cache
def shapes() -> dict[str, Any]:
    model: dict[str, Any] = Loader().load_service_model("bedrock", "service-2")
    shapes: dict[str, Any] = model["shapes"]
    return shapes


def assert_fits(shape: str, text: str) -> None:
    """Hold a text against the pattern and the length that Bedrock states."""
    rules = shapes()[shape]
    assert re.fullmatch(rules["pattern"], text), (shape, text)
    assert rules.get("min", 0) <= len(text) <= rules.get("max", 10**9), (shape, text)


def test_the_service_model_still_has_the_patterns_we_read() -> None:
    for shape in ("S3Uri", "JobName", "CustomModelName", "ModelDeploymentName", "IdempotencyToken"):
        assert "pattern" in shapes()[shape]


@given(UPLOADED, UPLOADED, VERSIONS, st.integers(0, 99_999))
def test_every_key_fits_bedrocks_s3_uri_whatever_was_uploaded(
    bucket: str, key: str, version: str | None, index: int
) -> None:
    run, log = naming.run_id(bucket, key, version), naming.log_id(bucket, key, version)

    keys = [
        naming.run_key(run, "training.jsonl"),
        naming.run_key(run, "evaluation", "champion-12.jsonl"),
        naming.shard_key(run, index),
        naming.part_key(log, index),
        naming.rejected_part_key(log, index),
        naming.upload_key(log, "parts/"),
    ]

    for made in keys:
        assert_fits("S3Uri", naming.s3_uri("search-router-data-123456789012", made))


@given(HEX, UPLOADED, st.integers(1, 999))
def test_every_name_fits_bedrocks_patterns(sha256: str, prompt: str, attempt: int) -> None:
    identity = naming.training_identity("data", sha256, "teacher", "student", prompt)
    name = naming.job_name(identity, attempt)

    for shape in ("JobName", "CustomModelName", "IdempotencyToken"):
        assert_fits(shape, name)
    assert_fits("ModelDeploymentName", naming.deployment_name(name))
    assert naming.is_our_job(name)


@given(st.tuples(UPLOADED, UPLOADED, VERSIONS), st.tuples(UPLOADED, UPLOADED, VERSIONS))
def test_ids_are_equal_only_for_the_same_object_version(
    one: tuple[str, str, str | None], other: tuple[str, str, str | None]
) -> None:
    same = (one[0], one[1], one[2] or "") == (other[0], other[1], other[2] or "")

    assert (naming.run_id(*one) == naming.run_id(*other)) is same
    assert (naming.log_id(*one) == naming.log_id(*other)) is same


def test_moving_a_character_over_a_boundary_makes_another_identity() -> None:
    assert naming.run_id("ab", "c", None) != naming.run_id("a", "bc", None)
    assert naming.run_id("a\nb", "c", None) != naming.run_id("a", "b\nc", None)
    assert naming.run_id("a\n1:b", "c", None) != naming.run_id("a", "b\n1:c", None)


def test_everything_that_is_paid_for_is_in_the_training_identity() -> None:
    bought = ["data", "0" * 64, "teacher", "student", "prompt"]
    identities = {naming.training_identity(*bought)}
    for index in range(5):
        changed = [*bought]
        changed[index] += "x"
        identities.add(naming.training_identity(*changed))

    assert len(identities) == 6


@pytest.mark.parametrize(
    "part",
    [
        "Upper",
        "a b",
        "a=b",
        "a+b",
        "50%",
        "a@b",
        "a:b",
        "",
        "a//b",
        "/a",
        "..",
        "ä",
        "a\n",
        "a/../b",
    ],
)
def test_a_key_that_bedrock_would_reject_is_rejected(part: str) -> None:
    with pytest.raises(InvalidInputError):
        naming.run_key("run-1", part, "x.jsonl")


def test_a_key_longer_than_the_limit_is_rejected() -> None:
    with pytest.raises(InvalidInputError):
        naming.run_key("run-1", "x" * 900)


@pytest.mark.parametrize("name", ["a_b", "a.b", "ends-", "two--hyphens", "x" * 63, "ä", "a\n"])
def test_a_name_that_bedrock_could_reject_is_rejected(name: str) -> None:
    with pytest.raises(InvalidInputError):
        naming.deployment_name(name)


def test_shards_and_parts_sort_by_their_number() -> None:
    assert naming.shard_key("run-1", 7) == "runs/run-1/shards/shard-00007.jsonl"
    assert naming.part_key("log-1", 12) == "logs/log-1/parts/part-00012.jsonl"
    assert naming.rejected_part_key("log-1", 12) == "logs/log-1/rejected/part-00012.jsonl"


def test_a_job_of_another_system_is_recognised() -> None:
    assert not naming.is_our_job("fine-tune-search-router")
    assert not naming.is_our_job("search-routers-1")


@pytest.mark.parametrize(
    ("model_id", "plain"),
    [
        ("amazon.nova-micro-v1:0", "amazon.nova-micro-v1:0"),
        ("amazon.nova-micro-v1:0:128k", "amazon.nova-micro-v1:0"),
        ("us.amazon.nova-premier-v1:0", "amazon.nova-premier-v1:0"),
        ("global.amazon.nova-lite-v1:0:300k", "amazon.nova-lite-v1:0"),
        ("user.own-model:v2", "user.own-model:v2"),
    ],
)
def test_context_size_and_geography_are_stripped_from_model_ids(model_id: str, plain: str) -> None:
    assert naming.foundation_model_id(model_id) == plain
