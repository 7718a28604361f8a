"""`search-router validate FILE…`: what a run would make of prompt files, without AWS.

`--report` writes report.json for programs, report.html for people, and rejected.jsonl.
"""

import argparse
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from router_cli.console import CommandError, print_json, print_table
from router_cli.labels import figure, label, labelled
from router_cli.prompt_files import prompt_file
from search_router.domain.errors import InvalidInputError
from search_router.domain.intake.datasets import holds_answers, read_answers
from search_router.domain.intake.prompt_files import PromptFile, select_rows
from search_router.domain.intake.prompts import RejectedLine, cause_of, rejected_line
from search_router.domain.intake.selection import IntakeRules, Selection
from search_router.domain.lifecycle.estimates import estimate_costs
from search_router.domain.weights import Modalities, parse_modalities

_REJECTS_IN_PAGE = 200
_CAUSES_IN_TABLE = 20
_CAN_START = "A distillation job could start."


class _Rejects:
    """Counts rejected lines by reason and keeps the first ones, without their text."""

    def __init__(self) -> None:
        self.by_reason: Counter[str] = Counter()
        self.by_cause: Counter[str] = Counter()
        self.first_of: dict[str, str] = {}
        self.first: list[tuple[str, RejectedLine]] = []

    def add(self, file: str, line: RejectedLine) -> None:
        self.by_reason[line.reason.value] += 1
        cause = cause_of(line.detail)
        self.by_cause[cause] += 1
        self.first_of.setdefault(cause, f"{file} line {line.line_number:,}")
        if len(self.first) < _REJECTS_IN_PAGE:
            self.first.append((file, line._replace(text=None)))


def run(arguments: argparse.Namespace) -> int:
    """Report on the files as one dataset; return 0 if a distillation job could start, else 1."""
    rules = IntakeRules(
        parse_modalities(arguments.modalities),
        arguments.holdout_fraction,
        arguments.keep_reasoning,
        max_contradictory_share=arguments.max_contradictions,
    )
    paths = [path for path in arguments.files if not holds_answers(path.name)]
    if not paths:
        raise CommandError("no prompt file among the files. Name the labelled prompts too.")
    _check_answers([path for path in arguments.files if path not in paths], rules.modalities)
    files = [prompt_file(path) for path in paths]
    rejects = _Rejects()
    try:
        selection = _select(files, rules, rejects, arguments.report)
    except InvalidInputError as error:
        where = f"{files[0].name}: " if len(files) == 1 else ""
        raise CommandError(f"{where}{error}") from None
    report = _report(paths, selection, rejects, arguments)
    if arguments.report:
        _write_report(arguments.report, report, rejects)
    if arguments.json:
        print_json(report)
    else:
        _print(report, rejects)
    return 1 if selection.rejection else 0


def _check_answers(paths: Sequence[Path], modalities: Modalities) -> None:
    try:
        read_answers([prompt_file(path) for path in paths], modalities)
    except InvalidInputError as error:
        raise CommandError(str(error)) from None


def _select(
    files: Sequence[PromptFile], rules: IntakeRules, rejects: _Rejects, folder: Path | None
) -> Selection:
    """Select the rows; write each rejected line to the report as it is read."""
    with ExitStack() as stack:
        out = None
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            out = stack.enter_context((folder / "rejected.jsonl").open("wb"))

        def on_rejected(file: PromptFile, line: RejectedLine) -> None:
            rejects.add(file.name, line)
            if out is not None:
                out.write(rejected_line(file.name, line))

        return select_rows(files, rules, on_rejected)


def _report(
    paths: Sequence[Path],
    selection: Selection,
    rejects: _Rejects,
    arguments: argparse.Namespace,
) -> dict[str, Any]:
    estimate = estimate_costs(selection, arguments.teacher, arguments.student)
    return {
        **selection.counts.model_dump(),
        "files": [
            {"name": str(path), "rows_in": file.rows_in, "rejected": file.rejected}
            for path, file in zip(paths, selection.files, strict=True)
        ],
        "rejected_by_reason": dict(rejects.by_reason.most_common()),
        "rejected_by_cause": dict(rejects.by_cause.most_common(_CAUSES_IN_TABLE)),
        "contradictions": [
            {"query": query, "labels": [[*label] for label in sorted(labels.elements())]}
            for query, labels in selection.contradictions
        ],
        "prior": dict(zip(selection.modalities, selection.prior(), strict=True)),
        **selection.report(),
        "estimate": estimate.model_dump(),
    }


def _counts(report: Mapping[str, Any]) -> dict[str, int]:
    return {name: value for name, value in report.items() if type(value) is int}


def _noise(report: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in report["label_noise"].items() if name != "ceiling"}


def _ceiling(report: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yield name, value and interval of a perfect student's scores."""
    ceiling = report["label_noise"]["ceiling"]
    for name, ends in ceiling["intervals"].items() if ceiling else ():
        low, high = figure(name, ends["low"]), figure(name, ends["high"])
        yield label(name), figure(name, ceiling[name]), f"{low} to {high}"


def _contradictions(report: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for found in report["contradictions"]:
        labels = (" ".join(f"{weight:g}" for weight in label) for label in found["labels"])
        yield found["query"], "; ".join(labels)


def _write_report(folder: Path, report: Mapping[str, Any], rejects: _Rejects) -> None:
    from router_cli.pages import render

    text = json.dumps(report, indent=2, ensure_ascii=False) + "\n"
    (folder / "report.json").write_text(text, encoding="utf-8")
    page = render(
        "validation.html",
        report=report,
        counts=_counts(report),
        noise=_noise(report),
        ceiling=list(_ceiling(report)),
        rejects=rejects.first,
        rejected=rejects.by_reason.total(),
        can_start=_CAN_START,
        causes=rejects.by_cause.most_common(_CAUSES_IN_TABLE),
    )
    (folder / "report.html").write_text(page, encoding="utf-8")


def _print(report: Mapping[str, Any], rejects: _Rejects) -> None:
    print_table("Rows", ["", "rows"], labelled(_counts(report)))
    print_table("Training rows by dominant modality", ["", "rows"], labelled(report["balance"]))
    print_table("Labels of one query", ["", ""], labelled(_noise(report)))
    title = "Noise ceiling: the scores of a perfect student against these labels"
    print_table(title, ["", "", "95% interval"], _ceiling(report))
    print_table("Estimated cost, US dollars", ["", ""], labelled(report["estimate"]))
    if rejects.first:
        print_table(
            "Rejected lines",
            ["cause", "lines", "first"],
            [
                (cause, count, rejects.first_of[cause])
                for cause, count in rejects.by_cause.most_common(_CAUSES_IN_TABLE)
            ],
        )
    if report["contradictions"]:
        names = ", ".join(report["modalities"])
        print_table(
            "Queries whose labels differ most",
            ["query", f"labels ({names})"],
            _contradictions(report),
        )
    rejection = report["rejection"]
    verdict = f"No job can start: {rejection}" if rejection else _CAN_START
    for warning in report["warnings"]:
        verdict += f" Warning: {warning}"
    print_table("Verdict", [""], [[verdict]])
