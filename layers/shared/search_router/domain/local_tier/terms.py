"""What two queries are compared by: their words, and pairs of words that stand close together.

In scripts that set no spaces between words (Chinese, Japanese, Thai, Khmer, …) every character is
a word, so that the pairs are character bigrams. Beginning and end of a query count as words in
pairs. Terms are known by their CRC-32 alone: an artifact holds no text.
"""

import re
import unicodedata
from itertools import pairwise
from zlib import crc32

MAX_WORDS = 64  # what follows in a longer query is not looked at: time stays bounded

# Blocks of the Unicode standard, chapters 12 to 18: scripts without spaces, and the Indic ones
# whose vowel signs are no letters to `re`.
_SPACELESS = (
    "\u0e00-\u0eff\u0f00-\u0fff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
    "\uf900-\ufaff\U00020000-\U0003ffff"
)
_MARKS = "\u0300-\u036f\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0900-\u0963\u0966-\u0dff"
_WORD = (  # compiled by its first use: that takes longer than all of this package's imports
    rf"[{_SPACELESS}]|(?:(?![{_SPACELESS}])[^\W_]|[{_MARKS}])+"
    rf"(?:['\u2019](?:(?![{_SPACELESS}])[^\W_]|[{_MARKS}])+)*"
)
_ASCII_WORD = re.compile(r"[a-z0-9]+(?:'[a-z0-9]+)*")  # the same for ASCII, three times faster
_EDGE = "\n"


def words_of(query: str) -> list[str]:
    """Return the first words of a query, case-folded, in order."""
    if query.isascii():
        return _ASCII_WORD.findall(query.lower())[:MAX_WORDS]
    return re.findall(_WORD, unicodedata.normalize("NFKC", query).casefold())[:MAX_WORDS]


def terms_of(query: str) -> set[int]:
    """Return the distinct terms of a query; none if it has no word."""
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
