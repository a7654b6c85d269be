"""The notebooks run, and were committed with what they show."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

FOLDER = Path(__file__).parents[1] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


def outputs_of(notebook):
    return [output for cell in notebook.cells for output in cell.get("outputs", [])]


def pictures(notebook):
    return sum("image/png" in output.get("data", {}) for output in outputs_of(notebook))


def test_there_are_four():
    assert [path.stem[:2] for path in NOTEBOOKS] == ["01", "02", "03", "04"]


@pytest.mark.filterwarnings("ignore")  # of the machinery that runs notebooks
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs_and_shows_its_pictures(path):
    committed = nbformat.read(path, as_version=4)
    nbformat.validate(committed)
    assert pictures(committed) >= 1
    assert not any(output.output_type == "error" for output in outputs_of(committed))
    fresh = nbformat.read(path, as_version=4)
    for cell in fresh.cells:
        if cell.cell_type == "code":
            cell.outputs = []
    # an error in a cell is raised here
    NotebookClient(fresh, timeout=300, resources={"metadata": {"path": str(FOLDER)}}).execute()
    assert pictures(fresh) == pictures(committed)
    source = "\n".join(cell.source for cell in committed.cells)
    assert len(source.splitlines()) < 120  # short
