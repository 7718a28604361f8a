"""Repeatable chance: a draw depends on the seed and its subject, never on order or threads."""

import hashlib

_SPAN = 2**64


def draw(seed: int, *about: str) -> float:
    """Return a number in (0, 1) that is always the same for the same seed and subject."""
    subject = "\x1f".join((str(seed), *about)).encode(errors="surrogatepass")
    number = int.from_bytes(hashlib.blake2b(subject, digest_size=8).digest())
    return (number + 0.5) / _SPAN
