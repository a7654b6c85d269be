"""What a metric is: how its distances are cut into steps, and what the kernels are given for it.

To add one, write its tile, its distance of two patterns and its NamedTuple in `_tiles`, and an
entry here.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from maninegs_sampling.data.bit_layout import has_known_bits
from maninegs_sampling.data.patterns import frozen
from maninegs_sampling.data.store import ManifestationStore, check_store
from maninegs_sampling.distances import _kernels
from maninegs_sampling.distances._tiles import JACCARD_STEPS, NO_ONES, JaccardPatterns
from maninegs_sampling.errors import (
    InvalidValueError,
    check_choice,
    check_count,
    check_number,
)

MetricName = Literal["hamming", "jaccard"]

SMALLEST_SIGMA = 1e-6


@dataclass(frozen=True)
class Metric:
    """A distance between patterns, cut into steps of equal width.

    The index and the kernels know steps only; users know distances. Step k holds the distances
    above (k - 1 + upper) / per_unit and up to (k + upper) / per_unit. Step 0 holds equal patterns,
    and nothing else.

    Attributes:
        name: What users call it.
        per_unit: Steps in a distance of 1.
        upper: Distance from a step's number to its upper edge, in steps.
        most: The largest distance; None if it is the number of bits.
        sigma: The default standard deviation of the distance distribution.
        farthest_mu, largest_sigma: Bounds, which catch numbers of another unit. Within those of
            Hamming, the logarithms of probabilities keep at least nine digits; outside of them the
            distribution is a single distance or uniform anyway.
        near: Distances that count as near, for a text.
        digits: Decimals of distances in texts and in suggested settings.
        least_sigma: The smallest sigma that is suggested.
        unit: What texts put after a distance.
        label: What an axis of a figure is called.
        patterns: Returns what kernels take, see `_tiles`, for read-only words, (W, U).
    """

    name: MetricName
    per_unit: int
    upper: float
    most: int | None
    sigma: float
    farthest_mu: float
    largest_sigma: float
    near: tuple[float, float, float]
    digits: int
    least_sigma: float
    unit: str
    label: str
    patterns: Callable[[NDArray[np.uint64]], Any]

    def last_step(self, store: ManifestationStore) -> int:
        """Return the step of the largest distance that patterns of the store can have."""
        return store.n_bits if self.most is None else self.most * self.per_unit

    def edges(self, first: int, last: int) -> NDArray[np.float64]:
        """Return (last - first + 2,) the edges of steps first .. last, as distances."""
        return (np.arange(first - 1, last + 1) + self.upper) / self.per_unit

    def distance(self, step: int) -> float:
        """Return the distance that a step stands for: whole bits, or its upper edge."""
        return step if self.per_unit == 1 else step / self.per_unit

    def distances(self, steps: NDArray[Any]) -> NDArray[Any]:
        """Return the distances that an array of steps stands for."""
        return steps if self.per_unit == 1 else steps / self.per_unit

    def step(self, distance: float) -> int:
        """Return the step that stands for a distance."""
        return round(distance * self.per_unit)

    def text(self, distance: float) -> str:
        """Return a distance that is no whole number of steps, as a text shows it."""
        return f"{distance:.{self.digits}f}{self.unit}"

    def check_distance(self, name: str, distance: object, *, least_step: int) -> int:
        """Return the step of a distance that a user gives.

        Raises:
            InvalidTypeError: If it is not a number, or not a whole number of bits.
            InvalidValueError: If it is out of range, or between two steps.
        """
        if self.most is None:
            return check_count(name, distance, at_least=least_step, at_most=2**62)
        number = check_number(name, distance)
        step = self.step(number)
        least = self.distance(least_step)
        if abs(number * self.per_unit - step) > 1e-9 or not least <= number <= self.most:
            raise InvalidValueError(
                f"{name} must be a multiple of {1 / self.per_unit} from {least} to {self.most} "
                f'with metric="{self.name}"; got {distance!r}'
            )
        return step

    def check_mu(self, name: str, mu: object) -> float:
        """Return `mu` as a float, or raise unless it is a number in the range of the metric."""
        number = check_number(name, mu)
        if abs(number) > self.farthest_mu:
            raise InvalidValueError(
                f"{name} must be finite and within +-{self.farthest_mu:g}{self._unit_hint()}; "
                f"got {mu!r}"
            )
        return number

    def check_sigma(self, sigma: object) -> float:
        """Return `sigma` as a float, or raise unless it is a number in the range of the metric."""
        number = check_number("sigma", sigma)
        if not SMALLEST_SIGMA <= number <= self.largest_sigma:
            raise InvalidValueError(
                f"sigma must be positive, between {SMALLEST_SIGMA:g} and "
                f"{self.largest_sigma:g}{self._unit_hint()}; got {sigma!r}"
            )
        return number

    def _unit_hint(self) -> str:
        if self.most is None:
            return ""
        return f' with metric="{self.name}", whose distances are in [0, {self.most}]'


def _words_alone(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    return words


def _jaccard_patterns(words: NDArray[np.uint64]) -> JaccardPatterns:
    ones = np.empty(words.shape[1], np.float32)
    _kernels.count_ones(words, ones)
    return JaccardPatterns(words, frozen(np.maximum(ones, np.float32(NO_ONES))))


METRICS: dict[MetricName, Metric] = {
    "hamming": Metric(
        "hamming", per_unit=1, upper=0.5, most=None, sigma=3.0, farthest_mu=1e6,
        largest_sigma=1e6, near=(1, 2, 3), digits=1, least_sigma=0.5, unit=" bits",
        label="Hamming distance (bits)", patterns=_words_alone,
    ),
    "jaccard": Metric(
        "jaccard", per_unit=JACCARD_STEPS, upper=0.0, most=1, sigma=0.1, farthest_mu=2.0,
        largest_sigma=1.0, near=(0.1, 0.2, 0.3), digits=2, least_sigma=0.02, unit="",
        label="Jaccard distance", patterns=_jaccard_patterns,
    ),
}  # fmt: skip


def metric_of(name: object) -> Metric:
    """Return the metric of a name, or raise `InvalidValueError`."""
    return METRICS[check_choice("metric", name, get_args(MetricName))]


def check_measurable(name: str, store: object) -> ManifestationStore:
    """Return the store whose distances are asked for.

    Raises:
        InvalidTypeError: If it is no store.
        InvalidValueError: If half of its bits say which others are known: they are no traits.
    """
    checked = check_store(name, store)
    if has_known_bits(checked.bit_names):
        raise InvalidValueError(
            f'the second half of the bits of {name} says which bits are known (missing="masked"), '
            "which every metric of this version would count as traits; make the store with "
            'missing="absent" or "option"'
        )
    return checked


def distance_dtype(n_bits: int) -> np.dtype[Any]:
    """Return uint8 up to 255 bits and uint16 from 256 bits on, what kernels write steps to."""
    return np.dtype(np.uint8 if n_bits < 256 else np.uint16)


def transposed(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return (U, W) words as contiguous (W, U), the layout of the kernels, not writable.

    The result may share memory with `words`. It is always read-only, because numba compiles a
    kernel once more for writable arrays.
    """
    return frozen(np.ascontiguousarray(words.T))


def pattern_steps(
    store: ManifestationStore, pattern: int, metric: MetricName = "hamming"
) -> NDArray[Any]:
    """Return (U,) steps from one pattern of `store` to all of them, in O(U)."""
    words, patterns = transposed(store.words), METRICS[metric].patterns
    own = frozen(words[:, pattern : pattern + 1].copy())
    out = np.empty((1, store.n_patterns), distance_dtype(store.n_bits))
    _kernels.pairwise_rows(patterns(own), patterns(words), 0, 1, out)
    steps: NDArray[Any] = out[0]
    return steps


def steps_of_pairs(
    words: NDArray[np.uint64],
    left: NDArray[np.int64],
    right: NDArray[np.int64],
    metric: MetricName,
) -> NDArray[np.int64]:
    """Return (n,) steps between rows left[k] and right[k] of (U, W) words."""
    out = np.empty(len(left), np.int64)
    patterns = METRICS[metric].patterns(frozen(np.asarray(words).view()).T)
    _kernels.distances_of_pairs(patterns, left, right, out)
    return out
