"""Turns texts into terms, to weigh a query's words and to find them in a text.

The index has its own analyser, which this one need not equal: its terms decide how rare a query's
words are, and which words a snippet marks.
"""

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

from search_router.domain.local_tier.terms import words_of

STOP_WORDS = frozenset(
    # A string, because a list would take a line per word.
    "a about an and are as at be been being but by can did do does for from had has have he her "  # noqa: SIM905
    "his how i in into is it its no not of on or she so some someone something than that the their "
    "then there these they this those to was we were what when where which while who will with you "
    "your".split()
)
_SUFFIXES = ("ing", "ies", "ed", "es", "s")
_MIN_STEM = 3
_WORD = re.compile(r"\w+(?:['\u2019]\w+)*")


class Word(NamedTuple):
    """One word of a text: where it begins and ends, and those of the wanted terms it has."""

    start: int
    end: int
    terms: frozenset[str]


def query_terms(text: str) -> list[str]:
    """Return the distinct terms of a text, without stop words, in order of first appearance."""
    return list(dict.fromkeys(_terms(words_of(text))))


def all_terms(text: str, max_words: int) -> set[str]:
    """Return the distinct terms of the first words of a text."""
    pieces = (
        found.group() for found, _ in zip(_WORD.finditer(text), range(max_words), strict=False)
    )
    return {term for piece in pieces for term in _terms_of(piece)}


def matches_in(text: str, terms: Sequence[str]) -> Iterator[Word]:
    """Yield the words of a text that have one of the terms, in order.

    A term begins its words, so only words with such a beginning are analysed.
    """
    if not terms:
        return
    wanted = frozenset(terms)
    # Scripts without spaces have no word boundaries; there, a term is one character.
    beginnings = [
        re.escape(t) if len(t) == 1 and not t.isascii() else rf"\b{re.escape(t)}\w*" for t in wanted
    ]
    for found in re.finditer("|".join(sorted(beginnings)), text, re.IGNORECASE):
        if matched := wanted.intersection(_terms_of(found.group())):
            yield Word(found.start(), found.end(), matched)


@lru_cache(maxsize=4096)
def _terms_of(word: str) -> tuple[str, ...]:
    """Return the terms of a text without spaces; the same words come again and again."""
    return tuple(_terms(words_of(word)))


def _terms(words: list[str]) -> Iterator[str]:
    for word in words:
        if word not in STOP_WORDS:
            yield _stem(word)


def _stem(word: str) -> str:
    """Cut off one English ending; other languages keep most words whole."""
    for suffix in _SUFFIXES:
        if word.endswith(suffix) and len(word) - len(suffix) >= _MIN_STEM:
            return word[: -len(suffix)]
    return word
