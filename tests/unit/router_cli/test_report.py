"""The report of a run: its facts, its figures and its HTML page."""

import json
import re
import subprocess
import sys
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import Any

import pytest

from router_cli.evaluation_report.facts import LABELS, ReportFacts, gather
from router_cli.evaluation_report.figures import Drawing, draw_figures, risk_coverage
from router_cli.evaluation_report.page import page
from search_router.domain import naming
from search_router.domain.errors import NotFoundError
from search_router.domain.lifecycle.runs import Run, RunState
from search_router.domain.local_tier.scores import LocalTierScores
from tests.fakes import InMemoryObjects
from tests.records import a_dataset, a_deployment, a_training_job

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
MODALITIES = ("visual", "audio")
HOSTILE = '<script>alert(1)</script>\x1b[31m & "quotes"'
MODELS = ("candidate", "champion", "base", "baseline")
QUERIES = [HOSTILE, "waves", "music"]
LABEL = (0.8, 0.2)
LOCAL_TIER: dict[str, Any] = {
    "version": "5ca1ab1e",
    "n": 3,
    "mae": 0.0371,
    "mae_interval": {"low": 0.0302, "high": 0.0444},
    "dominant_agreement": 0.912,
    "rubric": 4.43,
    "answered": 0.667,
    "answered_mae": 0.0259,
    "max_error": 0.045,
    "confidence": 0.95,
    "calibrated_coverage": 0.883,
    "calibrated_mae": 0.0318,
    "microseconds": 113.0,
    "answers": 1_234,
    "held_out_patterns": {
        "patterns": 41,
        "queries": 611,
        "mae": 0.0987,
        "answered": 0.083,
        "answered_mae": 0.0512,
    },
    "risk_coverage": [{"coverage": n / 10, "mae": 0.004 * n} for n in range(1, 11)],
}


def scores(model: str, error: float) -> dict[str, Any]:
    interval = {"low": max(0.0, error - 0.02), "high": error + 0.02}
    shares = ("dominant_agreement", "within_005", "within_010", "rubric", "invalid_share", "mae")
    return {
        "model": model,
        "n": 3,
        "mae": error,
        "dominant_agreement": 1 - error,
        "within_005": 0.4,
        "within_010": 0.7,
        "rubric": 4.2,
        "invalid": 0,
        "repaired": 1,
        "latency_ms": {"mean": 812.0, "p50": 800.0, "p95": 1_200.0},
        "input_tokens": 120,
        "output_tokens": 60,
        "cost_usd": 0.001,
        "cost_usd_per_million": 4.2,
        "intervals": dict.fromkeys(shares, interval),
        "mae_by_modality": {"visual": error, "audio": error / 2},
        "by_category": {"visual": {"n": 2, "mae": error, "dominant_agreement": 1.0, "invalid": 0}},
        "judge": {
            "judge": "us.anthropic.claude-haiku-4-5-20251001-v1:0",
            "job_arn": "arn",
            "status": "Completed",
            "asked": 3,
            "missing": 1,
            "mean": 4.5,
            "interval": {"low": 4.0, "high": 5.0},
            "grades": {"4": 1, "5": 1},
        },
    }


def answer(status: str = "ok") -> dict[str, Any]:
    return {"weights": LABEL, "status": status, "problem": "no JSON", "grade": 5}


@pytest.fixture(scope="module")
def objects() -> InMemoryObjects:
    """The data bucket after an evaluation of four models."""
    objects = InMemoryObjects()
    holdout = "".join(
        json.dumps({"query": query, "reference": json.dumps(dict(zip(MODALITIES, LABEL)))}) + "\n"  # noqa: B905
        for query in QUERIES
    )
    objects.put(naming.run_key("run-1", "holdout.jsonl"), holdout.encode())
    for place, folder in enumerate(("candidate", "champion-4", "base", "baseline")):
        decisions = {
            query: {
                "weights": LABEL,
                "tier": "distilled",
                "status": "ok",
                "model": folder,
                "latency_ms": 100 * (place + 1) + number,
            }
            for number, query in enumerate(QUERIES)
        }
        key = naming.run_key("run-1", "evaluation", folder, "answers-00000.json")
        objects.put(key, json.dumps(decisions).encode())
    rows = [
        {"query": HOSTILE, "reference": LABEL, "candidate": answer(), "base": answer("fallback")},
        {"query": "waves", "reference": LABEL, "candidate": answer(), "base": answer("repaired")},
    ]
    shown = {"modalities": MODALITIES, "rows": rows}
    key = naming.run_key("run-1", "evaluation", "side-by-side.json")
    objects.put(key, json.dumps(shown).encode())
    return objects


