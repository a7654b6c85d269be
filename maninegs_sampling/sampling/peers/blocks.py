"""Plans of an epoch that consist of blocks of instances."""

import numpy as np
from numpy.typing import NDArray


def shuffle_blocks(
    order: NDArray[np.int64], size: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Return the consecutive blocks of `order` in random order, a smaller last one at the end.

    Args:
        order: (n,) instances.
        size: instances in a block.
        rng: draws the order of the blocks.

    Example:
        >>> order = shuffle_blocks(np.arange(7), 3, np.random.default_rng(0))
        >>> sorted(order[:6].reshape(2, 3).tolist()), order[6:].tolist()
        ([[0, 1, 2], [3, 4, 5]], [6])
    """
    whole = len(order) // size * size
    blocks = order[:whole].reshape(-1, size)
    return np.concatenate([rng.permutation(blocks).ravel(), order[whole:]])
