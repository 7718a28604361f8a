"""What `make build` compiles is what Lambda imports, wherever and whenever it is unpacked."""

import os
import subprocess
import sys
from pathlib import Path

from tests.conftest import TESTS

PRECOMPILE = TESTS.parent / ".ci/precompile"
SHOW = "import package.module as m; print(m.VALUE, m.__spec__.cached, sep='\\n')"


def imported(layer: Path) -> list[str]:
    environment = {**os.environ, "PYTHONPATH": str(layer), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.check_output(
        [sys.executable, "-c", SHOW], env=environment, text=True
    ).splitlines()


def test_bytecode_is_used_without_a_look_at_its_source(tmp_path: Path) -> None:
    # GIVEN a compiled layer
    module = tmp_path / "a layer/package/module.py"
    module.parent.mkdir(parents=True)
    module.write_text("VALUE = 1\n")
    subprocess.run([PRECOMPILE, sys.executable, tmp_path / "a layer"], check=True)

    # WHEN it is unpacked elsewhere and its source is no longer the one that was compiled
    layer = (tmp_path / "a layer").rename(tmp_path / "unpacked")
    (layer / "package/module.py").write_text("VALUE = 2  # much later\n")

    # THEN what was compiled is imported, and is the same whatever folder it was built in
    value, cached = imported(layer)
    assert value == "1"
    assert b"/opt/python/package/module.py" in Path(cached).read_bytes()
