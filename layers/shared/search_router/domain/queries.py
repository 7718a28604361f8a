"""Identifies queries, so that all parts agree which spellings are the same query.

Unicode composition (NFC) and white space do not matter. Case does, because it can mark a name
("Friends", "friends"), and names decide between metadata and the other modalities.
"""

import hashlib
import unicodedata

MAX_QUERY_BYTES = 4_000


def normalised_query(query: str) -> str:
    """Return a query in NFC, with white space collapsed."""
    if not query.isascii():
        query = unicodedata.normalize("NFC", query)
    return " ".join(query.split())


def fingerprint(query: str) -> bytes:
    """Return the identity of a query: 16 bytes of SHA-256 of its normalised form."""
    return hashlib.sha256(normalised_query(query).encode("utf-8")).digest()[:16]


def query_digest(query: str) -> str:
    """Return the fingerprint as 32 hex digits, for cache keys and identity checks."""
    return fingerprint(query).hex()
