"""Builds archives of functions and layers for this machine, like `sam build`."""

from __future__ import annotations

import hashlib
import io
import platform
import re
import shutil
import stat
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from local_stack import stripping
from local_stack.processes import LocalStackError

REQUIREMENTS = "requirements.txt"
# A fixed time, so that equal content gives equal bytes.
_EPOCH = (1980, 1, 1, 0, 0, 0)
_PIN = re.compile(r"^([\w.-]+)==([^\s;]+)", re.MULTILINE)


@dataclass(frozen=True)
class LayerArchive:
    """The archive of a layer, and the folders that contain the same files."""

    content: bytes
    folders: tuple[Path, ...]

    @property
    def sha256(self) -> str:
        """The hash of the archive."""
        return hashlib.sha256(self.content).hexdigest()


def zip_folder(folder: Path, *, prefix: str = "") -> bytes:
    """Return a deterministic archive of the files in `folder`, without bytecode."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        _add_folder(archive, folder, prefix)
    return buffer.getvalue()


def build_layer(folder: Path, *, snapshot: Path, cache: Path) -> LayerArchive:
    """Return the layer of the sources and `requirements.txt` in `folder`.

    Sources are copied to `snapshot`, so that editing them does not change a running stack.
    Dependencies come from `cache`, by lock file and interpreter; the first time they are copied
    from this environment.
    """
    shutil.copytree(folder, snapshot, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
    dependencies = _cached_dependencies(folder / REQUIREMENTS, cache)
    buffer = io.BytesIO((dependencies / "packages.zip").read_bytes())
    with zipfile.ZipFile(buffer, "a") as archive:
        _add_folder(archive, snapshot, "python/")
    return LayerArchive(buffer.getvalue(), (snapshot, dependencies / "packages"))


def user_cache_folder(environ: Mapping[str, str]) -> Path:
    """Return the user's cache folder for installed dependencies."""
    if environ.get("XDG_CACHE_HOME"):
        return Path(environ["XDG_CACHE_HOME"]) / "search-router"
    caches = "Library/Caches" if sys.platform == "darwin" else ".cache"
    try:
        return Path.home() / caches / "search-router"
    except RuntimeError:
        raise LocalStackError("no home folder. Set HOME or XDG_CACHE_HOME.") from None


def _add_folder(archive: zipfile.ZipFile, folder: Path, prefix: str) -> None:
    for path in _source_files(folder):
        entry = zipfile.ZipInfo(prefix + path.relative_to(folder).as_posix(), _EPOCH)
        entry.compress_type = zipfile.ZIP_DEFLATED
        executable = path.stat().st_mode & stat.S_IXUSR
        entry.external_attr = (stat.S_IFREG | (0o755 if executable else 0o644)) << 16
        archive.writestr(entry, path.read_bytes())


def _source_files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyc":
            yield path


def _cached_dependencies(lock: Path, cache: Path) -> Path:
    """Return the folder with `packages/` and `packages.zip`; build it if it does not exist."""
    interpreter = f"{sys.implementation.cache_tag} {platform.system()} {platform.machine()}"
    rules = Path(stripping.__file__).read_bytes()
    key = hashlib.sha256(lock.read_bytes() + interpreter.encode() + rules).hexdigest()[:16]
    built = cache / f"layer-{key}"
    if built.is_dir():
        return built
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="building-", dir=cache) as scratch:
        made = Path(scratch) / "layer"
        _install(lock, made / "packages")
        stripping.strip(made / "packages")
        (made / "packages.zip").write_bytes(zip_folder(made / "packages", prefix="python/"))
        try:
            made.rename(built)
        except OSError:
            # Another process has built the same.
            if not built.is_dir():
                raise
    return built


def _install(lock: Path, target: Path) -> None:
    """Copy the pinned packages from this environment, which was installed from the same pins.

    Raises `LocalStackError` if one is missing or has another version.
    """
    for name, version in _PIN.findall(lock.read_text("utf-8")):
        try:
            installed = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            raise LocalStackError(f"{name} {version} is not installed. Run `make setup`.") from None
        if installed.version != version:
            raise LocalStackError(
                f"{name} {installed.version} is installed, but the layer needs {version}. "
                "Run `make setup`."
            )
        for file in installed.files or ():
            if ".." not in file.parts and "__pycache__" not in file.parts:
                copy = target / file
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(file.locate(), copy)
