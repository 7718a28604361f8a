"""The evaluation report as one self-contained HTML page."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from markupsafe import Markup

from router_cli.evaluation_report.facts import ReportFacts, is_invalid
from router_cli.evaluation_report.figures import NAMES, RISK_COVERAGE, Drawing, modality_colour
from router_cli.labels import figure, label
from router_cli.pages import render
from search_router.domain.intervals import Interval
from search_router.domain.lifecycle.evaluation import NoiseCeiling, Scores, SideBySideAnswer
from search_router.domain.local_tier.scores import LocalTierScores
from search_router.domain.serving.decisions import Status
from search_router.domain.weights import Modalities, Weights

_NOT_MEASURED = "–"  # noqa: RUF001 - an en dash
_MEASURES = ("mae", "dominant_agreement", "within_005", "within_010", "rubric")


class Cell(NamedTuple):
    """A figure and, below it, its 95% interval."""

    value: str
    interval: str = ""


class Bar(NamedTuple):
    """Weights as a stacked bar: a percentage and a colour for each modality."""

    description: str
    parts: list[tuple[float, str]]
    caption: str
    is_invalid: bool = False


def page(facts: ReportFacts, drawings: Sequence[Drawing]) -> str:
    """Return the report as HTML."""
    shown = [drawing._replace(svg=_inline(drawing.svg)) for drawing in drawings]
    return render(
        "evaluation.html",
        facts=facts,
        evaluation=facts.evaluation,
        names=NAMES,
        scores=list(_scores(facts)),
        drawings=[it for it in shown if it.name != RISK_COVERAGE],
        local_drawings=[it for it in shown if it.name == RISK_COVERAGE],
        local=facts.evaluation.local_tier,
        local_rows=list(_local_rows(facts.evaluation.local_tier)),
        side_by_side=list(_side_by_side(facts)),
        colour=modality_colour,
    )


def _inline(svg: str) -> Markup:
    """Mark a drawing of our own as markup; its caption describes it to screen readers."""
    return Markup(svg.replace("<svg", '<svg role="img" aria-hidden="true"', 1))  # noqa: S704


def _scores(facts: ReportFacts) -> Iterator[tuple[str, list[Cell], Cell]]:
    """Yield the rows of the score table: a title, a cell for each model and the noise ceiling."""
    models, noise = list(facts.evaluation.models.values()), facts.evaluation.noise
    for name in _MEASURES:
        ceiling = _measure(noise, name) if noise else Cell(_NOT_MEASURED)
        yield label(name), [_measure(scores, name) for scores in models], ceiling
    unmeasured = Cell(_NOT_MEASURED)
    if any(scores.judge for scores in models):
        yield label("judge"), [_judge(scores) for scores in models], unmeasured
    yield label("invalid"), [_measure(scores, "invalid_share") for scores in models], unmeasured
    rest: tuple[tuple[str, Callable[[Scores], str]], ...] = (
        (label("latency_mean"), lambda it: figure("latency_mean", it.latency_ms.mean)),
        (label("latency_p50"), lambda it: figure("latency_p50", it.latency_ms.p50)),
        (label("latency_p95"), lambda it: figure("latency_p95", it.latency_ms.p95)),
        ("tokens in and out, per query", _tokens),
        (label("cost_usd_per_million"), _cost),
    )
    for title, value in rest:
        yield title, [Cell(value(scores)) for scores in models], unmeasured
    yield label("n"), [Cell(f"{scores.n:,}") for scores in models], Cell(_pairs(noise))


def _measure(scores: Scores | NoiseCeiling, name: str) -> Cell:
    return Cell(figure(name, getattr(scores, name)), _interval(name, scores.intervals.get(name)))


def _judge(scores: Scores) -> Cell:
    judge = scores.judge
    if judge is None or judge.mean is None:
        return Cell(_NOT_MEASURED)
    return Cell(figure("judge", judge.mean), _interval("judge", judge.interval))


def _cost(scores: Scores) -> str:
    return figure("cost_usd_per_million", scores.cost_usd_per_million)


def _tokens(scores: Scores) -> str:
    return f"{scores.input_tokens / scores.n:.0f} / {scores.output_tokens / scores.n:.0f}"


def _pairs(noise: NoiseCeiling | None) -> str:
    return f"{noise.pairs:,} pairs" if noise else _NOT_MEASURED


def _interval(name: str, interval: Interval | None) -> str:
    if interval is None:
        return ""
    return f"{figure(name, interval.low)} to {figure(name, interval.high)}"


def _local_rows(local: LocalTierScores | None) -> Iterator[tuple[str, list[Cell]]]:
    """Yield a title and up to five cells: queries, answered, error, dominant modality, rubric."""
    if local is None:
        return
    everything = figure("answered", 1.0)
    yield (
        "Holdout, if it answered every query",
        [
            Cell(f"{local.n:,}"),
            Cell(everything),
            Cell(figure("mae", local.mae), _interval("mae", local.mae_interval)),
            Cell(figure("dominant_agreement", local.dominant_agreement)),
            Cell(figure("rubric", local.rubric)),
        ],
    )
    yield "Holdout, what its gate lets through", _gated(local.answered, local.answered_mae)
    coverage, error = local.calibrated_coverage, local.calibrated_mae
    yield "Calibration, what its gate lets through", _gated(coverage, error)
    hidden = local.held_out_patterns
    if hidden is not None:
        yield (
            f"{hidden.patterns} held-out patterns, if it answered every query",
            [Cell(f"{hidden.queries:,}"), Cell(everything), Cell(figure("mae", hidden.mae))],
        )
        gated = _gated(hidden.answered, hidden.answered_mae)
        yield "Held-out patterns, what its gate lets through", gated


def _gated(share: float, error: float | None) -> list[Cell]:
    shown = _NOT_MEASURED if error is None else figure("mae", error)
    return [Cell(""), Cell(figure("answered", share)), Cell(shown)]


def _side_by_side(facts: ReportFacts) -> Iterator[tuple[str, list[Bar]]]:
    """Yield each query with the bars of its label, the candidate and the base student."""
    shown = facts.side_by_side
    for row in shown.rows if shown else ():
        names = facts.modalities
        yield (
            row.query,
            [
                _bar(row.reference, names, _digits(row.reference)),
                _answer(row.candidate, names),
                _answer(row.base, names),
            ],
        )


def _answer(answer: SideBySideAnswer, modalities: Modalities) -> Bar:
    invalid = is_invalid(answer.status)
    caption = f"{_digits(answer.weights)} · grade {answer.grade}"
    if invalid:
        caption = f"invalid, {answer.problem}: the prior is served"
    elif answer.status != Status.OK:
        caption = f"{caption}, {answer.status}"
    return _bar(answer.weights, modalities, caption)._replace(is_invalid=invalid)


def _bar(weights: Weights, modalities: Modalities, caption: str) -> Bar:
    described = (f"{name} {weight:.2f}" for name, weight in zip(modalities, weights, strict=True))
    parts = [(100 * weight, modality_colour(number)) for number, weight in enumerate(weights)]
    return Bar(", ".join(described), parts, caption)


def _digits(weights: Weights) -> str:
    return " ".join(f"{weight:.2f}".removeprefix("0") for weight in weights)
