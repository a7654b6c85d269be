"""Counter-based random streams: the only place where a generator is made.

A stream is named by (seed, purpose, position). The seed and the purpose are the key of a Philox
4x64 generator, the position is its counter, so two different names never give the same stream:
seed 0 at position 1 has nothing to do with seed 1 at position 0.
"""

from typing import Final

import numpy as np

from maninegs_sampling.errors import InvalidValueError, check_count

ANCHOR_ORDER: Final = 1
BATCHES: Final = 2
BASELINES: Final = 3
SYNTHETIC_DATA: Final = 5
EPOCH_PLANS: Final = 6
NEAR_PLANS: Final = 7
UNIFORM_DISTINCT: Final = 16
RANDOM_WALKS: Final = 17
GRAPH_BLOCKS: Final = 18
NEIGHBOR_GROUPS: Final = 19
SHARD_WINDOWS: Final = 20
RANDOM_PROJECTIONS: Final = 21
COMPARED_ANCHORS: Final = 22
RANDOM_PAIRS: Final = 24


def check_seed(seed: object) -> int:
    """Return `seed` as an int in [0, 2**64), or raise."""
    number = check_count("seed", seed, at_least=0)
    if number >= 2**64:
        raise InvalidValueError(f"seed must be below 2**64; got {number}")
    return number


def generator_at(
    seed: int, purpose: int, position: tuple[int, int, int] = (0, 0, 0)
) -> np.random.Generator:
    """Return numpy's Philox generator for one named stream.

    Args:
        seed: in [0, 2**64).
        purpose: one of this module's constants.
        position: three numbers in [0, 2**64), such as (batch number, epoch, rank). The lowest
            word of Philox's counter is left to the generator itself.

    Example:
        >>> a, b = generator_at(0, BATCHES, (1, 0, 0)), generator_at(1, BATCHES, (0, 0, 0))
        >>> bool(a.integers(2**63) == b.integers(2**63))
        False
    """
    key = np.array([seed, purpose], dtype=np.uint64)
    counter = np.array([0, *position], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=counter))
