"""Batches within a few shards: those of the sampler on these shards alone, at the right step."""

import numpy as np
import pytest

import maninegs_sampling as mn
from maninegs_sampling.errors import InvalidTypeError, InvalidValueError
from tests.conftest import random_store
from tests.laws import assert_follows_law

SIZES = [17, 20, 9, 30, 12, 12]
STORE = random_store(100, 14)
EDGES = np.append(0, np.cumsum(SIZES))


def sampler_of(**options):
    options = {"batch_size": 4, "mu": 0.0, "seed": 3} | options
    return mn.ShardLocalBatchSampler(STORE, SIZES, **options)


def shards_of(batch):
    return set((np.searchsorted(EDGES, batch, side="right") - 1).tolist())


@pytest.mark.parametrize("per_window", [1, 2, 4, 6, 99])
@pytest.mark.parametrize("options", [{}, {"coverage": "epoch"}, {"anchors_per_batch": 2}])
def test_batches_lie_within_windows_in_order(per_window, options):
    sampler = sampler_of(shards_per_window=per_window, **options)
    for epoch in range(3):
        windows = sampler.windows(epoch)
        assert max(map(len, windows)) <= per_window
        assert sorted(np.concatenate(windows)) == list(range(6))
        length, batches = len(sampler), iter(sampler)
        drawn = 0
        for window in windows:
            n = sum(SIZES[shard] for shard in window)
            for _ in range(n // 4):
                batch = next(batches)
                assert len(set(batch)) == 4
                assert shards_of(batch) <= set(window.tolist())
                drawn += 1
        assert next(batches, None) is None
        assert drawn == length


def test_epochs_differ_and_are_drawn_again():
    sampler = sampler_of(shards_per_window=2)
    epochs = [list(sampler) for _ in range(3)]
    assert epochs[0] != epochs[1]
    assert not np.array_equal(sampler.windows(0)[0], sampler.windows(1)[0])
    again = sampler_of(shards_per_window=2)
    again.set_epoch(2)
    assert list(again) == epochs[2]
    assert list(sampler_of(shards_per_window=2, seed=4)) != epochs[0]


def test_mu_is_that_of_the_global_step():
    asked = []

    def mu(step):
        asked.append(step)
        return 3.0

    sampler = sampler_of(mu=mu, shards_per_window=2)
    for epoch in range(2):
        asked.clear()
        n = len(list(sampler))
        assert sorted(set(asked)) == list(range(epoch * 25, epoch * 25 + n))


def test_a_window_is_drawn_from_as_a_store_of_its_own():
    """The negatives of one anchor follow the exact law of the window's store."""
    bits = np.random.default_rng(0).random((12, 6)) < 0.5
    bits = np.unique(bits, axis=0)[:10]
    store = mn.ManifestationStore.from_dense(bits)
    sampler = mn.ShardLocalBatchSampler(store, [5, 5], batch_size=2, mu=1.0, sigma=1.0)
    drawn = [batch[1] for _ in range(3000) for batch in sampler if batch[0] == 0]
    distances = (bits[:5] != bits[0]).sum(1)
    farthest = max((a != b).sum() for a in bits[:5] for b in bits[:5])
    by_distance = mn.TruncatedGaussian(1.0, 1.0, low=1, high=int(farthest)).pmf()
    weights = by_distance[distances] / (distances[:, None] == distances).sum(1)
    assert_follows_law(drawn, dict(enumerate(weights / weights.sum())))


def test_groups_do_not_meet():
    groups = np.arange(100) // 2
    for batch in sampler_of(groups=groups, shards_per_window=2):
        assert len(set(groups[batch])) == 4


@pytest.mark.parametrize(
    ("sizes", "options", "error", "message"),
    [
        ([50, 49], {}, InvalidValueError, r"add up to the 100 instances of the store; got \[50, 49\]"),
        ([0, 100], {}, InvalidValueError, "must be at least 1"),
        ([], {}, InvalidTypeError, "shard_sizes must be a list of whole numbers"),
        ([50.5, 49.5], {}, InvalidTypeError, "shard_sizes must be a list of whole numbers"),
        (100, {}, InvalidTypeError, "shard_sizes must be a list of whole numbers; got 100"),
        (SIZES, {"shards_per_window": 0}, InvalidValueError, "shards_per_window must be at least 1"),
        (SIZES, {"indices": [1]}, InvalidValueError, "takes no indices="),
        (SIZES, {"batches_per_epoch": 3}, InvalidValueError, "takes no batches_per_epoch="),
        (SIZES, {"groups": [1]}, InvalidValueError, "one label for each of the 100 instances"),
        (SIZES, {"seed": -1}, InvalidValueError, "seed must be at least 0"),
    ],
)  # fmt: skip
def test_arguments_that_cannot_be_used(sizes, options, error, message):
    with pytest.raises(error, match=message):
        mn.ShardLocalBatchSampler(STORE, sizes, batch_size=4, mu=0.0, **options)


def test_a_window_too_small_for_a_batch_is_named():
    with pytest.raises(InvalidValueError, match=r"in shards \[2\]: .*10"):
        list(sampler_of(batch_size=10))
    with pytest.raises(InvalidValueError, match="epoch must be at least 0"):
        sampler_of().set_epoch(-1)
