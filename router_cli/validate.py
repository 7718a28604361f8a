"""`search-router validate FILE…`: what prompt files would become, without any AWS."""

import argparse
import hashlib
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from router_cli import synthesis
from router_cli.console import print_json, print_table
from router_cli.failures import CommandError
from router_cli.prompt_sources import prompt_file
from router_cli.validation_report import Rejects, write_report
from search_router.domain.errors import InvalidInputError
from search_router.domain.intake.answer_files import holds_answers, read_answers
from search_router.domain.intake.manifests import described
from search_router.domain.intake.prompt_files import PromptFile, select, survey
from search_router.domain.intake.prompts import rejected_line
from search_router.domain.intake.selection import IntakeBuilder, IntakeRules, Selection
from search_router.domain.intake.training_sets import TrainingSet
from search_router.domain.lifecycle.estimates import estimate_costs
from search_router.domain.weights import Modalities, parse_modalities

DEFAULT_MODALITIES = ",".join(synthesis.DEFAULT_MODALITIES)
DEFAULT_HOLDOUT_FRACTION = 0.1
DEFAULT_TEACHER = "amazon.nova-pro-v1:0"
DEFAULT_STUDENT = "amazon.nova-micro-v1:0:128k"
SHOWN_REJECTS = 20


def add_parser(verbs: Any) -> None:
    """Describe the verb."""
    parser = verbs.add_parser("validate", help="check prompt files offline")
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    parser.add_argument("--modalities", default=DEFAULT_MODALITIES, help="default: %(default)s")
    parser.add_argument(
        "--holdout-fraction",
        type=_share,
        default=DEFAULT_HOLDOUT_FRACTION,
        help="default: %(default)s",
    )
    parser.add_argument(
        "--keep-reasoning", action="store_true", help="as the parameter KeepReasoning: true"
    )
    parser.add_argument(
        "--report", type=Path, metavar="DIR", help="write report.json, report.html, rejected.jsonl"
    )
    parser.add_argument("--teacher", default=DEFAULT_TEACHER, help="default: %(default)s")
    parser.add_argument("--student", default=DEFAULT_STUDENT, help="default: %(default)s")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Report on the files as one dataset; 0 if a distillation job could start, otherwise 1."""
    rules = IntakeRules(
        parse_modalities(arguments.modalities),
        arguments.holdout_fraction,
        arguments.keep_reasoning,
    )
    files = [prompt_file(path) for path in _prompts(arguments.files)]
    _check_answers(arguments.files, rules.modalities)
    builder, rejects = IntakeBuilder(rules), Rejects()
    try:
        _survey(files, builder, rejects, arguments.report)
        selection, rows = select(files, builder)
    except (OSError, InvalidInputError) as error:
        where = f"{files[0].name}: " if len(files) == 1 else ""
        raise CommandError(f"{where}{error}") from None
    report = _report(selection, rows, rejects, arguments)
    if arguments.report:
        write_report(arguments.report, report, rejects)
    if arguments.json:
        print_json(report)
    else:
        _print(report, rejects)
    return 1 if selection.refusal else 0


def _prompts(paths: Sequence[Path]) -> list[Path]:
    prompts = [path for path in paths if not holds_answers(path.name)]
    if not prompts:
        raise CommandError("nothing but a model's answers: name the labelled prompts too")
    return prompts


def _check_answers(paths: Sequence[Path], modalities: Modalities) -> None:
    files = [prompt_file(path) for path in paths if holds_answers(path.name)]
    try:
        read_answers(files, modalities)
    except (OSError, InvalidInputError) as error:
        raise CommandError(str(error)) from None


def _survey(
    files: Sequence[PromptFile], builder: IntakeBuilder, rejects: Rejects, folder: Path | None
) -> None:
    """Read the files once; what is refused is written as it comes, not held."""
    with ExitStack() as stack:
        out = None
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            out = stack.enter_context((folder / "rejected.jsonl").open("wb"))
        for file, line in survey(files, builder):
            rejects.add(file.name, line)
            if out is not None:
                out.write(rejected_line(file.name, line))


def _report(
    selection: Selection, rows: TrainingSet, rejects: Rejects, arguments: argparse.Namespace
) -> dict[str, object]:
    digest = hashlib.sha256()
    for line in rows.training:
        digest.update(line)
    estimate = estimate_costs(selection, arguments.teacher, arguments.student)
    return {
        **selection.counts.model_dump(),
        "files": [
            {"name": str(path), "rows_in": file.rows_in, "rejected": file.rejected}
            for path, file in zip(_prompts(arguments.files), selection.files, strict=True)
        ],
        "rejected_by_reason": dict(rejects.by_reason),
        "prior": dict(zip(selection.modalities, selection.prior(), strict=True)),
        **described(selection, digest.hexdigest()),
        "estimate": estimate.model_dump(),
    }


def _print(report: Mapping[str, Any], rejects: Rejects) -> None:
    counts = [(name, value) for name, value in report.items() if type(value) is int]
    print_table("Rows", ["", "rows"], counts)
    print_table("Training rows by dominant modality", ["", "rows"], report["balance"].items())
    print_table("Labels of one query against each other", ["", ""], report["label_noise"].items())
    print_table("Estimated cost, US dollars", ["", ""], report["estimate"].items())
    if rejects.first:
        rows = [
            (name, line.line_number, line.reason.value, line.detail) for name, line in rejects.first
        ]
        title = f"Rejected lines (first {SHOWN_REJECTS})"
        print_table(title, ["file", "line", "reason", "detail"], rows[:SHOWN_REJECTS])
    print_table("Verdict", [""], [[report["refusal"] or "a distillation job could start"]])


def _share(text: str) -> float:
    share = float(text)
    if not 0 < share < 1:
        raise argparse.ArgumentTypeError("a share is between 0 and 1")
    return share
