"""Settings for the batches that one asks for: several anchors, near clusters, covering epochs."""

import numpy as np
import polars
import pytest
import torch

import maninegs_sampling as mn
from maninegs_sampling.analysis.neighborhood import neighborhood
from maninegs_sampling.cli import main
from maninegs_sampling.errors import InvalidTypeError, InvalidValueError
from tests.analysis.test_settings import clustered
from tests.conftest import random_store

STORE = mn.ManifestationStore.from_dense(clustered())
# One pattern has 300 of the 400 instances, and there are few others.
FEW = mn.ManifestationStore.from_dense(
    np.concatenate((np.zeros((300, 4), bool), random_store(100, 4).to_dense()))
)
COVERING = {"anchors_per_batch": 8, "coverage": "epoch"}


def test_nothing_is_added_by_default():
    plain = mn.suggest(STORE, steps=1000)
    asked = mn.suggest(STORE, steps=1000, anchors_per_batch=1, center="anchor", coverage="free")
    assert dict(asked) == dict(plain)
    assert set(plain) == set(plain.reasons) == {"mu", "sigma", "low", "high"}


def test_near_is_what_a_cluster_holds():
    plain = mn.suggest(STORE, steps=1000)
    eight = mn.suggest(STORE, steps=1000, anchors_per_batch=8)
    # 64 instances in 8 clusters: an anchor and its 7 nearest patterns
    nearest = neighborhood(STORE, batch_size=8).nearest
    assert nearest < neighborhood(STORE, batch_size=64).nearest
    assert eight["mu"].end == max(0.0, round(nearest - 2 * eight["sigma"], 1))
    assert eight["mu"].start == plain["mu"].start
    assert f"the {nearest:.1f} bits to an anchor's nearest 7 patterns" in str(eight.reasons["mu"])
    assert eight["anchors_per_batch"] == 8
    assert "8 clusters of 8 instances, each an anchor and its 7 negatives" in str(
        eight.reasons["anchors_per_batch"]
    )


def test_a_lower_end_for_smaller_clusters():
    store = random_store(2000, 30)
    whole, small = (mn.suggest(store, steps=9, anchors_per_batch=m)["mu"].end for m in (1, 16))
    assert 0 < small < whole
    pairs = mn.suggest(store, steps=9, anchors_per_batch=32)
    assert "each an anchor and its negative" in str(pairs.reasons["anchors_per_batch"])


@pytest.mark.parametrize(
    "asked",
    [
        {"anchors_per_batch": 8},
        {"center": "cluster"},
        COVERING,
        {"anchors_per_batch": 4, "center": "cluster", "coverage": "epoch"},
    ],
    ids=str,
)
@pytest.mark.parametrize("store", [STORE, FEW], ids=["many patterns", "few patterns"])
def test_settings_go_into_the_sampler_and_into_wrap(store, asked):
    if store is FEW and "coverage" not in asked:
        with pytest.raises(InvalidValueError, match="need 64 distinct patterns and the data has"):
            mn.suggest(store, steps=100, **asked)
        return
    groups = np.arange(store.n_instances)
    settings = mn.suggest(store, steps=100, groups=groups, **asked)
    assert set(settings) == set(settings.reasons)
    assert asked.items() <= dict(settings).items()
    sampler = mn.ManiNegBatchSampler(store, batch_size=64, **settings)
    assert all(len(batch) == 64 for batch in sampler)
    for name, value in asked.items():
        assert getattr(sampler, name) == value
    dataset = mn.PatternDataset(torch.arange(store.n_instances), store)
    loader = torch.utils.data.DataLoader(dataset, batch_size=64, shuffle=True, drop_last=True)
    wrapped = mn.ManiNegBatchSampler.wrap(loader, store, **settings)
    assert next(iter(wrapped))[0].tolist() == sampler.batch(0)
    source = eval(f"dict({settings.call()})", {"mn": mn, "groups": groups})
    assert {**source, "groups": None} == {**settings, "groups": None}


def with_largest_pattern(n):
    """Return 640 instances, 10 batches of 64, of which n share a pattern and no others do."""
    bits = (np.arange(1, 641 - n)[:, None] >> np.arange(10)) & 1
    return mn.ManifestationStore.from_dense(np.concatenate((np.zeros((n + 1, 10), int), bits)))


