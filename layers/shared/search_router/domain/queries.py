"""Identifies queries, so that all parts agree which spellings are the same query.

Unicode composition (NFC) and white space do not matter. Case does, because it can mark a name
("Friends", "friends"), and names decide between metadata and the other modalities.
"""

import hashlib
import unicodedata

MAX_QUERY_BYTES = 4_000
_INVISIBLE = frozenset("\u115f\u1160\u2800\u3164\ufffd\uffa0")  # fillers, and what decoding lost
_SHORT = 256  # characters; canonical ordering of as many marks takes 25 µs
_MAX_MARKS = 30  # in a row: the Stream-Safe Text Format of Unicode (UAX #15)


def normalised_query(query: str) -> str:
    """Return a query in NFC, with white space collapsed.

    Canonical ordering takes quadratic time in a run of combining marks, so a text with a longer run
    than any language writes keeps its composition.
    """
    if not query.isascii() and (len(query) <= _SHORT or _is_stream_safe(query)):
        query = unicodedata.normalize("NFC", query)
    return " ".join(query.split())


def problem_of(query: str) -> str:
    """Return why a value is not a query; empty if it is one."""
    if not query.strip():
        return "the query is blank"
    if query.isascii() and query.isprintable():
        return ""
    if query.count("\0") * 4 >= len(query):
        return "the query contains NUL characters"
    if not any(unicodedata.category(c)[0] in "LNPS" and c not in _INVISIBLE for c in query):
        return "the query holds only control or zero-width characters"
    return ""


def _is_stream_safe(text: str) -> bool:
    marks = 0
    for character in text:
        marks = marks + 1 if unicodedata.combining(character) else 0
        if marks > _MAX_MARKS:
            return False
    return True


def fingerprint(query: str) -> bytes:
    """Return the identity of a query: 16 bytes of SHA-256 of its normalised form."""
    return hashlib.sha256(normalised_query(query).encode("utf-8")).digest()[:16]


def query_digest(query: str) -> str:
    """Return the fingerprint as 32 hex digits, for cache keys and identity checks."""
    return fingerprint(query).hex()
