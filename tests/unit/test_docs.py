"""The documents say what the code does."""

import ast
import re
from pathlib import Path

from samtranslator.yaml_helper import yaml_parse

from router_cli import verbs
from search_router.domain.logs.results import OWN_COLUMNS
from tests.conftest import TESTS

PROJECT = TESTS.parent
LAYER = PROJECT / "layers/shared/search_router"
PICTURE = PROJECT / "docs/architecture.md"


def test_the_picture_of_the_packages_agrees_with_the_imports() -> None:
    # GIVEN the arrows drawn between packages
    picture = PICTURE.read_text("utf-8").partition("flowchart TD")[2].partition("```")[0]
    drawn = set(re.findall(r"(\w+) --> (\w+)", picture))
    # WHEN the imports of the layer and the functions are read
    imported = {
        (_package(path), target)
        for path in [*LAYER.rglob("*.py"), *(PROJECT / "functions").rglob("*.py")]
        for target in _imported_packages(path)
    }
    # THEN they are the same, but for imports inside a package
    assert drawn == {(package, target) for package, target in imported if package != target}


def _package(path: Path) -> str:
    if path.is_relative_to(LAYER):
        return path.relative_to(LAYER).parts[0].removesuffix(".py")
    return "functions"


def _imported_packages(path: Path) -> set[str]:
    names = [
        f"{node.module}.{alias.name}"
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    ]
    inside = [name.split(".")[1:] for name in names if name.startswith("search_router.")]
    return {parts[0] for parts in inside}


def test_the_command_has_the_defaults_of_the_template() -> None:
    template = yaml_parse((PROJECT / "template.yaml").read_text("utf-8"))

    names = ("Modalities", "TeacherModelId", "StudentModelId", "HoldoutFraction")
    defaults = [template["Parameters"][name]["Default"] for name in names]
    assert defaults == [verbs.MODALITIES, verbs.TEACHER, verbs.STUDENT, verbs.HOLDOUT_FRACTION]


def test_the_readme_names_every_verb_and_no_other() -> None:
    table = (PROJECT / "README.md").read_text("utf-8").partition("| verb | does |")[2]
    named = set(re.findall(r"^\| `(\w+)", table.partition("\n\n")[0], re.MULTILINE))

    assert named == {verb.name.split()[0] for verb in verbs.VERBS}


def test_the_result_columns_are_listed_in_order() -> None:
    row_id, query, *others = OWN_COLUMNS

    listed = ", ".join([row_id, query, "<one column per modality>", *others])

    readme = (PROJECT / "docs/files.md").read_text("utf-8")
    assert f"`{listed}`" in " ".join(readme.split())


def test_the_readme_names_make_targets_that_exist() -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", (PROJECT / "Makefile").read_text("utf-8"), re.M))
    named = set(re.findall(r"make ([a-z0-9-]+)", (PROJECT / "README.md").read_text("utf-8")))

    assert named <= targets


def test_decisions_are_numbered_without_gaps_and_references_name_one() -> None:
    text = (PROJECT / "docs/decisions.md").read_text("utf-8")
    numbers = [int(number) for number in re.findall(r"^### (\d+)\. ", text, re.MULTILINE)]
    sources = [path.read_text("utf-8") for path in LAYER.rglob("*.py")]
    named = {int(n) for source in sources for n in re.findall(r"decisions\.md, (\d+)", source)}

    assert numbers == list(range(1, len(numbers) + 1))
    assert named
    assert named <= set(numbers)
