"""Who may import whom, read from the source: each rule has a planted offence that it must find."""

import ast
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from tests.waiting import PATIENCE_SECONDS

ROOT = Path(__file__).parents[2]
LAYER = ROOT / "layers" / "shared"

STDLIB = frozenset(sys.stdlib_module_names)
IMPURE = frozenset({"os", "time", "random", "socket", "subprocess", "pathlib", "uuid", "urllib"})
PURE_STDLIB = STDLIB - IMPURE
AWS = frozenset({"boto3", "botocore"})
ALLOWED = {
    "functions": STDLIB
    | {
        "aws_lambda_powertools",
        "pydantic",
        "search_router.use_cases",
        "search_router.domain",
        "search_router.inbound_events",
        "search_router.dependencies",
        "search_router.measurements",
        "search_router.observability",
    },
    # A seeded generator is a pure function of its seed.
    "domain": PURE_STDLIB | {"pydantic", "random.Random", "search_router.domain"},
    "ports": PURE_STDLIB | {"search_router.domain"},
    "use_cases": PURE_STDLIB
    | {"pydantic", "search_router.domain", "search_router.ports", "search_router.use_cases"},
    "adapters": STDLIB
    | AWS
    | {
        "pydantic",  # records are stored as the JSON of their models
        "urllib3",
        "search_router.domain",
        "search_router.ports",
        "search_router.adapters",
    },
    "settings": STDLIB | {"pydantic", "search_router.domain"},
    "inbound_events": PURE_STDLIB | {"aws_lambda_powertools", "pydantic", "search_router.domain"},
    "measurements": PURE_STDLIB | {"search_router.domain"},
    "observability": PURE_STDLIB | {"aws_lambda_powertools", "search_router.measurements"},
    "dependencies": PURE_STDLIB
    | AWS
    | {
        "search_router.adapters",
        "search_router.domain",
        "search_router.ports",
        "search_router.settings",
        "search_router.use_cases",
    },
    "__init__": frozenset[str](),
}
# The domain's packages may import the shared modules at its top level, and these packages.
DOMAIN = {
    "intake": frozenset[str](),
    "local_tier": frozenset[str](),
    "serving": frozenset({"local_tier"}),
    "splits": frozenset[str](),
    "logs": frozenset({"local_tier", "serving", "splits"}),
    "search": frozenset({"local_tier", "serving", "splits"}),
    "lifecycle": frozenset({"intake", "local_tier", "serving", "splits", "logs", "search"}),
}
READS_ENVIRONMENT = frozenset({"os.environ", "os.environb", "os.getenv"})
MAKES_CLIENTS = frozenset(
    {"boto3.client", "boto3.resource", "boto3.session", "boto3.Session", "botocore.session"}
)
READS_CLOCK = frozenset({"datetime.now", "datetime.utcnow", "datetime.today", "date.today"})


def package_of(path: Path) -> str:
    """Name the package that a file belongs to: `domain`, `functions`, or a module's own name."""
    if path.is_relative_to("functions"):
        return "functions"
    inside = path.relative_to("layers/shared/search_router")
    return inside.parts[0] if len(inside.parts) > 1 else inside.stem


