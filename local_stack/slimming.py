"""What the layer leaves at home: every cold start unpacks it, and most of botocore is data.

`make build` slims what SAM built, and the local stack slims what it installs, so that the tests run
on what is deployed.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

# Those of which `dependencies.py` makes clients (a test compares), and the tracer's own.
SERVICES = frozenset({"bedrock", "bedrock-runtime", "dynamodb", "events", "s3", "sqs", "xray"})
_SWAGGER = "aws_lambda_powertools/event_handler/openapi/swagger_ui"  # a web page nobody serves


def slim(packages: Path) -> int:
    """Remove what no function can need from installed packages; return the bytes removed."""
    before = size_of(packages)
    for path in list(_unneeded(packages)):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return before - size_of(packages)


def size_of(folder: Path) -> int:
    """Return the bytes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _unneeded(packages: Path) -> Iterator[Path]:
    for library in ("botocore", "boto3"):
        for entry in packages.glob(f"{library}/data/*"):
            if entry.is_dir() and entry.name not in SERVICES:
                yield entry
        yield from packages.glob(f"{library}/examples")
    for pattern in ("*.js", "*.css"):
        yield from (packages / _SWAGGER).glob(pattern)


if __name__ == "__main__":
    removed = slim(Path(sys.argv[1]))
    print(f"slimmed by {removed / 1e6:.1f} MB")  # noqa: T201 - for whoever runs `make build`
