"""What the local tier makes of patterns that it was not trained on, as far as that can be told.

Nobody tells the pipeline which pattern a query follows, so patterns are found by their wording.
Whole patterns are hidden, a fifth of them at a time, and students of the rest are asked for theirs.
What is alike but was not grouped stays known: the share that is answered is rather overstated.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from search_router.domain.grading import errors, mean
from search_router.domain.local_tier.gate import Gate
from search_router.domain.local_tier.indexing import LabelledQuery, distinct_rows, index_queries
from search_router.domain.local_tier.neighbours import Estimate
from search_router.domain.local_tier.patterns import patterns_of
from search_router.domain.local_tier.scores import HeldOutPatterns
from search_router.domain.weights import Modalities, mean_weights

SAMPLE = 2_000  # distinct queries; more would only cost time
FOLDS = 5
LEAST_QUERIES = 4  # smaller patterns are mostly close relatives of others
LEAST_PATTERNS = 10


def hold_out_patterns(
    examples: Iterable[LabelledQuery], modalities: Modalities, gate: Gate
) -> HeldOutPatterns | None:
    """Measure student and gate on hidden patterns; None if too few patterns are found.

    A pure function of the set of examples.
    """
    rows = [(query, label) for _, query, label in distinct_rows(examples)[:SAMPLE]]
    patterns = patterns_of([query for query, _ in rows])
    sizes = Counter(patterns)
    large = sorted(pattern for pattern, size in sizes.items() if size >= LEAST_QUERIES)
    if len(large) < LEAST_PATTERNS:
        return None
    tried: list[tuple[Estimate | None, float]] = []
    for fold in range(FOLDS):
        hidden = set(large[fold::FOLDS])
        seen = [row for row, its in zip(rows, patterns, strict=True) if its not in hidden]
        new = [row for row, its in zip(rows, patterns, strict=True) if its in hidden]
        tried += _tried(seen, new, modalities)
    answered = [error for estimate, error in tried if estimate and gate.admits(estimate)]
    return HeldOutPatterns(
        patterns=len(large),
        queries=len(tried),
        mae=mean([error for _, error in tried]),
        answered=len(answered) / len(tried),
        answered_mae=mean(answered) if answered else None,
    )


def _tried(
    seen: Sequence[LabelledQuery], new: Sequence[LabelledQuery], modalities: Modalities
) -> Iterator[tuple[Estimate | None, float]]:
    """Yield estimate and error per weight; without any evidence the error of the mean label."""
    student = index_queries(seen, modalities)
    usual = mean_weights([label for _, label in seen])
    for query, label in new:
        estimate = student.estimate(query)
        yield estimate, mean(errors(estimate.weights if estimate else usual, label))
