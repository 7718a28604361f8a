"""The report as one page that needs nothing beside itself and may run nothing."""

from collections.abc import Callable, Iterator, Sequence

from router_cli.evaluation_report.facts import ReportFacts, is_invalid
from router_cli.evaluation_report.figures import RISK_COVERAGE, Drawing
from router_cli.evaluation_report.local_tier import local_tier_section
from router_cli.evaluation_report.palette import NAMES, modality_colour
from router_cli.markup import Markup, document, tag
from search_router.domain.intervals import Interval
from search_router.domain.lifecycle.evaluation import NoiseCeiling, Scores, SideBySideAnswer
from search_router.domain.serving.decisions import Status
from search_router.domain.weights import Modalities, Weights

_STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 68rem; margin: 2rem auto; padding: 0 1rem;
  color: #222; background: #fff; }
h1 { margin: 0 0 .2rem; font-size: 1.7rem; } h2 { margin: 2.2rem 0 .4rem; font-size: 1.2rem; }
h3 { margin: 1.2rem 0 .2rem; font-size: 1.02rem; }
p { margin: .4rem 0; } .quiet { color: #57606a; }
.note { padding: .6rem 1rem; border-left: .3rem solid #E69F00; background: #fff8e6; }
.verdict { padding: .6rem 1rem; border-left: .3rem solid #57606a; background: #f3f5f7;
  overflow-wrap: anywhere; }
.verdict.PROMOTED { border-color: #0072B2; background: #eaf4fb; }
table { border-collapse: collapse; width: 100%; }
th, td { padding: .3rem .9rem .3rem 0; text-align: left; vertical-align: top; }
th { font-weight: 600; border-bottom: 2px solid #d0d7de; }
td { border-bottom: 1px solid #eaeef2; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums;
  white-space: nowrap; }
.interval { display: block; color: #57606a; font-size: .82em; }
.ceiling { background: #f6f8fa; }
figure { margin: .6rem 0 0; } figure svg { width: 100%; height: auto; display: block; }
figcaption { color: #57606a; } dl { display: grid; grid-template-columns: max-content 1fr;
  gap: .15rem 1.2rem; margin: 0; } dt { color: #57606a; } dd { margin: 0;
  overflow-wrap: anywhere; }
.bar { display: flex; height: 1.05rem; border-radius: .2rem; overflow: hidden; min-width: 9rem; }
.bar span { display: block; height: 100%; } .bad .bar { opacity: .35; }
.key { display: inline-block; width: .8rem; height: .8rem; border-radius: .15rem;
  margin: 0 .35rem 0 1rem; vertical-align: -.05rem; }
.small { font-size: .82em; color: #57606a; } td.query { overflow-wrap: anywhere; }
table.beside { table-layout: fixed; } table.beside td { padding-right: 1.1rem; }
table.beside col.query { width: 28%; }
"""
_DASH = "–"  # noqa: RUF001 - what stands for "not measured"


def page(facts: ReportFacts, drawings: Sequence[Drawing]) -> str:
    """Return the report as HTML."""
    return document(
        f"Evaluation of {facts.run_id}",
        _STYLE,
        tag("h1", "Evaluation of ", facts.run_id),
        tag("p", f"{facts.source} · made {facts.made_at:%Y-%m-%d %H:%M} UTC", class_="quiet"),
        *_notes(facts),
        tag("h2", "Scores on the holdout"),
        _scores_table(facts),
        *_below_the_table(facts),
        *(part for it in drawings if it.name != RISK_COVERAGE for part in _figure(it)),
        *_local_tier(facts, drawings),
        *_side_by_side(facts),
        tag("h2", "The run"),
        _run(facts),
    )


def _notes(facts: ReportFacts) -> Iterator[Markup]:
    verdict = f": {facts.reason}" if facts.reason else ""
    yield tag("p", tag("b", facts.state), verdict, class_=f"verdict {facts.state}")
    if facts.is_local:
        yield tag(
            "p",
            tag("b", "A local run. "),
            "Quality, latency, tokens and dollars on this page are those of the Bedrock double, "
            "not of Amazon Nova. They show that the system works, not how good the model is. Only "
            "the local tier is the real one.",
            class_="note",
        )


_Row = tuple[str, Callable[[Scores], tuple[str, str]], Callable[[NoiseCeiling], str]]


def _scores_table(facts: ReportFacts) -> Markup:
    evaluation = facts.evaluation
    models = evaluation.models
    head = tag(
        "tr",
        tag("th", "95 % intervals below each figure"),
        *(tag("th", NAMES[name], class_="number") for name in models),
        tag("th", "noise ceiling", class_="number ceiling"),
    )
    rows = []
    is_judged = any(scores.judge for scores in models.values())
    for title, figure, ceiling in _table_rows():
        if figure is _judge and not is_judged:
            continue
        cells = []
        for scores in models.values():
            value, interval = figure(scores)
            cells.append(
                tag("td", value, tag("span", interval, class_="interval"), class_="number")
            )
        bound = ceiling(evaluation.noise) if evaluation.noise else _DASH
        rows.append(tag("tr", tag("td", title), *cells, tag("td", bound, class_="number ceiling")))
    return tag("table", head, *rows)


def _table_rows() -> Iterator[_Row]:
    yield "Mean absolute error per weight", _number("mae", 4), lambda n: f"{n.mae:.4f}"
    yield "Right dominant modality", _share("dominant_agreement"), _ceiling("dominant_agreement")
    yield "All weights within 0.05", _share("within_005"), _ceiling("within_005")
    yield "All weights within 0.10", _share("within_010"), _ceiling("within_010")
    yield "Rubric, 1 to 5", _number("rubric", 2), lambda n: f"{n.rubric:.2f}"
    yield "LLM judge, 1 to 5", _judge, _no_ceiling
    yield "Invalid answers", _share("invalid_share"), _no_ceiling
    yield "Latency, mean", _latency("mean"), _no_ceiling
    yield "Latency, median", _latency("p50"), _no_ceiling
    yield "Latency, 95th percentile", _latency("p95"), _no_ceiling
    yield "Tokens in and out, per query", _tokens, _no_ceiling
    yield "Dollars per million queries", _dollars, _no_ceiling
    yield "Queries", lambda scores: (f"{scores.n:,}", ""), lambda n: f"{n.pairs:,} pairs"


def _below_the_table(facts: ReportFacts) -> Iterator[Markup]:
    noise, references = facts.evaluation.noise, facts.evaluation.references
    comparison = facts.evaluation.comparison
    if comparison is not None:
        low, high = comparison.interval.low, comparison.interval.high
        yield tag(
            "p",
            f"Paired difference of the mean absolute error to the {NAMES[comparison.rival]}: "
            f"{comparison.difference:+.4f}, 95 % interval {low:+.4f} to {high:+.4f} "
            "(negative: the candidate is better).",
        )
    if noise is not None:
        yield tag(
            "p",
            f"Noise ceiling: {noise.repeated_queries:,} queries were labelled more than once; one "
            "label is scored against the other as if it were an answer. No student can be measured "
            "to be better than that.",
            class_="quiet",
        )
    else:
        yield tag(
            "p", "No query was labelled twice, so the labels' own noise is unknown.", class_="quiet"
        )
    if references is not None and references.from_teacher:
        yield tag(
            "p",
            f"{references.from_file:,} labels come from the file, {references.from_teacher:,} from "
            f"{references.teacher}; {references.unusable:,} of its answers were unusable.",
            class_="quiet",
        )
    for name, scores in facts.evaluation.models.items():
        judge = scores.judge
        if judge is not None:
            yield tag(
                "p",
                f"Judge {judge.judge} on the {NAMES[name]}: {judge.status}, {judge.asked:,} "
                f"answers, {judge.missing:,} without a result, which count nowhere.",
                class_="quiet",
            )


def _figure(drawing: Drawing, heading: str = "h2") -> Iterator[Markup]:
    yield tag(heading, drawing.title)
    yield tag(
        "figure",
        Markup(drawing.svg.replace("<svg", '<svg role="img" aria-hidden="true"', 1)),
        tag("figcaption", drawing.caption),
        id=drawing.name,
    )


def _local_tier(facts: ReportFacts, drawings: Sequence[Drawing]) -> Iterator[Markup]:
    local = facts.evaluation.local_tier
    if local is not None:
        yield from local_tier_section(local)
        yield from (
            part for it in drawings if it.name == RISK_COVERAGE for part in _figure(it, "h3")
        )


def _side_by_side(facts: ReportFacts) -> Iterator[Markup]:
    shown = facts.side_by_side
    if shown is None:
        return
    yield tag("h2", f"{len(shown.rows)} queries side by side")
    yield tag(
        "p",
        *(
            part
            for place, name in enumerate(shown.modalities)
            for part in (
                tag("span", class_="key", style=f"background:{modality_colour(place)}"),
                name,
            )
        ),
    )
    heads = ("query", "label", NAMES["candidate"], NAMES["base"])
    yield tag(
        "table",
        tag("colgroup", tag("col", class_="query"), *(tag("col") for _ in heads[1:])),
        tag("tr", *(tag("th", head) for head in heads)),
        *(
            tag(
                "tr",
                tag("td", row.query, class_="query"),
                tag(
                    "td",
                    _weights(row.reference, shown.modalities),
                    tag("span", _in_figures(row.reference), class_="small"),
                ),
                _answer(row.candidate, shown.modalities),
                _answer(row.base, shown.modalities),
            )
            for row in shown.rows
        ),
        class_="beside",
    )


def _answer(answer: SideBySideAnswer, modalities: Modalities) -> Markup:
    bad = is_invalid(answer.status)
    said = f"{_in_figures(answer.weights)} · grade {answer.grade}"
    if bad:
        said = f"invalid, {answer.problem}: the user gets the prior"
    elif answer.status != Status.OK:
        said = f"{said}, {answer.status}"
    return tag(
        "td",
        _weights(answer.weights, modalities),
        tag("span", said, class_="small"),
        class_="bad" if bad else "good",
    )


def _in_figures(weights: Weights) -> str:
    return " ".join(f"{weight:.2f}".removeprefix("0") for weight in weights)


def _weights(weights: Weights, modalities: Modalities) -> Markup:
    said = ", ".join(
        f"{name} {weight:.2f}" for name, weight in zip(modalities, weights, strict=True)
    )
    parts = [
        tag("span", style=f"width:{100 * weight:.1f}%;background:{modality_colour(place)}")
        for place, weight in enumerate(weights)
    ]
    return tag("div", *parts, class_="bar", role="img", aria_label=said, title=said)


def _run(facts: ReportFacts) -> Markup:
    rows = (
        ("teacher", facts.teacher),
        ("student", facts.student),
        ("system prompt", facts.system_prompt),
        ("created", f"{facts.created_at:%Y-%m-%d %H:%M:%S} UTC"),
        ("last changed", f"{facts.updated_at:%Y-%m-%d %H:%M:%S} UTC"),
        *((name.replace("_", " "), f"{count:,}") for name, count in facts.counts.items()),
        ("the evaluation's own calls", f"${facts.evaluation.cost_usd:.4f}, without the judge"),
    )
    return tag(
        "dl", *(part for name, value in rows for part in (tag("dt", name), tag("dd", value)))
    )


def _number(field: str, places: int) -> Callable[[Scores], tuple[str, str]]:
    def figure(scores: Scores) -> tuple[str, str]:
        return f"{getattr(scores, field):.{places}f}", _interval(
            scores.intervals.get(field), 1, places
        )

    return figure


def _share(field: str) -> Callable[[Scores], tuple[str, str]]:
    def figure(scores: Scores) -> tuple[str, str]:
        return f"{100 * getattr(scores, field):.1f} %", _interval(
            scores.intervals.get(field), 100, 1
        )

    return figure


def _ceiling(field: str) -> Callable[[NoiseCeiling], str]:
    return lambda noise: f"{100 * getattr(noise, field):.1f} %"


def _no_ceiling(_: NoiseCeiling) -> str:
    return _DASH


def _latency(field: str) -> Callable[[Scores], tuple[str, str]]:
    return lambda scores: (f"{getattr(scores.latency_ms, field):,.0f} ms", "")


def _tokens(scores: Scores) -> tuple[str, str]:
    return f"{scores.input_tokens / scores.n:.0f} / {scores.output_tokens / scores.n:.0f}", ""


def _dollars(scores: Scores) -> tuple[str, str]:
    return f"${scores.cost_usd_per_million:,.2f}", ""


def _judge(scores: Scores) -> tuple[str, str]:
    judge = scores.judge
    if judge is None or judge.mean is None:
        return _DASH, ""
    return f"{judge.mean:.2f}", _interval(judge.interval, 1, 2)


def _interval(interval: Interval | None, scale: float, places: int) -> str:
    if interval is None:
        return ""
    return f"{scale * interval.low:.{places}f} to {scale * interval.high:.{places}f}"
