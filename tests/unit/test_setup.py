"""Set-up on machines unlike this one: no Python, an old one, a broken shim, no uv."""

import ast
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from router_cli.__main__ import main
from tests.conftest import TESTS

PROJECT = TESTS.parent
TOOLS = (
    "bash",
    "cat",
    "cmp",
    "cp",
    "dirname",
    "env",
    "make",
    "mkdir",
    "rm",
    "sed",
    "tail",
    "touch",
)
VERSION = f"{sys.version_info[0]}.{sys.version_info[1]}"
NEEDED = "Python 3.11 or newer is needed"
INSTALL_IT = "Install Python 3.13 or name another with PYTHON=/path/to/python3.\n"


class Machine:
    """A PATH and a home with only what a test puts there."""

    def __init__(self, folder: Path) -> None:
        self.bin, self.pyenv = folder / "bin", folder / "pyenv"
        self.bin.mkdir(parents=True)
        for tool in TOOLS:
            found = shutil.which(tool)
            assert found is not None
            (self.bin / tool).symlink_to(found)
        self.environment = {
            "PATH": str(self.bin),
            "HOME": str(folder),
            "PYENV_ROOT": str(self.pyenv),
        }

    def install(self, name: str, script: str) -> Path:
        return write_script(self.bin / name, script)

    def run(self, *command: str | Path, cwd: Path = PROJECT) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [shutil.which(command[0], path=str(self.bin)) or command[0], *command[1:]],
            cwd=cwd,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def find_python(self, *wanted: str | Path) -> subprocess.CompletedProcess[str]:
        return self.run("bash", ".ci/find-python", *wanted)


def write_script(path: Path, script: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def python(version: str, path: str) -> str:
    """Return a script that answers as a Python of this version at this path would."""
    return f"echo {version.replace('.', ' ')} pip {path}"


BROKEN_SHIM = "echo 'pyenv: command not found' >&2; exit 127"


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path / "machine")


def test_the_version_that_lambda_runs_is_preferred(machine: Machine) -> None:
    for version in ("3.11", "3.12", "3.13", "3.14"):
        machine.install(f"python{version}", python(version, f"/opt/{version}"))

    assert machine.find_python().stdout == "/opt/3.13\n"


def test_a_shim_that_fails_gives_way_to_the_version_behind_it(machine: Machine) -> None:
    machine.install("python3.12", BROKEN_SHIM)
    write_script(machine.pyenv / "versions/3.12.1/bin/python", python("3.12", "/behind"))

    found = machine.find_python()

    assert (found.stdout, found.stderr, found.returncode) == ("/behind\n", "", 0)


@pytest.mark.parametrize("wanted", ["3.12", "python3.12", "{bin}/python3.12"])
def test_a_python_is_named_by_version_name_or_path(machine: Machine, wanted: str) -> None:
    machine.install("python3.13", python("3.13", "/better"))
    machine.install("python3.12", python("3.12", "/named"))

    assert machine.find_python(wanted.format(bin=machine.bin)).stdout == "/named\n"


@pytest.mark.parametrize(
    ("script", "wanted", "problem"),
    [
        (None, (), ""),
        (python("3.9", "/old"), (), ", but {bin}/python3 is Python 3.9"),
        (
            "echo 3 12 none /debian",
            (),
            ", but {bin}/python3 has no pip (Debian and Ubuntu have it ",
        ),
        (python("2.7", "/old"), ("python3",), ", but {bin}/python3 is Python 2.7"),
        (None, ("python3.12",), ", but no python3.12 starts"),
        (None, ("/nowhere/python",), ", but no /nowhere/python starts"),
    ],
)
def test_a_machine_without_a_usable_python_is_told_what_to_install(
    machine: Machine, script: str | None, wanted: tuple[str, ...], problem: str
) -> None:
    if script:
        machine.install("python3", script)

    found = machine.find_python(*wanted)

    assert (found.stdout, found.returncode) == ("", 1)
    assert found.stderr.startswith(NEEDED + problem.format(bin=machine.bin))
    assert found.stderr.endswith(INSTALL_IT)
    assert found.stderr.count("\n") == 1


def test_make_without_a_python_says_so_and_makes_nothing(machine: Machine, tmp_path: Path) -> None:
    done = machine.run("make", "setup", f"VENV={tmp_path}/venv", "PYTHON=")

    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith(f"{NEEDED}. {INSTALL_IT}make: *** ")
    assert not (tmp_path / "venv").exists()


