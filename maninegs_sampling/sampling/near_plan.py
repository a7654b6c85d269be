"""How far searches near to anchors go, and at what cost: chosen from samples of a store.

A search costs what it compares. A look-up of a bucket waits for memory, about as long as it takes
to compare LOOKUP patterns. The bits are cut into that number of blocks which lets a search go
farthest, and of several such numbers into the one of the cheapest search.

Some instances have many others near to them and some have few, so there are several levels, most
of them for a tenth of the instances: a radius, and how the distances beyond it are sampled.
"""

from dataclasses import dataclass
from math import comb
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from maninegs_sampling import randomness
from maninegs_sampling.data.store import ManifestationStore
from maninegs_sampling.distances import _kernels
from maninegs_sampling.distances.metrics import distance_dtype, transposed

LOOKUP = 64

# How many values are drawn of rings 0, 1, ...
Samples = tuple[int, ...]

# Instances whose distances to others are counted, and those whose blocks are compared.
_ANCHORS, _OTHERS = 1024, 65_536
_BLOCK_ANCHORS, _BLOCK_OTHERS = 64, 4096
# Instances for which searches are tried.
_SEARCHED_ANCHORS = 256
# Values drawn of each ring, doubled until they are enough.
_FEWEST_SAMPLES = 16
# Rings with more values are not searched.
_LARGEST_RING = 2**18
# Bits of a block beside those that number the patterns. Offsets of all values are kept, so there
# are at most so many bits.
_FEWER_BITS, _MORE_BITS, _MOST_BITS = 12, 2, 26


class Effort(NamedTuple):
    """What a cluster may cost, and what it is drawn from.

    Attributes:
        search: patterns compared, look-ups included, to find what is near to an anchor.
        supply: patterns, or entries of a pool, that a distance beyond the radius should have on
            average: so many that they hardly ever run out.
        pool: entries of a pool.
    """

    search: int
    supply: int
    pool: int

    @classmethod
    def of(cls, cluster_size: int) -> "Effort":
        """Return the effort for clusters of so many instances, which may lie at one distance."""
        size = max(cluster_size, 16)
        return cls(search=2**16 * max(size, 64), supply=size, pool=512 * size)


@dataclass(frozen=True)
class Level:
    """How far one search goes.

    Attributes:
        radius: all patterns up to this distance are found.
        reach: up to this distance a sample of them is found.
        samples: (E,) values drawn of each ring for it, unless it is searched whole. A pattern at a
            distance up to `reach` lies in one of these rings, of some block.
        shares: (reach + 1,) how many of the patterns found at each distance the sample keeps at
            most.
    """

    radius: int
    reach: int
    samples: Samples
    shares: tuple[float, ...]


@dataclass(frozen=True)
class NearPlan:
    """What is found near to an anchor.

    Attributes:
        blocks: m, into how many blocks the bits are cut.
        levels: searches, each farther than the one before. The first that holds `needed` patterns
            of an anchor is used, or the last.
        needed: patterns.
        low: smallest distance of those that count.
        pool: entries of a pool.
        filled: the share of instances with as many patterns within the last radius.
    """

    blocks: int
    levels: tuple[Level, ...]
    needed: int
    low: int
    pool: int
    filled: float


