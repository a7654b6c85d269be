"""Who is near whom: the nearest patterns of a store, or lists of neighbors that a user brings."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from maninegs_sampling.data.dense import as_array
from maninegs_sampling.data.patterns import as_int32
from maninegs_sampling.data.store import ManifestationStore
from maninegs_sampling.distances.metrics import (
    METRICS,
    MetricName,
    check_measurable,
    distance_dtype,
    transposed,
)
from maninegs_sampling.errors import InvalidTypeError, InvalidValueError
from maninegs_sampling.sampling.peers._kernels import nearest_rows
from maninegs_sampling.threads import run_on_threads

# Rows found by one thread before it takes the next slab.
_SLAB_ROWS = 64


class NeighborLists(NamedTuple):
    """The neighbors of each node. Nodes are a store's patterns, or single instances.

    Attributes:
        node_of: (n,) int32, the node of each instance.
        nearest: (M, K) int32, the neighbors of each node, nearest first; -1 fills a row up.
    """

    node_of: NDArray[np.int32]
    nearest: NDArray[np.int32]

    @property
    def degrees(self) -> NDArray[np.int32]:
        """(M,) int32, how many neighbors each node has."""
        degrees: NDArray[np.int32] = (self.nearest >= 0).sum(axis=1, dtype=np.int32)
        return degrees

    @property
    def members(self) -> NDArray[np.int32]:
        """(n,) int32, the instances grouped by node, ascending within one."""
        return np.argsort(self.node_of, kind="stable").astype(np.int32)

    @property
    def starts(self) -> NDArray[np.int32]:
        """(M + 1,) int32, the first place of each node in `members`, and their end."""
        counts = np.bincount(self.node_of, minlength=len(self.nearest))
        return np.append(0, np.cumsum(counts)).astype(np.int32)


def nearest_patterns(
    store: ManifestationStore,
    n_neighbors: int,
    *,
    skip_nearest: int = 0,
    metric: MetricName = "hamming",
) -> NDArray[np.int32]:
    """Return the nearest other patterns of each pattern.

    Equally near patterns are in the order of their numbers; by "jaccard" these are those whose
    distances are the same when rounded up to hundredths. Memory is that of the result.

    Args:
        store: U patterns.
        n_neighbors: neighbors of each, at most.
        skip_nearest: nearest patterns to leave out before them.
        metric: "hamming" or "jaccard".

    Returns:
        (U, K) int32, nearest first, with K the smaller of `n_neighbors` and U - 1 - `skip_nearest`,
        and at least 0.

    Example:
        >>> store = ManifestationStore.from_dense([[0, 0, 0], [1, 0, 0], [1, 1, 0], [1, 1, 1]])
        >>> nearest_patterns(store, 2).tolist()
        [[1, 2], [0, 2], [1, 3], [2, 1]]
    """
    patterns = check_measurable("store", store).n_patterns
    words = METRICS[metric].patterns(transposed(store.words))
    nearest = np.empty((patterns, max(0, min(n_neighbors, patterns - 1 - skip_nearest))), np.int32)

    def find(begin: int, end: int) -> None:
        distances = np.empty(patterns, distance_dtype(store.n_bits))
        place = np.empty(METRICS[metric].last_step(store) + 1, np.int64)
        nearest_rows(words, begin, end, skip_nearest, distances, place, nearest)

    if nearest.shape[1] > 0:
        run_on_threads(find, [*range(0, patterns, _SLAB_ROWS), patterns])
    return nearest


def listed_neighbors(
    neighbors: ArrayLike, n_instances: int, indices: NDArray[np.int64] | None
) -> NDArray[np.int32]:
    """Return a user's lists of neighbors, for the instances that may be drawn and among them.

    Args:
        neighbors: (N, K) whole numbers, the neighbors of each instance of the dataset, nearest
            first; -1 where one is missing. An instance in its own list is dropped.
        n_instances: N.
        indices: (n,) the instances that may be drawn; None for all.

    Returns:
        (n, K) int32, numbered as in `indices`; -1 fills a row up.

    Raises:
        InvalidTypeError: If they are not whole numbers.
        InvalidValueError: If their shape is another, a number is out of range, or a list names an
            instance twice.

    Example:
        >>> listed_neighbors([[0, 2], [2, -1], [1, 0]], 3, indices=None).tolist()
        [[2, -1], [2, -1], [1, 0]]
    """
    lists = _check_lists(as_array("neighbors", neighbors), n_instances)
    drawn = np.arange(n_instances) if indices is None else indices
    number_of = np.full(n_instances + 1, -1, np.int32)  # the last one is that of -1
    number_of[drawn] = np.arange(len(drawn), dtype=np.int32)
    mine = number_of[lists[drawn]]
    mine[mine == np.arange(len(drawn))[:, None]] = -1
    named = np.argsort(mine < 0, axis=1, kind="stable")  # what is named comes first
    return np.take_along_axis(mine, named, axis=1)


def _check_lists(lists: NDArray[Any], n_instances: int) -> NDArray[Any]:
    if lists.ndim != 2 or len(lists) != n_instances or lists.shape[1] == 0:
        raise InvalidValueError(
            f"neighbors must have the shape ({n_instances}, K), a list of at least one neighbor "
            f"for each instance; got shape {lists.shape}"
        )
    if lists.dtype.kind not in "iu":
        raise InvalidTypeError(f"neighbors must be whole numbers; got {lists.dtype}")
    outside = (lists < -1) | (lists >= n_instances)
    if outside.any():
        row, column = np.argwhere(outside)[0].tolist()
        raise InvalidValueError(
            f"neighbors must lie in [0, {n_instances}), or be -1 where one is missing; "
            f"neighbors[{row}, {column}] is {lists[row, column]}"
        )
    ordered = np.sort(lists, axis=1)
    twice = (ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)
    if twice.any():
        row, column = np.argwhere(twice)[0].tolist()
        raise InvalidValueError(
            f"neighbors must name an instance once in a list; neighbors[{row}] names "
            f"{ordered[row, column]} twice"
        )
    return lists


def find_neighbors(
    drawn: ManifestationStore,
    neighbors: ArrayLike | None,
    *,
    n_instances: int,
    indices: NDArray[np.int64] | None,
    n_neighbors: int,
    skip_nearest: int,
) -> NeighborLists:
    """Return the lists that a sampler's options ask for.

    Args:
        drawn: the instances that may be drawn.
        neighbors: a user's lists, see `listed_neighbors`; None for the nearest patterns of `drawn`.
        n_instances: of the dataset.
        indices: the instances of `drawn`; None for all.
        n_neighbors: neighbors in a list, at most.
        skip_nearest: nearest neighbors to leave out of each list.

    Raises:
        InvalidTypeError, InvalidValueError: If `neighbors` cannot be used, or if no list holds
            a neighbor, and there are several nodes.
    """
    if neighbors is None:
        nearest = nearest_patterns(drawn, n_neighbors, skip_nearest=skip_nearest)
        lists = NeighborLists(as_int32(drawn.pattern_of), nearest)
        longest = drawn.n_patterns - 1
    else:
        listed = listed_neighbors(neighbors, n_instances, indices)
        nearest = np.ascontiguousarray(listed[:, skip_nearest : skip_nearest + n_neighbors])
        lists = NeighborLists(np.arange(drawn.n_instances, dtype=np.int32), nearest)
        longest = int(np.count_nonzero(listed >= 0, axis=1).max())
    if longest <= skip_nearest and len(nearest) > 1:
        raise InvalidValueError(
            f"skip_nearest={skip_nearest} leaves no neighbors: the longest list has {longest}"
        )
    return lists