def test_an_environment_is_made_again_only_for_another_or_a_missing_python(
    machine: Machine, tmp_path: Path
) -> None:
    venv = tmp_path / "venv"

    def make(*named: str) -> str:
        done = machine.run("bash", ".ci/venv", venv, *named)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert make(sys.executable).startswith(f"making {venv} with Python {VERSION}.")
    assert make() == make(sys.executable) == ""
    (venv / ".python").write_text("3.11.0\n")
    assert make(sys.executable) != ""
    assert make() == ""
    machine.install(f"python{VERSION}", f'exec {sys.executable} "$@"')
    (venv / "bin/python").unlink()
    (venv / "bin/python").symlink_to("/nowhere/python")
    assert make() != ""
    assert (venv / "bin/python").exists()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a folder with the set-up scripts, a Python that records its calls, and room for uv."""
    folder = tmp_path / "project"
    shutil.copytree(PROJECT / ".ci", folder / ".ci")
    (folder / "build/uv").mkdir(parents=True)
    shutil.copy(folder / ".ci/requirements-uv.txt", folder / "build/uv/lock")
    recorded = (
        'case "$*" in *_base_executable*) echo venv/bin/python ;; *) echo "$*" >>calls ;; esac'
    )
    write_script(folder / "venv/bin/python", recorded)
    return folder


LOCKED = ("--require-hashes", "-r", "x.txt")


def calls(project: Path) -> list[str]:
    return [line for line in (project / "calls").read_text().splitlines() if "install" in line]


def test_uv_installs_into_the_environment(machine: Machine, project: Path) -> None:
    write_script(project / "build/uv/bin/uv", 'echo "uv $*" >>calls')

    done = machine.run("bash", ".ci/install", "venv", *LOCKED, cwd=project)

    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)
    assert calls(project) == [
        "uv pip install --quiet --python venv/bin/python --require-hashes -r x.txt"
    ]


def test_pip_installs_the_same_where_uv_fails(machine: Machine, project: Path) -> None:
    write_script(project / "build/uv/bin/uv", "echo no route >&2; exit 2")

    done = machine.run("bash", ".ci/install", "venv", *LOCKED, cwd=project)

    assert done.stdout.startswith("uv failed (see build/uv.log): installing with pip")
    assert (done.stdout.count("\n"), done.stderr, done.returncode) == (1, "", 0)
    assert (project / "build/uv.log").read_text() == "no route\n"
    assert calls(project) == ["-m pip install -qq --require-hashes -r x.txt"]


def test_another_pin_of_uv_is_installed_by_its_hashes(machine: Machine, project: Path) -> None:
    write_script(project / "build/uv/bin/uv", 'echo "the old uv" >>calls')
    (project / "build/uv/lock").write_text("uv==0\n")

    machine.run("bash", ".ci/install", "venv", *LOCKED, cwd=project)

    assert re.fullmatch(
        r"-m pip install .*--require-hashes --target build/uv -r .*", calls(project)[0]
    )
    assert not any("old" in call for call in calls(project))


@pytest.mark.parametrize(
    ("variables", "pip_config", "index"),
    [
        ({}, "", ""),
        ({}, "global.index-url='https://a.example/simple'", "https://a.example/simple"),
        ({"PIP_INDEX_URL": "https://b.example"}, "global.index-url='c'", "https://b.example"),
        ({"UV_DEFAULT_INDEX": "https://d.example", "PIP_INDEX_URL": "e"}, "", "https://d.example"),
    ],
)
def test_uv_gets_the_index_that_pip_is_configured_with(
    machine: Machine, project: Path, variables: Mapping[str, str], pip_config: str, index: str
) -> None:
    write_script(project / "build/uv/bin/uv", 'echo "install from $UV_DEFAULT_INDEX" >>calls')
    write_script(
        project / "venv/bin/python",
        'case "$*" in *_base*) echo venv/bin/python ;; *config*) echo "' + pip_config + '" ;; esac',
    )
    machine.environment |= variables

    machine.run("bash", ".ci/install", "venv", *LOCKED, cwd=project)

    assert calls(project) == [f"install from {index}"]


def test_clean_removes_whatever_git_ignores(machine: Machine, tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    shutil.copy(PROJECT / "Makefile", project)
    machine.install("find", f'exec {shutil.which("find")} "$@"')
    ignored = (PROJECT / ".gitignore").read_text().split()
    made = [project / name for name in ignored if "*" not in name]
    made += [
        project / "tests/unit/__pycache__",
        Path(machine.environment["HOME"], ".cache/search-router"),
    ]
    for folder in made:
        folder.mkdir(parents=True)

    done = machine.run("make", "clean", cwd=project)

    assert done.returncode == 0, done.stderr
    assert [folder for folder in made if folder.exists()] == []
    assert (project / "tests/unit").exists()


def test_help_has_a_line_for_every_command(machine: Machine) -> None:
    machine.install("grep", f'exec {shutil.which("grep")} "$@"')
    machine.install("expand", f'exec {shutil.which("expand")} "$@"')
    makefile = (PROJECT / "Makefile").read_text()
    phony = re.findall(r"^\.PHONY: (.*)", makefile, re.MULTILINE)

    lines = machine.run("make", "help").stdout.splitlines()

    assert {line.split()[0] for line in lines} == set(" ".join(phony).split()) - {"FORCE"}
    assert all(len(line.split()) > 2 for line in lines)


# What runs without what tests, lints and plots.

# `report` draws with matplotlib and asks for `make setup` where it is missing.
PLOTS = Path("router_cli/evaluation_report")
INSIDE = {"router_cli", "local_stack", "search_router"}
RUN_TIME = sorted(
    path.relative_to(PROJECT)
    for folder in ("router_cli", "local_stack", "layers/shared/search_router", "functions")
    for path in (PROJECT / folder).rglob("*.py")
)


def normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


LOCKED_NAMES = {
    normalised(name)
    for name in re.findall(
        r"^([\w.-]+)==", (PROJECT / "requirements.txt").read_text(), re.MULTILINE
    )
}
DISTRIBUTIONS = packages_distributions()


def imported(node: ast.AST) -> Iterator[str]:
    """Yield the top-level names that a module imports when it runs."""
    if isinstance(node, ast.Import):
        yield from (alias.name.partition(".")[0] for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
        yield node.module.partition(".")[0]
    elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
        for otherwise in node.orelse:
            yield from imported(otherwise)
    else:
        for child in ast.iter_child_nodes(node):
            yield from imported(child)


def not_locked(source: str) -> set[str]:
    """Return what a module imports and `requirements.txt` does not install."""
    outside = set(imported(ast.parse(source))) - sys.stdlib_module_names - INSIDE
    return {
        name
        for name in outside
        if not LOCKED_NAMES & {normalised(found) for found in DISTRIBUTIONS.get(name, [])}
    }


def test_what_runs_imports_only_what_is_locked_for_running() -> None:
    found = {path: not_locked((PROJECT / path).read_text("utf-8")) for path in RUN_TIME}

    assert [
        (path, names)
        for path, names in found.items()
        if names - ({"matplotlib"} if PLOTS in path.parents else set())
    ] == []


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import sklearn.linear_model", {"sklearn"}),
        ("def run():\n    from matplotlib import pyplot", {"matplotlib"}),
        ("try:\n    import no_such_package\nexcept ImportError: ...", {"no_such_package"}),
        ("if not TYPE_CHECKING:\n    import mypy_boto3_s3", {"mypy_boto3_s3"}),
        ("if TYPE_CHECKING:\n    import mypy_boto3_s3\nelse:\n    import moto", {"moto"}),
        (
            "import json, yaml, botocore.session\nfrom samtranslator import x\nfrom . import y",
            set(),
        ),
    ],
)
def test_a_planted_import_is_found(source: str, found: set[str]) -> None:
    assert not_locked(source) == found


def pins(lock: str) -> set[str]:
    return set(re.findall(r"^([\w.-]+==\S+)", (PROJECT / lock).read_text(), re.MULTILINE))


def test_each_lock_holds_the_pins_of_the_one_before() -> None:
    layer, run, dev = map(
        pins, ("layers/shared/requirements.txt", "requirements.txt", "requirements-dev.txt")
    )

    assert layer < run < dev


def test_report_asks_for_the_rest_of_the_set_up(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for name in ("figures", "risk_coverage"):
        monkeypatch.delitem(sys.modules, f"router_cli.evaluation_report.{name}", raising=False)
    monkeypatch.setitem(sys.modules, "matplotlib", None)

    code = main(["report", "run-0", "--out", str(tmp_path / "report")])

    assert code == 1
    error = capsys.readouterr().err
    assert error == "search-router: matplotlib is not installed. Run `make setup`.\n"