def cut_into_blocks(n_bits: int, m: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the first bit and the number of bits of each of m blocks, the highest bits first."""
    ends = n_bits - np.arange(m, dtype=np.int64) * n_bits // m
    begins = np.append(ends[1:], 0)
    return begins, ends - begins


def last_full_rings(radius: int, m: int) -> NDArray[np.int64]:
    """Return (m,) the last ring of each block that is searched whole; -1 where none is."""
    return (radius - np.arange(m)) // m


def ring_samples(sizes: NDArray[np.int64], radius: int, samples: Samples) -> NDArray[np.int64]:
    """Return (m, E) how many values are drawn of each ring: 0 of those that are searched whole.

    Args:
        sizes: (m, E) values of each ring. A ring is drawn from as often as it has values, at most.
        radius: up to which all rings are searched that it needs.
        samples: (E,) values drawn of each ring beyond them.
    """
    sampled = np.arange(len(samples)) > last_full_rings(radius, len(sizes))[:, None]
    drawn: NDArray[np.int64] = np.where(sampled, np.minimum(sizes, samples), 0)
    return drawn


def ring_rates(
    sizes: NDArray[np.int64], samples: NDArray[np.int64], radius: int
) -> NDArray[np.float64]:
    """Return (m, E) how often a pattern in a ring of a block is found there, on average."""
    full = np.arange(sizes.shape[1]) <= last_full_rings(radius, len(sizes))[:, None]
    rates: NDArray[np.float64] = np.where(full, 1.0, samples / np.maximum(sizes, 1))
    return rates


def least_rates(
    rates: NDArray[np.float64], n_bits: NDArray[np.int64], reach: int
) -> NDArray[np.float64]:
    """Return (reach + 1,) how often the pattern at each distance is found that is least often.

    A pattern's distance is the sum of its distances in the blocks, and its rate the sum of theirs.
    """
    least = np.where(np.arange(reach + 1) == 0, 0.0, np.inf)
    for own, bits in zip(rates, n_bits.tolist(), strict=True):
        extended = np.full(reach + 1, np.inf)
        for e in range(min(bits, reach) + 1):
            rate = own[e] if e < len(own) else 0.0
            extended[e:] = np.minimum(extended[e:], least[: reach + 1 - e] + rate)
        least = extended
    return least


class SearchCosts:
    """What searches of a store in m blocks cost, estimated from a sample of pairs.

    Args:
        store: the manifestations.
        m: blocks.
        most: the highest cost.
    """

    def __init__(self, store: ManifestationStore, m: int, most: int) -> None:
        self._most = most
        begins, self._n_bits = cut_into_blocks(store.n_bits, m)
        self._sizes = ring_sizes(self._n_bits)
        anchors, others, _ = _samples(store, _BLOCK_ANCHORS, _BLOCK_OTHERS)
        rings = self._sizes.shape[1]
        shares = np.zeros(self._sizes.shape)
        for j, (begin, bits) in enumerate(zip(begins.tolist(), self._n_bits.tolist(), strict=True)):
            left = _block_values(store.words[anchors], begin, bits)
            right = _block_values(store.words[others], begin, bits)
            seen = _histogram(left, right, bits)[:rings]
            shares[j, : len(seen)] = seen / (len(anchors) * len(others))
        # Patterns in the buckets of a whole ring, and the wait for these buckets.
        self._ring_costs = store.n_patterns * shares + LOOKUP * self._sizes

    def of(self, radius: int, reach: int, samples: Samples) -> float:
        """Return the patterns compared for one anchor, look-ups included; inf if rings are huge."""
        if reach // len(self._sizes) >= self._sizes.shape[1]:
            return float("inf")
        rates = self._rates(radius, samples)
        return float((self._ring_costs[:, : rates.shape[1]] * rates).sum())

    def largest_radius(self, most: int) -> int:
        """Return the largest radius up to `most` that a search may have."""
        for radius in range(most, 0, -1):
            if self.of(radius, radius, self._samples(radius, 0)) <= self._most:
                return radius
        return 0

    def largest_reach(
        self, radius: int, most: int, shares: NDArray[np.float64]
    ) -> tuple[int, Samples]:
        """Return how far a search may reach with samples, and how many values of a ring it draws.

        Args:
            radius: of the search.
            most: the farthest distance.
            shares: (most + 1,) how many of the patterns at a distance the sample should hold.
        """
        for reach in range(most, radius, -1):
            number = _FEWEST_SAMPLES
            while self.of(radius, reach, self._samples(reach, number)) <= self._most:
                samples = self._samples(reach, number)
                if self._are_enough(radius, samples, shares[: reach + 1]):
                    return reach, self._fewest(radius, samples, shares[: reach + 1])
                number *= 2
        return radius, self._samples(radius, 0)

    def _samples(self, reach: int, number: int) -> Samples:
        return (number,) * (reach // len(self._sizes) + 1)

    def _rates(self, radius: int, samples: Samples) -> NDArray[np.float64]:
        sizes = self._sizes[:, : len(samples)]
        return ring_rates(sizes, ring_samples(sizes, radius, samples), radius)

    def _are_enough(self, radius: int, samples: Samples, shares: NDArray[np.float64]) -> bool:
        least = least_rates(self._rates(radius, samples), self._n_bits, len(shares) - 1)
        return bool((least >= shares)[radius + 1 :].all())

    def _fewest(self, radius: int, samples: Samples, shares: NDArray[np.float64]) -> Samples:
        """Halve the samples of each ring, the farthest first, for as long as they are enough."""
        for e in reversed(range(len(samples))):
            while samples[e] > 0:
                fewer = (*samples[:e], samples[e] // 2, *samples[e + 1 :])
                if not self._are_enough(radius, fewer, shares):
                    break
                samples = fewer
        return samples


def choose_blocks(
    store: ManifestationStore, *, low: int, high: int, needed: int, effort: Effort
) -> tuple[int, int, bool]:
    """Return m, the largest radius, and whether an average anchor has enough patterns within it.

    Args:
        store: the manifestations.
        low: smallest distance of a negative.
        high: largest distance of a negative.
        needed: patterns.
        effort: what a cluster may cost.
    """
    last = min(high, store.n_bits)
    anchors, patterns, _ = _samples(store, _ANCHORS, _OTHERS)
    counts = _mean_counts(store, anchors, patterns, store.n_patterns)
    within = np.cumsum(np.where(np.arange(len(counts)) >= low, counts, 0.0))
    wanted = min(_first(within >= needed), last)
    found = []
    for m in _numbers_of_blocks(store):
        costs = SearchCosts(store, m, effort.search)
        radius = costs.largest_radius(wanted)
        found.append((radius, -costs.of(radius, radius, (0,) * (radius // m + 1)), m))
    radius, _, m = max(found)
    most = SearchCosts(store, m, effort.search).largest_radius(last)
    return m, most, radius == wanted


def plan_levels(
    store: ManifestationStore,
    m: int,
    radii: NDArray[np.int64],
    *,
    low: int,
    high: int,
    needed: int,
    filled: float,
    per_instance: bool,
    effort: Effort,
) -> NearPlan:
    """Return how far searches go.

    Args:
        store: the manifestations.
        m: blocks.
        radii: up to which distance each of `sampled_anchors` has enough patterns.
        low: smallest distance of a negative.
        high: largest distance of a negative.
        needed: patterns.
        filled: the share of anchors that have as many.
        per_instance: whether a pool is of instances; else it is of patterns.
        effort: what a cluster may cost.
    """
    last = min(high, store.n_bits)
    anchors = sampled_anchors(store)
    _, patterns, instances = _samples(store, 0, _OTHERS)
    costs = SearchCosts(store, m, effort.search)
    levels = []
    for least, radius in _groups(radii):
        own = anchors[(radii >= least) & (radii <= radius)]
        counts = _mean_counts(store, own, patterns, store.n_patterns)
        entries = _mean_counts(store, own, instances if per_instance else patterns, effort.pool)
        served = _first((entries >= effort.supply) & (np.arange(len(entries)) > radius))
        shares = np.minimum(1.0, effort.supply / np.maximum(counts, 1.0))
        # Half of few patterns is a sample, too.
        reach, samples = costs.largest_reach(radius, min(served - 1, last), np.minimum(0.5, shares))
        levels.append(Level(radius, reach, samples, tuple(shares[: reach + 1].tolist())))
    return NearPlan(m, tuple(levels), needed, low, effort.pool, filled)


def sampled_anchors(store: ManifestationStore) -> NDArray[Any]:
    """Return the patterns of some instances."""
    return _samples(store, _SEARCHED_ANCHORS, 0)[0]


def _groups(radii: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Return the least and the largest radius of each group of at least a tenth, but the last."""
    groups: list[tuple[int, int]] = []
    least, size = int(radii.min()), 0
    for radius, number in zip(*np.unique(radii, return_counts=True), strict=True):
        size += int(number)
        if 10 * size >= len(radii) or radius == radii.max():
            groups.append((least, int(radius)))
            least, size = int(radius) + 1, 0
    return groups


def ring_sizes(n_bits: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return (m, E), how many values each ring of each block has, up to the largest searched."""
    largest = int(n_bits.max())
    rings = [e for e in range(largest + 1) if comb(largest, e) <= _LARGEST_RING]
    end = next((e for e in range(largest + 1) if e not in rings), largest + 1)
    return np.array([[comb(b, e) for e in range(end)] for b in n_bits.tolist()], np.int64)


def _numbers_of_blocks(store: ManifestationStore) -> list[int]:
    bits = store.n_patterns.bit_length()
    most = min(bits + _MORE_BITS, _MOST_BITS, store.n_bits)
    fewest = min(max(1, bits - _FEWER_BITS), most)
    return sorted({-(-store.n_bits // b) for b in range(fewest, most + 1)})


def _samples(
    store: ManifestationStore, n_anchors: int, n_others: int
) -> tuple[NDArray[Any], NDArray[np.int64], NDArray[Any]]:
    """Return the patterns of some instances, some patterns, and the patterns of other instances.

    They are all of them where there are no more than are asked for.
    """
    rng = randomness.generator_at(0, randomness.NEAR_PLANS)

    def some(n: int, wanted: int) -> NDArray[np.int64]:
        return np.arange(n) if n <= wanted else rng.integers(0, n, wanted)

    anchors = store.pattern_of[some(store.n_instances, n_anchors)]
    patterns = some(store.n_patterns, n_others)
    return anchors, patterns, store.pattern_of[some(store.n_instances, n_others)]


def _mean_counts(
    store: ManifestationStore, anchors: NDArray[Any], others: NDArray[Any], number: int
) -> NDArray[np.float64]:
    """Return (B + 1,) how many of `number` patterns like the others lie at each distance."""
    seen = _histogram(store.words[anchors], store.words[others], store.n_bits)
    counts: NDArray[np.float64] = number * seen / seen.sum()
    return counts


def _histogram(
    words: NDArray[np.uint64], others: NDArray[np.uint64], n_bits: int
) -> NDArray[np.int64]:
    """Return (n_bits + 1,) how many pairs of a row of each lie at each distance."""
    left, right = transposed(words), transposed(others)
    distances = np.empty((1, len(others)), distance_dtype(n_bits))
    seen = np.zeros(n_bits + 1, np.int64)
    for i in range(len(words)):
        _kernels.pairwise_rows(left[:, i : i + 1].copy(), right, 0, 1, distances)
        seen += np.bincount(distances[0], minlength=n_bits + 1)
    return seen


def _block_values(words: NDArray[np.uint64], first_bit: int, n_bits: int) -> NDArray[np.uint64]:
    """Return (n, 1) the values of a block of at most 63 bits."""
    w, shift = divmod(first_bit, 64)
    values = words[:, w] >> np.uint64(shift)
    if shift + n_bits > 64:
        values = values | (words[:, w + 1] << np.uint64(64 - shift))
    masked: NDArray[np.uint64] = values & np.uint64(2**n_bits - 1)
    return masked[:, None]


def _first(conditions: NDArray[np.bool_]) -> int:
    """Return the first place where it holds, or the number of places."""
    return int(np.argmax(np.append(conditions, True)))
