"""Builds and checks every S3 key and Bedrock name that this system creates.

botocore does not check patterns, so an invalid name would only fail at Bedrock. The patterns are
those of the service model: S3Uri (no `= + : @ %`, spaces or `//`), JobName, CustomModelName,
ModelDeploymentName, IdempotencyToken.
"""

import hashlib
import re

from search_router.domain.errors import InvalidInputError

_KEY = re.compile(r"[a-z0-9._-]+(?:/[a-z0-9._-]+)*/?")
_NAME = re.compile(r"[a-zA-Z0-9](?:-?[a-zA-Z0-9])*")  # valid by all of Bedrock's name patterns
_MAX_KEY_LENGTH = 900
_MAX_NAME_LENGTH = 63
ID_DIGITS = 16  # 64 bits: a collision among a million uploads has a chance of 1 in 37 million

NAME_PREFIX = "search-router"
SHARED = "shared"  # stands for the run id in keys of objects that runs share
_SEGMENTS_ID = "seg-"


def run_id(bucket: str, key: str, version_id: str | None) -> str:
    """Return the run id of an object version, so that a repeated event gives the same run."""
    return f"run-{digest(bucket, key, version_id or '')[:ID_DIGITS]}"


def log_id(bucket: str, key: str, version_id: str | None) -> str:
    """Return the log id of an object version."""
    return f"log-{digest(bucket, key, version_id or '')[:ID_DIGITS]}"


def segments_id(bucket: str, key: str, version_id: str | None) -> str:
    """Return the upload id of an object version that holds segments."""
    return f"{_SEGMENTS_ID}{digest(bucket, key, version_id or '')[:ID_DIGITS]}"


def training_identity(
    data_bucket: str, training_sha256: str, teacher: str, student: str, system_prompt: str
) -> str:
    """Return the identity of a distillation job, so that equal jobs are not paid for twice.

    It includes the bucket, because Bedrock's names are shared by all stacks of an account.
    """
    return digest(data_bucket, training_sha256, teacher, student, system_prompt)[:32]


def job_name(identity: str, attempt: int) -> str:
    """Return the name of a customization job, its request token and its custom model."""
    return _checked_name(f"{NAME_PREFIX}-{identity}-{attempt}")


def deployment_name(model_name: str) -> str:
    """Return the name of a custom model's deployment."""
    return _checked_name(f"{model_name}-serving")


def evaluation_job_name(
    data_bucket: str, judge: str, model: str, dataset: bytes, rubric: str
) -> str:
    """Return the name and request token of the job that judges a model's answers."""
    identity = digest(data_bucket, judge, model, hashlib.sha256(dataset).hexdigest(), rubric)[:32]
    return _checked_name(f"{NAME_PREFIX}-judge-{identity}")


def is_our_job(name: str) -> bool:
    """Return whether a job name has our prefix; the state table decides whether it is ours."""
    return name.startswith(f"{NAME_PREFIX}-")


def run_key(run: str, *parts: str) -> str:
    """Return the key of an object of a run."""
    return _checked_key("runs", run, *parts)


def shard_key(run: str, index: int) -> str:
    """Return the key of a training shard."""
    return run_key(run, "shards", f"shard-{index:05d}.jsonl")


def upload_key(upload: str, *parts: str) -> str:
    """Return the key of an object of a query log or of an upload of segments."""
    return _checked_key(_root(upload), upload, *parts)


def split_copy_key(upload: str, start: int, end: int) -> str:
    """Return the key of a split's unpacked text, from start and end offset.

    All copies share two prefixes, for which template.yaml has expiration rules.
    """
    return _checked_key(_root(upload), "copies", upload, f"{start:012d}-{end:012d}")


def part_key(upload: str, split: int) -> str:
    """Return the key of a split's results; fixed, so that a retry finds its own part."""
    return upload_key(upload, "parts", f"part-{split:05d}.jsonl")


def rejected_part_key(upload: str, split: int) -> str:
    """Return the key of a split's rejected rows."""
    return upload_key(upload, "rejected", f"part-{split:05d}.jsonl")


def abstained_part_key(log: str, split: int) -> str:
    """Return the key of the queries of a split on which the local tier abstained."""
    return upload_key(log, "abstained", f"part-{split:05d}.jsonl")


def _root(upload: str) -> str:
    return "segments" if upload.startswith(_SEGMENTS_ID) else "logs"


def local_model_key(version: str) -> str:
    """Return the key of a local model's artifact; the version is a hash of its content."""
    return _checked_key("models", "local", version)


def calibration_key(collection: str) -> str:
    """Return the key of a collection's calibration."""
    return _checked_key("collections", collection, "calibration.json")


def s3_uri(bucket: str, key: str) -> str:
    """Return the S3 URI of an object in the form that Bedrock accepts."""
    return f"s3://{bucket}/{_checked_key(key)}"


def digest(*parts: str) -> str:
    """Return the SHA-256 of several texts as hex digits."""
    joined = "\n".join(str(len(part)) + ":" + part for part in parts)
    return hashlib.sha256(joined.encode("utf-8", "surrogatepass")).hexdigest()


def _checked_key(*parts: str) -> str:
    key = "/".join(parts)
    if len(key) > _MAX_KEY_LENGTH or not _KEY.fullmatch(key) or "/../" in f"/{key}/":
        raise InvalidInputError(f"Bedrock does not accept this S3 key: {key!r}.")
    return key


def _checked_name(name: str) -> str:
    if len(name) > _MAX_NAME_LENGTH or not _NAME.fullmatch(name):
        raise InvalidInputError(f"Bedrock does not accept this name: {name!r}.")
    return name


_CONTEXT_SUFFIX = re.compile(r":\d+k$")
_GEOGRAPHY_PREFIX = re.compile(r"^(us|eu|apac|global)\.")


def foundation_model_id(model_id: str) -> str:
    """Strip the suffix of customization (`:128k`) and the prefix of inference profiles (`us.`)."""
    return _GEOGRAPHY_PREFIX.sub("", _CONTEXT_SUFFIX.sub("", model_id))
