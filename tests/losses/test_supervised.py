"""The supervised contrastive losses against their twins and pytorch-metric-learning."""

import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import maninegs_sampling as mn
from maninegs_sampling.errors import InvalidTypeError, InvalidValueError
from tests import naive_losses
from tests.losses.cases import PATHS, forced, random_pair, with_gradients


@pytest.mark.parametrize("path", PATHS)
@given(
    labels=st.lists(st.integers(-2, 2), min_size=1, max_size=8),
    temperature=st.sampled_from([0.02, 0.1, 10.0]),
    normalize=st.booleans(),
    seed=st.integers(0, 2**20),
)
def test_sup_con_equals_its_twin(path, labels, temperature, normalize, seed):
    z = random_pair(len(labels), 4, seed)[0]
    tau = torch.tensor(temperature, dtype=torch.float64, requires_grad=True)
    expected = naive_losses.sup_con(z, labels, tau, normalize)
    with forced(path):
        found = mn.sup_con(z, labels, temperature=tau, normalize=normalize, reduction="none")
        found = with_gradients(found, z, tau)
        mean = mn.sup_con(z, labels, temperature=tau, normalize=normalize)
    torch.testing.assert_close(found, with_gradients(expected, z, tau), rtol=1e-8, atol=1e-9)
    many = sum(labels.count(label) > 1 for label in labels)
    torch.testing.assert_close(mean, expected.sum() / max(many, 1), rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("path", PATHS)
@given(
    n=st.sampled_from([1, 2, 3, 7]),
    n_bits=st.sampled_from([1, 3, 65]),
    kind=st.sampled_from(["jaccard", "hamming"]),
    density=st.sampled_from([0.0, 0.1, 0.5, 1.0]),
    normalize=st.booleans(),
    seed=st.integers(0, 2**20),
)
def test_multi_label_equals_its_twin(path, n, n_bits, kind, density, normalize, seed):
    z = random_pair(n, 4, seed)[0]
    bits = np.random.default_rng(seed).random((n, n_bits)) < density
    tau = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    expected = naive_losses.multi_label_sup_con(z, bits.tolist(), tau, kind, normalize)
    options = {"similarity": kind, "normalize": normalize, "reduction": "none"}
    with forced(path):
        found = mn.multi_label_sup_con(z, bits, temperature=tau, **options)
        found = with_gradients(found, z, tau)
    torch.testing.assert_close(found, with_gradients(expected, z, tau), rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("labels", [[0, 1, 0, 2, 1, 0], [0, 0, 0, 1, 2, 3], [0, 1, 2, 3, 4, 5]])
def test_sup_con_equals_metric_learnings(path, labels):
    losses = pytest.importorskip("pytorch_metric_learning.losses")
    z = random_pair(6, 5)[0]
    expected = losses.SupConLoss(temperature=0.2)(z, torch.tensor(labels))
    with forced(path):
        found = mn.sup_con(z, labels, temperature=0.2)
        torch.testing.assert_close(found, expected.reshape(()), rtol=0, atol=1e-6)
        one_bit = torch.eye(6)[torch.tensor(labels)]
        found = mn.multi_label_sup_con(z, one_bit, temperature=0.2)
        torch.testing.assert_close(found, expected.reshape(()), rtol=0, atol=1e-6)


@pytest.mark.parametrize("path", PATHS)
def test_first_and_second_derivatives(path):
    z = random_pair(5, 3)[0]
    tau = torch.tensor(0.6, dtype=torch.float64, requires_grad=True)
    bits = torch.tensor([[1, 0, 1], [1, 1, 0], [0, 0, 1], [0, 0, 0], [1, 1, 1]])

    def sup_con(z, tau):
        return mn.sup_con(z, [0, 1, 0, 1, 2], temperature=tau, reduction="none")

    def multi_label(z, tau):
        return mn.multi_label_sup_con(z, bits, temperature=tau, reduction="none")

    for loss in (sup_con, multi_label):
        with forced(path):
            assert torch.autograd.gradcheck(loss, (z, tau))
            assert torch.autograd.gradgradcheck(loss, (z, tau))


def test_many_blocks_of_the_real_size():
    z = random_pair(1100, 8, dtype=torch.float32)[0]
    exact_z = z.detach().double().requires_grad_()
    labels = torch.arange(1100) // 700
    bits = torch.rand(1100, 9, generator=torch.Generator().manual_seed(0)) < 0.3
    for loss, of in ((mn.sup_con, labels), (mn.multi_label_sup_con, bits)):
        exact, found = loss(exact_z, of), loss(z, of)
        torch.testing.assert_close(found.double(), exact, rtol=1e-6, atol=1e-6)
        (right,) = torch.autograd.grad(exact, exact_z)
        (ours,) = torch.autograd.grad(found, z)
        assert (ours.double() - right).norm() <= 1e-5 * right.norm()


def test_a_large_class_loses_no_digits():
    # In float32 the sum of 20,000 nearly equal rows would err in the fourth digit.
    z = torch.randn(1, 4, generator=torch.Generator().manual_seed(0)) + 1e-3 * torch.randn(
        20_000, 4, generator=torch.Generator().manual_seed(1)
    )
    labels = torch.zeros(20_000, dtype=torch.int64)
    found = mn.sup_con(z, labels, temperature=0.05, reduction="none")
    exact = mn.sup_con(z.double(), labels, temperature=0.05, reduction="none")
    assert (found.double() - exact).abs().max() < 3e-5


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_rows_without_positives_do_not_hide_what_is_not_finite(path, bad):
    for n in (1, 5):
        z = random_pair(n, 3)[0].detach()
        z[0, 1] = bad
        with forced(path):
            assert not mn.sup_con(z, range(n)).isfinite()
            assert not mn.multi_label_sup_con(z, torch.eye(n)).isfinite()


@pytest.mark.parametrize(
    ("labels", "error", "message"),
    [
        (None, InvalidTypeError, "labels must be integers, one for each instance; got None"),
        (["a", "b"], InvalidTypeError, "labels must be integers.*got <U1, the first .*'a'"),
        ([0.5, 1.0], InvalidTypeError, "labels must be integers.*got float64"),
        ([1, 2, 3], InvalidValueError, r"labels must have the shape \(2,\).*got \(3,\)"),
    ],
)
def test_labels_are_checked(labels, error, message):
    with pytest.raises(error, match=message):
        mn.sup_con(torch.ones(2, 3), labels)


@pytest.mark.parametrize(
    ("bits", "error", "message"),
    [
        ([[1, 0], [0, 2]], InvalidValueError, "bits must be 0 or 1; got 2"),
        (torch.tensor([[0.0], [math.nan]]), InvalidValueError, "bits must be 0 or 1; got nan"),
        (torch.ones(3, 2), InvalidValueError, r"shape \(2, B\).*got \(3, 2\)"),
        (torch.ones(2), InvalidValueError, r"shape \(2, B\).*got \(2,\)"),
        (torch.ones(2, 0), InvalidValueError, r"got \(2, 0\)"),
        ([["a"], ["b"]], InvalidTypeError, "bits must be booleans, or 0 and 1; got <U1"),
        ([[1, 0], [1]], InvalidTypeError, r"bits must be .*got \[\[1, 0\], \[1\]\]"),
    ],
)
def test_bits_are_checked(bits, error, message):
    with pytest.raises(error, match=message):
        mn.multi_label_sup_con(torch.ones(2, 3), bits)


def test_similarity_is_a_choice():
    for call in (
        lambda: mn.multi_label_sup_con(torch.ones(2, 3), torch.ones(2, 3), similarity="cosine"),
        lambda: mn.MultiLabelSupConLoss(similarity="cosine"),
    ):
        with pytest.raises(InvalidValueError, match="'jaccard', 'hamming'; got 'cosine'"):
            call()


def test_modules_are_their_functions():
    z = random_pair(6, 4, dtype=torch.float32)[0]
    labels, bits = [0, 0, 1, 1, 2, 2], torch.eye(6)[:, :3] > 0
    for module, function, of in (
        (mn.SupConLoss(0.3, learnable=True), mn.sup_con, labels),
        (mn.MultiLabelSupConLoss(0.3, learnable=True), mn.multi_label_sup_con, bits),
    ):
        loss, terms = module(z, of, return_terms=True)
        torch.testing.assert_close(loss, function(z, of, temperature=0.3))
        assert set(terms) == {function.__name__, "temperature"}
        loss.backward()
        assert module.log_temperature.grad != 0


MEASURE = """
import torch, maninegs_sampling as mn

def status(field):
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field))

z = torch.randn(6000, 8, requires_grad=True)
bits = torch.rand(6000, 12) < 0.2
mn.sup_con(z[:1200], torch.arange(1200) // 2).backward()
mn.multi_label_sup_con(z[:1200], bits[:1200]).backward()
before = status("VmRSS")
mn.sup_con(z, torch.arange(6000) // 2).backward()
mn.multi_label_sup_con(z, bits).backward()
print(status("VmHWM") - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/status")
def test_memory_does_not_grow_with_the_square():
    kibibytes = int(subprocess.check_output([sys.executable, "-c", MEASURE]))
    assert kibibytes < 24 * 1024  # the matrix of logits alone would be 137 MiB
