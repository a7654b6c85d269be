import numpy as np
import pytest
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
        ({"mu": 1, "sigma": float("nan")}, "sigma must be positive"),
        ({"mu": 1, "sigma": "3"}, "sigma must be a number; got '3'"),
        ({"mu": float("nan"), "sigma": 1}, "mu must be finite"),
        ({"mu": float("inf"), "sigma": 1}, "mu must be finite"),
        ({"mu": 1, "sigma": 1, "low": 0}, "low must be at least 1; got 0"),
        ({"mu": 1, "sigma": 1, "low": 5, "high": 4}, "low must not exceed high; got low=5, high=4"),
        ({"mu": 1, "sigma": 1, "low": 1.5}, "low must be a whole number; got 1.5"),
    ],
)
def test_errors(options, message):
    with pytest.raises(ManiNegError, match=message):
        TruncatedGaussian(**options)