def imported(tree: ast.AST) -> Iterator[str]:
    """Yield every imported name in full, wherever the import stands."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            yield from (f"{module}.{alias.name}" for alias in node.names)


def used(tree: ast.AST) -> Iterator[str]:
    """Yield what is imported, and every attribute of a plain name such as `os.environ`."""
    yield from imported(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            yield f"{node.value.id}.{node.attr}"


def within(name: str, prefixes: frozenset[str]) -> bool:
    return any(name == prefix or name.startswith(f"{prefix}.") for prefix in prefixes)


def upward_imports(path: Path, tree: ast.AST) -> list[str]:
    """Return the imports of domain packages that would make a cycle."""
    if package_of(path) != "domain":
        return []
    parts = path.relative_to("layers/shared/search_router/domain").parts
    own = parts[0] if len(parts) > 1 else ""
    if own and own not in DOMAIN:
        return [f"{path}: no rule for the package domain/{own}"]
    allowed = DOMAIN.get(own, frozenset()) | {own}
    targets = {
        name.split(".")[2] for name in imported(tree) if name.startswith("search_router.domain.")
    }
    return [
        f"{f'domain/{own}' if own else 'domain'} must not import domain/{target}"
        for target in sorted(targets & set(DOMAIN))
        if target not in allowed
    ]


def offences(path: Path, source: str) -> list[str]:
    """Return what a file at this place must not do, one sentence each."""
    tree, package = ast.parse(source), package_of(path)
    if package not in ALLOWED:
        return [f"{path}: no rule for the package {package}"]
    found = [
        f"{package} must not import {name}"
        for name in imported(tree)
        if not within(name, ALLOWED[package]) and not name.startswith("mypy_boto3_")
    ]
    found += upward_imports(path, tree)
    names = set(used(tree))
    if package != "settings":
        found += [f"{package} reads {name}" for name in names if within(name, READS_ENVIRONMENT)]
    if package != "dependencies":
        found += [
            f"{package} makes clients: {name}" for name in names if within(name, MAKES_CLIENTS)
        ]
    if package != "adapters":
        botocore_errors = frozenset({"botocore.exceptions", "botocore.errorfactory"})
        found += [f"{package} knows {name}" for name in names if within(name, botocore_errors)]
    if package in {"domain", "ports", "use_cases"}:
        found += [f"{package} reads the clock: {name}" for name in names if name in READS_CLOCK]
    return sorted(set(found))


SOURCES = sorted([*LAYER.glob("search_router/**/*.py"), *ROOT.glob("functions/*/*.py")])


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_file_keeps_to_its_package(path: Path) -> None:
    assert offences(path.relative_to(ROOT), path.read_text(encoding="utf-8")) == []


def test_every_function_is_one_file_and_every_package_has_one() -> None:
    files = [path.relative_to(ROOT) for path in SOURCES]

    assert {package_of(path) for path in files} == set(ALLOWED)
    assert sum(path.parts[0] == "functions" for path in files) == 14
    assert all(path.name == "app.py" for path in files if path.parts[0] == "functions")


IN_LAYER = "layers/shared/search_router"
FUNCTION = "functions/shard_prompts/app.py"


@pytest.mark.parametrize(
    ("path", "source", "offence"),
    [
        (FUNCTION, "from search_router.adapters.s3 import S3ObjectStore", "must not import"),
        (FUNCTION, "from search_router.ports import Clock", "must not import"),
        (FUNCTION, "from search_router.settings import Settings", "must not import"),
        (FUNCTION, "import boto3", "must not import boto3"),
        (FUNCTION, "from functions.route_api import app", "must not import functions.route_api"),
        (FUNCTION, "import os\nSTAGE = os.environ['STAGE']", "functions reads os.environ"),
        (f"{IN_LAYER}/use_cases/x.py", "from search_router.adapters import s3", "must not import"),
        (f"{IN_LAYER}/use_cases/x.py", "from search_router import observability", "must not"),
        (f"{IN_LAYER}/use_cases/x.py", "import aws_lambda_powertools", "must not import aws"),
        (f"{IN_LAYER}/use_cases/x.py", "def f():\n    import time", "must not import time"),
        (
            f"{IN_LAYER}/use_cases/x.py",
            "from datetime import datetime\nnow = datetime.now()",
            "use_cases reads the clock",
        ),
        (f"{IN_LAYER}/domain/x.py", "from search_router.ports import Clock", "must not import"),
        (f"{IN_LAYER}/domain/x.py", "import botocore", "domain must not import botocore"),
        (f"{IN_LAYER}/domain/x.py", "import yaml", "domain must not import yaml"),
        (f"{IN_LAYER}/domain/x.py", "import os", "domain must not import os"),
        (f"{IN_LAYER}/domain/x.py", "from random import random", "must not import random"),
        (f"{IN_LAYER}/domain/x.py", "from . import weights", "must not import ..weights"),
        (
            f"{IN_LAYER}/domain/weights.py",
            "from search_router.domain.logs.results import PartStats",
            "domain must not import domain/logs",
        ),
        (
            f"{IN_LAYER}/domain/serving/cascade.py",
            "from search_router.domain.logs.results import PartStats",
            "domain/serving must not import domain/logs",
        ),
        (
            f"{IN_LAYER}/domain/intake/selection.py",
            "def f():\n    from search_router.domain.lifecycle import runs",
            "domain/intake must not import domain/lifecycle",
        ),
        (f"{IN_LAYER}/domain/other/x.py", "", "no rule for the package domain/other"),
        (f"{IN_LAYER}/ports.py", "import pydantic", "ports must not import pydantic"),
        (f"{IN_LAYER}/ports.py", "from search_router.adapters.s3 import X", "must not import"),
        (f"{IN_LAYER}/adapters/x.py", "from search_router.use_cases import y", "must not import"),
        (f"{IN_LAYER}/adapters/x.py", "from search_router.settings import y", "must not import"),
        (f"{IN_LAYER}/adapters/x.py", "import boto3\nboto3.client('s3')", "makes clients"),
        (f"{IN_LAYER}/adapters/x.py", "from boto3 import client", "makes clients: boto3.client"),
        (f"{IN_LAYER}/adapters/x.py", "from os import getenv", "adapters reads os.getenv"),
        (f"{IN_LAYER}/settings.py", "import boto3", "settings must not import boto3"),
        (f"{IN_LAYER}/inbound_events.py", "import search_router.settings", "must not import"),
        (f"{IN_LAYER}/observability.py", "import search_router.settings", "must not import"),
        (f"{IN_LAYER}/dependencies.py", "import search_router.measurements", "must not import"),
        (
            f"{IN_LAYER}/dependencies.py",
            "from botocore.exceptions import ClientError",
            "dependencies knows botocore.exceptions.ClientError",
        ),
        *(
            (f"{IN_LAYER}/{package}", f"from {outsider} import x", f"must not import {outsider}")
            for package in ("domain/x.py", "use_cases/x.py", "adapters/x.py", "dependencies.py")
            for outsider in ("functions", "local_stack", "router_cli", "tests")
        ),
        (f"{IN_LAYER}/__init__.py", "from search_router.domain import x", "must not import"),
        (f"{IN_LAYER}/utils.py", "", "no rule for the package utils"),
    ],
)
def test_a_planted_offence_is_found(path: str, source: str, offence: str) -> None:
    found = offences(Path(path), source)

    assert any(offence in sentence for sentence in found), found


@pytest.mark.parametrize(
    ("path", "source"),
    [
        (FUNCTION, "from search_router.use_cases.x import x\nfrom aws_lambda_powertools import y"),
        (f"{IN_LAYER}/domain/x.py", "import json\nfrom pydantic import BaseModel"),
        (f"{IN_LAYER}/adapters/x.py", "from botocore.exceptions import ClientError"),
        (f"{IN_LAYER}/adapters/x.py", "from mypy_boto3_s3 import S3Client"),
        (f"{IN_LAYER}/settings.py", "import os\nos.environ"),
        (f"{IN_LAYER}/dependencies.py", "import boto3\nboto3.client('s3')"),
    ],
)
def test_what_a_package_may_do_is_no_offence(path: str, source: str) -> None:
    assert offences(Path(path), source) == []


def cycle(sources: Mapping[str, str]) -> list[str]:
    """Return the modules of one import cycle, given module names and their sources."""
    graph = {
        module: {
            target
            for name in imported(ast.parse(source))
            for target in (name, name.rpartition(".")[0])
            if target in sources and target != module
        }
        for module, source in sources.items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_the_modules_of_the_layer_form_no_cycle() -> None:
    sources = {
        ".".join(path.relative_to(LAYER).with_suffix("").parts): path.read_text("utf-8")
        for path in LAYER.glob("search_router/**/*.py")
        if path.name != "__init__.py"
    }

    assert cycle(sources) == []


def test_a_planted_cycle_is_found() -> None:
    planted = {
        "a": "from b import x",
        "b": "def f():\n    from c import y",
        "c": "import a.x\nimport a",
    }

    assert set(cycle(planted)) == {"a", "b", "c"}


IMPORT_EACH = """
import botocore.session, importlib.util, os, socket, sys, warnings

