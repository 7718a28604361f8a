"""Records each attempt, then fails."""

from typing import Any

from sample.records import record  # type: ignore[import-not-found]  # in the layer


def lambda_handler(event: dict[str, Any], _context: object) -> None:
    print("about to fail", event["detail"]["name"])  # noqa: T201 - read back by a test
    record(event["detail"]["name"], "attempt")
    raise RuntimeError("as intended")
