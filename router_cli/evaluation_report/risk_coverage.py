"""The local tier's risk-coverage figure: the error on the share of queries that it is surest of.

Geifman and El-Yaniv, Selective Classification for Deep Neural Networks (NeurIPS 2017), call the
two axes risk and coverage.
"""

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from router_cli.evaluation_report.palette import COLOURS, LOCAL_COLOUR, NAMES
from search_router.domain.lifecycle.evaluation import CANDIDATE
from search_router.domain.local_tier.scores import LocalTierScores

_BOUND, _CALIBRATION = "#222222", "#555555"
_POINT: Any = {"linestyle": "none", "markersize": 10, "clip_on": False, "zorder": 3}


def risk_coverage(local: LocalTierScores, candidate_error: float) -> Figure:
    """Draw the curve, the bound, and where the gate stands; a closed gate stands nowhere.

    `candidate_error` is the distilled model's on all of the same queries, as a measure.
    """
    figure = Figure(figsize=(10.0, 3.8), layout="constrained")
    panel = figure.subplots()
    panel.plot(
        [100 * point.coverage for point in local.risk_coverage],
        [point.mae for point in local.risk_coverage],
        marker=".",
        color=LOCAL_COLOUR,
        linewidth=2,
        label="local model, holdout",
    )
    _gate(panel, local)
    panel.axhline(
        local.max_error, color=_BOUND, linewidth=1.2, linestyle="--",
        label=f"the gate's bound, {local.max_error:g}",
    )  # fmt: skip
    panel.axhline(
        candidate_error, color=COLOURS[CANDIDATE], linewidth=1.2, linestyle=":",
        label=f"{NAMES[CANDIDATE]}, all queries",
    )  # fmt: skip
    panel.set_xlabel("% of queries answered, the surest first")
    panel.set_ylabel("mean absolute error")
    panel.set_xlim(0, 102)
    panel.set_ylim(0, 1.15 * max(panel.get_ylim()[1], local.max_error))
    figure.legend(loc="outside upper center", ncols=5, frameon=False, fontsize=9)
    return figure


def _gate(panel: Axes, local: LocalTierScores) -> None:
    if local.answered_mae is not None:
        panel.plot(
            100 * local.answered, local.answered_mae, "o", color=LOCAL_COLOUR,
            label="the gate, holdout", **_POINT,
        )  # fmt: skip
    if local.calibrated_mae is not None:
        panel.plot(
            100 * local.calibrated_coverage, local.calibrated_mae, "o", color=_CALIBRATION,
            markerfacecolor="white", markeredgewidth=2, label="the gate, calibration", **_POINT,
        )  # fmt: skip
