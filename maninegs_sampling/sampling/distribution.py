"""The truncated Gaussian over integer Hamming distances: Eq. (4) of the paper, rounded.

p(d) is proportional to Phi((d + 1/2 - mu) / sigma) - Phi((d - 1/2 - mu) / sigma) for
low <= d <= high and zero elsewhere: the distribution of round(x) when x follows Eq. (4) on
[low - 1/2, high + 1/2]. Everything is computed in log space, so that it stays exact when mu
lies far outside [low, high].
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import log_ndtr

from maninegs_sampling.distances.metrics import METRICS
from maninegs_sampling.errors import InvalidTypeError, InvalidValueError, check_count

# No store has distances beyond 65,535; a distribution takes 8 bytes for each distance.
LARGEST_HIGH = 1_000_000


def check_mean(name: str, value: object) -> float:
    """Return `value` as a float, or raise unless it can be a mean by any metric.

    These are the numbers in [-1e6, 1e6]; the Hamming distance allows all of them.
    """
    return METRICS["hamming"].check_mu(name, value)


def log_weights(mu: ArrayLike, sigma: float, low: int, high: int) -> NDArray[np.float64]:
    """Return log p(low), ..., log p(high) up to a constant, one row for each mu.

    Args:
        mu: (M,) or scalar, in units of Hamming distance.
        sigma: positive, in the same unit.
        low: smallest distance of the support.
        high: largest distance of the support.

    Returns:
        (M, high - low + 1) float64, or (high - low + 1,) for a scalar mu.
    """
    return log_masses(mu, sigma, np.arange(low - 0.5, high + 1.0))


def log_masses(mu: ArrayLike, sigma: float, edges: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the log of the Gaussian's mass between neighboring edges, one row for each mu.

    Args:
        mu: (M,) or scalar.
        sigma: positive.
        edges: (E + 1,), ascending.

    Returns:
        (M, E) float64, or (E,) for a scalar mu.
    """
    center = np.asarray(mu, dtype=np.float64)[..., None]
    z = (edges - center) / sigma
    lower, upper = z[..., :-1], z[..., 1:]
    # Phi(upper) - Phi(lower) = Phi(-lower) - Phi(-upper): take the side where both are small.
    right = lower > 0
    big = log_ndtr(np.where(right, -lower, upper))
    small = log_ndtr(np.where(right, -upper, lower))
    masses: NDArray[np.float64] = big + np.log(-np.expm1(small - big))
    return masses


@dataclass(frozen=True)
class TruncatedGaussian:
    """The distribution of a negative's Hamming distance from its anchor (section IV-C, Eq. (4)).

    Args:
        mu: mean before truncation, in units of Hamming distance; may lie far outside the support.
        sigma: standard deviation before truncation, positive.
        low: smallest distance, at least 1: the anchor's own pattern is never a negative.
        high: largest distance, at most 1,000,000. Both defaults are the paper's.

    Numbers of any kind are accepted and stored as float (mu, sigma) and int (low, high).

    Raises:
        InvalidValueError: If sigma is outside [1e-6, 1e6], mu is outside [-1e6, 1e6], low is below
            1, high is above 1,000,000, or low is above high.
        InvalidTypeError: If mu or sigma is not a number, or low or high not a whole number.

    Example:
        >>> gauss = TruncatedGaussian(mu=0, sigma=3)
        >>> gauss.pmf()[:4].round(3).tolist()
        [0.0, 0.289, 0.245, 0.186]
        >>> TruncatedGaussian(mu=200, sigma=0.1).pmf()[18]
        np.float64(1.0)
    """

    mu: float
    sigma: float
    low: int = 1
    high: int = 18

    def __post_init__(self) -> None:
        checked = {
            "mu": check_mean("mu", self.mu),
            "sigma": METRICS["hamming"].check_sigma(self.sigma),
            "low": check_count("low", self.low, at_least=1, at_most=LARGEST_HIGH),
            "high": check_count("high", self.high, at_least=1, at_most=LARGEST_HIGH),
        }
        for name, value in checked.items():
            object.__setattr__(self, name, value)
        if self.low > self.high:
            raise InvalidValueError(
                f"low must not exceed high; got low={self.low}, high={self.high}"
            )

    def pmf(self) -> NDArray[np.float64]:
        """Return (high + 1,) float64: entry d is the probability of distance d, 0 below `low`."""
        weights = log_weights(self.mu, self.sigma, self.low, self.high)
        probabilities = np.zeros(self.high + 1)
        probabilities[self.low :] = np.exp(weights - weights.max())
        pmf: NDArray[np.float64] = probabilities / probabilities.sum()
        return pmf

    def sample(self, size: int | tuple[int, ...], rng: np.random.Generator) -> NDArray[np.int64]:
        """Return int64 distances of shape `size`, drawn with `rng`.

        Raises:
            InvalidValueError: If a size is negative.
            InvalidTypeError: If a size is not a whole number, or `rng` is not a numpy Generator.

        Example:
            >>> gauss = TruncatedGaussian(mu=4, sigma=0.01)
            >>> gauss.sample(3, np.random.default_rng(0)).tolist()
            [4, 4, 4]
        """
        sizes = size if isinstance(size, (tuple, list)) else (size,)
        shape = tuple(check_count("size", n, at_least=0) for n in sizes)
        if not isinstance(rng, np.random.Generator):
            raise InvalidTypeError(
                "rng must be a numpy.random.Generator, such as numpy.random.default_rng(seed); "
                f"got {rng!r}"
            )
        cumulative = np.cumsum(self.pmf())
        uniform = rng.random(shape) * cumulative[-1]
        return np.asarray(np.searchsorted(cumulative, uniform, side="right"), dtype=np.int64)
