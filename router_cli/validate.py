"""`search-router validate FILE…`: what a prompt file would become, without any AWS."""

import argparse
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from router_cli import synthesis
from router_cli.console import print_json, print_table
from router_cli.failures import CommandError
from router_cli.validation_report import write_report
from search_router.domain.errors import InvalidInputError
from search_router.domain.estimates import CostEstimate, estimate_costs
from search_router.domain.intake import IntakeBuilder, Selection
from search_router.domain.prompt_files import MAX_FILE_BYTES, survey_prompts
from search_router.domain.prompts import RejectedLine
from search_router.domain.weights import default_system_prompt, parse_modalities

DEFAULT_MODALITIES = ",".join(synthesis.DEFAULT_MODALITIES)
DEFAULT_HOLDOUT_FRACTION = 0.1
DEFAULT_TEACHER = "amazon.nova-pro-v1:0"
DEFAULT_STUDENT = "amazon.nova-micro-v1:0:128k"
SHOWN_REJECTS = 20
_CHUNK_BYTES = 256 * 1024


def add_parser(verbs: Any) -> None:
    """Describe the verb."""
    parser = verbs.add_parser("validate", help="check prompt files offline")
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    parser.add_argument("--modalities", default=DEFAULT_MODALITIES, help="default: %(default)s")
    parser.add_argument(
        "--holdout-fraction",
        type=float,
        default=DEFAULT_HOLDOUT_FRACTION,
        help="default: %(default)s",
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
    modalities = parse_modalities(arguments.modalities)
    builder = IntakeBuilder(
        modalities, default_system_prompt(modalities), arguments.holdout_fraction
    )
    rejects: list[tuple[Path, RejectedLine]] = []
    for number, path in enumerate(arguments.files):
        base = number * 2 * MAX_FILE_BYTES
        try:
            packed = path.name.endswith(".gz")
            lines = survey_prompts(_chunks(path), packed, builder, modalities, base)
            rejects.extend((path, line) for line in lines)
        except (OSError, InvalidInputError) as error:
            raise CommandError(f"{path}: {error}") from None
    selection = builder.select()
    estimate = estimate_costs(selection, arguments.teacher, arguments.student)
    report = _report(selection, rejects, estimate)
    if arguments.report:
        write_report(arguments.report, report, rejects)
    if arguments.json:
        print_json(report)
    else:
        _print(selection, rejects, estimate)
    return 1 if selection.refusal else 0


def _report(
    selection: Selection, rejects: list[tuple[Path, RejectedLine]], estimate: CostEstimate
) -> dict[str, object]:
    return {
        **selection.counts.model_dump(),
        "refusal": selection.refusal,
        "rejected_by_reason": Counter(line.reason.value for _, line in rejects),
        "balance": selection.balance(),
        "label_noise": dict(selection.noise),
        "prior": dict(zip(selection.modalities, selection.prior(), strict=True)),
        "weight_histograms": selection.histograms(),
        "estimate": estimate.model_dump(),
        "system_prompt": selection.system_prompt,
    }


def _print(
    selection: Selection, rejects: list[tuple[Path, RejectedLine]], estimate: CostEstimate
) -> None:
    print_table("Rows", ["", "rows"], selection.counts.model_dump().items())
    print_table("Training rows by dominant modality", ["", "rows"], selection.balance().items())
    print_table("Labels of one query against each other", ["", ""], selection.noise.items())
    print_table("Estimated cost, US dollars", ["", ""], estimate.model_dump().items())
    if rejects:
        rows = [(p.name, r.line_number, r.reason.value, r.detail) for p, r in rejects]
        title = f"Rejected lines (first {SHOWN_REJECTS})"
        print_table(title, ["file", "line", "reason", "detail"], rows[:SHOWN_REJECTS])
    verdict = selection.refusal or "a distillation job could start"
    print_table("Verdict", [""], [[verdict]])


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            yield chunk