def run(**changes: Any) -> Run:
    evaluation: dict[str, Any] = {
        name: scores(name, 0.05 * place) for place, name in enumerate(MODELS, start=1)
    }
    evaluation |= {
        "champion_version": 4,
        "noise": {
            "repeated_queries": 2,
            "pairs": 3,
            "mae": 0.014,
            "dominant_agreement": 0.99,
            "within_005": 0.7,
            "within_010": 1.0,
            "rubric": 4.7,
            "intervals": {"mae": {"low": 0.011, "high": 0.018}},
        },
        "comparison": {
            "rival": "champion",
            "difference": -0.01,
            "interval": {"low": -0.02, "high": -0.001},
        },
        "references": {"from_file": 2, "from_teacher": 1, "teacher": "amazon.nova-pro-v1:0"},
        "local_tier": LOCAL_TIER,
        "side_by_side_key": naming.run_key("run-1", "evaluation", "side-by-side.json"),
    }
    fields: dict[str, Any] = {
        "run_id": "run-1",
        "state": RunState.PROMOTED,
        "reason": "good <enough>",
        "created_at": NOW,
        "updated_at": NOW,
        "state_since": NOW,
        "source": ("uploads", "prompts/a.jsonl", None),
        "dataset": a_dataset(modalities=MODALITIES),
        "training": a_training_job(),
        "deployment": a_deployment(),
        "evaluation": evaluation,
    }
    return Run.model_validate(fields | changes)


@pytest.fixture(scope="module")
def facts(objects: InMemoryObjects) -> ReportFacts:
    return gather(run(), objects, is_local=True, now=NOW)


@pytest.fixture(scope="module")
def drawings(facts: ReportFacts) -> list[Drawing]:
    return draw_figures(facts)


def test_the_facts_come_from_the_kept_answers(facts: ReportFacts) -> None:
    assert set(facts.weight_shares["visual"]) == {LABELS, *MODELS}
    assert facts.weight_shares["visual"][LABELS][8] == 1.0
    assert sum(facts.weight_shares["audio"]["candidate"]) == pytest.approx(1)
    assert facts.latency_percentiles["champion"][50] == 201.0
    assert facts.latency_percentiles["candidate"][0] == 100.0
    assert ReportFacts.model_validate_json(facts.model_dump_json()) == facts


def test_a_run_without_an_evaluation_has_no_report(objects: InMemoryObjects) -> None:
    with pytest.raises(NotFoundError, match="has no evaluation: the teacher is retired"):
        gather(
            run(evaluation=None, state=RunState.FAILED, reason="the teacher is retired"),
            objects,
            is_local=True,
            now=NOW,
        )


def test_every_figure_is_drawn_and_repeatable(facts: ReportFacts, drawings: list[Drawing]) -> None:
    names = [drawing.name for drawing in drawings]
    assert names == [
        "model-comparison",
        "weight-distribution",
        "latency",
        "error-breakdown",
        "judge",
        "risk-coverage",
    ]
    assert draw_figures(facts) == drawings
    assert all("Bedrock fake" in drawing.caption for drawing in drawings)


def test_figures_without_data_are_left_out(objects: InMemoryObjects) -> None:
    alone = run().evaluation
    assert alone is not None
    bare = alone.candidate.model_copy(update={"judge": None, "intervals": {}})
    evaluation = alone.model_copy(
        update={
            "candidate": bare,
            "base": bare,
            "champion": None,
            "baseline": None,
            "noise": None,
            "comparison": None,
            "local_tier": None,
            "side_by_side_key": "",
        }
    )
    facts = gather(run(evaluation=evaluation), objects, is_local=False, now=NOW)

    drawings = draw_figures(facts)
    html = page(facts, drawings)

    assert not {"judge", "risk-coverage"} & {drawing.name for drawing in drawings}
    assert "local tier" not in html
    assert "Noise ceiling: unknown" in html
    assert "LLM judge" not in html
    assert "A local run" not in html


