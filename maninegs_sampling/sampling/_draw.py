"""Numba kernels that draw batches, with and without replacement.

One batch is a pure function of its arguments: it seeds its own stream and leaves nothing behind.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from maninegs_sampling.compiling import kernel
from maninegs_sampling.sampling._bucket_lists import (
    BucketLists,
    clear_lists,
    correct_weight,
    draw_listed,
    find_listed,
    list_bucket,
    new_lists,
)
from maninegs_sampling.sampling._distances import (
    LANES,
    close_distance,
    condition,
    draw_distance,
    nearest_open,
)
from maninegs_sampling.sampling._pool import Pool, new_pool, next_pooled
from maninegs_sampling.sampling._population import (
    Taken,
    count_eligible,
    draw_anchor,
    instance_of,
    is_eligible,
    is_unweighted,
    nth_eligible,
    take,
)
from maninegs_sampling.sampling._rows import (
    Scan,
    Skipped,
    find_row,
    new_scan,
    new_skipped,
    select_scanned,
    skip_nearest_patterns,
)
from maninegs_sampling.sampling._stream import (
    STREAM_WORDS,
    random_below,
    random_unit,
    start_stream,
)


class Scratch(NamedTuple):
    """Working memory of one call."""

    stream: NDArray[np.uint64]  # (STREAM_WORDS,)
    weight_at: NDArray[np.int64]  # (D,) weight at each distance; entry 0 is not used
    remaining: NDArray[np.int64]  # (D,) weight not yet taken; with groups an upper bound
    weights: NDArray[np.float64]  # (E,) relative probabilities of the distances from `low` on
    cumulative: NDArray[np.float64]  # their running sums, padded with infinity to whole LANES
    lists: BucketLists
    pool: Pool
    scan: Scan
    skipped: Skipped
    taken: Taken


def new_scratch(
    *,
    n_listed: int,
    last_step: int,
    dtype: np.dtype[Any],
    n_distances: int,
    taken: Taken,
    n_scanned: int = 0,
    pool_size: int = 0,
) -> Scratch:
    """Return working memory.

    Args:
        n_listed: patterns that lists have room for.
        last_step: D - 1, the largest distance that kernels know.
        dtype: of the distances that are computed.
        n_distances: E, from `low` to the largest distance with any probability.
        taken: what a batch holds.
        n_scanned: U, if the distances of each anchor are computed.
        pool_size: entries of a pool.
    """
    return Scratch(
        stream=np.empty(STREAM_WORDS, np.uint64),
        weight_at=np.empty(last_step + 1, np.int64),
        remaining=np.zeros(last_step + 1, np.int64),
        weights=np.empty(n_distances),
        cumulative=np.empty(-(-n_distances // LANES) * LANES),
        lists=new_lists(n_listed, last_step + 1),
        pool=new_pool(pool_size, last_step),
        scan=new_scan(n_scanned, last_step, dtype),
        skipped=new_skipped(),
        taken=taken,
    )


@kernel
def guess_instance(buckets, population, rules, scratch, unweighted, u, d):
    """Return an instance at distance d by the rule of `per_instance`, eligible or not."""
    target = random_below(scratch.stream, scratch.weight_at[d])
    if d == scratch.skipped.distance[0]:
        target += scratch.skipped.weight[0]
    if buckets.order.shape[0] > 0:
        p = np.int64(buckets.order[u, buckets.offsets[u, d] + target])
        if rules.per_instance:
            return p  # rows of instances
        target = np.int64(0)
    else:
        p, target = select_scanned(scratch.scan, population.counts, unweighted, d, target)
    return instance_of(population, rules, scratch.stream, p, target)


@kernel
def draw_instance(buckets, population, rules, scratch, unweighted, u, d):
    """Return an instance at distance d by the rule of `per_instance`, whatever was drawn before."""
    pool, lists, stream = scratch.pool, scratch.lists, scratch.stream
    if d > pool.beyond[0]:
        n = random_below(stream, pool.end[d] - pool.begin[d])
        entry = np.int64(pool.entries[pool.begin[d] + n])
        if rules.per_instance:
            return entry
        return instance_of(population, rules, stream, entry, np.int64(0))
    if lists.begin[d] >= 0:
        place, n = find_listed(lists, d, random_below(stream, scratch.weight_at[d]))
        return instance_of(population, rules, stream, np.int64(lists.patterns[place]), n)
    return guess_instance(buckets, population, rules, scratch, unweighted, u, d)


# While at least this share of a bucket is left, an instance is guessed, which is mostly right.
# After GUESSES wrong guesses, or with less left, the bucket is listed. Both ways are exact, so
# these numbers only set the speed.
GUESS_WHILE_LEFT = 0.25
GUESSES = 8


@kernel
def guess_eligible(buckets, population, rules, scratch, unweighted, stamp, u, d):
    """Return an eligible instance at distance d, or -1 after GUESSES wrong guesses."""
    taken = scratch.taken
    for _ in range(GUESSES):
        instance = guess_instance(buckets, population, rules, scratch, unweighted, u, d)
        if is_eligible(population, rules, taken, stamp, instance):
            return instance
        if not rules.per_instance:
            # The pattern stays chosen as long as another of its instances is eligible.
            p = np.int64(population.pattern_of[instance])
            eligible = count_eligible(population, rules, taken, stamp, p)
            if eligible > 0:
                n = random_below(scratch.stream, eligible)
                return nth_eligible(population, rules, taken, stamp, p, n)
    return np.int64(-1)


@kernel
def take_from(buckets, population, rules, scratch, unweighted, stamp, u, d):
    """Take an eligible instance at distance d and return it; -1 if there is none.

    `remaining[d]` is then again an upper bound of what is left, and exact without groups or once
    the distance is listed.
    """
    lists, remaining, taken = scratch.lists, scratch.remaining, scratch.taken
    if d > scratch.pool.beyond[0]:
        pooled = next_pooled(
            population, rules, taken, stamp, scratch.pool, scratch.stream, remaining, d
        )
        if pooled >= 0:
            take(population, rules, taken, stamp, pooled)
        return pooled
    if lists.begin[d] < 0 and remaining[d] >= GUESS_WHILE_LEFT * scratch.weight_at[d]:
        guess = guess_eligible(buckets, population, rules, scratch, unweighted, stamp, u, d)
        if guess >= 0:
            take(population, rules, taken, stamp, guess)
            if rules.distinct_patterns:
                p = population.pattern_of[guess]
                remaining[d] -= 1 if unweighted else population.counts[p]
            return guess
    if lists.begin[d] < 0:
        list_bucket(
            buckets, population, rules, taken, stamp, lists, scratch.scan, scratch.skipped,
            remaining, u, d,
        )  # fmt: skip
    instance, place = draw_listed(
        population, rules, taken, stamp, lists, scratch.stream, remaining, d
    )
    if instance >= 0:
        take(population, rules, taken, stamp, instance)
        correct_weight(population, rules, taken, stamp, lists, remaining, d, place)
    return instance


@kernel
def draw_with_replacement(buckets, population, rules, scratch, unweighted, stamp, u, total, batch):
    """Draw batch.shape[0] - 1 times; leave out what is drawn again. Return the batch's size.

    What the batch holds changes neither the distance distribution nor what is drawn from.
    """
    last = rules.low + scratch.weights.shape[0] - 1
    size = 1
    for _ in range(batch.shape[0] - 1):
        d = draw_distance(rules, random_unit(scratch.stream), scratch.cumulative, total)
        if rules.nearest:
            d = nearest_open(rules, scratch.remaining, last, d)
        instance = draw_instance(buckets, population, rules, scratch, unweighted, u, d)
        if is_eligible(population, rules, scratch.taken, stamp, instance):
            take(population, rules, scratch.taken, stamp, instance)
            batch[size] = instance
            size += 1
    return size


@kernel
def draw_without_replacement(
    buckets, population, rules, scratch, unweighted, stamp, u, log_weights, open_distances, total,
    batch,
):  # fmt: skip
    """Fill the batch with instances that may be in it. Return its size.

    Before each draw, `open_distances` is the number of distances with `remaining` above 0, and,
    unless `rules.nearest`, the distribution is conditioned on these. A distance may turn out to
    hold nobody eligible, where groups are taken: the draw is then repeated, or with
    `rules.nearest` moves on to the next nearest distance.
    """
    last = rules.low + log_weights.shape[0] - 1
    remaining = scratch.remaining
    size = 1
    while size < batch.shape[0] and open_distances > 0:
        drawn = draw_distance(rules, random_unit(scratch.stream), scratch.cumulative, total)
        searching = True
        while searching and open_distances > 0:
            d = nearest_open(rules, remaining, last, drawn) if rules.nearest else drawn
            instance = take_from(buckets, population, rules, scratch, unweighted, stamp, u, d)
            if instance >= 0:
                batch[size] = instance
                size += 1
            searching = rules.nearest and instance < 0
            if remaining[d] == 0:
                open_distances -= 1
                if not rules.nearest:
                    total = close_distance(
                        log_weights, rules, remaining, scratch.weights, scratch.cumulative, d
                    )
    return size


@kernel
def draw_around(
    buckets, population, rules, scratch, unweighted, stamp, anchor, log_weights, cluster
):  # fmt: skip
    """Fill `cluster` with the anchor and negatives drawn for it. Return how many there are.

    `weight_at`, `skipped`, `lists` and `pool` are the anchor's.
    """
    u = np.int64(population.pattern_of[anchor])
    open_distances = 0
    for d in range(rules.low, rules.low + log_weights.shape[0]):
        weight = scratch.weight_at[d]  # too much where the batch holds some of it already
        scratch.remaining[d] = weight
        open_distances += weight > 0
    total = condition(log_weights, rules, scratch.remaining, scratch.weights, scratch.cumulative)
    take(population, rules, scratch.taken, stamp, anchor)
    cluster[0] = anchor
    if open_distances == 0:
        return 1
    if rules.replacement:
        return draw_with_replacement(
            buckets, population, rules, scratch, unweighted, stamp, u, total, cluster
        )
    return draw_without_replacement(
        buckets, population, rules, scratch, unweighted, stamp, u, log_weights, open_distances,
        total, cluster,
    )  # fmt: skip


@kernel
def draw_cluster(
    buckets, population, rules, scratch, unweighted, stamp, anchor, log_weights, cluster
):  # fmt: skip
    """Find what lies around the anchor and draw; as `draw_around`."""
    u = np.int64(population.pattern_of[anchor])
    weight_at = scratch.weight_at
    find_row(buckets, population.counts, unweighted, u, scratch.scan, rules.low, weight_at)
    skip_nearest_patterns(
        buckets, population, rules, unweighted, u, scratch.scan, scratch.skipped, weight_at
    )
    clear_lists(scratch.lists)
    return draw_around(
        buckets, population, rules, scratch, unweighted, stamp, anchor, log_weights, cluster
    )


@kernel
def draw_batches(
    buckets, population, rules, scratch, anchors, log_weights, mu_of, seed, purpose, position,
    batches, lengths, starts,
):  # fmt: skip
    """Draw one batch for each anchor, batch b from the stream at position + (b, 0, 0).

    log_weights: (L, E), of the distances from `low` on, at each mu. mu_of: (M,), a batch's mu.
    batches: (M, batch size), filled from the left; lengths: (M,). starts: (M, n_clusters), the
    place of each cluster's anchor, or the batch's length where nobody was left to be one.
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
                size += draw_cluster(
                    buckets, population, rules, scratch, unweighted, stamp, anchor,
                    log_weights[mu_of[b]], batches[b, size : size + cluster_size],
                )  # fmt: skip
        lengths[b] = size
