"""What a use case may answer besides its result."""

from typing import NamedTuple


class Ignored(NamedTuple):
    """An event that needs no action, and why; logged, never retried."""

    reason: str
