"""Wait for a condition; a test never waits for a length of time."""

import time
from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")
PATIENCE_SECONDS = 600.0  # minutes are seen under a load of 25; only a failing test takes it all
_PAUSE_SECONDS = 0.05


def eventually(look: Callable[[], Found | None], what: str = "it did not happen") -> Found:
    """Return the first true answer of `look`; fail with `what` when there is none in time."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (found := look()):
        assert time.monotonic() < deadline, what
        time.sleep(_PAUSE_SECONDS)
    return found
