"""How batches of distinct patterns change the frequencies of patterns."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import maninegs_sampling as mn
from maninegs_sampling.analysis.baselines import uniform_distinct
from maninegs_sampling.analysis.frequencies import LARGE_SHIFT, frequency_shift


def store_with(counts):
    """A store whose patterns have these numbers of instances."""
    bits = (np.arange(len(counts))[:, None] >> np.arange(10)) & 1
    return mn.ManifestationStore.from_dense(np.repeat(bits, counts, axis=0).astype(bool))


@pytest.mark.parametrize("batch_size", [2, 8, 30])
@pytest.mark.parametrize(
    "counts",
    [np.ones(40, int), np.r_[500, np.ones(39, int)], 1 + np.arange(40) ** 2],
    ids=["equal", "one giant", "growing"],
)
def test_shift_is_that_of_drawn_batches(counts, batch_size):
    store = store_with(counts)
    draw = uniform_distinct(store, batch_size, seed=0)
    seen, n_batches = np.zeros(store.n_patterns), 0
    for epoch in range(max(1, 6000 * batch_size // store.n_instances)):
        for batch in draw(epoch):
            seen[store.pattern_of[batch]] += 1
            n_batches += 1
    in_batches, in_data = seen / seen.sum(), store.counts / store.n_instances
    found = frequency_shift(store, batch_size)
    assert found.share == pytest.approx(np.abs(in_batches - in_data).sum() / 2, abs=0.02)
    common = np.argsort(-store.counts, kind="stable")[:5]
    assert found.common_in_data == pytest.approx(in_data[common].sum())
    if counts.max() > 1:
        assert found.common_in_batches == pytest.approx(in_batches[common].sum(), abs=0.02)


@given(st.lists(st.integers(1, 10**6), min_size=1, max_size=60), st.integers(1, 60))
def test_shift_is_a_share(counts, batch_size):
    from maninegs_sampling.analysis.frequencies import _inclusion_probabilities

    batch_size = min(batch_size, len(counts))
    found = _inclusion_probabilities(np.sort(np.array(counts, float))[::-1], batch_size)
    assert found.sum() == pytest.approx(batch_size, rel=1e-6)
    assert (np.diff(found) <= 1e-9).all()
    assert ((found > 0) & (found <= 1)).all()


def test_no_shift_where_all_patterns_are_as_common():
    assert frequency_shift(store_with(np.full(40, 3)), 16).share == pytest.approx(0, abs=1e-9)


def test_a_batch_of_all_patterns():
    found = frequency_shift(store_with([6, 1, 1]), 3)
    assert found.share == pytest.approx(6 / 8 - 1 / 3)
    assert (found.n_common, found.common_in_data, found.common_in_batches) == (3, 1, 1)


# What follows from a large shift: 64 of 130 patterns, of which a few hold most instances
SKEWED = store_with(np.r_[np.full(10, 300), np.ones(120, int)])


def test_settings_cover_the_data_where_distinct_patterns_shift_frequencies():
    shift = frequency_shift(SKEWED, 64)
    assert shift.share > LARGE_SHIFT
    settings = mn.suggest(SKEWED, steps=100)
    assert (settings["coverage"], settings["duplicates"]) == ("epoch", "keep")
    reason = str(settings.reasons["coverage"])
    assert (
        f"{shift.common_in_batches:.0%} of the places instead of {shift.common_in_data:.0%}"
        in reason
    )
    found = mn.suitability(SKEWED, steps=100)
    assert found.frequency_shift == shift
    assert shift in found.reasons
    assert found.settings["coverage"] == "epoch"
    assert str(found.settings.reasons["coverage"]) == reason
    sampler = mn.ManiNegBatchSampler(SKEWED, batch_size=64, **settings)
    seen = [i for batch in sampler for i in batch]
    assert len(seen) == len(set(seen)) == len(sampler) * 64


def test_settings_follow_what_was_asked_for():
    free = mn.suggest(SKEWED, steps=100, coverage="free")
    assert "coverage" not in free
    asked = mn.suggest(SKEWED, steps=100, coverage="epoch")
    assert str(asked.reasons["coverage"]).startswith("epoch, as asked for")
    for wrong in ("", "all"):
        with pytest.raises(mn.ManiNegError, match="coverage must be"):
            mn.suggest(SKEWED, steps=100, coverage=wrong)


def test_no_coverage_where_a_group_is_too_large_for_it():
    n = SKEWED.n_instances
    groups = np.maximum(np.arange(n), n // 64 + 1)  # the first has one instance too many
    assert "coverage" not in mn.suggest(SKEWED, steps=100, groups=groups)
    groups = np.maximum(np.arange(n), n // 64 - 1)
    settings = mn.suggest(SKEWED, steps=100, groups=groups)
    assert settings["coverage"] == "epoch"
    list(mn.ManiNegBatchSampler(SKEWED, batch_size=64, **settings))


def test_a_small_shift_changes_nothing():
    store = store_with(np.full(130, 3))
    found = mn.suitability(store, steps=100)
    assert found.frequency_shift.share == pytest.approx(0, abs=1e-9)
    assert found.frequency_shift not in found.reasons
    assert "coverage" not in mn.suggest(store, steps=100)


def test_no_shift_where_batches_cannot_be_full():
    found = mn.suitability(store_with([50, 30, 20]), batch_size=64)
    assert found.frequency_shift is None
    assert found.verdict == "no harder batches"


def test_batches_that_cannot_be_full_are_refused():
    with pytest.raises(mn.ManiNegError, match="need 4 distinct patterns and the data has 3"):
        mn.frequency_shift(store_with([6, 1, 1]), 4)
    for wrong in (0, 2.5, "2"):
        with pytest.raises(mn.ManiNegError, match="batch_size"):
            mn.frequency_shift(store_with([6, 1, 1]), wrong)
    with pytest.raises(mn.ManiNegError, match="store"):
        mn.frequency_shift(np.ones((3, 3), bool), 2)
