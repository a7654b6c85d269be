"""Numba kernels that draw batches from what lies near to an anchor and a pool of the rest."""

import numpy as np

from maninegs_sampling.compiling import kernel
from maninegs_sampling.sampling._draw import draw_around
from maninegs_sampling.sampling._near import list_found, search_near
from maninegs_sampling.sampling._pool import fill_pool
from maninegs_sampling.sampling._population import draw_anchor, is_unweighted
from maninegs_sampling.sampling._stream import start_stream


@kernel
def find_around(tables, rings, population, rules, scratch, found, unweighted, u):
    """Set `lists`, `pool` and `weight_at` to what lies around pattern u."""
    _, reach = search_near(tables, rings, found, scratch.stream, u)
    scratch.weight_at[:] = 0
    list_found(found, population.counts, unweighted, reach, scratch.lists, scratch.weight_at)
    pool = scratch.pool
    pool.beyond[0] = reach
    fill_pool(tables.words, population, rules, scratch.stream, u, pool)
    for d in range(reach + 1, scratch.weight_at.shape[0]):
        scratch.weight_at[d] = pool.end[d] - pool.begin[d]


@kernel
def draw_near_batches(
    tables, rings, buckets, population, rules, scratch, found, anchors, log_weights, mu_of, seed,
    purpose, position, batches, lengths, starts,
):  # fmt: skip
    """Draw one batch for each anchor; as `_draw.draw_batches`, but without a look at all patterns.

    buckets: without rows.
    """
    unweighted = is_unweighted(population, rules)
    cluster_size = batches.shape[1] // rules.n_clusters
    for b in range(anchors.shape[0]):
        stamp = b + 1
        start_stream(
            scratch.stream, seed, purpose, position[0] + np.uint64(b), position[1], position[2]
        )
        size = 0
        anchor = np.int64(anchors[b])
        for number in range(rules.n_clusters):
            if number > 0:
                anchor = draw_anchor(population, rules, scratch.taken, stamp, scratch.stream)
            starts[b, number] = size
            if anchor >= 0:
                u = np.int64(population.pattern_of[anchor])
                find_around(tables, rings, population, rules, scratch, found, unweighted, u)
                size += draw_around(
                    buckets, population, rules, scratch, unweighted, stamp, anchor,
                    log_weights[mu_of[b]], batches[b, size : size + cluster_size],
                )  # fmt: skip
        lengths[b] = size
