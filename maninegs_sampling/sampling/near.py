"""NearIndex: finds the patterns near to an anchor in a time that hardly depends on their number."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from maninegs_sampling.data.patterns import frozen
from maninegs_sampling.data.store import ManifestationStore
from maninegs_sampling.distances.metrics import transposed
from maninegs_sampling.sampling import _near
from maninegs_sampling.sampling._near import NearTables, Rings, new_found
from maninegs_sampling.sampling._stream import STREAM_WORDS
from maninegs_sampling.sampling.near_plan import (
    Effort,
    Level,
    NearPlan,
    choose_blocks,
    cut_into_blocks,
    least_rates,
    plan_levels,
    ring_rates,
    ring_samples,
    ring_sizes,
    sampled_anchors,
)
from maninegs_sampling.threads import run_on_threads

# Patterns found for one anchor at most; more than that, and its shell shrinks.
ROOM = 2**16


class NearIndex:
    """The patterns of a store, sorted by the values of blocks of their bits.

    See `_near` for how a search goes. Memory: 8 W + 4 bytes a pattern for each block but the first,
    for patterns of W words, and 4 bytes for each value of a block.

    Args:
        store: the manifestations.
        plan: how the bits are cut, and how far searches go.
        tables: what was sorted for as many blocks, if it is there.
    """

    def __init__(
        self, store: ManifestationStore, plan: NearPlan, tables: NearTables | None = None
    ) -> None:
        self.store = store
        self.plan = plan
        self.tables = sort_blocks(store, plan.blocks) if tables is None else tables
        self.rings = _rings(self.tables.n_bits, plan)

    def __reduce__(self) -> tuple[Any, ...]:
        # Made again: quicker than reading what it takes.
        return NearIndex, (self.store, self.plan)

    @property
    def nbytes(self) -> int:
        """Bytes that it takes beside the store."""
        return sum(array.nbytes for array in self.tables[1:])

    def within(self, pattern: int, radius: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return all other patterns up to a radius from one pattern, and their distances.

        The radius is at most the one of the last level.
        """
        stream = np.empty(STREAM_WORDS, np.uint64)  # nothing is sampled
        room = ROOM
        while True:
            found = new_found(room)
            what = self.tables, self.rings, 0, found, stream, pattern, radius, radius
            if _near.search_rings(*what):
                n = int(found.number[0])
                return found.patterns[:n].astype(np.int64), found.distances[:n].astype(np.int64)
            room *= 4


def plan_near(
    store: ManifestationStore,
    *,
    low: int,
    high: int,
    needed: int,
    per_instance: bool,
    effort: Effort,
) -> NearIndex | None:
    """Return an index whose searches find enough; None if they would cost too much on average.

    Args:
        store: the manifestations.
        low: smallest distance of a negative.
        high: largest distance of a negative.
        needed: patterns that a search should find.
        per_instance: whether a pool is of instances; else it is of patterns.
        effort: what a cluster may cost.
    """
    m, most, enough = choose_blocks(store, low=low, high=high, needed=needed, effort=effort)
    if not enough:
        return None
    tables = sort_blocks(store, m)
    whole = Level(most, most, (0,) * (most // m + 1), (1.0,) * (most + 1))
    tried = NearIndex(store, NearPlan(m, (whole,), needed, low, 0, 0.0), tables)
    last = min(high, store.n_bits)
    radii, filled = [], []
    for pattern in sampled_anchors(store).tolist():
        radius, within = -1, 0
        while within < needed and radius < most:
            radius += 1
            within = int((tried.within(pattern, radius)[1] >= low).sum())
        radii.append(radius)
        filled.append(within >= needed or radius == last)
    plan = plan_levels(
        store,
        m,
        np.array(radii),
        low=low,
        high=high,
        needed=needed,
        filled=float(np.mean(filled)),
        per_instance=per_instance,
        effort=effort,
    )
    return NearIndex(store, plan, tables)


def sort_blocks(store: ManifestationStore, m: int) -> NearTables:
    """Return the patterns sorted by the value of each of m blocks."""
    first_bit, n_bits = cut_into_blocks(store.n_bits, m)
    words = transposed(store.words)
    offsets = np.zeros((m, (1 << int(n_bits.max())) + 1), np.uint32)
    copies = np.empty((m - 1, *words.shape), np.uint64)
    patterns = np.empty((m - 1, store.n_patterns), np.int32)

    def sort(begin: int, end: int) -> None:
        for j in range(begin, end):
            block = first_bit[j], n_bits[j]
            own = offsets[j, : (1 << int(n_bits[j])) + 1]
            _near.count_values(words, *block, own)
            if j > 0:
                _near.sort_by_value(words, *block, own.copy(), copies[j - 1], patterns[j - 1])

    run_on_threads(sort, range(m + 1))
    return NearTables(words, *map(frozen, (copies, patterns, offsets, first_bit, n_bits)))


def _rings(n_bits: NDArray[np.int64], plan: NearPlan) -> Rings:
    """Return what is searched at each level."""
    most_rings = max(len(level.samples) for level in plan.levels)
    sizes = ring_sizes(n_bits)[:, :most_rings]
    masks = _masks(int(n_bits.max()), most_rings)
    n_levels, farthest = len(plan.levels), max(level.reach for level in plan.levels)
    samples = np.zeros((n_levels, *sizes.shape), np.int64)
    rates = np.zeros((n_levels, plan.blocks, int(n_bits.max()) + 1))
    kept = np.zeros((n_levels, farthest + 1))
    for k, level in enumerate(plan.levels):
        rings = len(level.samples)
        samples[k, :, :rings] = ring_samples(sizes[:, :rings], level.radius, level.samples)
        rates[k, :, :rings] = ring_rates(sizes[:, :rings], samples[k, :, :rings], level.radius)
        least = least_rates(rates[k], n_bits, level.reach)
        kept[k, : level.reach + 1] = np.minimum(least, level.shares)
    return Rings(
        needed=plan.needed,
        low=plan.low,
        masks=frozen(np.concatenate(masks)),
        begin=frozen(np.cumsum([0, *map(len, masks)])),
        sizes=frozen(np.ascontiguousarray(sizes)),
        radius=frozen(np.array([level.radius for level in plan.levels])),
        reach=frozen(np.array([level.reach for level in plan.levels])),
        samples=frozen(samples),
        rates=frozen(rates),
        kept=frozen(kept),
    )


def _masks(n_bits: int, rings: int) -> list[NDArray[np.uint32]]:
    """Return the numbers below 2**n_bits with 0, 1, 2, ... bits set, ascending.

    Numbers of fewer bits come first, so they serve for smaller blocks, too.
    """
    masks = [np.zeros(1, np.uint32)]
    for _ in range(1, rings):
        smaller = masks[-1]
        tops = (np.uint32(1 << bit) for bit in range(n_bits))
        masks.append(np.concatenate([smaller[smaller < top] | top for top in tops]))
    return masks
