"""Whole patterns held out, to see whether the distance tells the never seen from the merely new.

An eighth of the patterns is hidden at a time, together with a fifth of the queries of the others;
the student learns the rest. The queries of the other patterns are the known ones. Some of them are
of patterns so small that nothing of these was left to learn; a row without them stands apart.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.figures import Row
from benchmarks.local_rivals import MAX_ERROR, Examples, WordIndex
from benchmarks.local_trials import Tried
from benchmarks.query_patterns import patterns_of
from router_cli.synthesis.draws import Draw
from search_router.domain.local_tier.local_model import LocalModel
from search_router.domain.local_tier.training import train
from search_router.domain.weights import Modalities, Weights

_GROUPS = 8
_LEAST_QUERIES = 4  # smaller patterns are mostly close relatives of others
_ROUNDS = 2
_SEED = 11


@dataclass(frozen=True, slots=True)
class Signal:
    """What a student says of a query: how near it is, and by the gate."""

    nearness: float
    word_nearness: float
    answered: bool
    error: float | None
    pattern_seen: bool


SIGNALS: dict[str, Callable[[Signal], float]] = {
    "familiarity": lambda it: it.nearness,
    "word cosine": lambda it: it.word_nearness,
}


@dataclass(frozen=True, slots=True)
class Curve:
    """Shares of hidden patterns refused, by the share of known queries kept."""

    rows: list[Row]

    def refused_at(self, kept: float) -> float:
        """Return our share of hidden-pattern queries refused when so many known ones are kept."""
        found = next(row for row in self.rows if row.get("known") == kept)
        return float(str(found["new refused"]))


def hold_out_patterns(examples: Examples, modalities: Modalities, kept: Sequence[float]) -> Curve:
    """Measure the distance signals and the trained gate on hidden patterns."""
    queries = sorted({query for query, _ in examples})
    patterns = patterns_of(queries)
    known: list[Signal] = []
    hidden: list[Signal] = []
    for number in range(_ROUNDS):
        for hide in _hidden_groups(patterns, number):
            new = {query for query in queries if patterns[query] in hide}
            others = Draw(_SEED + number, f"known {min(hide)}").shuffled(
                query for query in queries if query not in new
            )
            held = set(others[: len(others) // 5])
            seen = [it for it in examples if it[0] not in new and it[0] not in held]
            patterns_seen = {patterns[query] for query, _ in seen}
            model, index = train(seen, modalities, MAX_ERROR), WordIndex(seen)
            for query, label in examples:
                if query in new or query in held:
                    is_seen = patterns[query] in patterns_seen
                    signal = _signal(model, index, query, label, pattern_seen=is_seen)
                    (hidden if query in new else known).append(signal)
    rows: list[Row] = [
        {
            "what": f"{name}, {100 * share:.0f} % of known kept",
            "known": share,
            "new refused": _refused(known, hidden, share, signal),
        }
        for name, signal in SIGNALS.items()
        for share in kept
    ]
    rows.extend(
        {
            "what": f"familiarity, {100 * share:.0f} % kept of known with a pattern seen",
            "known": share,
            "new refused": _refused(
                [it for it in known if it.pattern_seen], hidden, share, SIGNALS["familiarity"]
            ),
        }
        for share in kept
    )
    slipped = [it.error for it in hidden if it.answered and it.error is not None]
    rows.append(
        {
            "what": f"the gate; {len(set(patterns.values()))} patterns; MAE: new answered",
            "MAE": sum(slipped) / len(slipped) if slipped else None,
            "known": sum(it.answered for it in known) / len(known),
            "new refused": 1 - len(slipped) / len(hidden),
        }
    )
    return Curve(rows)


def _hidden_groups(patterns: dict[str, int], number: int) -> list[set[int]]:
    sizes = Counter(patterns.values())
    large = sorted(pattern for pattern, size in sizes.items() if size >= _LEAST_QUERIES)
    dealt = Draw(_SEED + number, "patterns").shuffled(large)
    return [set(dealt[group::_GROUPS]) for group in range(_GROUPS)]


def _signal(
    model: LocalModel, index: WordIndex, query: str, label: Weights, *, pattern_seen: bool
) -> Signal:
    estimate = model.neighbourhood.estimate(query)
    words = index.nearest(query)
    return Signal(
        estimate.familiarity if estimate else 0.0,
        words[0][0] if words else 0.0,
        model.answer(query) is not None,
        Tried.of(query, estimate.weights, label).error if estimate else None,
        pattern_seen,
    )


def _refused(
    known: Sequence[Signal],
    hidden: Sequence[Signal],
    share: float,
    nearness: Callable[[Signal], float],
) -> float:
    bound = sorted(map(nearness, known), reverse=True)[round(share * len(known)) - 1]
    return sum(nearness(it) < bound for it in hidden) / len(hidden)
