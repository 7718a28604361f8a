"""The figures of an evaluation report as SVG.

This is the only module of the command that imports matplotlib, which is slow to load.
"""

import io
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from router_cli.evaluation_report.facts import BINS, LABELS, ReportFacts
from search_router.domain.lifecycle.evaluation import BASE, BASELINE, CANDIDATE, CHAMPION, Scores
from search_router.domain.local_tier.scores import LocalTierScores

RISK_COVERAGE = "risk-coverage"
NAMES = {
    CANDIDATE: "distilled (candidate)",
    CHAMPION: "champion before",
    BASE: "base student",
    BASELINE: "large baseline",
}
# Okabe and Ito (2008): colours that people with any colour blindness can tell apart.
_COLOURS = {CANDIDATE: "#0072B2", CHAMPION: "#009E73", BASE: "#D55E00", BASELINE: "#CC79A7"}
_LOCAL_COLOUR = "#E69F00"
_MODALITY_COLOURS = (
    "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442",
)  # fmt: skip
_OTHER_COLOUR = "#999999"
_MARKERS = {CANDIDATE: "o", CHAMPION: "s", BASE: "^", BASELINE: "D"}
_POINT: Any = {"linestyle": "none", "markersize": 10, "clip_on": False, "zorder": 3}
_WIDTH = 10.0  # inches; the page scales the drawing to its own width
_INK, _FAINT, _CEILING = "#222222", "#d0d7de", "#555555"
_STYLE: Any = {
    "font.size": 10,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.edgecolor": _FAINT,
    "axes.labelcolor": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": "#eaeef2",
    "text.color": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "svg.fonttype": "path",  # looks the same without the fonts of this machine
}


class Drawing(NamedTuple):
    """One figure as SVG, with its name, title and caption."""

    name: str
    title: str
    caption: str
    svg: str


class _Measure(NamedTuple):
    title: str
    field: str
    interval: str
    scale: float = 1.0
    has_ceiling: bool = True
    places: int = 1


_MEASURES = (
    _Measure("Mean absolute error per weight\n(lower is better)", "mae", "mae", places=3),
    _Measure("Right dominant modality, %", "dominant_agreement", "dominant_agreement", 100),
    _Measure("All weights within 0.05, %", "within_005", "within_005", 100),
    _Measure("All weights within 0.10, %", "within_010", "within_010", 100),
    _Measure("Rubric, 1 (worst) to 5 (best)", "rubric", "rubric", places=2),
    _Measure("Invalid answers, %\n(lower is better)", "invalid_share", "invalid_share", 100, False),
)


def modality_colour(number: int) -> str:
    """Return the colour of the n-th modality; the eighth and later ones share one."""
    return (*_MODALITY_COLOURS, _OTHER_COLOUR)[min(number, len(_MODALITY_COLOURS))]


def draw_figures(facts: ReportFacts) -> list[Drawing]:
    """Return every figure for which the facts have data."""
    with mpl.rc_context(_STYLE):
        drawings = list(_drawings(facts))
    if facts.is_local:
        return [it._replace(caption=f"{it.caption} {_of_a_local_run(it)}") for it in drawings]
    return drawings


def _of_a_local_run(drawing: Drawing) -> str:
    if drawing.name == RISK_COVERAGE:
        return "The local model is real; the dotted line is that of the Bedrock fake."
    return "All figures are those of the Bedrock fake."


