"""The distances in given batches, counted again the slow way."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maninegs_sampling import ManifestationStore, ManiNegError
from maninegs_sampling.analysis import baselines
from maninegs_sampling.analysis.batch_hardness import N_NEAREST, measure_hardness
from maninegs_sampling.analysis.hardness import uniform_distinct_hardness
from tests import naive
from tests.conftest import bit_matrices, random_store


@given(bits=bit_matrices(), data=st.data())
def test_hardness_equals_naive(bits, data):
    batch = st.lists(st.integers(0, len(bits) - 1), min_size=1, max_size=12)
    epochs = data.draw(st.lists(st.lists(batch, min_size=1, max_size=3), min_size=1, max_size=2))
    store = ManifestationStore.from_dense(bits)
    hardness = measure_hardness(store, epochs)
    batches = [b for epoch in epochs for b in epoch]
    anchors, pairs = naive.hardness(bits, batches)
    assert hardness.anchor_histogram.tolist() == anchors.tolist()
    assert hardness.pair_histogram.tolist() == pairs.tolist()
    assert hardness.n_batches == len(batches)
    assert hardness.instances_mean == pytest.approx(np.mean([len(b) for b in batches]))
    assert hardness.instances_min == min(len(b) for b in batches)
    patterns = [len({bits[i].tobytes() for i in b}) for b in batches]
    assert hardness.patterns_mean == pytest.approx(np.mean(patterns))
    assert hardness.patterns_min == min(patterns)
    assert hardness.repeats == sum(len(b) - len(set(b)) for b in batches)
    for masked in (False, True):
        found = hardness.masked_nearest_mean if masked else hardness.nearest_mean
        expected = naive.nearest_mean(bits, batches, N_NEAREST, masked=masked)
        assert found == pytest.approx(expected, nan_ok=True)
    nearest = [
        d
        for b in batches
        for place in range(len(b))
        for d in naive.nearest_distances(bits, b, place, N_NEAREST, masked=True)
    ]
    counted = np.bincount(nearest, minlength=store.n_bits + 1)
    assert hardness.masked_nearest_histogram.tolist() == counted.tolist()
    for kind, histogram in (("anchor", anchors), ("pair", pairs)):
        distances = np.repeat(np.arange(store.n_bits + 1), histogram)
        for masked in (False, True):
            mean = getattr(hardness, f"masked_{kind}_mean" if masked else f"{kind}_mean")
            kept = distances[distances > 0] if masked else distances
            assert mean == pytest.approx(kept.mean() if len(kept) else np.nan, nan_ok=True)


def test_shares_and_means():
    store = ManifestationStore.from_dense([[0, 0, 0], [0, 0, 1], [0, 1, 1], [1, 1, 1]])
    hardness = measure_hardness(store, [[[0, 1, 2, 3]]])
    assert hardness.anchor_mean == 2
    assert hardness.pair_mean == pytest.approx(10 / 6)
    assert [hardness.share_within(d) for d in range(4)] == pytest.approx([0, 1 / 3, 2 / 3, 1])
    alone = measure_hardness(store, [[[0]]])
    assert np.isnan(alone.anchor_mean)
    assert np.isnan(alone.share_within(1))


def test_nearest_by_hand():
    # on a line: the distance of instances i and j is |i - j|
    store = ManifestationStore.from_dense(np.tri(10, 9, -1, dtype=bool))
    hardness = measure_hardness(store, [[[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]]])
    # from an end 1 to 7; from the next 1, 1 to 6; 1, 1, 2, 2 to 5; 1, 1, 2, 2, 3, 3, 4; as far inwards
    assert N_NEAREST == 7
    assert hardness.nearest_mean == pytest.approx((2 * 28 + 2 * 22 + 2 * 18 + 4 * 16) / 7 / 10)
    assert hardness.masked_nearest_mean == hardness.nearest_mean


def test_equal_patterns_count_unless_masked():
    store = ManifestationStore.from_dense([[0, 0, 0]] * 8 + [[1, 1, 0], [1, 1, 1]])
    hardness = measure_hardness(store, [[list(range(10))]])
    # 8 rows have 7 equal ones; (1, 1, 0) has 1 and six times 2; (1, 1, 1) has 1 and six times 3
    assert hardness.nearest_mean == pytest.approx((8 * 0 + 13 / 7 + 19 / 7) / 10)
    assert hardness.masked_nearest_mean == pytest.approx((8 * 2.5 + 13 / 7 + 19 / 7) / 10)
    assert hardness.pair_mean == pytest.approx((8 * 5 + 1) / 45)
    assert hardness.masked_pair_mean == pytest.approx((8 * 5 + 1) / 17)
    assert hardness.masked_nearest_histogram.tolist() == [0, 2, 8 + 6, 8 + 6]


def test_distinct_patterns_have_nothing_to_mask():
    store = random_store(300, 12)
    found = measure_hardness(store, [baselines.uniform_distinct(store, 20, 0)(0)])
    assert found.masked_pair_mean == found.pair_mean
    assert found.masked_nearest_mean == pytest.approx(found.nearest_mean)


@pytest.mark.parametrize("n_bits", [255, 256])
def test_patterns_as_far_apart_as_the_bits_allow(n_bits):
    store = ManifestationStore.from_dense(np.array([[False] * n_bits, [True] * n_bits]))
    found = measure_hardness(store, [[[0, 1]]])
    assert found.nearest_mean == found.masked_nearest_mean == n_bits


def test_lone_rows_have_no_nearest():
    store = random_store(5, 6)
    found = measure_hardness(store, [[[0], [1]]])
    assert found.anchor_histogram.sum() == found.pair_histogram.sum() == 0
    assert np.isnan(found.nearest_mean)
    assert np.isnan(found.masked_nearest_mean)
    equal = measure_hardness(ManifestationStore.from_dense([[1], [1]]), [[[0, 1]]])
    assert equal.nearest_mean == 0
    assert np.isnan(equal.masked_nearest_mean)


def uniform_distinct_law(bits, size):
    """The exact probability of each uniform batch of distinct patterns."""
    law = {(): 1.0}
    for _ in range(size):
        following = {}
        for batch, chance in law.items():
            taken = {bits[i].tobytes() for i in batch}
            free = [i for i in range(len(bits)) if bits[i].tobytes() not in taken]
            following |= {(*batch, i): chance / len(free) for i in free}
        law = following
    return law


def test_the_yardstick_is_the_mean_over_all_batches_of_distinct_patterns():
    bits = np.array([[0, 0, 0]] * 6 + [[1, 0, 0], [1, 0, 0], [1, 1, 0], [1, 1, 1]], dtype=bool)
    law = uniform_distinct_law(bits, 3)
    assert sum(law.values()) == pytest.approx(1)
    store = ManifestationStore.from_dense(bits)
    measured = uniform_distinct_hardness(store, batch_size=3, batches=4000)
    for name, of in (
        ("pair_mean", lambda b: naive.hardness(bits, [b])[1] @ np.arange(4) / 3),
        ("nearest_mean", lambda b: naive.nearest_mean(bits, [b], 7, masked=False)),
    ):
        values = {batch: of(batch) for batch in law}
        mean = sum(p * values[b] for b, p in law.items())
        variance = sum(p * (values[b] - mean) ** 2 for b, p in law.items())
        # two means outside 3.9 standard errors: a chance of 0.02%
        assert abs(getattr(measured, name) - mean) < 3.9 * np.sqrt(variance / 4000)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: measure_hardness(SMALL, []), "at least one batch"),
        (lambda: measure_hardness(SMALL, [[[]]]), "at least one instance"),
        (
            lambda: measure_hardness(SMALL, [[[0, -1]]]),
            r"must be in \[0, 20\); a batch holds -1",
        ),
        (lambda: measure_hardness(SMALL, [[[0, 20]]]), r"a batch holds 20"),
        (lambda: measure_hardness(SMALL, [[[0.5]]]), "whole numbers; got dtype float64"),
        (lambda: measure_hardness("a", [[[0]]]), "store must be a ManifestationStore"),
    ],
)
def test_batches_that_cannot_be_measured(call, message):
    with pytest.raises(ManiNegError, match=message):
        call()


SMALL = random_store(20, 8)
