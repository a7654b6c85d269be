from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from maninegs_sampling import ManiNegError, TruncatedGaussian
from tests import naive
from tests.laws import assert_follows_law


@given(
    mu=st.one_of(st.floats(-50, 50), st.sampled_from([0.0, 200.0, -1e3, 1e6, -1e6])),
    sigma=st.one_of(st.floats(0.05, 20), st.sampled_from([1e-6, 0.1, 1e6])),
    low=st.integers(1, 20),
    width=st.integers(0, 30),
)
def test_pmf_equals_the_definition(mu, sigma, low, width):
    gauss = TruncatedGaussian(mu, sigma, low=low, high=low + width)
    pmf = gauss.pmf()
    assert pmf.shape == (low + width + 1,)
    assert (pmf[:low] == 0).all()
    expected = np.exp(naive.log_pmf(mu, sigma, low, low + width))
    # log-differences of intervals as narrow as 1e-6 keep nine digits
    np.testing.assert_allclose(pmf[low:], expected, rtol=1e-8, atol=1e-290)
    assert pmf.sum() == pytest.approx(1, abs=1e-12)


def test_mean_far_outside_the_support():
    assert TruncatedGaussian(0, 0.1).pmf()[1] == 1.0
    assert TruncatedGaussian(200, 0.1).pmf()[18] == 1.0
    pmf = TruncatedGaussian(200, 3).pmf()
    np.testing.assert_allclose(pmf[1:], np.exp(naive.log_pmf(200, 3, 1, 18)), rtol=1e-10)


@pytest.mark.parametrize(("mu", "sigma"), [(0, 3), (11, 3), (4, 0.5), (200, 5), (-30, 2)])
def test_samples_follow_the_pmf(mu, sigma):
    gauss = TruncatedGaussian(mu, sigma)
    drawn = gauss.sample(20_000, np.random.default_rng(1))
    assert drawn.dtype == np.int64
    assert_follows_law(drawn.tolist(), dict(enumerate(gauss.pmf())))


def test_samples_keep_the_shape_and_the_generator():
    gauss = TruncatedGaussian(5, 2)
    a = gauss.sample((3, 4), np.random.default_rng(7))
    assert a.shape == (3, 4)
    assert (a == gauss.sample((3, 4), np.random.default_rng(7))).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mu": 1, "sigma": 0}, "sigma must be positive"),
        ({"mu": 1, "sigma": -1}, "sigma must be positive"),
        ({"mu": 1, "sigma": float("nan")}, "sigma must be finite; got nan"),
        ({"mu": 1, "sigma": "3"}, "sigma must be a number; got '3'"),
        ({"mu": float("nan"), "sigma": 1}, "mu must be finite"),
        ({"mu": float("inf"), "sigma": 1}, "mu must be finite"),
        ({"mu": 1, "sigma": 1, "low": 0}, "low must be at least 1; got 0"),
        ({"mu": 1, "sigma": 1, "low": 5, "high": 4}, "low must not exceed high; got low=5, high=4"),
        ({"mu": 1, "sigma": 1, "low": 1.5}, "low must be a whole number; got 1.5"),
        ({"mu": 1, "sigma": 2, "low": 1.5}, "low must be a whole number; got 1.5"),
        ({"mu": 1, "sigma": 2, "high": "9"}, "high must be a whole number; got '9'"),
        ({"mu": 1, "sigma": 2, "low": True}, "low must be a whole number; got True"),
        ({"mu": 1, "sigma": 2, "high": 10**6 + 1}, "high must be at most 1000000; got 1000001"),
        ({"mu": 1, "sigma": 2, "high": 10**400}, "high must be at most 1000000; got 1000"),
        ({"mu": "a", "sigma": 1}, "mu must be a number; got 'a'"),
        ({"mu": "3", "sigma": 1}, "mu must be a number; got '3'"),
        ({"mu": None, "sigma": 1}, "mu must be a number; got None"),
        ({"mu": True, "sigma": 1}, "mu must be a number; got True"),
        ({"mu": 1j, "sigma": 1}, "mu must be a number; got 1j"),
        ({"mu": [1, 2], "sigma": 1}, r"mu must be a number; got \[1, 2\]"),
        ({"mu": np.ones(2), "sigma": 1}, "mu must be a number; got array"),
        ({"mu": torch.ones((), device="meta"), "sigma": 1}, "mu must be a number; got tensor"),
        ({"mu": 10**400, "sigma": 1}, "mu must be finite"),
        ({"mu": 1, "sigma": None}, "sigma must be a number; got None"),
        ({"mu": 1, "sigma": np.ones(2)}, "sigma must be a number; got array"),
        ({"mu": 1, "sigma": 1j}, "sigma must be a number; got 1j"),
        ({"mu": 1, "sigma": np.complex64(1)}, "sigma must be a number; got"),
        ({"mu": 1, "sigma": np.datetime64("2020")}, "sigma must be a number; got"),
        ({"mu": 1, "sigma": 10**400}, "sigma must be finite; got 1000"),
    ],
)  # fmt: skip
def test_errors(options, message):
    with pytest.raises(ManiNegError, match=message):
        TruncatedGaussian(**options)


@pytest.mark.parametrize(
    "kind",
    [
        float, np.float32, np.float64, np.int64, np.float16, np.array, Fraction,
        torch.tensor, lambda x: torch.tensor([float(x)], requires_grad=True),
    ],
)  # fmt: skip
def test_numbers_of_any_kind_are_kept_as_pythons_own(kind):
    gauss = TruncatedGaussian(kind(3), kind(2), low=np.int64(1), high=np.uint8(9))
    assert repr(gauss) == "TruncatedGaussian(mu=3.0, sigma=2.0, low=1, high=9)"
    assert gauss == TruncatedGaussian(3.0, 2.0, low=1, high=9)
    assert hash(gauss) == hash(TruncatedGaussian(3, 2, low=1, high=9))
    assert {type(v) for v in (gauss.mu, gauss.sigma)} == {float}
    assert {type(v) for v in (gauss.low, gauss.high)} == {int}


def test_the_widest_support():
    pmf = TruncatedGaussian(5e5, 1e6, high=10**6).pmf()
    assert pmf.shape == (10**6 + 1,)
    assert pmf.sum() == pytest.approx(1)


@pytest.mark.parametrize("size", [0, (), (0, 3), np.int64(4), (np.int32(2), 3), [2, 3]])
def test_sizes_of_samples(size):
    drawn = TruncatedGaussian(5, 2).sample(size, np.random.default_rng(0))
    assert drawn.shape == np.empty(size).shape
    assert drawn.dtype == np.int64


@pytest.mark.parametrize(
    ("size", "rng", "message"),
    [
        (-1, np.random.default_rng(0), "size must be at least 0; got -1"),
        ((3, -1), np.random.default_rng(0), "size must be at least 0; got -1"),
        (1.5, np.random.default_rng(0), "size must be a whole number; got 1.5"),
        ("3", np.random.default_rng(0), "size must be a whole number; got '3'"),
        (None, np.random.default_rng(0), "size must be a whole number; got None"),
        ((3, None), np.random.default_rng(0), "size must be a whole number; got None"),
        (3, None, r"rng must be a numpy.random.Generator, .*default_rng\(seed\); got None"),
        (3, 0, r"rng must be a numpy.random.Generator, .*default_rng\(seed\); got 0"),
        (3, torch.Generator(), "rng must be a numpy.random.Generator, .* got <torch"),
    ],
)
def test_samples_that_cannot_be_drawn(size, rng, message):
    with pytest.raises(ManiNegError, match=message):
        TruncatedGaussian(5, 2).sample(size, rng)
