"""Partition of a graph into groups of equal size that keep many of its edges inside."""

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from maninegs_sampling.optional import require


def partition(graph: csr_array, group_size: int, seed: int) -> NDArray[np.int64]:
    """Return groups of equal size, found by METIS and made exactly equal by `equalize`.

    Args:
        graph: (n, n) symmetric, without a diagonal; its entries are the edges.
        group_size: instances in a group.
        seed: of METIS, in [0, 2**31).

    Returns:
        (n,) int64, the group of each instance; see `equalize`.

    Raises:
        MissingExtraError: If pymetis is not installed.
    """
    n_instances = graph.shape[0]
    n_groups = -(-n_instances // group_size)
    if n_groups == 1 or group_size == 1:  # METIS is made for neither
        return np.arange(n_instances) // group_size
    pymetis = require("pymetis", extra="metis", what="partitioning the neighbor graph")
    adjacency = pymetis.CSRAdjacency(graph.indptr, graph.indices)
    _, parts = pymetis.part_graph(
        n_groups, adjacency, recursive=True, options=pymetis.Options(seed=seed)
    )
    return equalize(np.asarray(parts, np.int64), graph, group_size)


def equalize(parts: NDArray[np.int64], graph: csr_array, group_size: int) -> NDArray[np.int64]:
    """Return parts of exactly `group_size` instances, with few instances moved.

    METIS balances its parts to within a tolerance only. The smallest part becomes the one that
    holds what does not divide. A part that is too large gives up the instances with the fewest
    edges inside it, and each of these goes to the part with room to which it has most edges. On a
    tie the lower number is kept, moved or filled first.

    Args:
        parts: (n,) numbers of parts in [0, ceil(n / group_size)).
        graph: (n, n) symmetric; its entries are the edges.
        group_size: instances in a group.

    Returns:
        (n,) int64 numbers of groups. All have `group_size` instances, but for the last, which has
        the rest if there is one.
    """
    n_instances = len(parts)
    whole, rest = divmod(n_instances, group_size)
    sizes = np.bincount(parts, minlength=whole + (rest > 0))
    room = np.full(len(sizes), group_size)
    if rest:
        smallest = int(sizes.argmin())
        room[smallest] = rest
        # The smallest part becomes the last one.
        number = np.insert(np.arange(len(sizes) - 1), smallest, len(sizes) - 1)
        parts, room[number] = number[parts], room.copy()
        sizes = np.bincount(parts, minlength=len(sizes))
    row = np.repeat(np.arange(n_instances), np.diff(graph.indptr))
    inside = np.bincount(row[parts[row] == parts[graph.indices]], minlength=n_instances)
    by_edges = np.lexsort((np.arange(n_instances), -inside, parts))
    place = np.empty(n_instances, np.int64)  # of each instance in its part
    place[by_edges] = np.arange(n_instances) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    groups = np.where(place < room[parts], parts, -1)
    room -= np.bincount(groups[groups >= 0], minlength=len(room))
    for instance in np.flatnonzero(groups < 0).tolist():
        near = groups[graph.indices[graph.indptr[instance] : graph.indptr[instance + 1]]]
        near = near[(near >= 0) & (room[near] > 0)]
        if len(near):
            numbers, edges = np.unique(near, return_counts=True)
            groups[instance] = numbers[edges.argmax()]
        else:
            groups[instance] = (room > 0).argmax()
        room[groups[instance]] -= 1
    return groups
