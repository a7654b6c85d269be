"""The documentation's snippets run, page by page, and its links lead somewhere."""

import re
from pathlib import Path

import pytest

import maninegs_sampling as mn
from tests.orders.shards import write_shards
from tests.snippets import names_for_snippets, run_snippets, snippets_of, write_cases

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs").rglob("*.md"))


def test_there_are_pages():
    assert {page.stem for page in PAGES} >= {
        "advice", "architecture", "command_line", "determinism", "distributions", "experiments",
        "frameworks", "guarantees", "install", "large_data", "loaders", "losses", "mu_and_sigma",
        "proxies", "quickstart", "report", "resuming", "samplers", "scale", "several_gpus", "streams", "tables",
        "traits",
    }  # fmt: skip


@pytest.mark.parametrize("page", list(filter(snippets_of, PAGES)), ids=lambda page: page.name)
def test_snippets_run_in_order(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_cases(tmp_path / "cases.csv")
    names = names_for_snippets()
    if page.name == "streams.md":
        names["shards"] = write_shards(tmp_path, (100, 100, 100))
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
    elif page.name == "proxies.md":
        assert names["tagged"].bit_names == ("edema", "effusion")
        assert names["embedded"].n_bits == names["coded"].n_bits == 20
        assert names["both"].n_bits == 3 * 20 + 20
        assert names["both"].bit_names[-1] == "1: bit 19"
        assert (names["coded"].to_dense() == names["bits"]).all()
        assert names["agreement"].recall > names["agreement"].chance
        again = names["again"].batch_sampler
        assert (again.epoch, again.store.digest) == (6, names["store"].digest)
        assert again.store_at(6) is not names["sampler"].store_at(3)
    elif page.name == "samplers.md":
        for name in ("blocks", "grouped", "mixed"):
            assert sum(len(batch[0]) for batch in names[name]) == 300
        assert len(names["walks"].batch_sampler.batch(0)) == 32
    elif page.name == "streams.md":
        assert len(names["new"]) == 9
        assert {row // 100 for row in next(names["order"].batches(0))} < {0, 1, 2}
    elif page.name == "install.md":
        assert len(names["sampler"].batch(0)) == 32
    elif page.name == "quickstart.md":
        assert names["loss"].isfinite()
        assert isinstance(names["loader"].batch_sampler, mn.ManiNegBatchSampler)
    elif page.name == "mu_and_sigma.md":
        assert names["mu"](4500) == pytest.approx(names["settings"]["mu"].end)
        assert names["measured"].n_batches > 0
    elif page.name == "several_gpus.md":
        assert names["within"].batch_sampler.shard == "within"
        assert names["loss"].isfinite()
        assert names["shared"].digest == names["store"].digest
    elif page.name == "distributions.md":
        assert names["gauss"].pmf()[:4].round(3).tolist() == [0.0, 0.289, 0.245, 0.186]
        assert names["far"].pmf()[1] == 1
    elif page.name == "determinism.md":
        assert len(names["late"]) == 32
    elif page.name == "resuming.md":
        per_epoch = len(names["hard"])
        every = [(epoch, k) for epoch in range(3) for k in range(per_epoch)]
        interrupted, resumed = names["seen"][:14], names["seen"][14:]
        assert interrupted == every[:14]
        assert resumed == every[13:]  # the last state was saved before the last batch
    elif page.name == "large_data.md":
        assert names["shared"].digest == names["store"].digest
    elif page.name == "traits.md":
        assert names["tagged"].n_patterns == 3
        assert names["known"].tolist() == [[True] * 4, [True, False, False, False]]
        assert names["density"].encode_text("median") == [0, 1]
        assert names["schema"].bit_names[2:4] == ("halo (3 of 3)", "density>=low")
    elif page.name == "frameworks.md":
        assert isinstance(names["loader"].batch_sampler, mn.ManiNegBatchSampler)


@pytest.mark.parametrize(
    "page",
    [
        *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")),
        *PAGES,
    ],
    ids=lambda page: page.name,
)
def test_links_lead_to_files(page):
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8"))
    local = [link for link in links if not link.startswith("http")]
    missing = [link for link in local if not (page.parent / link).exists()]
    assert not missing
