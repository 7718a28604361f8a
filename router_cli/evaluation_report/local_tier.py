"""The local tier's own part of the page: its rows, and what its figures are about."""

from collections.abc import Iterator

from router_cli.markup import Markup, tag, text
from search_router.domain.local_tier.scores import LocalTierScores

_DASH = "–"  # noqa: RUF001 - what stands for "not measured"
_HEADS = ("queries", "answered", "mean absolute error per weight", "right dominant", "rubric")


def local_tier_section(local: LocalTierScores) -> Iterator[Markup]:
    """Yield the section's title, table and notes."""
    yield tag("h2", "The local tier")
    head = [tag("th"), *(tag("th", name, class_="number") for name in _HEADS)]
    yield tag("table", tag("tr", *head), *_rows(local))
    yield tag(
        "p",
        f"Its gate is chosen on known queries that were kept from its training, so that the mean "
        f"error per weight of what it answers is at most {local.max_error:g}, at "
        f"{100 * local.confidence:g} % confidence. That is about queries like the training set's, "
        "and no guarantee for query logs. It never decides a promotion.",
        class_="quiet",
    )
    yield tag("p", _of_held_out_patterns(local), class_="quiet")
    if local.answers:
        yield tag(
            "p",
            f"It also holds {local.answers:,} answers of a distilled model, to queries that the "
            "labels know nothing of. The rows of calibration and held-out patterns are without "
            "them.",
            class_="quiet",
        )
    if local.closed_because:
        yield tag("p", tag("b", "Its gate is closed: "), local.closed_because, class_="note")
    yield tag(
        "p",
        f"models/local/{local.version}, {local.microseconds:,.0f} µs per query where the "
        "evaluation ran.",
        class_="quiet",
    )


def _of_held_out_patterns(local: LocalTierScores) -> str:
    if local.held_out_patterns is None:
        return (
            "Error on held-out patterns: not computable. Patterns are not labelled, and too few "
            "were found by the wording of the training queries."
        )
    return (
        "Patterns are not labelled: they are found by the wording of a sample of the training "
        "queries, and hidden from students of the rest. What is alike but was not grouped stays "
        "known, so the share that is answered is rather overstated."
    )


def _rows(local: LocalTierScores) -> Iterator[Markup]:
    low, high = local.mae_interval.low, local.mae_interval.high
    yield _row(
        "Holdout, as if it answered every query",
        f"{local.n:,}",
        _share(1.0),
        _with_interval(f"{local.mae:.4f}", f"{low:.4f} to {high:.4f}"),
        f"{100 * local.dominant_agreement:.1f} %",
        f"{local.rubric:.2f}",
    )
    yield _row(
        "Holdout, what its gate answers", "", _share(local.answered), _error(local.answered_mae)
    )
    yield _row(
        "Calibration, what its gate answers",
        "",
        _share(local.calibrated_coverage),
        _error(local.calibrated_mae),
    )
    hidden = local.held_out_patterns
    if hidden is not None:
        yield _row(
            f"{hidden.patterns} held-out patterns, as if it answered every query",
            f"{hidden.queries:,}",
            _share(1.0),
            _error(hidden.mae),
        )
        yield _row(
            "Held-out patterns, what its gate answers",
            "",
            _share(hidden.answered),
            _error(hidden.answered_mae),
        )


def _with_interval(value: str, interval: str) -> Markup:
    return text(value, tag("span", interval, class_="interval"))


def _row(title: str, *cells: object) -> Markup:
    padded = [*cells, *([_DASH] * (len(_HEADS) - len(cells)))]
    return tag("tr", tag("td", title), *(tag("td", cell, class_="number") for cell in padded))


def _share(share: float) -> str:
    return f"{100 * share:.1f} %"


def _error(error: float | None) -> str:
    return _DASH if error is None else f"{error:.4f}"
