"""Every S3 key and Bedrock name that this system makes, checked before it is used.

botocore does not check regular expressions, so a bad name would only fail at Bedrock. The patterns
are those of the service model: S3Uri (no `= + : @ %`, spaces or `//`), JobName, CustomModelName,
ModelDeploymentName, IdempotencyToken.
"""

import hashlib
import re

from search_router.domain.errors import InvalidInputError

_KEY = re.compile(r"[a-z0-9._-]+(?:/[a-z0-9._-]+)*/?")
_NAME = re.compile(r"[a-zA-Z0-9](?:-?[a-zA-Z0-9])*")  # inside all of Bedrock's name patterns
_MAX_KEY_LENGTH = 900
_MAX_NAME_LENGTH = 63

NAME_PREFIX = "search-router"


def run_id(bucket: str, key: str, version_id: str | None) -> str:
    """Identify the intake of one object version, so that a repeated event is the same run."""
    return f"run-{_digest(bucket, key, version_id or '')[:12]}"


def log_id(bucket: str, key: str, version_id: str | None) -> str:
    """Identify one version of an uploaded query log."""
    return f"log-{_digest(bucket, key, version_id or '')[:12]}"


def training_identity(
    data_bucket: str, training_sha256: str, teacher: str, student: str, system_prompt: str
) -> str:
    """Identify what a distillation job buys: equal identities must never be paid for twice.

    The bucket keeps two stacks of one account apart, because Bedrock's names are account-wide.
    """
    return _digest(data_bucket, training_sha256, teacher, student, system_prompt)[:16]


def job_name(identity: str, attempt: int) -> str:
    """Name a customization job; also its client request token and its custom model's name."""
    return _checked_name(f"{NAME_PREFIX}-{identity}-{attempt}")


def deployment_name(model_name: str) -> str:
    """Name the on-demand deployment of a custom model, one per model."""
    return _checked_name(f"{model_name}-serving")


def evaluation_job_name(data_bucket: str, run: str, model: str, dataset: bytes, rubric: str) -> str:
    """Name the job that judges one model's answers; also its client request token."""
    identity = _digest(data_bucket, run, model, hashlib.sha256(dataset).hexdigest(), rubric)[:16]
    return _checked_name(f"{NAME_PREFIX}-judge-{identity}")


def is_our_job(name: str) -> bool:
    """Tell whether a job name could be one of ours; the state table decides."""
    return name.startswith(f"{NAME_PREFIX}-")


def run_key(run: str, *parts: str) -> str:
    """Key of an object that belongs to a run."""
    return _checked_key("runs", run, *parts)


def shard_key(run: str, index: int) -> str:
    """Key of one training shard."""
    return run_key(run, "shards", f"shard-{index:05d}.jsonl")


def log_key(log: str, *parts: str) -> str:
    """Key of an object that belongs to a query log."""
    return _checked_key("logs", log, *parts)


def split_copy_key(log: str, start: int, end: int) -> str:
    """Key of one split's unpacked text; its bytes are a function of the log and these places.

    All copies have one prefix, by which template.yaml lets them expire.
    """
    return log_key("copies", log, f"{start:012d}-{end:012d}")


def part_key(log: str, split: int) -> str:
    """Key of the results of one split; fixed, so that a retry meets its own part."""
    return log_key(log, "parts", f"part-{split:05d}.jsonl")


def rejected_part_key(log: str, split: int) -> str:
    """Key of the rejected rows of one split."""
    return log_key(log, "rejected", f"part-{split:05d}.jsonl")


def abstained_part_key(log: str, split: int) -> str:
    """Key of the queries of one split that the local tier refused."""
    return log_key(log, "abstained", f"part-{split:05d}.jsonl")


def local_model_key(version: str) -> str:
    """Key of a local model's artifact; the version is a hash of its content."""
    return _checked_key("models", "local", version)


def s3_uri(bucket: str, key: str) -> str:
    """Join a bucket and a checked key into the form that Bedrock takes."""
    return f"s3://{bucket}/{_checked_key(key)}"


def _digest(*parts: str) -> str:
    joined = "\n".join(str(len(part)) + ":" + part for part in parts)
    return hashlib.sha256(joined.encode("utf-8")).hexdigest()


def _checked_key(*parts: str) -> str:
    key = "/".join(parts)
    if len(key) > _MAX_KEY_LENGTH or not _KEY.fullmatch(key) or "/../" in f"/{key}/":
        raise InvalidInputError(f"not a key that Bedrock accepts: {key!r}")
    return key


def _checked_name(name: str) -> str:
    if len(name) > _MAX_NAME_LENGTH or not _NAME.fullmatch(name):
        raise InvalidInputError(f"not a name that Bedrock accepts: {name!r}")
    return name


_CONTEXT_SUFFIX = re.compile(r":\d+k$")
_GEOGRAPHY_PREFIX = re.compile(r"^(us|eu|apac|global)\.")


def foundation_model_id(model_id: str) -> str:
    """Strip what only customization (`:128k`) or inference profiles (`us.`) add to a model id."""
    return _GEOGRAPHY_PREFIX.sub("", _CONTEXT_SUFFIX.sub("", model_id))