def test_duplicates_are_kept_where_a_pattern_has_more_instances_than_an_epoch_has_batches():
    fits, exceeds = with_largest_pattern(9), with_largest_pattern(10)
    assert (fits.counts.max(), exceeds.counts.max()) == (10, 11)
    settings = mn.suggest(fits, steps=10, **COVERING)
    assert "duplicates" not in settings
    assert "no pattern has more than 10 instances and an epoch has 10 batches" in str(
        settings.reasons["coverage"]
    )
    mn.ManiNegBatchSampler(fits, batch_size=64, **settings)
    settings = mn.suggest(exceeds, steps=10, **COVERING)
    assert settings["duplicates"] == "keep"
    reason = str(settings.reasons["duplicates"])
    assert "one pattern has 11 instances and an epoch only 10 batches" in reason
    assert "PatternDataset" in reason
    assert "ids=" in reason
    mn.ManiNegBatchSampler(exceeds, batch_size=64, **settings)
    with pytest.raises(InvalidValueError, match="one pattern has 11 instances"):
        mn.ManiNegBatchSampler(exceeds, batch_size=64, **({**settings} | {"duplicates": "refill"}))


@pytest.mark.parametrize(
    ("store", "options", "error", "message"),
    [
        (STORE, {"anchors_per_batch": 7}, InvalidValueError, "anchors_per_batch=7 must divide the batch, of 64"),
        (STORE, {"anchors_per_batch": 64}, InvalidValueError, "anchors_per_batch=64 leaves no negatives .* at most 32"),
        (STORE, {"anchors_per_batch": 0}, InvalidValueError, "anchors_per_batch must be at least 1"),
        (STORE, {"anchors_per_batch": "8"}, InvalidTypeError, "anchors_per_batch must be a whole number; got '8'"),
        (STORE, {"center": "middle"}, InvalidValueError, "center must be .*'middle'"),
        (STORE, {"coverage": True}, InvalidValueError, "coverage must be .*True"),
        (FEW, {"coverage": "epoch", "batch_size": 500}, InvalidValueError, "there are 400 instances, too few for batches of 500"),
        (mn.ManifestationStore.from_dense(np.ones((90, 3), bool)), {"coverage": "epoch"}, InvalidValueError, "2 distinct patterns and the data has 1"),
    ],
)  # fmt: skip
def test_what_cannot_be_asked_for(store, options, error, message):
    with pytest.raises(error, match=message):
        mn.suggest(store, **({"steps": 10} | options))


def write(path, bits):
    polars.DataFrame({f"sign {b}": bits[:, b].astype(int) for b in range(bits.shape[1])}).write_csv(
        path
    )
    return str(path)


def test_the_command_line_has_the_same_options(tmp_path, capsys):
    table = write(tmp_path / "cases.csv", STORE.to_dense())
    options = ["--anchors-per-batch", "8", "--center", "cluster", "--coverage", "epoch"]
    assert main(["suggest", table, "--steps", "100", *options]) == 0
    out = capsys.readouterr().out
    expected = mn.suggest(STORE, steps=100, center="cluster", **COVERING)
    assert f"wrap(loader, store, {expected.call()})" in out
    for name, reason in expected.reasons.items():
        assert f"{name}: {reason}" in out


def test_few_patterns_have_no_verdict_for_but_settings_with_equal_patterns(tmp_path, capsys):
    table = write(tmp_path / "cases.csv", FEW.to_dense())
    assert main(["suggest", table]) == 0
    assert "mn.ManiNegBatchSampler" not in capsys.readouterr().out
    assert main(["suggest", table, "--coverage", "epoch", "--anchors-per-batch", "8"]) == 0
    out = capsys.readouterr().out
    assert "no harder batches" in out
    assert "the answer above is about batches of one anchor and distinct patterns" in out
    assert 'coverage="epoch", duplicates="keep")' in out
    assert main(["suggest", table, "--anchors-per-batch", "7"]) == 2
    assert "anchors_per_batch=7 must divide the batch" in capsys.readouterr().err
