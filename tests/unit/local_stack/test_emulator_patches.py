"""The patches refuse an emulator they were not written for."""

import io
import zipfile

import pytest
from ministack.services import eventbridge

from local_stack import emulator_patches
from local_stack.emulator_patches import (
    FINGERPRINTS,
    EmulatorChangedError,
    _path_archive,
    fingerprint,
    require_known_emulator,
)

PATCHED = "ministack.services.eventbridge:_dispatch_to_lambda"


def test_the_installed_emulator_is_the_patched_one() -> None:
    require_known_emulator()


def test_another_version_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emulator_patches, "version", lambda _: "1.5.34")

    with pytest.raises(EmulatorChangedError, match=r"1\.5\.34 is installed.*for 1\.5\.33"):
        require_known_emulator()


def test_a_changed_function_is_named_with_both_fingerprints(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def changed(arn: str) -> None:
        """Has another source."""

    monkeypatch.setattr(eventbridge, "_dispatch_to_lambda", changed)

    with pytest.raises(EmulatorChangedError) as raised:
        require_known_emulator()
    assert f"{PATCHED}: expected {FINGERPRINTS[PATCHED]}, found {fingerprint(PATCHED)}" in str(
        raised.value
    )
    assert str(raised.value).count("expected") == 1


def test_a_vanished_function_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(eventbridge, "_dispatch_to_lambda")

    with pytest.raises(EmulatorChangedError, match=f"{PATCHED}: expected .* found missing"):
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
