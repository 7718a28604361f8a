"""The chosen rows as Bedrock takes them: rendered, checked once more for size, cut into shards."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

SHARD_ROWS = 1_000
SHARD_BYTES = 4 * 1024 * 1024  # as long as it takes to send one object in one request


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """Training rows and holdout as records, a line each, in a fixed, content-derived order."""

    training: Sequence[bytes]
    holdout: Sequence[bytes]
    too_long: str | None = None
    """Where a record is that is longer than Bedrock takes, if there is one."""

    def shards(self) -> Iterator[bytes]:
        """Cut the training rows into shards of at most 1,000 records and 4 MiB."""
        held: list[bytes] = []
        size = 0
        for line in self.training:
            if len(held) == SHARD_ROWS or size + len(line) > SHARD_BYTES:
                yield b"".join(held)
                held, size = [], 0
            held.append(line)
            size += len(line)
        if held:
            yield b"".join(held)
