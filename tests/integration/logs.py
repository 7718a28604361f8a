"""What the functions log, line by line; for test modules only, as Powertools reads at import."""

import io
import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from search_router.observability import logger

Logs = Callable[[], list[dict[str, Any]]]


@contextmanager
def log_stream() -> Iterator[io.StringIO]:
    """Let the logger write into a buffer for the length of the block."""
    stream, handler = io.StringIO(), logger.registered_handler
    assert isinstance(handler, logging.StreamHandler)
    before = handler.setStream(stream)
    yield stream
    handler.setStream(before)


@contextmanager
def captured_logs() -> Iterator[Logs]:
    """Return a reader of the lines logged since it was last called."""
    with log_stream() as stream:

        def read() -> list[dict[str, Any]]:
            written = stream.getvalue().splitlines()
            stream.seek(0)
            stream.truncate()
            return [json.loads(line) for line in written]

        yield read
