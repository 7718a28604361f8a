"""Archives are reproducible, complete, and cost nothing the second time."""

import io
import os
import zipfile
from importlib import metadata
from pathlib import Path

import jinja2
import pytest

from local_stack import packaging
from local_stack.packaging import build_layer, user_cache_folder, zip_folder
from local_stack.processes import LocalStackError


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def names(content: bytes) -> list[str]:
    return zipfile.ZipFile(io.BytesIO(content)).namelist()


def test_equal_folders_make_equal_archives(tmp_path: Path) -> None:
    for name, order in (("one", "ab"), ("two", "ba")):
        for file in order:
            write(tmp_path / name / f"{file}.py", file)
        write(tmp_path / name / "__pycache__" / f"{name}.pyc", name)
    os.utime(tmp_path / "two" / "a.py", (1, 1))
    (tmp_path / "two" / "a.py").chmod(0o600)
    (tmp_path / "one" / "a.py").chmod(0o640)

    assert zip_folder(tmp_path / "one") == zip_folder(tmp_path / "two")
    assert names(zip_folder(tmp_path / "one")) == ["a.py", "b.py"]


def test_a_change_of_content_or_name_changes_the_archive(tmp_path: Path) -> None:
    write(tmp_path / "a" / "x.py", "1")
    write(tmp_path / "b" / "x.py", "2")
    write(tmp_path / "c" / "y.py", "1")

    assert len({zip_folder(tmp_path / folder) for folder in "abc"}) == 3


class Installer:
    """Writes one package instead of copying pinned ones, and counts."""

    def __init__(self) -> None:
        self.runs = 0

    def __call__(self, lock: Path, target: Path) -> None:
        self.runs += 1
        write(target / "package" / "__init__.py", lock.read_text())
        write(target / "package" / "__pycache__" / "x.pyc", "bytecode")


@pytest.fixture
def installer(monkeypatch: pytest.MonkeyPatch) -> Installer:
    made = Installer()
    monkeypatch.setattr(packaging, "_install", made)
    return made


@pytest.fixture
def layer(tmp_path: Path) -> Path:
    write(tmp_path / "layer" / "requirements.txt", "package==1")
    write(tmp_path / "layer" / "search_router" / "app.py", "code")
    write(tmp_path / "layer" / "search_router" / "__pycache__" / "app.pyc", "bytecode")
    return tmp_path / "layer"


def test_a_layer_holds_our_code_and_its_dependencies(
    tmp_path: Path, layer: Path, installer: Installer
) -> None:
    built = build_layer(layer, snapshot=tmp_path / "snapshot", cache=tmp_path / "cache")

    assert sorted(names(built.content)) == [
        "python/package/__init__.py",
        "python/requirements.txt",
        "python/search_router/app.py",
    ]


def test_the_unpacked_folders_hold_what_the_archive_holds(
    tmp_path: Path, layer: Path, installer: Installer
) -> None:
    built = build_layer(layer, snapshot=tmp_path / "snapshot", cache=tmp_path / "cache")
    archive = zipfile.ZipFile(io.BytesIO(built.content))

    for name in archive.namelist():
        relative = name.removeprefix("python/")
        found = [folder / relative for folder in built.folders if (folder / relative).exists()]
        assert [path.read_bytes() for path in found] == [archive.read(name)]


def test_dependencies_are_installed_once_per_lock_file(
    tmp_path: Path, layer: Path, installer: Installer
) -> None:
    first = build_layer(layer, snapshot=tmp_path / "1", cache=tmp_path / "cache")
    write(layer / "search_router" / "app.py", "changed code")
    second = build_layer(layer, snapshot=tmp_path / "2", cache=tmp_path / "cache")
    write(layer / "requirements.txt", "package==2")
    third = build_layer(layer, snapshot=tmp_path / "3", cache=tmp_path / "cache")

    assert installer.runs == 2
    assert len({first.sha256, second.sha256, third.sha256}) == 3
    # A running stack keeps the code it was started with.
    assert (tmp_path / "1" / "search_router" / "app.py").read_text() == "code"


def test_a_failed_installation_leaves_nothing_half_built(
    tmp_path: Path, layer: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_lock: Path, target: Path) -> None:
        write(target / "half.py", "")
        raise LocalStackError("no index")

    monkeypatch.setattr(packaging, "_install", fail)

    with pytest.raises(LocalStackError):
        build_layer(layer, snapshot=tmp_path / "snapshot", cache=tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_faster_process_may_have_built_the_same(
    tmp_path: Path, layer: Path, installer: Installer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def overtaken(lock: Path, target: Path) -> None:
        monkeypatch.setattr(packaging, "_install", installer)
        build_layer(layer, snapshot=tmp_path / "faster", cache=tmp_path / "cache")
        installer(lock, target)

    monkeypatch.setattr(packaging, "_install", overtaken)
    build_layer(layer, snapshot=tmp_path / "slower", cache=tmp_path / "cache")

    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_pinned_packages_are_copied_whole_from_this_environment(tmp_path: Path) -> None:
    six, jinja = metadata.version("six"), metadata.version("jinja2")
    write(tmp_path / "layer" / "requirements.txt", f"six=={six} \\\n  --hash=x\njinja2=={jinja}\n")

    built = build_layer(tmp_path / "layer", snapshot=tmp_path / "s", cache=tmp_path / "cache")

    archive = zipfile.ZipFile(io.BytesIO(built.content))
    module = Path(str(metadata.distribution("six").locate_file("six.py")))
    assert archive.read("python/six.py") == module.read_bytes()
    package = Path(jinja2.__file__).parent
    assert {name for name in archive.namelist() if name.startswith("python/jinja2/")} == {
        f"python/jinja2/{path.relative_to(package).as_posix()}"
        for path in package.rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    assert f"python/six-{six}.dist-info/METADATA" in archive.namelist()
    assert not [name for name in archive.namelist() if ".." in name or name.endswith(".pyc")]


@pytest.mark.parametrize(
    ("pin", "problem"),
    [
        ("six==0.1", rf"six {metadata.version('six')} is installed, but the layer needs 0\.1"),
        ("no-such-package==1", "no-such-package 1 is not installed"),
    ],
)
def test_an_environment_without_the_pinned_version_is_reported(
    tmp_path: Path, pin: str, problem: str
) -> None:
    write(tmp_path / "layer" / "requirements.txt", f"{pin}\n")

    with pytest.raises(LocalStackError, match=problem):
        build_layer(tmp_path / "layer", snapshot=tmp_path / "s", cache=tmp_path / "cache")


def test_the_cache_is_where_the_user_keeps_caches() -> None:
    assert user_cache_folder({"XDG_CACHE_HOME": "/caches"}) == Path("/caches/search-router")
