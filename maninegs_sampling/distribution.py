"""The truncated Gaussian over integer Hamming distances: Eq. (4) of the paper, rounded.

p(d) is proportional to Phi((d + 1/2 - mu) / sigma) - Phi((d - 1/2 - mu) / sigma) for
low <= d <= high and zero elsewhere: the law of round(x) when x follows Eq. (4) on
[low - 1/2, high + 1/2]. Everything is computed in log space, so that the law stays exact when mu
lies far outside [low, high].
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import log_ndtr

from maninegs_sampling.errors import InvalidTypeError, InvalidValueError, check_count

# Within these the log-differences below keep at least nine digits. Outside them the law is a
# single distance (small sigma) or uniform (large sigma) anyway.
SMALLEST_SIGMA, LARGEST_SIGMA = 1e-6, 1e6
LARGEST_MU = 1e6


def check_mu(mu: ArrayLike) -> NDArray[np.float64]:
    """Return `mu` as float64, or raise unless every value lies in [-1e6, 1e6]."""
    values = np.asarray(mu, dtype=np.float64)
    if not np.all(np.abs(values) <= LARGEST_MU):
        wrong = values[~(np.abs(values) <= LARGEST_MU)].flat[0]
        raise InvalidValueError(f"mu must be finite and within +-{LARGEST_MU:g}; got {wrong!r}")
    return values


def check_sigma(sigma: object) -> float:
    """Return `sigma` as a float, or raise unless it lies in [1e-6, 1e6]."""
    if isinstance(sigma, bool) or not isinstance(sigma, (int, float, np.number)):
        raise InvalidTypeError(f"sigma must be a number; got {sigma!r}")
    value = float(sigma)
    if not (SMALLEST_SIGMA <= value <= LARGEST_SIGMA):
        raise InvalidValueError(
            f"sigma must be positive, between {SMALLEST_SIGMA:g} and {LARGEST_SIGMA:g}; "
            f"got {value!r}"
        )
    return value


def log_weights(mu: ArrayLike, sigma: float, low: int, high: int) -> NDArray[np.float64]:
    """Return log p(low), ..., log p(high) up to a constant, one row for each mu.

    Parameters:
        mu: (M,) or scalar, in units of Hamming distance.
        sigma: positive, in the same unit.
        low, high: the support, both included.

    Returns:
        (M, high - low + 1) float64, or (high - low + 1,) for a scalar mu.
    """
    return log_masses(mu, sigma, np.arange(low - 0.5, high + 1.0))


def log_masses(mu: ArrayLike, sigma: float, edges: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the log of the Gaussian's mass between neighbouring edges, one row for each mu.

    Parameters:
        mu: (M,) or scalar.
        sigma: positive.
        edges: (E + 1,), ascending.

    Returns:
        (M, E) float64, or (E,) for a scalar mu.
    """
    centre = np.asarray(mu, dtype=np.float64)[..., None]
    z = (edges - centre) / sigma
    lower, upper = z[..., :-1], z[..., 1:]
    # Phi(upper) - Phi(lower) = Phi(-lower) - Phi(-upper): take the side where both are small.
    right = lower > 0
    big = log_ndtr(np.where(right, -lower, upper))
    small = log_ndtr(np.where(right, -upper, lower))
    masses: NDArray[np.float64] = big + np.log(-np.expm1(small - big))
    return masses


@dataclass(frozen=True)
class TruncatedGaussian:
    """The law of a negative's Hamming distance from its anchor (section IV-C, Eq. (4)).

    Parameters:
        mu: mean before truncation, in units of Hamming distance; may lie far outside the support.
        sigma: standard deviation before truncation, positive.
        low: smallest distance, at least 1: the anchor's own pattern is never a negative.
        high: largest distance. Both defaults are the paper's.

    Raises:
        InvalidValueError: sigma not positive, low below 1, low above high, mu not finite.

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
        check_mu(self.mu)
        check_sigma(self.sigma)
        check_count("low", self.low, at_least=1)
        check_count("high", self.high, at_least=1)
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

        Example:
            >>> gauss = TruncatedGaussian(mu=4, sigma=0.01)
            >>> gauss.sample(3, np.random.default_rng(0)).tolist()
            [4, 4, 4]
        """
        cumulative = np.cumsum(self.pmf())
        uniform = rng.random(size) * cumulative[-1]
        return np.asarray(np.searchsorted(cumulative, uniform, side="right"), dtype=np.int64)
