"""Extracts the terms of a query: its words, and pairs of words at most two apart.

In scripts without spaces between words (Chinese, Japanese, Thai, Khmer, …) every character is a
word, so pairs are character bigrams. The start and the end of a query count as words in pairs.
Terms are represented by their CRC-32, so that an artifact holds no text.
"""

import re
import unicodedata
from itertools import pairwise
from zlib import crc32

MAX_WORDS = 64  # the rest of a longer query is ignored, which bounds the time

# Blocks of the Unicode standard, chapters 12 to 18: scripts without spaces, and the Indic ones
# whose vowel signs `re` does not count as letters.
_SPACELESS = (
    "\u0e00-\u0eff\u0f00-\u0fff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
    "\uf900-\ufaff\U00020000-\U0003ffff"
)
_MARKS = "\u0300-\u036f\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0900-\u0963\u0966-\u0dff"
_WORD = (  # compiled on first use, because compiling takes longer than importing this package
    rf"[{_SPACELESS}]|(?:(?![{_SPACELESS}])[^\W_]|[{_MARKS}])+"
    rf"(?:['\u2019](?:(?![{_SPACELESS}])[^\W_]|[{_MARKS}])+)*"
)
_ASCII_WORD = re.compile(r"[a-z0-9]+(?:'[a-z0-9]+)*")  # equivalent for ASCII, three times faster
_EDGE = "\n"


def words_of(query: str) -> list[str]:
    """Return the first words of a query, case-folded, in order."""
    if query.isascii():
        return _ASCII_WORD.findall(query.lower())[:MAX_WORDS]
    return re.findall(_WORD, unicodedata.normalize("NFKC", query).casefold())[:MAX_WORDS]


def terms_of(query: str) -> set[int]:
    """Return the distinct terms of a query; empty if it has no words."""
    words = words_of(query)
    if not words:
        return set()
    framed = [_EDGE, *words, _EDGE]
    around = zip(framed, framed[2:], strict=False)
    terms = [
        *words,
        *[f"{first} {second}" for first, second in pairwise(framed)],
        *[f"{first}  {second}" for first, second in around if first != second],
    ]
    return {crc32(term.encode()) for term in terms}