def _drawings(facts: ReportFacts) -> Iterator[Drawing]:
    models = facts.evaluation.models
    ceiling = " Dashed: the noise ceiling, a perfect student's score, and its interval."
    ceiling = ceiling if facts.evaluation.noise else ""
    yield Drawing(
        "model-comparison",
        "Model comparison",
        f"Scores of every model on the same {facts.evaluation.candidate.n} holdout queries; bars "
        f"are 95% intervals.{ceiling}",
        _svg("model-comparison", _model_comparison(facts)),
    )
    yield Drawing(
        "weight-distribution",
        "Weight distribution",
        "Share of holdout queries by weight, for each modality: the labels (grey) and the answers "
        "of the models.",
        _svg("weight-distribution", _weight_distribution(facts)),
    )
    if facts.latency_percentiles:
        yield Drawing(
            "latency",
            "Latency breakdown",
            "Left: share of calls answered within a time. Right: median, mean and 95th percentile.",
            _svg("latency", _latency(facts)),
        )
    yield Drawing(
        "error-breakdown",
        "Error by modality",
        "Mean absolute error by modality, and by the dominant modality of the label.",
        _svg("error-breakdown", _error_breakdown(models)),
    )
    judged = {name: scores for name, scores in models.items() if scores.judge}
    if judged:
        yield Drawing(
            "judge",
            "Grades of the LLM judge",
            "Answers by grade; those without a result are counted separately.",
            _svg("judge", _judge(judged)),
        )
    local = facts.evaluation.local_tier
    if local is not None:
        yield Drawing(
            RISK_COVERAGE,
            "Error and coverage of the local tier",
            "Mean absolute error on the queries of the holdout with the highest confidence. Full "
            "circle: what the gate lets through of the holdout. Open circle: of the labelled "
            "queries on which the gate was chosen.",
            _svg(RISK_COVERAGE, risk_coverage(local, facts.evaluation.candidate.mae)),
        )


def _model_comparison(facts: ReportFacts) -> Figure:
    figure = Figure(figsize=(_WIDTH, 5.2), layout="constrained")
    panels = figure.subplots(2, 3, sharey=True)
    models = facts.evaluation.models
    for panel, measure in zip(panels.flat, _MEASURES, strict=True):
        _measure_panel(panel, measure, facts)
    names = list(models)
    panels[0][0].set_yticks(range(len(names)), [NAMES[name] for name in names])
    panels[0][0].set_ylim(len(names) - 0.4, -0.6)  # the candidate on top
    return figure


def _measure_panel(panel: Axes, measure: _Measure, facts: ReportFacts) -> None:
    panel.set_title(measure.title)
    for row, (name, scores) in enumerate(facts.evaluation.models.items()):
        value = getattr(scores, measure.field) * measure.scale
        interval = scores.intervals.get(measure.interval)
        low, high = (interval.low, interval.high) if interval else (value, value)
        ends = (low * measure.scale, high * measure.scale)
        panel.hlines(row, *ends, color=_COLOURS[name], linewidth=2.5, alpha=0.75)
        panel.plot(value, row, _MARKERS[name], color=_COLOURS[name], markersize=7)
        panel.annotate(
            f"{value:.{measure.places}f}",
            (value, row),
            xytext=(0, 8),
            textcoords="offset points",
            ha="center",
            fontsize=9,
        )
    noise = facts.evaluation.noise
    if noise is not None and measure.has_ceiling:
        ceiling = getattr(noise, measure.field) * measure.scale
        panel.axvline(ceiling, color=_CEILING, linestyle="--", linewidth=1.2)
        if between := noise.intervals.get(measure.interval):
            ends = (between.low * measure.scale, between.high * measure.scale)
            panel.axvspan(*ends, color=_CEILING, alpha=0.12, linewidth=0)
        panel.annotate(
            f"noise ceiling {ceiling:.{measure.places}f}",
            (ceiling, 0),
            xycoords=("data", "axes fraction"),
            xytext=(-4 if measure.field != "mae" else 4, 5),
            textcoords="offset points",
            ha="right" if measure.field != "mae" else "left",
            color=_CEILING,
            fontsize=8.5,
        )
    panel.tick_params(length=0)
    panel.grid(visible=False, axis="y")
    panel.margins(x=0.14)
    if measure.scale == 100:
        panel.set_xlim(right=min(103, panel.get_xlim()[1]))
    panel.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))


