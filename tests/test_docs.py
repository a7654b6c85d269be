"""The documentation's snippets run, page by page."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch

import maninegs_sampling as mn

PAGES = sorted((Path(__file__).parents[1] / "docs").glob("*.md"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_snippets_run_in_order(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    dataset = range(300)
    store = mn.ManifestationStore.from_dense(np.random.default_rng(0).random((300, 20)) < 0.5)
    names = {
        "torch": torch,
        "dataset": dataset,
        "store": store,
        "loader": torch.utils.data.DataLoader(dataset, batch_size=32, shuffle=True),
        "train_indices": range(270),
    }
    snippets = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.S)
    assert snippets
    for snippet in snippets:
        if "checkpoint" in snippet:
            state = names["hard"].batch_sampler.state_dict()
            names["checkpoint"] = {"batches": state | {"epoch": 0, "position": 0}}
        exec(snippet, names)
    if page.name == "loaders.md":
        assert names["step"] == 100
        assert names["checkpoint"]["batches"]["epoch"] == 1
