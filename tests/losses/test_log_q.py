"""The correction of negatives' logits for the sampling."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import maninegs_sampling as mn
from maninegs_sampling.errors import InvalidTypeError, InvalidValueError
from tests import naive_losses
from tests.losses.cases import PATHS, forced, random_pair, with_gradients


def corrected_losses(z, log_q, tau, ids, between):
    """Cross-entropies of rows whose negatives have logits less their log_q."""
    n = len(z[0])
    units = [naive_losses.unit_rows(each) for each in z]
    ids = ids or list(range(n))
    losses = []
    for side in (0, 1):
        for a in range(n):
            own, sides = units[side][a], [units[1 - side]] if between else units
            logits = [own @ units[1 - side][a] / tau]
            for other in sides:
                logits += [own @ other[b] / tau - log_q[b] for b in range(n) if ids[b] != ids[a]]
            losses.append(torch.stack(logits).logsumexp(0) - logits[0])
    return torch.stack(losses)


@pytest.mark.parametrize("path", PATHS)
@given(
    n=st.sampled_from([1, 2, 7]),
    ids=st.none() | st.lists(st.integers(0, 3), min_size=7, max_size=7),
    size=st.sampled_from([0.0, 1.0, 30.0]),
    seed=st.integers(0, 2**20),
)
def test_corrected_losses_equal_their_twins(path, n, ids, size, seed):
    z = random_pair(n, 3, seed)
    log_q = size * random_pair(n, 1, seed + 1)[0].detach()[:, 0]
    tau = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    ids = ids and ids[:n]
    options = {"temperature": tau, "ids": ids, "log_q": log_q, "reduction": "none"}
    for loss, between in ((mn.nt_xent, False), (mn.inter_modal_nt_xent, True)):
        expected = with_gradients(corrected_losses(z, log_q, tau, ids, between), *z, tau)
        with forced(path):
            found = with_gradients(loss(*z, **options), *z, tau)
        torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-9)


def test_the_expected_denominator_is_that_of_uniform_sampling():
    # An anchor with 4 negatives of 30 instances, drawn with unequal probabilities q, 10^5 times.
    # The chance that a correct mean is outside of three standard errors is 0.3%.
    n_batches, n_negatives, n = 100_000, 4, 30
    generator = torch.Generator().manual_seed(0)
    z = torch.nn.functional.normalize(torch.randn(n + 1, 3, generator=generator).double())
    anchor, others = z[0], z[1:]
    hardness = torch.softmax(3.0 * others @ anchor, 0)
    drawn = torch.multinomial(
        hardness, n_batches * n_negatives, replacement=True, generator=generator
    ).view(n_batches, n_negatives)
    text = torch.cat([anchor.expand(n_batches, 1, 3), others[drawn]], 1)
    log_q = torch.cat([torch.zeros(n_batches, 1), (hardness[drawn] * n).log()], 1)

    def denominators(corrected):
        def loss(text, log_q):
            options = {"log_q": log_q} if corrected else {}
            rows = mn.inter_modal_nt_xent(
                text, text, temperature=0.5, symmetric=False, reduction="none", **options
            )
            return rows[0]

        positive = math.exp(1 / 0.5)
        return positive * torch.expm1(torch.vmap(loss)(text, log_q))

    uniform = n_negatives * float((others @ anchor / 0.5).exp().mean())
    found, plain = denominators(True), denominators(False)
    error = float(found.std()) / math.sqrt(n_batches)
    assert abs(float(found.mean()) - uniform) < 3 * error
    assert float(plain.mean()) > 1.3 * uniform


def test_equal_probabilities_change_nothing():
    z = random_pair(6, 4)
    for loss in (mn.nt_xent, mn.inter_modal_nt_xent):
        torch.testing.assert_close(loss(*z, log_q=np.zeros(6)), loss(*z))


@pytest.mark.parametrize(
    ("log_q", "error", "message"),
    [
        ([0.0] * 4, InvalidTypeError, "log_q must be a tensor or an array"),
        (torch.zeros(4).long(), InvalidTypeError, "log_q must be a tensor or an array"),
        (torch.zeros(3), InvalidValueError, r"log_q must have the shape \(4,\).*got \(3,\)"),
        (torch.zeros(4, 4), InvalidValueError, r"got \(4, 4\)"),
        (np.array([-np.inf, 0, 0, 0]), InvalidValueError, "finite; got -inf"),
    ],
)
def test_log_q_is_checked(log_q, error, message):
    z = torch.ones(4, 3)
    for loss in (mn.nt_xent, mn.inter_modal_nt_xent, mn.NTXentLoss(), mn.InterModalNTXentLoss()):
        with pytest.raises(error, match=message):
            loss(z, z, log_q=log_q)


def test_what_cannot_be_combined_with_log_q():
    z = torch.ones(4, 3)
    with pytest.raises(InvalidValueError, match=r"must be 0 with log_q; got 0.1"):
        mn.nt_xent(z, z, log_q=torch.zeros(4), label_smoothing=0.1)
    with pytest.raises(InvalidValueError, match="log_q must be None with a memory"):
        mn.nt_xent(z, z, log_q=torch.zeros(4), memory=mn.CrossBatchMemory(4, 3))