class _Tags(HTMLParser):
    """Collects what a browser would see."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def test_the_page_has_no_scripts_and_loads_nothing(
    facts: ReportFacts, drawings: list[Drawing]
) -> None:
    html = page(facts, drawings)
    tags = _Tags(html).tags

    policies = [a["content"] for name, a in tags if a.get("http-equiv")]
    assert policies == ["default-src 'none'; style-src 'unsafe-inline'; img-src data:"]
    assert not {name for name, _ in tags} & {"script", "link", "img", "iframe", "object"}
    links = [value for _, a in tags for key, value in a.items() if key in ("href", "src")]
    assert not links
    assert not [key for _, a in tags for key in a if key.startswith("on")]
    assert not re.search(r"(?:url\(|xlink:href=[\"'])\s*[\"']?(?!#)", html)


def test_the_page_shows_scores_with_intervals_and_noise_ceiling(facts: ReportFacts) -> None:
    html = page(facts, [])

    for words in (
        "0.0500",
        "0.0300 to 0.0700",
        "0.0140",
        "0.0110 to 0.0180",
        "A local run",
        "champion before",
        "3 pairs",
        "1 without a result",
        "-0.0200 to -0.0010",
        "2 queries side by side",
        "invalid, no JSON",
        "good &lt;enough&gt;",
    ):
        assert words in html, words
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert "\x1b" not in html


def test_the_page_has_a_table_of_the_local_tier(
    facts: ReportFacts, drawings: list[Drawing]
) -> None:
    section = page(facts, drawings).partition("The local tier")[2]

    for words in ("0.0371", "0.0302 to 0.0444", "91.2%", "4.43", "66.7%", "0.0259", "88.3%"):
        assert words in section, words
    for words in (
        "41 held-out patterns",
        "611",
        "0.0987",
        "8.3%",
        "0.0512",
        "found by the wording",
        "1,234 answers of a distilled model",
    ):
        assert words in section, words
    assert "at most 0.045, at 95% confidence" in section
    assert 'id="risk-coverage"' in section
    assert "closed" not in section


def test_a_closed_gate_has_a_reason_and_no_point_in_the_figure(facts: ReportFacts) -> None:
    local = facts.evaluation.local_tier
    assert local is not None
    closed = local.model_copy(
        update={"answered": 0.0, "answered_mae": None, "calibrated_mae": None,
                "closed_because": "41 queries to calibrate with", "held_out_patterns": None}
    )  # fmt: skip

    drawn = {None: risk_coverage(local, 0.05), "closed": risk_coverage(closed, 0.05)}
    names = {key: figure.axes[0].get_legend_handles_labels()[1] for key, figure in drawn.items()}
    html = page(
        facts.model_copy(
            update={"evaluation": facts.evaluation.model_copy(update={"local_tier": closed})}
        ),
        [],
    )

    assert {"the gate, holdout", "the gate, calibration"} == {*names[None]} - {*names["closed"]}
    assert "The gate is closed: </b>41 queries to calibrate with" in html
    assert "Error on held-out patterns: not computable." in html


def test_the_risk_coverage_figure_shows_curve_bound_and_gate() -> None:
    panel = risk_coverage(LocalTierScores.model_validate(LOCAL_TIER), 0.05).axes[0]

    lines: dict[str, Any] = {str(it.get_label()): it for it in panel.get_lines()}
    points = {label: [*map(tuple, line.get_xydata())] for label, line in lines.items()}
    assert points["local model, holdout"][-1] == pytest.approx((100, 0.04))
    assert points["the gate, holdout"] == [pytest.approx((66.7, 0.0259))]
    assert points["the gate, calibration"] == [pytest.approx((88.3, 0.0318))]
    assert {height for _, height in points["the gate's bound, 0.045"]} == {0.045}


def test_the_help_of_report_loads_no_matplotlib() -> None:
    code = (
        "import sys; from router_cli.__main__ import main\n"
        "try: main(['report', '--help'])\n"
        "except SystemExit: pass\n"
        "print('matplotlib' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert out.stdout.splitlines()[-1] == "False"