def _weight_distribution(facts: ReportFacts) -> Figure:
    columns = min(2, len(facts.modalities))
    rows = math.ceil(len(facts.modalities) / columns)
    figure = Figure(figsize=(_WIDTH, 2.4 * rows + 0.5), layout="constrained")
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    levels = [number / BINS for number in range(BINS + 1)]
    for panel, modality in zip(panels.flat, facts.modalities, strict=False):
        _weights_panel(panel, levels, facts.weight_shares[modality])
        panel.set_title(modality)
    for unused in list(panels.flat)[len(facts.modalities) :]:
        unused.set_visible(False)
    for panel in panels[:, 0]:
        panel.set_ylabel("% of queries")
    for panel in panels[-1]:
        panel.set_xlabel("weight")
        panel.set_xticks(levels[::2])
    handles, names = panels[0][0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper center", ncols=len(names), frameon=False)
    return figure


def _weights_panel(
    panel: Axes, levels: Sequence[float], shares: Mapping[str, Sequence[float]]
) -> None:
    labels = [100 * share for share in shares.get(LABELS, ())]
    if labels:
        panel.bar(levels, labels, width=0.09, color="#c4c9cf", label="labels")
    for name, title in NAMES.items():
        if name in shares:
            panel.plot(
                levels,
                [100 * share for share in shares[name]],
                marker=_MARKERS[name],
                markersize=5,
                linewidth=1.6,
                color=_COLOURS[name],
                label=title,
                clip_on=False,
            )


def _latency(facts: ReportFacts) -> Figure:
    figure = Figure(figsize=(_WIDTH, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1.15, 1))
    for name, percentiles in facts.latency_percentiles.items():
        left.step(
            percentiles, range(101), where="post", color=_COLOURS[name], linewidth=2,
            label=NAMES[name],
        )  # fmt: skip
    left.set_title("Calls answered within a time, %")
    left.set_xlabel("milliseconds")
    left.set_ylim(0, 102)
    left.set_xlim(left=0)
    figure.legend(loc="outside upper center", ncols=len(NAMES), frameon=False)
    _latency_ranges(right, facts.evaluation.models)
    return figure


def _latency_ranges(panel: Axes, models: Mapping[str, Scores]) -> None:
    panel.set_title("Median to 95th percentile, and mean")
    for row, (name, scores) in enumerate(models.items()):
        latency, colour = scores.latency_ms, _COLOURS[name]
        panel.hlines(row, latency.p50, latency.p95, color=colour, linewidth=6, alpha=0.35)
        panel.plot(latency.p50, row, "|", color=colour, markersize=16, markeredgewidth=3)
        panel.plot(latency.p95, row, "|", color=colour, markersize=16, markeredgewidth=3)
        panel.plot(latency.mean, row, _MARKERS[name], color=colour, markersize=7)
        panel.annotate(
            f"median {latency.p50:,.0f} · mean {latency.mean:,.0f} · p95 {latency.p95:,.0f} ms",
            (latency.p50, row),
            xytext=(0, 13),
            textcoords="offset points",
            fontsize=9,
        )
    panel.set_yticks(range(len(models)), [NAMES[name] for name in models])
    panel.set_ylim(len(models) - 0.5, -0.8)
    panel.set_xlim(0, 1.7 * max(scores.latency_ms.p95 for scores in models.values()) + 1)
    panel.set_xlabel("milliseconds")
    panel.grid(visible=False, axis="y")
    panel.tick_params(axis="y", length=0)


def _error_breakdown(models: Mapping[str, Scores]) -> Figure:
    figure = Figure(figsize=(_WIDTH, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    modalities = list(next(iter(models.values())).mae_by_modality)
    _bars(left, models, modalities, lambda scores, name: scores.mae_by_modality.get(name))
    left.set_title("By modality")
    left.set_ylabel("mean absolute error")
    found = {name for scores in models.values() for name in scores.by_category}
    categories = [name for name in modalities if name in found] + sorted(found - {*modalities})
    _bars(
        right,
        models,
        categories,
        lambda scores, name: scores.by_category[name].mae if name in scores.by_category else None,
    )
    right.set_title("By dominant modality of the label")
    sizes = next(iter(models.values())).by_category
    right.set_xticks(
        range(len(categories)),
        [f"{_short(name)}\n{sizes[name].n if name in sizes else 0} queries" for name in categories],
    )
    handles, names = left.get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper center", ncols=len(names), frameon=False)
    return figure


def _bars(
    panel: Axes,
    models: Mapping[str, Scores],
    groups: Sequence[str],
    value: Callable[[Scores, str], float | None],
) -> None:
    width = 0.8 / len(models)
    for number, (name, scores) in enumerate(models.items()):
        offset = (number - (len(models) - 1) / 2) * width
        heights = [value(scores, group) or 0.0 for group in groups]
        places = [place + offset for place in range(len(groups))]
        bars = panel.bar(places, heights, width * 0.92, color=_COLOURS[name], label=NAMES[name])
        panel.bar_label(bars, fmt=_three_places, fontsize=8, padding=1.5)
    panel.set_xticks(range(len(groups)), [_short(group) for group in groups])
    panel.tick_params(axis="x", length=0)
    panel.grid(visible=False, axis="x")
    panel.margins(y=0.12)


def _judge(judged: Mapping[str, Scores]) -> Figure:
    figure = Figure(figsize=(_WIDTH, 0.7 * len(judged) + 1.4), layout="constrained")
    panel = figure.subplots()
    shades = ("#d7e8f4", "#a9cfe8", "#6fb0da", "#2f88bf", "#005a8e")
    for row, scores in enumerate(judged.values()):
        judge = scores.judge
        if judge is None:
            continue
        left = 0
        for shade, grade in zip(shades, "12345", strict=True):
            count = sum(n for given, n in judge.grades.items() if given.startswith(grade))
            panel.barh(row, count, left=left, color=shade, height=0.6)
            if count:
                ink = "white" if grade in "45" else _INK
                panel.text(left + count / 2, row, str(count), ha="center", va="center", color=ink)
            left += count
        panel.barh(row, judge.missing, left=left, color="white", edgecolor=_CEILING, height=0.6)
        panel.text(left + judge.missing, row, f"  {judge.missing} missing", va="center")
    panel.margins(x=0.15)
    panel.set_yticks(range(len(judged)), [NAMES[name] for name in judged])
    panel.set_ylim(len(judged) - 0.5, -0.5)
    panel.set_xlabel("answers")
    panel.grid(visible=False, axis="y")
    for shade, grade in zip(shades, "12345", strict=True):
        panel.bar(0, 0, color=shade, label=f"grade {grade}")
    panel.set_xlim(left=0)
    figure.legend(loc="outside upper center", ncols=5, frameon=False)
    panel.xaxis.set_major_locator(MaxNLocator(integer=True))
    panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    return figure


def risk_coverage(local: LocalTierScores, candidate_error: float) -> Figure:
    """Draw error against coverage, the gate's bound and, if the gate is open, where it stands.

    Geifman and El-Yaniv (NeurIPS 2017) call the axes risk and coverage. `candidate_error` is the
    error of the distilled model on all of the same queries, for comparison.
    """
    figure = Figure(figsize=(_WIDTH, 3.8), layout="constrained")
    panel = figure.subplots()
    panel.plot(
        [100 * point.coverage for point in local.risk_coverage],
        [point.mae for point in local.risk_coverage],
        marker=".",
        color=_LOCAL_COLOUR,
        linewidth=2,
        label="local model, holdout",
    )
    _gate(panel, local)
    panel.axhline(
        local.max_error, color=_INK, linewidth=1.2, linestyle="--",
        label=f"the gate's bound, {local.max_error:g}",
    )  # fmt: skip
    panel.axhline(
        candidate_error, color=_COLOURS[CANDIDATE], linewidth=1.2, linestyle=":",
        label=f"{NAMES[CANDIDATE]}, all queries",
    )  # fmt: skip
    panel.set_xlabel("% of queries answered, by descending confidence")
    panel.set_ylabel("mean absolute error")
    panel.set_xlim(0, 102)
    panel.set_ylim(0, 1.15 * max(panel.get_ylim()[1], local.max_error))
    figure.legend(loc="outside upper center", ncols=5, frameon=False, fontsize=9)
    return figure


def _gate(panel: Axes, local: LocalTierScores) -> None:
    if local.answered_mae is not None:
        panel.plot(
            100 * local.answered, local.answered_mae, "o", color=_LOCAL_COLOUR,
            label="the gate, holdout", **_POINT,
        )  # fmt: skip
    if local.calibrated_mae is not None:
        panel.plot(
            100 * local.calibrated_coverage, local.calibrated_mae, "o", color=_CEILING,
            markerfacecolor="white", markeredgewidth=2, label="the gate, calibration", **_POINT,
        )  # fmt: skip


def _short(name: str) -> str:
    return name if len(name) <= 14 else f"{name[:13]}…"


def _three_places(value: float) -> str:
    return f"{value:.3f}".lstrip("0") if value else ""


def _svg(name: str, figure: Figure) -> str:
    """Return the figure as an <svg> element, the same bytes for the same facts."""
    out = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": name}):
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    text = out.getvalue()
    return text[text.index("<svg") :]
