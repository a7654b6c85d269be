"""The documentation's snippets run, page by page, and its links lead somewhere."""

import re
from pathlib import Path

import pytest

import maninegs_sampling as mn
from tests.snippets import names_for_snippets, run_snippets, snippets_of, write_cases

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs").glob("*.md"))


def test_there_are_pages():
    assert {page.stem for page in PAGES} >= {
        "advice", "experiments", "frameworks", "loaders", "losses", "samplers", "scale",
        "tables",
    }  # fmt: skip


@pytest.mark.parametrize("page", list(filter(snippets_of, PAGES)), ids=lambda page: page.name)
def test_snippets_run_in_order(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_cases(tmp_path / "cases.csv")
    names = names_for_snippets()
    run_snippets(page, names)
    if page.name == "loaders.md":
        assert names["step"] == 100
        assert names["checkpoint"]["batches"]["epoch"] == 1
    elif page.name == "advice.md":
        assert ("mu", names["seen"].mu, names["seen"].step) in names["logged"]
    elif page.name == "losses.md":
        assert names["criterion"].log_temperature.grad.abs().min() > 0
        assert names["logit_scale"].grad is not None
        assert names["patterns"].shape == (64,)
        assert isinstance(names["loader"].dataset, mn.PatternDataset)
    elif page.name == "tables.md":
        assert names["by_hand"].encode("cases.csv").shape == (300, 6)
        assert len(names["labels"]) == len(names["groups"]) == 300
    elif page.name == "samplers.md":
        for name in ("blocks", "grouped", "mixed"):
            assert sum(len(batch[0]) for batch in names[name]) == 300
        assert len(names["walks"].batch_sampler.batch(0)) == 32
    elif page.name == "frameworks.md":
        assert isinstance(names["loader"].batch_sampler, mn.ManiNegBatchSampler)


@pytest.mark.parametrize(
    "page",
    [*(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")), *PAGES],
    ids=lambda page: page.name,
)
def test_links_lead_to_files(page):
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8"))
    local = [link for link in links if not link.startswith("http")]
    missing = [link for link in local if not (page.parent / link).exists()]
    assert not missing
