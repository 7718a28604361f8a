"""The patches reject other versions of the emulator."""

import io
import zipfile

import pytest

from local_stack import emulator_patches
from local_stack.emulator_patches import _path_archive, require_known_emulator
from local_stack.processes import LocalStackError


def test_the_installed_emulator_is_the_patched_one() -> None:
    require_known_emulator()


def test_another_version_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emulator_patches, "version", lambda _: "1.5.34")

    with pytest.raises(LocalStackError, match=r"1\.5\.34 is installed.* are for 1\.5\.33"):
        require_known_emulator()


def test_a_shared_layer_is_one_line_that_survives_any_path() -> None:
    folders = ["/tmp/with space/ü", "/tmp/it's"]  # noqa: S108 - never opened

    archive = zipfile.ZipFile(io.BytesIO(_path_archive(folders)))
    (name,) = archive.namelist()
    line = archive.read(name).decode("ascii")

    assert name.endswith(".pth")
    assert line.startswith("import ")  # `site` executes only such lines
    path = ["last"]
    exec(line.replace("import sys; sys.path", "path"), {"path": path})  # noqa: S102
    assert path == [*folders, "last"]
