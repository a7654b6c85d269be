"""How well Hamming distances rank instances, compared with the cosines of embeddings."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from maninegs_sampling import randomness
from maninegs_sampling.data.embeddings import as_embeddings, row_blocks, unit_rows
from maninegs_sampling.data.store import ManifestationStore, check_store
from maninegs_sampling.distances.pairwise import pairwise_hamming
from maninegs_sampling.errors import InvalidValueError, check_count

# Similarities held at a time.
_BLOCK_SIMILARITIES = 2**24
# Cosines that differ by less are equal: rounding tells apart what is the same.
_EQUAL = 1e-9


@dataclass(frozen=True)
class RankAgreement:
    """How many of an instance's nearest neighbors by cosine are among its nearest by Hamming.

    Attributes:
        recall: The mean share, from 0 to 1.
        lowest_tenth: The share that a tenth of the anchors do not exceed.
        chance: The share that bits without any information reach.
        nearest: The number of neighbors compared.
        n_anchors: The number of instances whose neighbors were compared.
    """

    recall: float
    lowest_tenth: float
    chance: float
    nearest: int
    n_anchors: int

    def __str__(self) -> str:
        return (
            f"Of the {self.nearest} nearest by cosine, {self.recall:.0%} are among the "
            f"{self.nearest} nearest by Hamming distance (by chance {self.chance:.0%}; for a tenth "
            f"of {self.n_anchors} anchors at most {self.lowest_tenth:.0%})."
        )


def rank_agreement(
    store: ManifestationStore,
    embeddings: ArrayLike | torch.Tensor,
    *,
    nearest: int = 64,
    n_anchors: int = 256,
    seed: int = 0,
) -> RankAgreement:
    """Return how many of the nearest instances by cosine are among the nearest by Hamming.

    Where instances at one Hamming distance straddle the limit, the share is the expected one if the
    tie is broken at random. Of instances whose cosine equals that of the last neighbor, any counts.

    Args:
        store: N instances, for instance of `ManifestationStore.from_embeddings`.
        embeddings: (N, D) numbers, row i of instance i.
        nearest: Number of neighbors, below N. Default: the usual batch size.
        n_anchors: Number of instances whose neighbors are compared, drawn without replacement; all
            instances if there are fewer.
        seed: In [0, 2**64), of the draw of anchors.

    Raises:
        InvalidTypeError: If an argument has another type.
        InvalidValueError: If the store and the embeddings differ in length, a row is zero or holds
            NaN or infinity, or there are too few instances.

    Example:
        >>> z = np.random.default_rng(0).standard_normal((500, 128))
        >>> agreement = rank_agreement(ManifestationStore.from_embeddings(z), z, nearest=5)
        >>> agreement.chance < agreement.recall < 1
        True
    """
    n = check_store("store", store).n_instances
    array = as_embeddings(embeddings)
    if len(array) != n:
        raise InvalidValueError(
            f"embeddings must have a row for each of the store's {n} instances; got {len(array)}"
        )
    nearest = check_count("nearest", nearest, at_least=1)
    if nearest >= n:
        raise InvalidValueError(f"nearest must be below the {n} instances; got {nearest}")
    n_anchors = min(n, check_count("n_anchors", n_anchors, at_least=1))
    stream = randomness.generator_at(randomness.check_seed(seed), randomness.COMPARED_ANCHORS)
    anchors = np.sort(stream.choice(n, n_anchors, replace=False))
    size = max(1, _BLOCK_SIMILARITIES // n)
    shares = np.concatenate(
        [
            _shares(store, array, anchors[begin : begin + size], nearest)
            for begin in range(0, n_anchors, size)
        ]
    )
    return RankAgreement(
        float(shares.mean()),
        float(np.quantile(shares, 0.1, method="lower")),
        nearest / (n - 1),
        nearest,
        n_anchors,
    )


def _shares(
    store: ManifestationStore, array: NDArray[np.generic], anchors: NDArray[np.int64], nearest: int
) -> NDArray[np.float64]:
    """Return the share of each anchor, (n,)."""
    n = store.n_instances
    directions = unit_rows(array, anchors)
    cosines = np.empty((len(anchors), n))
    for rows in row_blocks(n):
        cosines[:, rows] = directions @ unit_rows(array, rows).T
    distances = pairwise_hamming(store.subset(anchors), store).astype(np.int32)
    places = np.arange(len(anchors))
    cosines[places, anchors], distances[places, anchors] = -2.0, store.n_bits + 1  # itself: last
    cutoff = np.partition(cosines, n - nearest, axis=1)[:, n - nearest, None]
    is_near = cosines >= cutoff - _EQUAL
    last = np.partition(distances, nearest - 1, axis=1)[:, nearest - 1, None]
    below, at = distances < last, distances == last
    tied_share = (nearest - below.sum(axis=1)) / at.sum(axis=1)
    found = (is_near & below).sum(axis=1) + tied_share * (is_near & at).sum(axis=1)
    shares: NDArray[np.float64] = found / nearest
    return shares
