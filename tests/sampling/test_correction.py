"""log_q: what a sampler draws, relative to uniform sampling."""

import math

import numpy as np
import pytest
import torch

import maninegs_sampling as mn
from maninegs_sampling.errors import InvalidValueError
from maninegs_sampling.sampling.correction import log_frequencies
from tests import naive

# Patterns with 1 to 3 instances, at distances 1 to 4 from each other.
PATTERNS = ((0, 0, 0, 0), (0, 0, 0, 1), (0, 0, 1, 1), (1, 1, 0, 0), (1, 1, 1, 1))
ROWS = [PATTERNS[k] for k in (0, 0, 1, 1, 1, 2, 3, 4, 4)]
STORE = mn.ManifestationStore.from_dense(np.array(ROWS, bool))


@pytest.mark.parametrize("draw", ["instance", "pattern"])
@pytest.mark.parametrize("duplicates", ["refill", "keep"])
@pytest.mark.parametrize(
    ("metric", "mu", "low", "high", "size"),
    [
        ("hamming", 1.5, 1, None, 2), ("hamming", 1.5, 1, None, 4), ("hamming", 1.5, 1, 3, 4),
        ("hamming", 1.5, 2, 4, 3), ("jaccard", 0.6, 0.01, None, 3), ("jaccard", 0.6, 0.5, 1, 3),
    ],
)  # fmt: skip
def test_weighted_sums_have_the_expectation_of_uniform_sums(
    metric, mu, draw, duplicates, low, high, size
):
    options = {"draw": draw, "duplicates": duplicates, "low": low, "high": high, "sigma": 1.0}
    sampler = mn.ManiNegBatchSampler(STORE, batch_size=size, mu=mu, metric=metric, **options)
    drawer = sampler._drawer
    (log_weights,) = drawer.log_weights(np.array([mu]))
    law = {drawer.low + d: math.exp(weight) for d, weight in enumerate(log_weights)}
    values = np.random.default_rng(0).random(len(ROWS))
    for anchor in range(len(ROWS)):
        far = [naive.STEPS_BETWEEN[metric](ROWS[anchor], row) for row in ROWS]
        candidates = [value for value, d in zip(values, far, strict=True) if d in law]
        found = drawn = 0.0
        law_of_batches = naive.batch_law(
            ROWS, anchor, size, law, empty="renormalize", draw=draw, duplicates=duplicates,
            metric=metric,
        )  # fmt: skip
        for batch, chance in law_of_batches.items():
            log_q = log_frequencies(drawer, np.array(batch), log_weights)
            assert log_q[0] == 0
            found += chance * (values[list(batch[1:])] * np.exp(-log_q[1:])).sum()
            drawn += chance * (len(batch) - 1)
        np.testing.assert_allclose(found, drawn * np.mean(candidates), rtol=1e-10)


def test_the_corrected_denominator_has_the_expectation_of_the_uniform_one():
    # 10^5 batches of an anchor and 3 negatives. The chance that a correct mean is outside of three
    # standard errors is 0.3%.
    n_batches, size, tau = 100_000, 4, 0.5
    rng = np.random.default_rng(0)
    store = mn.ManifestationStore.from_dense(rng.random((40, 6)) < 0.4)
    z = torch.nn.functional.normalize(torch.as_tensor(store.to_dense() - 0.45), dim=1)
    sampler = mn.ManiNegBatchSampler(store, batch_size=size, mu=1.0, sigma=1.0)
    kernel = (z @ z.T / tau).exp().numpy()
    same = store.pattern_of[:, None] == store.pattern_of
    uniform = (size - 1) * np.ma.masked_array(kernel, same).mean(1).data
    differences, uncorrected = np.empty(n_batches), np.empty(n_batches)
    for number in range(n_batches):
        epoch, k = divmod(number, len(sampler))
        anchor, *others = batch = sampler.batch(k, epoch)
        log_q = sampler.log_q(epoch, k)
        if number < 5:  # what the loss makes of them
            options = {"temperature": tau, "symmetric": False, "reduction": "none"}
            loss = mn.inter_modal_nt_xent(z[batch], z[batch], log_q=log_q, **options)[0]
            summed = math.exp(1 / tau) * math.expm1(loss)
            assert summed == pytest.approx((kernel[anchor, others] * np.exp(-log_q[1:])).sum())
        differences[number] = kernel[anchor, others] @ np.exp(-log_q[1:]) - uniform[anchor]
        uncorrected[number] = kernel[anchor, others].sum() - uniform[anchor]
    error = differences.std() / math.sqrt(n_batches)
    assert abs(differences.mean()) < 3 * error
    assert uncorrected.mean() > 30 * error


def test_uniform_draws_of_single_instances_need_no_correction_on_average():
    store = mn.ManifestationStore.from_dense(np.eye(9, dtype=bool))
    log_q = mn.ManiNegBatchSampler(store, batch_size=5, mu=2.0).log_q(0, 0)
    assert np.exp(-log_q[1:]).mean() == pytest.approx(1)
    np.testing.assert_allclose(
        mn.ManiNegBatchSampler(store, batch_size=2, mu=2.0).log_q(0, 0), 0, atol=1e-12
    )


def test_each_rank_has_its_share():
    options = {"batch_size": 2, "mu": 1.0, "sigma": 1.0, "num_replicas": 2, "shard": "within"}
    ranks = [mn.ManiNegBatchSampler(STORE, rank=rank, **options) for rank in (0, 1)]
    whole = mn.ManiNegBatchSampler(STORE, batch_size=4, mu=1.0, sigma=1.0)
    expected = dict(zip(whole.batch(1, 0), whole.log_q(0, 1), strict=True))
    for rank in ranks:
        batch, log_q = rank.batch(1, 0), rank.log_q(0, 1)
        assert [expected[i] for i in batch] == log_q.tolist()


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"anchors_per_batch": 2}, "anchors_per_batch=2"),
        ({"coverage": "epoch", "duplicates": "keep"}, 'coverage="epoch"'),
        ({"center": "cluster"}, 'center="cluster"'),
        ({"duplicates": "drop_patterns"}, 'duplicates="drop_patterns"'),
        ({"duplicates": "drop_instances"}, 'duplicates="drop_instances"'),
        ({"empty": "nearest"}, 'empty="nearest"'),
        ({"skip_nearest": 1}, "skip_nearest=1"),
        ({"groups": list(range(9))}, "groups"),
    ],
)
def test_unknown_probabilities_are_refused(options, name):
    sampler = mn.ManiNegBatchSampler(STORE, batch_size=4, mu=1.0, **options)
    with pytest.raises(InvalidValueError, match=f"log_q is not known with {name}"):
        sampler.log_q(0, 0)


def test_numbers_are_checked():
    sampler = mn.ManiNegBatchSampler(STORE, batch_size=4, mu=1.0)
    for epoch, k in ((-1, 0), (0, len(sampler)), (0, -1)):
        with pytest.raises(InvalidValueError):
            sampler.log_q(epoch, k)
