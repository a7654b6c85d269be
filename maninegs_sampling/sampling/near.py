"""NearIndex: finds the patterns near to an anchor in a time that hardly depends on their number."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from maninegs_sampling.data.patterns import frozen
from maninegs_sampling.data.store import ManifestationStore
from maninegs_sampling.distances.hamming import transposed
from maninegs_sampling.sampling import _near
from maninegs_sampling.sampling._near import NearTables, Rings, new_found
from maninegs_sampling.sampling._stream import STREAM_WORDS
from maninegs_sampling.sampling.near_plan import (
    NearPlan,
    cut_into_blocks,
    least_rates,
    ring_rates,
    ring_samples,
    ring_sizes,
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
        plan: how the bits are cut, and how far a search goes; see `plan_near`.
    """

    def __init__(self, store: ManifestationStore, plan: NearPlan) -> None:
        self.store = store
        self.plan = plan
        first_bit, n_bits = cut_into_blocks(store.n_bits, plan.blocks)
        words = transposed(store.words)
        offsets = np.zeros((plan.blocks, (1 << int(n_bits.max())) + 1), np.uint32)
        copies = np.empty((plan.blocks - 1, *words.shape), np.uint64)
        patterns = np.empty((plan.blocks - 1, store.n_patterns), np.int32)

        def sort(begin: int, end: int) -> None:
            for j in range(begin, end):
                block = first_bit[j], n_bits[j]
                own = offsets[j, : (1 << int(n_bits[j])) + 1]
                _near.count_values(words, *block, own)
                if j > 0:
                    _near.sort_by_value(words, *block, own.copy(), copies[j - 1], patterns[j - 1])

        run_on_threads(sort, range(plan.blocks + 1))
        self.tables = NearTables(
            words, *map(frozen, (copies, patterns, offsets, first_bit, n_bits))
        )
        self.rings = _rings(n_bits, plan)

    def __reduce__(self) -> tuple[Any, ...]:
        # Made again: quicker than reading what it takes.
        return NearIndex, (self.store, self.plan)

    @property
    def nbytes(self) -> int:
        """Bytes that it takes beside the store."""
        return sum(array.nbytes for array in self.tables[1:])

    def within(self, pattern: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return all other patterns up to the radius from one pattern, and their distances."""
        found = new_found(ROOM)
        stream = np.empty(STREAM_WORDS, np.uint64)  # nothing is sampled
        radius = self.plan.radius
        if not _near.search_rings(self.tables, self.rings, found, stream, pattern, radius, radius):
            found = new_found(int(found.number[0]))
            _near.search_rings(self.tables, self.rings, found, stream, pattern, radius, radius)
        n = int(found.number[0])
        return found.patterns[:n].astype(np.int64), found.distances[:n].astype(np.int64)


def _rings(n_bits: NDArray[np.int64], plan: NearPlan) -> Rings:
    sizes = ring_sizes(n_bits)[:, : len(plan.samples)]
    samples = ring_samples(sizes, plan.radius, plan.samples)
    masks = _masks(int(n_bits.max()), sizes.shape[1])
    rates = np.zeros((plan.blocks, int(n_bits.max()) + 1))
    rates[:, : sizes.shape[1]] = ring_rates(sizes, samples, plan.radius)
    least = np.minimum(least_rates(rates, n_bits, plan.reach), plan.shares)
    return Rings(
        radius=plan.radius,
        reach=plan.reach,
        masks=frozen(np.concatenate(masks)),
        begin=frozen(np.cumsum([0, *map(len, masks)])),
        sizes=frozen(np.ascontiguousarray(sizes)),
        samples=frozen(samples),
        rates=frozen(rates),
        kept=frozen(least),
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