def refuse(*_, **__):
    raise RuntimeError("work at import")

create_client = botocore.session.Session.create_client

def create_only_the_tracers(session, service, *rest, **options):
    if service != "xray":  # the X-Ray SDK makes an unsigned one at import; it connects later
        refuse()
    return create_client(session, service, *rest, **options)

botocore.session.Session.create_client = create_only_the_tracers
socket.socket.connect = socket.getaddrinfo = refuse
warnings.simplefilter("error")
assert not os.environ.keys() - {"LC_CTYPE"}, os.environ
sys.path.insert(0, sys.argv[1])
for number, path in enumerate(sys.argv[2:]):
    spec = importlib.util.spec_from_file_location(f"imported_{number}", path)
    sys.modules[spec.name] = module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        print(type(error).__name__, str(error).splitlines()[0])
    else:
        print("imported")
"""


def import_each(paths: Sequence[Path]) -> list[str]:
    """Import files in a fresh process without environment, network or AWS clients."""
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_EACH, str(LAYER), *map(str, paths)],
        env={},
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=True,
    )
    return done.stdout.splitlines()


def test_importing_does_no_work() -> None:
    assert import_each(SOURCES) == ["imported"] * len(SOURCES)


def test_planted_work_at_import_is_found(tmp_path: Path) -> None:
    planted = {
        "import os\nSTAGE = os.environ['STAGE']": "KeyError 'STAGE'",
        "from search_router.settings import read_settings\nread_settings()": "ValidationError",
        "from search_router.dependencies import dependencies\ndependencies()": "ValidationError",
        "import boto3\nboto3.client('s3', region_name='us-east-1')": "RuntimeError work at import",
        "import socket\nsocket.create_connection(('127.0.0.1', 9))": "RuntimeError work at import",
        "import warnings\nwarnings.warn('old')": "UserWarning old",
    }
    paths = [tmp_path / f"planted_{number}.py" for number in range(len(planted))]
    for path, source in zip(paths, planted, strict=True):
        path.write_text(source, encoding="utf-8")

    complaints = import_each(paths)

    for complaint, expected in zip(complaints, planted.values(), strict=True):
        assert complaint.startswith(expected)
