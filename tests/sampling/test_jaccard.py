"""metric="jaccard": units, contracts and refusals. Its exact laws are tested with Hamming's."""

import pickle
import re

import numpy as np
import pytest
from torch.utils.data import DataLoader

import maninegs_sampling as mn
from maninegs_sampling.errors import InvalidTypeError, InvalidValueError, StateError
from tests import naive
from tests.conftest import random_store
from tests.laws import assert_resumes

STORE = random_store(60, 40, density=0.2)


def sampler_of(store=STORE, **options):
    return mn.ManiNegBatchSampler(
        store, **{"batch_size": 6, "mu": 0.7, "metric": "jaccard", **options}
    )


@pytest.mark.parametrize("n_bits", [1, 65, pytest.param(312, marks=pytest.mark.slow), 2048])
def test_lists_and_scan_draw_the_same_batches(n_bits):
    store = random_store(50, n_bits, density=0.3)
    for duplicates in ("refill", "keep") if n_bits > 1 else ("keep",):
        for coverage in ("free", "epoch"):
            options = {"duplicates": duplicates, "coverage": coverage, "batch_size": 4}
            lists, scan = (sampler_of(store, index=how, **options) for how in ("lists", "scan"))
            assert lists.plan().radius == 1.0
            assert list(lists) == list(scan)


def test_a_description_is_in_the_unit_of_jaccard():
    sampler = sampler_of(low=0.5, high=0.9)
    bits = STORE.to_dense()
    for k in range(3):
        anchor, *negatives = sampler.batch(k)
        seen = sampler.describe(0, k)
        expected = [naive.jaccard_step(bits[anchor], bits[i]) / 100 for i in negatives]
        assert seen.distances.tolist() == expected
        assert seen.mean_distance == pytest.approx(np.mean(expected))
        assert min(expected) >= 0.5
        assert max(expected) <= 0.9
    weights = naive.jaccard_law(0.7, 0.1, 0.5, 0.9)
    total = sum(weights.values())
    law = [weights.get(step, 0) / total for step in range(91)]
    np.testing.assert_allclose(seen.distribution, law, rtol=1e-9)


def test_defaults_and_attributes():
    sampler = sampler_of()
    assert (sampler.metric, sampler.sigma, sampler.low, sampler.high) == ("jaccard", 0.1, 0.01, 1.0)
    assert "metric='jaccard', " in repr(sampler)
    hamming = mn.ManiNegBatchSampler(STORE, batch_size=6, mu=3.0)
    assert (hamming.metric, hamming.sigma, hamming.low) == ("hamming", 3.0, 1)
    assert type(hamming.low) is type(hamming.high) is int


def test_equal_patterns_are_no_negatives_and_empty_sets_are_patterns():
    bits = np.eye(5, dtype=bool)[[0, 0, 1, 2, 3]]
    bits[3:] = False
    sampler = sampler_of(mn.ManifestationStore.from_dense(bits), batch_size=3)
    for batch in sampler:
        assert len({bits[i].tobytes() for i in batch}) == 3


def test_a_small_mu_draws_the_nearest_by_jaccard():
    """By Hamming, the nearest have few bits set; by Jaccard, as many as the anchor."""
    rng = np.random.default_rng(0)
    sizes = rng.integers(5, 60, 400)
    bits = np.array([rng.permutation(150) < size for size in sizes])
    store = mn.ManifestationStore.from_dense(bits)
    anchors = np.flatnonzero(sizes > 40)

    def sizes_of_negatives(**options):
        sampler = mn.ManiNegBatchSampler(store, batch_size=20, batches_per_epoch=400, **options)
        batches = [batch for batch in sampler if batch[0] in anchors]
        return np.mean([sizes[batch[1:]].mean() / sizes[batch[0]] for batch in batches])

    assert sizes_of_negatives(mu=0.0, sigma=0.5) < 0.5
    assert sizes_of_negatives(mu=0.0, sigma=0.01, metric="jaccard") > 0.85


def test_pickled_samplers_and_spawned_workers_draw_the_same():
    sampler = sampler_of()
    batches = list(sampler)
    again = pickle.loads(pickle.dumps(sampler))
    assert [again.batch(k) for k in range(len(batches))] == batches
    loader = DataLoader(
        range(60), batch_sampler=sampler_of(), num_workers=1, multiprocessing_context="spawn"
    )
    assert [batch.tolist() for batch in loader] == batches


def test_a_run_resumes_and_a_state_of_another_metric_is_refused():
    assert_resumes(sampler_of)
    state = sampler_of().state_dict()
    hamming = mn.ManiNegBatchSampler(STORE, batch_size=6, mu=0.7)
    with pytest.raises(StateError, match="metric='jaccard'; this sampler has metric='hamming'"):
        hamming.load_state_dict(state)


