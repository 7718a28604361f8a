"""The command as a whole: its help, what each verb imports, and its exit code on a closed pipe."""

import argparse
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pkgutil import resolve_name

import pytest

from router_cli.verbs import GROUPS, VERBS, Verb, make_parser

HEAVY = {"boto3", "botocore", "jinja2", "matplotlib", "pydantic", "rich"}
EMULATOR = {"local_stack", "ministack", "samtranslator"}
PRINT_MODULES = (
    "import sys, json; print(json.dumps(sorted({n.split('.')[0] for n in sys.modules})))"
)


def parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """Yield a parser and all parsers below it."""
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                yield from parsers(below)


def loaded_by(code: str) -> set[str]:
    """Return the packages that a fresh interpreter has loaded after running some code."""
    script = f"{code}\n{PRINT_MODULES}"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_every_argument_has_help_and_every_parser_a_description() -> None:
    found = list(parsers(make_parser()))
    assert len(found) == 1 + len(GROUPS) + len(VERBS)

    for parser in found:
        assert parser.description, parser.prog
        for action in parser._actions:
            if not isinstance(action, argparse._SubParsersAction):
                assert action.help, (parser.prog, action.dest)


def test_every_default_is_in_the_help() -> None:
    for parser in parsers(make_parser()):
        for action in parser._actions:
            if action.default not in (None, False, argparse.SUPPRESS):
                assert "%(default)s" in (action.help or ""), (parser.prog, action.dest)


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.name)
def test_the_example_of_a_verb_is_valid_and_runs_that_verb(
    verb: Verb, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = shlex.split(verb.example)

    assert verb.example.startswith(f"{verb.name} ") or verb.example == verb.name
    assert make_parser().parse_args(arguments).run == verb.run
    assert callable(resolve_name(verb.run))
    with pytest.raises(SystemExit):
        make_parser().parse_args([*verb.name.split(), "--help"])
    assert f"example: search-router {verb.example}" in " ".join(capsys.readouterr().out.split())


def test_help_loads_no_library() -> None:
    code = "from router_cli.__main__ import main\ntry: main(['--help'])\nexcept SystemExit: pass"
    assert not loaded_by(code) & (HEAVY | EMULATOR)


def test_an_offline_check_loads_no_aws_library_and_no_output_library() -> None:
    loaded = loaded_by("import router_cli.validate")
    assert not loaded & ((HEAVY | EMULATOR) - {"pydantic"})


def test_the_verbs_on_aws_load_no_emulator() -> None:
    modules = {verb.run.partition(":")[0] for verb in VERBS if verb.uses_stack}
    loaded = loaded_by("\n".join(f"import {module}" for module in sorted(modules)))
    assert "boto3" in loaded
    assert not loaded & EMULATOR


def test_a_closed_pipe_ends_the_command_silently() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    code = (
        "import sys; from router_cli import __main__, route, verbs\n"
        "route.run = lambda _: print('x' * 100_000) or 0\n"
        "sys.exit(__main__.main(['route', 'dogs']))"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], stdout=writing, stderr=subprocess.PIPE, check=False
    )

    os.close(writing)
    assert (done.returncode, done.stderr) == (141, b"")
