"""benchmarks/dropin: each script runs, before and after, and the two differ in three lines."""

import difflib
import importlib.util
import re
import runpy
import sys
import tempfile

import pytest

from tests.integrations.common import ROOT, note_batches, run_in_processes

FOLDER = ROOT / "benchmarks" / "dropin"
NAMES = sorted(path.stem.removesuffix("_after") for path in FOLDER.glob("*_after.py"))
NEEDS = {
    "dataloader": "torch", "fabric": "lightning", "stateful_dataloader": "torchdata",
    "torchrun": "torch",
}  # fmt: skip


def changed_lines(name):
    """Count the lines of a user's that become others, go or come; empty ones aside."""
    before, after = (
        (FOLDER / f"{name}_{when}.py").read_text().splitlines() for when in ("before", "after")
    )
    differ = difflib.SequenceMatcher(None, before, after, autojunk=False).get_opcodes()
    return sum(
        max(sum(map(bool, before[a:b])), sum(map(bool, after[c:d])))
        for tag, a, b, c, d in differ
        if tag != "equal"
    )


@pytest.fixture
def drawn(monkeypatch):
    """The batches that ManiNeg draws in this process."""
    return note_batches(monkeypatch.setattr)


def test_every_pair_is_whole():
    assert len(NAMES) == 10
    assert {path.name for path in FOLDER.glob("*.py")} == {
        "__init__.py", "data.py", *(f"{name}_{when}.py" for name in NAMES for when in ("before", "after")),
    }  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_three_lines(name):
    assert 1 <= changed_lines(name) <= 3


@pytest.mark.filterwarnings("ignore")  # the frameworks' own
@pytest.mark.parametrize("name", NAMES)
def test_the_scripts_run(name, drawn, tmp_path, monkeypatch):
    needed = NEEDS.get(name, name)
    if importlib.util.find_spec(needed) is None:
        pytest.skip(f"{needed} is not installed")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    if name == "torchrun":
        before, after = (
            run_in_processes("tests.integrations.dropin_ranks", when, folder=tmp_path)
            for when in ("before", "after")
        )
        assert before == [[], []]
        assert [len(rank) for rank in after] == [8, 8]
        assert len({batch[0] for rank in after for batch in rank}) == 16  # the anchors
        return
    if name == "lightly" and importlib.util.find_spec("torchvision") is None:
        from benchmarks.losses import lightly

        loss = type(lightly())  # past what imports torchvision
        monkeypatch.setattr(sys.modules["lightly.loss"], "NTXentLoss", loss, raising=False)
    runpy.run_module(f"benchmarks.dropin.{name}_before")
    assert not drawn
    runpy.run_module(f"benchmarks.dropin.{name}_after")
    if name == "stateful_dataloader":
        assert len(drawn) == 8  # one batch, and after it the other seven
    else:
        assert len(drawn) == 16
    assert all(len(set(batch)) == 32 for batch in drawn)


def test_the_page_counts_the_lines():
    """Each row of its table links the two scripts and the test, and says how many lines change."""
    page = (ROOT / "docs/frameworks.md").read_text()
    rows = re.findall(
        r"\| \[(\d) lines?\]\(\.\./benchmarks/dropin/(\w+)_after\.py\) +\|.*\(\.\./tests/integrations/(\w+\.py)\)",
        page,
    )
    assert {name: int(count) for count, name, _ in rows} == {
        name: changed_lines(name) for name in NAMES
    }
    tests = {test for *_, test in rows}
    others = {
        "test_dropin.py",
        "test_killed.py",
        "test_pattern_dataset.py",
        "test_sentence_transformers_by_name.py",
    }
    assert tests | others == {path.name for path in (ROOT / "tests/integrations").glob("test_*.py")}