def test_wrap_takes_the_metric():
    loader = DataLoader(range(60), batch_size=6, shuffle=True)
    wrapped = mn.ManiNegBatchSampler.wrap(loader, STORE, mu=0.7, metric="jaccard")
    assert wrapped.batch_sampler.metric == "jaccard"
    assert list(wrapped.batch_sampler) == list(sampler_of(batches_per_epoch=None))


def test_ranks_and_groups_and_indices():
    indices = np.arange(5, 55)
    options = {"groups": np.arange(60) % 20, "indices": indices, "batch_size": 4}
    ranks = [sampler_of(num_replicas=2, rank=rank, **options) for rank in (0, 1)]
    for first, second in zip(*map(list, ranks), strict=True):
        assert first[0] != second[0]
        for batch in (first, second):
            assert len({i % 20 for i in batch}) == 4
            assert set(batch) <= set(indices.tolist())


UNIT = ' with metric="jaccard", whose distances are in [0, 1]; got '
STEPS = 'must be a multiple of 0.01 from 0.01 to 1 with metric="jaccard"; got '


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metric": "cosine"}, "metric must be one of 'hamming', 'jaccard'; got 'cosine'"),
        ({"mu": 11}, "mu at step 0 must be finite and within +-2" + UNIT + "11"),
        ({"mu": lambda step: -3.0}, "mu at step 0 must be finite and within +-2" + UNIT + "-3.0"),
        ({"mu": float("nan")}, "must be finite"),
        ({"sigma": 3}, "sigma must be positive, between 1e-06 and 1" + UNIT + "3"),
        ({"sigma": 0}, "sigma must be positive"),
        ({"low": 0}, "low " + STEPS + "0"),
        ({"low": 0.005}, "low " + STEPS + "0.005"),
        ({"low": 1.01}, "low " + STEPS + "1.01"),
        ({"high": 18}, "high " + STEPS + "18"),
        ({"high": 0.123}, "high " + STEPS + "0.123"),
        ({"high": float("inf")}, "high must be finite"),
        ({"low": 0.5, "high": 0.3}, "low must not exceed high; got low=0.5, high=0.3"),
        ({"low": 1.0, "empty": "nearest"}, "low=1.0 exceeds the largest distance in the data, 0.67"),
        ({"center": "cluster"}, 'center="cluster" needs metric="hamming"'),
        ({"index": "near"}, 'index="near" does not go with metric="jaccard"; use "scan"'),
        ({"index": True}, "an index with metric='jaccard'; got one with metric='hamming'"),
    ],
)  # fmt: skip
def test_refusals(options, message):
    store = STORE
    if "largest" in message:
        store = mn.ManifestationStore.from_dense([[1, 1, 1], [1, 1, 0], [1, 0, 0]])
    if options.get("index") is True:
        options = {"index": mn.DistanceBucketIndex(STORE)}
    with pytest.raises(InvalidValueError, match=re.escape(message)):
        sampler_of(store, **{"batch_size": 2, **options})


def test_more_refusals():
    with pytest.raises(InvalidTypeError, match=r"low must be a number; got '0\.1'"):
        sampler_of(low="0.1")
    with pytest.raises(InvalidTypeError, match=r"low must be a whole number; got 0\.5"):
        sampler_of(low=0.5, metric="hamming")
    with pytest.raises(InvalidValueError, match="mu at step 1 must be finite and within"):
        sampler_of(mu=lambda step: 0.5 + 2 * step).batch(1)
    index = mn.DistanceBucketIndex(STORE, metric="jaccard")
    with pytest.raises(InvalidValueError, match="got one with metric='jaccard'"):
        mn.ManiNegBatchSampler(STORE, batch_size=2, mu=1.0, index=index)
    for preset in (mn.ManiNegBatchSampler.paper, mn.ManiNegBatchSampler.authors):
        with pytest.raises(InvalidValueError, match='are in bits, so metric must be "hamming"'):
            preset(STORE, metric="jaccard", mu=0.5, sigma=0.1)


def test_many_patterns_are_scanned_and_never_looked_for_nearby(monkeypatch):
    monkeypatch.setattr("maninegs_sampling.sampling.search.NEAR_FROM", 10)
    plan = sampler_of(memory_limit=0).plan()
    assert str(plan) == 'scan: metric="jaccard" needs the distances of all patterns'


def test_log_q_is_finite_and_that_of_the_anchor_0():
    log_q = sampler_of().log_q(0, 0)
    assert log_q[0] == 0
    assert np.isfinite(log_q).all()
