"""Groups queries by the pattern that they seem to follow, without knowing any pattern.

A word belongs to the pattern as far as the other words of the query predict it: its weight is the
mean of P(word | other word), as in the log-template miner LogCluster (Vaarandi and Pihelgas, CNSM
2015). A query joins the pattern whose first query has the most similar weights (Jaccard, at least
`ALIKE`) or begins a new one (leader clustering: Hartigan, Clustering Algorithms, 1975, chapter 3);
queries of the most usual wording come first. Labels are not looked at.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from search_router.domain.local_tier.terms import words_of

ALIKE = 0.3
_ONCE = 0.05  # the weight of a word that occurs once: a slot filler
_USUAL = 0.3  # words of this weight make the wording
_LOOKED_AT = 20  # patterns of one word: time stays bounded where nothing is alike

_Wording = Mapping[str, float]


def patterns_of(queries: Sequence[str]) -> list[int]:
    """Return the number of each query's pattern, the same whatever the order of the queries."""
    wordings = _wordings([sorted(set(words_of(query))) for query in queries])
    usual = [tuple(word for word, weight in it.items() if weight >= _USUAL) for it in wordings]
    often = Counter(usual)
    leaders: list[_Wording] = []
    led: defaultdict[str, list[int]] = defaultdict(list)
    patterns = [0] * len(queries)
    for place in sorted(range(len(queries)), key=lambda at: (-often[usual[at]], queries[at])):
        near = {leader for word in usual[place] for leader in led[word][:_LOOKED_AT]}
        alike = ((_similarity(wordings[place], leaders[it]), -it) for it in near)
        best, negative = max(alike, default=(0.0, 0))
        if best >= ALIKE:
            patterns[place] = -negative
            continue
        patterns[place] = len(leaders)
        for word in usual[place]:
            led[word].append(len(leaders))
        leaders.append(wordings[place])
    return patterns


def _wordings(queries: Sequence[Sequence[str]]) -> list[_Wording]:
    """Weigh the words of each query, which are distinct and in order."""
    frequency = Counter(word for words in queries for word in words)
    frequent = [[word for word in words if frequency[word] > 1] for words in queries]
    together = Counter((one, other) for words in frequent for one in words for other in words)

    def weight(word: str, others: Sequence[str]) -> float:
        predicted = [together[other, word] / frequency[other] for other in others if other != word]
        return sum(predicted) / len(predicted) if predicted else 1.0

    return [
        {word: weight(word, others) if frequency[word] > 1 else _ONCE for word in words}
        for words, others in zip(queries, frequent, strict=True)
    ]


def _similarity(one: _Wording, other: _Wording) -> float:
    shared = sum(min(weight, other[word]) for word, weight in one.items() if word in other)
    union = sum(one.values()) + sum(other.values()) - shared
    return shared / union if union else 0.0
