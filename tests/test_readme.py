"""The README's snippets run."""

from pathlib import Path

import torch

import maninegs_sampling as mn
from tests.snippets import names_for_snippets, run_snippets, snippets_of, write_cases

README = Path(__file__).parents[1] / "README.md"


def test_snippets_run_in_order(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_cases(tmp_path / "cases.csv")
    names = names_for_snippets()
    del names["store"]  # the first snippet makes it
    assert len(snippets_of(README)) == 3
    before = names["encoder"].weight.clone()
    run_snippets(README, names)
    assert "trait 0: yes or no" in capsys.readouterr().out
    assert isinstance(names["sampler"], mn.ManiNegBatchSampler)
    assert len(next(iter(names["loader"]))[0]) == names["loader"].batch_sampler.batch_size
    assert not torch.equal(names["encoder"].weight, before)


def test_it_is_short():
    assert len(README.read_text(encoding="utf-8").splitlines()) < 120
