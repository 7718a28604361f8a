"""What makes two queries the same: intake, synthesis, labelling and the local tier agree on it."""

import hashlib
import unicodedata


def fingerprint(query: str) -> bytes:
    """Identify a query up to Unicode form, case and white space: 16 bytes of SHA-256."""
    return hashlib.sha256(_folded(query).encode("utf-8")).digest()[:16]


def _folded(query: str) -> str:
    folded = query.casefold()
    if not query.isascii():
        folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", query).casefold())
    return " ".join(folded.split())
