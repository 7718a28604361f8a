"""The report of `validate`: report.json for programs, report.html for people, rejected.jsonl.

The page is one file without scripts or outside references; its policy allows none. Every text that
comes from a file is escaped.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path

from router_cli.console import printable
from search_router.domain.intake.prompts import RejectedLine
from search_router.domain.weights import BINS

SHOWN_REJECTS = 200

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1b1f24; max-width: 60rem; margin: 2rem auto; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
table { border-collapse: collapse; } td, th { padding: .2rem .8rem .2rem 0; text-align: left; }
td.number { text-align: right; font-variant-numeric: tabular-nums; }
.verdict { padding: .6rem 1rem; border-radius: .4rem; background: #e6f4ea; }
.verdict.refused { background: #fce8e6; }
.panels { display: flex; flex-wrap: wrap; gap: 1.5rem; } figure { margin: 0; }
figcaption { font-weight: 600; } svg { display: block; } rect { fill: #3367d6; }
svg text { font-size: 9px; fill: #5f6368; }
"""
_WIDTH, _HEIGHT, _BASE = 200, 110, 95


class Rejects:
    """Counts what was refused and keeps the first of it, without the texts."""

    def __init__(self) -> None:
        self.by_reason: Counter[str] = Counter()
        self.first: list[tuple[str, RejectedLine]] = []

    def add(self, file: str, line: RejectedLine) -> None:
        """Take in one refused line."""
        self.by_reason[line.reason.value] += 1
        if len(self.first) < SHOWN_REJECTS:
            self.first.append((file, line._replace(text=None)))


def write_report(folder: Path, report: Mapping[str, object], rejects: Rejects) -> None:
    """Write report.json and report.html into a folder that is there."""
    text = json.dumps(report, indent=2, ensure_ascii=False) + "\n"
    (folder / "report.json").write_text(text, encoding="utf-8")
    (folder / "report.html").write_text(page(report, rejects), encoding="utf-8")


def page(report: Mapping[str, object], rejects: Rejects) -> str:
    """Return the report as one HTML page."""
    refusal = report["refusal"]
    verdict = f"No job can start: {refusal}" if refusal else "A distillation job could start."
    counts = {
        name: value
        for name, value in report.items()
        if isinstance(value, int) and not isinstance(value, bool)
    }
    sections = [
        f'<p class="verdict{" refused" if refusal else ""}">{escape(str(verdict))}</p>',
        _section("Rows", _table(counts.items())),
        _section("Training labels by weight", _panels(_mapping(report, "weight_histograms"))),
        _section("Training rows by dominant modality", _table(_items(report, "balance"))),
        _section(
            "The teacher against itself",
            "<p>Over all pairs of labels of one query: no student can be measured better.</p>"
            + _table(_items(report, "label_noise")),
        ),
        _section("Estimated cost, US dollars", _table(_items(report, "estimate"))),
        _section("System prompt", f"<p>{_text(report['system_prompt'])}</p>"),
        _rejects(rejects),
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<title>Prompt validation</title><style>{_STYLE}</style></head><body>"
        f"<h1>Prompt validation</h1>{''.join(sections)}</body></html>\n"
    )


def _rejects(rejects: Rejects) -> str:
    if not rejects.first:
        return ""
    head = "<tr><th>file<th>line<th>byte<th>reason<th>detail</tr>"
    rows = "".join(
        f"<tr><td>{_text(file)}<td class=number>{line.line_number}"
        f"<td class=number>{line.byte_offset}<td>{_text(line.reason.value)}"
        f"<td>{_text(line.detail)}</tr>"
        for file, line in rejects.first
    )
    title = f"Rejected lines ({len(rejects.first)} of {rejects.by_reason.total():,})"
    return _section(title, f"<table>{head}{rows}</table>")


def _panels(histograms: Mapping[str, object]) -> str:
    return (
        '<div class="panels">'
        + "".join(_panel(name, _numbers(bins)) for name, bins in histograms.items())
        + "</div>"
    )


def _panel(name: str, bins: Sequence[int]) -> str:
    """Draw one modality's histogram."""
    top = max([*bins, 1])
    step = _WIDTH / BINS
    bars = "".join(
        f'<rect x="{number * step + 1:.1f}" y="{_BASE - count / top * 80:.1f}" '
        f'width="{step - 2:.1f}" height="{count / top * 80:.1f}"><title>{number / BINS:.1f}: '
        f"{count} rows</title></rect>"
        for number, count in enumerate(bins)
    )
    ticks = "".join(
        f'<text x="{share * _WIDTH:.0f}" y="{_HEIGHT - 3}" text-anchor="{anchor}">{share:g}</text>'
        for share, anchor in ((0, "start"), (0.5, "middle"), (1, "end"))
    )
    label = f'<text x="{_WIDTH}" y="10" text-anchor="end">highest bin: {top} rows</text>'
    return (
        f"<figure><figcaption>{_text(name)}</figcaption>"
        f'<svg role="img" width="{_WIDTH}" height="{_HEIGHT}" '
        f'aria-label="weights of {_text(name)}">{bars}{ticks}{label}</svg></figure>'
    )


def _section(title: str, body: str) -> str:
    return f"<h2>{escape(title)}</h2>{body}"


def _table(rows: Iterable[tuple[str, object]]) -> str:
    cells = "".join(
        f"<tr><td>{_text(name.replace('_', ' '))}<td class=number>{_text(_rounded(value))}</tr>"
        for name, value in rows
    )
    return f"<table>{cells}</table>"


def _rounded(value: object) -> object:
    if isinstance(value, float):
        return f"{value:.4f}".rstrip("0").rstrip(".")
    return f"{value:,}" if isinstance(value, int) else value


def _text(value: object) -> str:
    return escape(printable(value))


def _mapping(report: Mapping[str, object], name: str) -> Mapping[str, object]:
    value = report[name]
    return value if isinstance(value, Mapping) else {}


def _items(report: Mapping[str, object], name: str) -> Iterable[tuple[str, object]]:
    return _mapping(report, name).items()


def _numbers(value: object) -> list[int]:
    return list(value) if isinstance(value, list) else []
