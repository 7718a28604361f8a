"""Strips the layer of files that no function uses, most of them service models of botocore.

Every cold start unpacks the layer. `make build` strips what SAM built, and the local stack strips
what it installs, so that the tests run on what is deployed.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

# The clients that `dependencies.py` makes (compared by a test) and the tracer's own.
SERVICES = frozenset(
    {"bedrock", "bedrock-runtime", "dynamodb", "events", "s3", "s3vectors", "sqs", "xray"}
)


def strip(packages: Path) -> int:
    """Remove unused files from installed packages; return the number of bytes removed."""
    before = size_of(packages)
    for path in list(_unused(packages)):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return before - size_of(packages)


def size_of(folder: Path) -> int:
    """Return the size of all files below a folder, in bytes."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _unused(packages: Path) -> Iterator[Path]:
    for library in ("botocore", "boto3"):
        for entry in packages.glob(f"{library}/data/*"):
            if entry.is_dir() and entry.name not in SERVICES:
                yield entry
        yield from packages.glob(f"{library}/examples")
    for pattern in ("*.js", "*.css"):
        yield from packages.glob(
            f"aws_lambda_powertools/event_handler/openapi/swagger_ui/{pattern}"
        )


if __name__ == "__main__":
    removed = strip(Path(sys.argv[1]))
    print(f"stripped {removed / 1e6:.1f} MB")  # noqa: T201 - output of `make build`
