"""Every verb of the command: one sentence, one example, and help for each argument.

This module imports nothing but the standard library, so that `--help` starts fast. `Verb.run` names
the function that does the work; `router_cli.__main__` imports it when the verb is used.
"""

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

# Defaults of template.yaml, which an installed command does not have; a test compares them.
MODALITIES = "visual,audio,transcription,metadata"
TEACHER = "amazon.nova-pro-v1:0"
STUDENT = "amazon.nova-micro-v1:0:128k"
HOLDOUT_FRACTION = 0.1

CONFIRM_ABOVE_USD = 1.0  # `compare` and `label` ask for --yes above this estimate
WEIGHT_STEPS = (0.01, 0.05, 0.1)
FUSIONS = ("bounded", "min_max", "rrf")
_FORMATS = ("jsonl", "csv", "parquet")


class Argument(NamedTuple):
    """One argument, as `ArgumentParser.add_argument` takes it."""

    names: tuple[str, ...]
    options: dict[str, Any]


class OneOf:
    """Arguments that exclude each other."""

    def __init__(self, *arguments: Argument, required: bool = True) -> None:
        self.arguments = arguments
        self.required = required


class Verb:
    """One verb; a name of two words is a verb of a group, as in `local up`."""

    def __init__(
        self,
        name: str,
        run: str,
        summary: str,
        example: str,
        *arguments: Argument | OneOf,
        uses_stack: bool = True,
        prints_json: bool = True,
    ) -> None:
        self.name, self.run, self.summary, self.example = name, run, summary, example
        self.arguments = arguments
        self.uses_stack, self.prints_json = uses_stack, prints_json


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command; parsed arguments name the function to run."""
    parser = argparse.ArgumentParser(
        prog="search-router",
        description="Distil, evaluate and serve a query router for video search.",
        epilog="Run `search-router VERB --help` for the arguments of a verb and an example.",
    )
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    groups: dict[str, Any] = {}
    for verb in VERBS:
        group, _, name = verb.name.rpartition(" ")
        if group and group not in groups:
            groups[group] = _add_group(verbs, group)
        _add_verb(groups[group] if group else verbs, name, verb)
    return parser


def _add_group(verbs: Any, name: str) -> Any:
    parser = verbs.add_parser(name, help=GROUPS[name], description=_sentence(GROUPS[name]))
    return parser.add_subparsers(title="verbs", metavar="VERB", required=True)


def _add_verb(verbs: Any, name: str, verb: Verb) -> None:
    parser: argparse.ArgumentParser = verbs.add_parser(
        name,
        help=verb.summary,
        description=_sentence(verb.summary),
        epilog=f"example: search-router {verb.example}",
    )
    for argument in verb.arguments:
        if isinstance(argument, OneOf):
            group = parser.add_mutually_exclusive_group(required=argument.required)
            _add_arguments(group, argument.arguments)
        else:
            _add_arguments(parser, [argument])
    if verb.prints_json:
        _add_arguments(parser, [_JSON])
    if verb.uses_stack:
        _add_arguments(parser.add_argument_group("stack"), _STACK)
    parser.set_defaults(run=verb.run, usage_error=parser.error)


def _add_arguments(parser: Any, arguments: Iterable[Argument]) -> None:
    for argument in arguments:
        parser.add_argument(*argument.names, **argument.options)


def _sentence(summary: str) -> str:
    """Make a sentence of a summary: a capital letter at its start, a full stop at its end."""
    return f"{summary[0].upper()}{summary[1:]}."


def _argument(usage: str, text: str, **options: Any) -> Argument:
    """Return an argument; `usage` is its name and what stands for its value, as in `--out FILE`."""
    name, _, metavar = usage.partition(" ")
    if metavar.startswith(("FILE", "DIR")):
        options = {"type": Path, **options}
    if metavar:
        options["metavar"] = metavar
    if "default" in options:
        text += " (default: %(default)s)"
    return Argument((name,), {"help": text, **options})


def _flag(name: str, text: str) -> Argument:
    return Argument((name,), {"action": "store_true", "help": text})


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"not a positive number: {text}")
    return number


def _version(text: str) -> int:
    return _positive(text.removeprefix("v"))


def _share(text: str) -> float:
    share = float(text)
    if not 0 < share < 1:
        raise argparse.ArgumentTypeError(f"not a share between 0 and 1: {text}")
    return share


def _assignment(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise argparse.ArgumentTypeError(f"not NAME=VALUE: {text}")
    return name, value


_JSON = _flag("--json", "print one JSON object instead of tables")
_STACK = (
    _flag("--local", "use the stack that `search-router local up` started"),
    _argument("--stack-name NAME", "CloudFormation stack", default="search-router-dev"),
    _argument("--region REGION", "AWS region", default="us-east-1"),
    _argument("--profile PROFILE", "AWS profile (default: the one that the environment selects)"),
)
_RUN = _argument("run_id RUN", "run id, as in run-0123456789ab")
_REASON = _argument("--reason WHY", "reason, which is recorded with your identity")
_LOG = _argument("log_id LOG", "query log id, as in log-0123456789ab")
_COLLECTION = _argument("--collection NAME", "collection of segments", required=True)
_MODALITIES = _argument("--modalities NAMES", "modalities, separated by commas", default=MODALITIES)
_TEACHER = _argument("--teacher MODEL", "teacher model id", default=TEACHER)
_RATE = _argument(
    "--requests-per-minute N", "most model calls per minute", type=_positive, default=200
)
_QUERY_FIELD = _argument(
    "--query-field NAME",
    "field of the query, as in request.query (default: found by its name and values)",
)
_YES = _flag(
    "--yes", f"accept an estimate above ${CONFIRM_ABOVE_USD:.0f}, or a model without a known price"
)
_FROM_SEED = (
    _argument("--out FILE", "file to write", required=True),
    _argument("--count N", "rows to write", type=int, default=2_000),
    _argument("--seed N", "number that determines the file", type=int, default=0),
)
_SYNTHETIC = (
    *_FROM_SEED,
    _MODALITIES,
    _argument("--catalogue FILE", "JSON file with your own templates and vocabulary"),
)

_PARAMETER = Argument(
    ("--parameter",),
    {
        "help": "parameter of the template, such as LocalTier=on; may be repeated",
        "metavar": "NAME=VALUE",
        "type": _assignment,
        "action": "append",
    },
)

GROUPS = {
    "generate": "write synthetic prompts, evaluation sets, query logs and segments",
    "upload": "upload prompts, a query log or segments to a stack",
    "export": "write a routed query log or a collection for a search engine",
    "local": "run the whole system on this machine",
}

VERBS = (
    Verb(
        "validate",
        "router_cli.validate:run",
        "check prompt files offline and show what a run would make of them",
        "validate prompts.jsonl --report report",
        _argument(
            "files FILE", "prompt files (JSON Lines, also gzipped) of one dataset", nargs="+"
        ),
        _MODALITIES,
        _argument(
            "--holdout-fraction SHARE",
            "share of the queries kept for evaluation",
            type=_share,
            default=HOLDOUT_FRACTION,
        ),
        _flag("--keep-reasoning", "keep the reasoning of the labels for training"),
        _argument(
            "--max-contradictions SHARE",
            "largest share of queries with several labels whose dominant modality differs",
            type=float,
            default=1.0,
        ),
        _argument("--report DIR", "folder for report.json, report.html and rejected.jsonl"),
        _TEACHER,
        _argument("--student MODEL", "student model id, for the cost estimate", default=STUDENT),
        uses_stack=False,
    ),
    Verb(
        "generate prompts",
        "router_cli.generate:prompts",
        "write synthetic training prompts with labels",
        "generate prompts --count 2400 --out prompts.jsonl",
        *_SYNTHETIC,
        _flag("--reasoning", "add a sentence of reasoning to each label"),
        _flag("--unlabelled", "write queries without labels, as input for `label`"),
        uses_stack=False,
    ),
    Verb(
        "generate evaluation",
        "router_cli.generate:evaluation",
        "write synthetic labelled queries that no training file contains",
        "generate evaluation --exclude prompts.jsonl --out evaluation.jsonl",
        *_SYNTHETIC,
        _argument("--exclude FILE", "prompts to leave out (default: those of the same seed)"),
        _flag("--new-patterns", "use only patterns that synthetic prompts never follow"),
        uses_stack=False,
    ),
    Verb(
        "generate query-log",
        "router_cli.generate:query_log",
        "write a synthetic query log whose queries repeat as in real logs",
        "generate query-log --count 20000 --known prompts.jsonl --out log.jsonl",
        *_SYNTHETIC,
        _argument("--distinct N", "distinct queries", type=int, default=1_500),
        _argument("--known FILE", "prompt file from which some of the queries are drawn"),
        uses_stack=False,
    ),
    Verb(
        "generate segments",
        "router_cli.generate:segments",
        "write a synthetic catalogue of video segments",
        "generate segments --count 600 --out segments.jsonl",
        *_FROM_SEED,
        uses_stack=False,
    ),
    Verb(
        "label",
        "router_cli.label:run",
        "label queries with a teacher model",
        "label queries.jsonl --out prompts.jsonl",
        OneOf(
            _argument("file FILE", "prompt file; its labels are ignored", nargs="?"),
            _argument(
                "--from-abstained LOG",
                "label the queries of this log that the local tier abstained on",
            ),
        ),
        _argument("--out FILE", "training records; a second run continues the file", required=True),
        _TEACHER,
        _flag("--reasoning", "ask for a sentence of reasoning too"),
        _MODALITIES,
        _RATE,
        _YES,
    ),
    Verb(
        "upload prompts",
        "router_cli.upload:prompts",
        "upload prompts and start a run: distil, deploy, evaluate, promote",
        "upload prompts prompts.jsonl",
        _argument("file FILE", "prompt file, or a folder of prompt files as one dataset"),
    ),
    Verb(
        "upload query-log",
        "router_cli.upload:query_log",
        "upload a query log and start routing it",
        "upload query-log searches.csv --query-field term",
        _argument(
            "file FILE", "query log (JSON Lines, .csv, .tsv, .txt, also gzipped, or Parquet)"
        ),
        _QUERY_FIELD,
        _flag("--dry-run", "show how the file would be read and its first queries, offline"),
    ),
    Verb(
        "upload segments",
        "router_cli.upload:segments",
        "upload segments, wait until they are indexed and show what became of each row",
        "upload segments segments.jsonl --collection films",
        _argument("file FILE", "segment file (.jsonl or .jsonl.gz)"),
        _COLLECTION,
    ),
    Verb(
        "collections",
        "router_cli.segments:collections",
        "list the collections of segments, or delete one",
        "collections --count",
        _flag("--count", "count the segments, which reads all their records"),
        _argument("--delete NAME", "collection to delete, with its index and records"),
        _flag("--yes", "delete it (default: only say what would be deleted)"),
    ),
    Verb(
        "segments",
        "router_cli.segments:show",
        "show one segment: texts, attributes and the upload that wrote it",
        "segments v12.3 --collection films",
        _argument("segment_id ID", "segment id, as in its file"),
        _COLLECTION,
    ),
    Verb(
        "reindex",
        "router_cli.segments:reindex",
        "rebuild the index of a collection from its records, without embedding again",
        "reindex films",
        _argument("collection NAME", "collection of segments"),
    ),
    Verb(
        "runs",
        "router_cli.runs:run",
        "list runs, query logs and uploads of segments, or show one run with its scores",
        "runs run-0123456789ab",
        _argument("run_id RUN", "run id (default: list everything)", nargs="?"),
        _flag("--rejected", "show the rejected lines of the run's upload by reason"),
        _argument("--out FILE", "file for the rejected lines, with --rejected"),
    ),
    Verb(
        "distill",
        "router_cli.models:distill",
        "restart a failed or stopped run",
        "distill run-0123456789ab --again",
        _RUN,
        _flag("--again", "pay for another job (default: adopt the job if it runs or completed)"),
    ),
    Verb(
        "promote",
        "router_cli.models:promote",
        "approve the model of a run that awaits approval",
        "promote run-0123456789ab --reason 'checked by hand'",
        _RUN,
        _REASON,
        _flag("--override", "promote the model of a rejected run; needs --reason"),
    ),
    Verb(
        "reject",
        "router_cli.models:reject",
        "reject the model of a run that awaits approval",
        "reject run-0123456789ab --reason 'labels are wrong'",
        _RUN,
        _REASON,
    ),
    Verb(
        "prune",
        "router_cli.models:prune",
        "list the custom models that nothing needs, or delete them",
        "prune --yes",
        _flag("--yes", "delete the models (default: only list them)"),
    ),
    Verb(
        "rollback",
        "router_cli.models:rollback",
        "roll back to an earlier champion",
        "rollback --to v3 --reason 'worse in the shop'",
        _argument(
            "--to VERSION", "champion version, as in v3 (default: the previous)", type=_version
        ),
        _REASON,
    ),
    Verb(
        "champions",
        "router_cli.models:champions",
        "list the champions so far and each change between them",
        "champions --json",
    ),
    Verb(
        "report",
        "router_cli.models:report",
        "write the evaluation of a run as JSON, HTML and SVG",
        "report run-0123456789ab --out report",
        _RUN,
        _argument("--out DIR", "folder to write into", required=True),
    ),
    Verb(
        "route",
        "router_cli.route:run",
        "route one query through the API and print its weights",
        'route "crowd cheering after a goal"',
        _argument("query QUERY", "text of the query"),
    ),
    Verb(
        "search",
        "router_cli.search:run",
        "search a collection of segments and print the best hits",
        'search "crowd cheering after a goal" --collection sports --explain',
        _argument(
            "query QUERY", "text of the query (default: browse what the filters match)", nargs="?"
        ),
        _COLLECTION,
        _argument("-k N", "hits per page, 1 to 50", type=_positive, default=10),
        _argument(
            "--filter FIELD:VALUE",
            "attribute to match, as in genre:drama or year:>=2015; repeatable",
            action="append",
        ),
        _argument(
            "--weights WEIGHTS",
            "weights to use instead of the router's, as in visual:0.7,audio:0.3",
        ),
        _flag("--no-route", "use the base weights without asking the router"),
        _argument(
            "--fusion NAME",
            "bounded, min_max or rrf (default: that of the ranking profile)",
            choices=FUSIONS,
        ),
        _flag("--group-video", "show one hit per video"),
        _flag("--explain", "show what each modality adds to a score"),
        _argument("--cursor CURSOR", "next page, as the page before prints it"),
    ),
    Verb(
        "results",
        "router_cli.results:run",
        "show the summary of a routed query log and fetch its rows",
        "results log-0123456789ab --out rows.jsonl",
        _LOG,
        _argument("--out FILE", "file for the rows in input order; - is stdout"),
        _argument(
            "--format FORMAT",
            "format of the rows: jsonl, csv or parquet",
            choices=_FORMATS,
            default="jsonl",
        ),
        _flag("--rejected", "show the rejected rows by reason; --out FILE writes them"),
        _flag("--no-bom", "write CSV without the byte order mark that spreadsheets need"),
        _flag("--athena-ddl", "print a table definition with which Athena reads the rows"),
        _argument("--answers FILE.answers.jsonl", "file for answers that train a local tier"),
    ),
    Verb(
        "compare",
        "router_cli.compare:run",
        "compare the answers of a query log with those of another model",
        "compare log-0123456789ab --against v3 --sample 500",
        _LOG,
        _argument("--against MODEL", "version (v3), `champion`, run id or model id", required=True),
        _argument("--base MODEL", "model to compare with (default: the answers in the log)"),
        _argument("--sample N", "number of distinct queries (default: all)", type=_positive),
        _argument(
            "--moved-by CHANGE", "change of a weight, 0 to 1, that counts", type=float, default=0.1
        ),
        _argument("--out FILE", "JSON Lines file for the queries that moved"),
        _argument("--store FILE", "SQLite file for the answers (default: compare-LOG.sqlite)"),
        _RATE,
        _YES,
    ),
    Verb(
        "export opensearch",
        "router_cli.export:run",
        "write a query log as OpenSearch pipelines and hybrid queries, or a collection as an index",
        "export opensearch log-0123456789ab --step 0.05",
        OneOf(
            _argument("log_id LOG", "query log id, as in log-0123456789ab", nargs="?"),
            _argument(
                "--collection NAME",
                "collection: writes mapping and bulk files; OpenSearch's fusion differs (at most "
                "five sub-queries, min-max)",
            ),
        ),
        _argument("--out DIR", "folder to write into (default: opensearch-LOG or -NAME)"),
        _argument(
            "--sub-queries FILE",
            "JSON: a clause for each modality, {query} in it is the text (default: match clauses)",
        ),
        _argument(
            "--step STEP",
            "multiple to which weights are rounded: 0.01, 0.05 or 0.1",
            type=float,
            choices=WEIGHT_STEPS,
            default=WEIGHT_STEPS[0],
        ),
    ),
    Verb(
        "redrive",
        "router_cli.redrive:run",
        "explain the messages in the dead-letter queues and send them again",
        "redrive --yes",
        _flag("--yes", "send the messages again (default: only show them)"),
    ),
    Verb(
        "cost",
        "router_cli.cost:run",
        "estimate the cost of a file, or show the last 30 days of a stack",
        "cost --prompts prompts.jsonl",
        OneOf(
            _argument("--prompts FILE", "prompt file; estimates a run on it, offline"),
            _argument("--query-log FILE", "query log; estimates routing it, offline"),
            required=False,
        ),
        _QUERY_FIELD,
    ),
    Verb(
        "doctor",
        "router_cli.doctor:run",
        "check account, models, quotas, permissions and stack, without changing anything",
        "doctor --before-deploy",
        _flag("--before-deploy", "check only what needs no stack"),
        _PARAMETER,
    ),
    Verb(
        "cleanup",
        "router_cli.cleanup:run",
        "list everything that a stack has, Bedrock included, or delete it",
        "cleanup --yes search-router-dev",
        _argument("--yes STACK", "name of the stack, to confirm deletion (default: only list)"),
    ),
    Verb(
        "local up",
        "router_cli.local:up",
        "start a stack on this machine that keeps running",
        "local up --parameter LocalTier=on",
        _PARAMETER,
        uses_stack=False,
        prints_json=False,
    ),
    Verb(
        "local down",
        "router_cli.local:down",
        "stop the stacks that `local up` started",
        "local down",
        uses_stack=False,
        prints_json=False,
    ),
    Verb(
        "local demo",
        "router_cli.local:demo",
        "run the main job on this machine, from prompts to routed rows, and stop the stack",
        "local demo --prompts prompts.jsonl --query-log log.jsonl",
        _argument("--prompts FILE", "prompt file (default: 2,400 generated prompts)"),
        _argument("--query-log FILE", "query log (default: 20,000 generated rows)"),
        _QUERY_FIELD,
        _argument("--out DIR", "folder to write into", default=Path("demo-output")),
        uses_stack=False,
        prints_json=False,
    ),
)
