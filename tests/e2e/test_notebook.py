"""The notebook runs from top to bottom, and is kept without what it printed."""

import re
import warnings
from pathlib import Path
from typing import Any

import nbclient
import nbformat
import pytest

from local_stack.launcher import PROJECT
from tests.waiting import PATIENCE_SECONDS

NOTEBOOK = PROJECT / "notebooks/distil-and-route.ipynb"
STEPS = ("1. Prepare the data", "2. Distil", "3. Deploy", "4. Evaluate and use", "5. Search")


def read_notebook() -> Any:
    read: Any = nbformat.read
    return read(NOTEBOOK, as_version=4)


def test_it_is_kept_without_outputs_and_has_five_steps() -> None:
    notebook = read_notebook()

    assert not [cell for cell in notebook.cells if cell.get("outputs")]
    assert not [cell for cell in notebook.cells if cell.get("execution_count")]
    texts = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    assert tuple(re.findall(r"^## (\d.*)$", texts, re.MULTILINE)) == STEPS


@pytest.mark.sweep
def test_it_runs_and_saves_its_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTEBOOK_FIGURES", str(tmp_path / "figures"))
    notebook = read_notebook()
    client = nbclient.NotebookClient(
        notebook,
        timeout=int(PATIENCE_SECONDS),
        kernel_name="python3",
        resources={"metadata": {"path": str(NOTEBOOK.parent)}},
    )

    with warnings.catch_warnings():
        # Jupyter's own sockets are closed by its own garbage collection.
        warnings.simplefilter("ignore", ResourceWarning)
        client.execute()

    figures = {path.name for path in (tmp_path / "figures").iterdir()}
    assert figures >= {
        "model-comparison.svg",
        "weight-distribution.svg",
        "latency.svg",
        "error-breakdown.svg",
        "report.html",
    }
    printed = "".join(
        output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", ())
    )
    assert "PROMOTED" in printed
    assert "rows_in      2000" in printed
    assert "indexed      240" in printed
    assert printed.count("equal (base): visual 0.25, audio 0.25") == 4
    assert printed.count("routed (") == 4
