"""A page for each framework shows its script from benchmarks/dropin, which other tests run."""

import difflib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "benchmarks" / "dropin"
NAMES = sorted(path.stem.removesuffix("_after") for path in FOLDER.glob("*_after.py"))


def changed(name):
    """Return the numbers of the lines that the second script adds or changes."""
    before, after = (
        (FOLDER / f"{name}_{when}.py").read_text(encoding="utf-8").splitlines()
        for when in ("before", "after")
    )
    differ = difflib.SequenceMatcher(None, before, after, autojunk=False).get_opcodes()
    lines = [line for tag, _, _, c, d in differ if tag != "equal" for line in range(c, d)]
    return [line + 1 for line in lines if after[line]]


def test_each_script_has_a_page():
    assert {page.stem for page in (ROOT / "docs/works_with").glob("*.md")} == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_page_shows_the_script_and_marks_what_changes(name):
    text = (ROOT / f"docs/works_with/{name}.md").read_text(encoding="utf-8")
    assert re.findall(r'--8<-- "(.*?)"', text) == [f"benchmarks/dropin/{name}_after.py"]
    marked = re.search(r'hl_lines="([\d ]+)"', text)[1]
    assert [int(line) for line in marked.split()] == changed(name)
