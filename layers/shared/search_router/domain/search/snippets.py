"""Cuts the passage of a segment's texts that shows best why it was found."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TypedDict

from search_router.domain.search.analysis import Word, matches_in

SNIPPET_CHARACTERS = 160
_READ_CHARACTERS = 8_000  # of a text; the passage is looked for in these


class Snippet(TypedDict):
    """A passage of one modality's text; `matches` are [start, end) offsets of the query's words."""

    modality: str
    text: str
    matches: list[tuple[int, int]]


def snippet(texts: Mapping[str, str], terms: Sequence[str]) -> Snippet | None:
    """Return the passage with the most distinct terms of the query; None without any text.

    `texts` come in order of preference: of equal passages, the first text's wins. Control
    characters and line breaks become spaces.
    """
    best: Snippet | None = None
    most = -1
    for modality, text in texts.items():
        shown = _printable(text[:_READ_CHARACTERS])
        if not shown.strip():
            continue
        matches = list(matches_in(shown, terms))
        start, distinct = _best_window(matches)
        if distinct > most:
            most = distinct
            best = _cut(modality, shown, start, matches)
    return best


def _printable(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else " " for c in text)


def _best_window(matches: Sequence[Word]) -> tuple[int, int]:
    """Return the start of the window with the most distinct terms, and their number."""
    start, most, first = 0, 0, 0
    counts: Counter[str] = Counter()
    for word in matches:
        counts.update(word.terms)
        while word.end - matches[first].start > SNIPPET_CHARACTERS and matches[first] is not word:
            counts.subtract(matches[first].terms)
            first += 1
        distinct = sum(count > 0 for count in counts.values())
        if distinct > most:
            start, most = matches[first].start, distinct
    return start, most


def _cut(modality: str, text: str, start: int, matches: Sequence[Word]) -> Snippet:
    """Cut about 160 characters that begin a little before `start`, at a word."""
    lead = max(0, min(start - SNIPPET_CHARACTERS // 5, len(text) - SNIPPET_CHARACTERS))
    if lead > 0:
        gap = text.find(" ", lead, start)
        lead = gap + 1 if gap >= 0 else lead
    end = min(len(text), lead + SNIPPET_CHARACTERS)
    if end < len(text):
        gap = text.rfind(" ", lead + SNIPPET_CHARACTERS // 2, end)
        end = gap if gap > 0 else end
    inside = [(w.start - lead, w.end - lead) for w in matches if w.start >= lead and w.end <= end]
    return {"modality": modality, "text": text[lead:end], "matches": inside}
