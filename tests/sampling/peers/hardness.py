"""How hard batches are."""

import numpy as np

from maninegs_sampling import pairwise_hamming


def pair_mean(store, batches):
    """Return the mean distance over all pairs in the batches."""
    sums, pairs = 0, 0
    for batch in batches:
        sums += pairwise_hamming(store.subset(batch)).sum(dtype=np.int64)
        pairs += len(batch) * (len(batch) - 1)
    return sums / pairs
