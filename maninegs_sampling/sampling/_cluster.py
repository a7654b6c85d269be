"""Numba kernels that draw clusters whose members are near to each other, not only to the anchor.

A candidate's distance is its mean distance to the cluster's members so far, of which those of its
own pattern do not count, rounded to a whole number of steps of 1 / STEPS_PER_BIT. Step
low * STEPS_PER_BIT + k has the log-weight log_weights[k]. Each member's distances to all patterns
are added to `sums`; dividing these by the number of members gives every pattern's step.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from maninegs_sampling.compiling import kernel
from maninegs_sampling.distances._tiles import TILE, distance_tile
from maninegs_sampling.distances.metrics import distance_dtype
from maninegs_sampling.sampling._population import (
    Taken,
    count_eligible,
    draw_anchor,
    is_eligible,
    is_unweighted,
    nth_eligible,
    remaining_weight,
    take,
)
from maninegs_sampling.sampling._rows import SEARCH_STEP, weight_in_step
from maninegs_sampling.sampling._stream import (
    STREAM_WORDS,
    random_below,
    random_unit,
    start_stream,
)

# Mean distances are rounded to quarters of a bit.
STEPS_PER_BIT = 4

# Steps this much less likely than a present one are not looked for: a number with 53 random bits
# would never choose them.
NEGLIGIBLE = 46.0  # of log-weight; exp(-46) < 2**-66

# Wrong guesses at an eligible instance before the candidates at a step are listed. Both ways are
# exact.
GUESSES = 8


class ClusterScratch(NamedTuple):
    """Working memory of one call."""

    stream: NDArray[np.uint64]  # (STREAM_WORDS,)
    weights: NDArray[np.float64]  # (E,) relative probabilities of the steps
    present: NDArray[np.int64]  # (E + 1,) when a candidate was last seen at a step
    clock: NDArray[np.int64]  # (1,) counts draws
    tile: NDArray[Any]  # (TILE,) distances
    sums: NDArray[Any]  # (U,) of the distances to the cluster's members; `closed` or more: closed
    closed: NDArray[Any]  # (1,) so large that no sum comes near
    steps: NDArray[Any]  # (U,) each pattern's step; E for those that cannot be drawn
    factors: NDArray[Any]  # (n,) from the sum of k + 1 distances to their mean in steps
    shifts: NDArray[Any]  # (n,) what is added before rounding down
    block_step: NDArray[Any]  # (blocks of SEARCH_STEP patterns,) the lowest step of each
    taken: Taken


def new_cluster_scratch(
    *, n_patterns: int, n_bits: int, n_steps: int, cluster_size: int, taken: Taken
) -> ClusterScratch:
    """Return working memory.

    Args:
        n_patterns: patterns that may be drawn.
        n_bits: bits of a pattern.
        n_steps: E, of the distances with any probability.
        cluster_size: instances of a cluster.
        taken: what a batch holds.
    """
    largest = cluster_size * n_bits
    small = max(4 * largest, n_steps) < 2**16  # closed sums stay beyond the last step
    dtype = np.dtype(np.uint16 if small else np.uint32)
    # A step is floor(x + 1/2) for x = STEPS_PER_BIT * sum / k. x + 1/2 + 1/4k has the same floor
    # and lies at least 1/4k from every integer; the precision chosen here moves it by less.
    precision = np.float32 if n_bits < 256 and cluster_size <= 1024 else np.float64
    members = np.arange(1, cluster_size + 1)
    return ClusterScratch(
        stream=np.empty(STREAM_WORDS, np.uint64),
        weights=np.empty(n_steps),
        present=np.zeros(n_steps + 1, np.int64),
        clock=np.zeros(1, np.int64),
        tile=np.empty(TILE, distance_dtype(n_bits)),
        sums=np.empty(n_patterns, dtype),
        closed=np.full(1, 2 ** (8 * dtype.itemsize - 1), dtype),
        steps=np.empty(n_patterns, dtype),
        factors=(STEPS_PER_BIT / members).astype(precision),
        shifts=(0.5 + 0.25 / members).astype(precision),
        block_step=np.empty(-(-n_patterns // SEARCH_STEP), dtype),
        taken=taken,
    )


@kernel
def add_member(words, u, tile, sums):
    """Add the distances of pattern u to `sums`."""
    for begin in range(0, sums.shape[0], TILE):
        end = min(begin + TILE, sums.shape[0])
        distance_tile(words, words, u, begin, end, tile)
        part = sums[begin:end]
        for j in range(end - begin):
            part[j] += tile[j]


@kernel
def close_skipped(sums, skip_nearest, largest, closed):
    """Close the patterns nearest to the anchor, whose distances `sums` holds, in order."""
    left = skip_nearest
    for d in range(1, largest + 1):
        for p in range(sums.shape[0]):
            if left > 0 and sums[p] == d:
                sums[p] = closed
                left -= 1
        if left == 0:
            return


@kernel
def step_of(scratch, total, n_members, first, end):
    """Return the step of a sum of distances, from step `first` on; `end` if it lies outside."""
    real = scratch.factors.dtype.type
    factor, shift = scratch.factors[n_members - 1], scratch.shifts[n_members - 1]
    step = np.int32(real(np.int32(total)) * factor + shift) - np.int32(first)
    return min(np.uint32(step), np.uint32(end))  # a negative step becomes a large one


@kernel
def set_steps(scratch, n_members, first, end):
    """Set each pattern's step, from step `first` on.

    What lies outside the steps, and what is closed, gets the step `end`.
    """
    sums, steps = scratch.sums, scratch.steps
    real = scratch.factors.dtype.type
    factor, shift = scratch.factors[n_members - 1], scratch.shifts[n_members - 1]
    for p in range(sums.shape[0]):
        step = np.int32(real(np.int32(sums[p])) * factor + shift) - np.int32(first)
        steps[p] = min(np.uint32(step), np.uint32(end))


@kernel
def set_steps_of_members(population, scratch, members, first, end):
    """Set the steps of the patterns of members anew: members of their own pattern do not count."""
    for place in range(members.shape[0]):
        p = population.pattern_of[members[place]]
        if scratch.sums[p] < scratch.closed[0]:
            others = 0
            for other in range(members.shape[0]):
                others += population.pattern_of[members[other]] != p
            scratch.steps[p] = step_of(scratch, scratch.sums[p], others, first, end)


@kernel
def set_block_steps(steps, block_step):
    """Set the lowest step of each block."""
    for block in range(block_step.shape[0]):
        begin = block * SEARCH_STEP
        lowest = steps[begin]
        if begin + SEARCH_STEP <= steps.shape[0]:
            part = steps[begin : begin + SEARCH_STEP]
            for k in range(SEARCH_STEP):  # of fixed length, so that it vectorizes
                lowest = min(lowest, part[k])
        else:
            for p in range(begin, steps.shape[0]):
                lowest = min(lowest, steps[p])
        block_step[block] = lowest


@kernel
def note_steps(log_weights, nearest, steps, block_step, present, now):
    """Note in `present` which steps there are; return the first and the last that can be drawn."""
    first = last = log_weights.shape[0]
    for block in range(block_step.shape[0]):
        first = min(first, block_step[block])
    if first == last:
        return first, first - 1
    last -= 1
    while not nearest and log_weights[last] < log_weights[first] - NEGLIGIBLE:
        last -= 1
    for block in range(block_step.shape[0]):
        if block_step[block] <= last:
            for p in range(
                block * SEARCH_STEP, min(block * SEARCH_STEP + SEARCH_STEP, steps.shape[0])
            ):
                present[steps[p]] = now
    return first, last


@kernel
def draw_step(log_weights, weights, present, now, first, last, unit):
    """Return a step at `unit`, a number in [0, 1), of the distribution over the present steps.

    The steps are those from `first` to `last`; -1 if none is present.
    """
    total = 0.0
    chosen = -1
    for k in range(first, last + 1):
        if present[k] == now:
            chosen = k
            total += weights[k]
    if total < 1e-200 and chosen >= 0:
        return draw_unlikely_step(log_weights, present, now, first, last, unit)
    target = unit * total
    for k in range(first, last + 1):
        if present[k] == now and weights[k] > 0.0:
            chosen = k
            target -= weights[k]
            if target < 0.0:
                break
    return chosen


@kernel
def draw_unlikely_step(log_weights, present, now, first, last, unit):
    """Return what `draw_step` returns, with weights relative to the likeliest step present."""
    largest = -np.inf
    for k in range(first, last + 1):
        if present[k] == now:
            largest = max(largest, log_weights[k])
    total = 0.0
    for k in range(first, last + 1):
        total += np.exp(log_weights[k] - largest) if present[k] == now else 0.0
    target = unit * total
    chosen = -1
    for k in range(first, last + 1):
        if present[k] == now and log_weights[k] > largest - NEGLIGIBLE:
            chosen = k
            target -= np.exp(log_weights[k] - largest)
            if target < 0.0:
                break
    return chosen


@kernel
def draw_nearest_step(weights, present, now, unit):
    """Return the present step nearest to one drawn from the distribution over all steps.

    The lower one on a tie; -1 if none is present.
    """
    last = weights.shape[0] - 1
    total = 0.0
    for k in range(last + 1):
        total += weights[k]
    target = unit * total
    step = 0
    while step < last and target >= weights[step]:
        target -= weights[step]
        step += 1
    for away in range(last + 1):
        if step - away >= 0 and present[step - away] == now:
            return step - away
        if step + away <= last and present[step + away] == now:
            return step + away
    return -1


@kernel
def weigh_step(scratch, counts, unweighted, step):
    """Return the weight of all patterns at a step."""
    total = np.int64(0)
    for block in range(scratch.block_step.shape[0]):
        if scratch.block_step[block] <= step:
            total += weight_in_step(scratch.steps, counts, unweighted, block * SEARCH_STEP, step)
    return total


@kernel
def select_at_step(scratch, counts, unweighted, step, target):
    """Return the pattern at a step that holds weight number `target`, and what is left of it.

    The step holds more weight than `target`.
    """
    block = 0
    while True:
        if scratch.block_step[block] <= step:
            for p in range(
                block * SEARCH_STEP, min(block * SEARCH_STEP + SEARCH_STEP, scratch.steps.shape[0])
            ):
                if scratch.steps[p] == step:
                    weight = 1 if unweighted else counts[p]
                    if target < weight:
                        return p, target
                    target -= weight
        block += 1


@kernel
def guess_at_step(population, rules, scratch, unweighted, stamp, step, total):
    """Return an instance at a step, eligible or not; with `replacement` any, else as eligible."""
    target = random_below(scratch.stream, total)
    p, n = select_at_step(scratch, population.counts, unweighted, step, target)
    if rules.per_instance:
        # Unweighted, every pattern has one instance, and n is 0.
        return np.int64(population.members[population.starts[p] + n])
    if rules.replacement:
        n = random_below(scratch.stream, population.counts[p])
        return np.int64(population.members[population.starts[p] + n])
    eligible = count_eligible(population, rules, scratch.taken, stamp, p)
    if eligible == 0:
        return np.int64(population.members[population.starts[p]])  # not eligible either
    n = random_below(scratch.stream, eligible)
    return nth_eligible(population, rules, scratch.taken, stamp, p, n)


@kernel
def list_step(population, rules, scratch, stamp, step):
    """Return an eligible instance at a step; -1 if there is none. Close patterns without one."""
    steps, taken = scratch.steps, scratch.taken
    total = np.int64(0)
    for p in range(steps.shape[0]):
        if steps[p] == step:
            weight = remaining_weight(population, rules, taken, stamp, p)
            total += weight
            if weight == 0:
                scratch.sums[p] = scratch.closed[0]
                steps[p] = scratch.present.shape[0] - 1
    if total == 0:
        return np.int64(-1)
    target = random_below(scratch.stream, total)
    p = -1
    while target >= 0:
        p += 1
        if steps[p] == step:
            weight = remaining_weight(population, rules, taken, stamp, p)
            if target < weight:
                break
            target -= weight
    eligible = count_eligible(population, rules, taken, stamp, p)
    n = target if rules.per_instance else random_below(scratch.stream, eligible)
    return nth_eligible(population, rules, taken, stamp, p, n)


@kernel
def draw_at_step(population, rules, scratch, unweighted, stamp, step):
    """Return an instance at a step that may be drawn; -1 if there is none."""
    total = weigh_step(scratch, population.counts, unweighted, step)
    for _ in range(GUESSES):
        instance = guess_at_step(population, rules, scratch, unweighted, stamp, step, total)
        if rules.replacement or is_eligible(population, rules, scratch.taken, stamp, instance):
            return instance
    return list_step(population, rules, scratch, stamp, step)


@kernel
def open_cluster(words, population, rules, scratch, anchor, batch, size):
    """Set `sums` to the distances from the anchor, and close what cannot be drawn for it."""
    sums, closed = scratch.sums, scratch.closed[0]
    sums[:] = 0
    u = np.int64(population.pattern_of[anchor])
    add_member(words, u, scratch.tile, sums)
    if rules.skip_nearest > 0:
        close_skipped(sums, rules.skip_nearest, 64 * words.shape[0], closed)
    sums[u] = closed
    if rules.distinct_patterns and not rules.replacement:
        for place in range(size):
            sums[population.pattern_of[batch[place]]] = closed


@kernel
def draw_near_cluster(
    words, population, rules, scratch, unweighted, stamp, anchor, log_weights, batch, size, end
):  # fmt: skip
    """Draw a cluster into batch[size:end], the anchor first. Return the batch's new size."""
    open_cluster(words, population, rules, scratch, anchor, batch, size)
    take(population, rules, scratch.taken, stamp, anchor)
    begin = size
    batch[size] = anchor
    size += 1
    latest = np.int64(-1)  # the member whose distances are not yet in `sums`
    for _ in range(end - size):
        if latest >= 0:
            add_member(words, population.pattern_of[latest], scratch.tile, scratch.sums)
            latest = np.int64(-1)
        scratch.clock[0] += 1
        now = scratch.clock[0]
        set_steps(scratch, size - begin, rules.low * STEPS_PER_BIT, log_weights.shape[0])
        if rules.replacement or not rules.distinct_patterns:  # else they are closed
            set_steps_of_members(
                population, scratch, batch[begin:size], rules.low * STEPS_PER_BIT,
                log_weights.shape[0],
            )  # fmt: skip
        set_block_steps(scratch.steps, scratch.block_step)
        first, last = note_steps(
            log_weights, rules.nearest, scratch.steps, scratch.block_step, scratch.present, now
        )
        instance = np.int64(-1)
        unit = random_unit(scratch.stream)
        while instance < 0:
            if rules.nearest:
                step = draw_nearest_step(scratch.weights, scratch.present, now, unit)
            else:
                step = draw_step(
                    log_weights, scratch.weights, scratch.present, now, first, last, unit
                )
            if step < 0:
                return size
            instance = draw_at_step(population, rules, scratch, unweighted, stamp, step)
            if instance < 0:  # nobody there is eligible, where groups or instances are taken
                scratch.present[step] = 0
                # With `nearest` the same draw moves on to the next nearest step.
                unit = unit if rules.nearest else random_unit(scratch.stream)
        if is_eligible(population, rules, scratch.taken, stamp, instance):
            take(population, rules, scratch.taken, stamp, instance)
            if rules.distinct_patterns and not rules.replacement:
                scratch.sums[population.pattern_of[instance]] = scratch.closed[0]
            batch[size] = instance
            size += 1
            latest = instance
    return size


@kernel
def draw_cluster_batches(
    words, population, rules, scratch, anchors, log_weights, mu_of, seed, purpose, position,
    batches, lengths, starts,
):  # fmt: skip
    """Draw one batch for each anchor; as `_draw.draw_batches`, but of clusters near to themselves.

    log_weights: (L, E), of the steps from low * STEPS_PER_BIT on.
    """
    unweighted = is_unweighted(population, rules)
    cluster_size = batches.shape[1] // rules.n_clusters
    for b in range(anchors.shape[0]):
        stamp = b + 1
        start_stream(
            scratch.stream, seed, purpose, position[0] + np.uint64(b), position[1], position[2]
        )
        own_weights = log_weights[mu_of[b]]
        largest = -np.inf
        for k in range(own_weights.shape[0]):
            largest = max(largest, own_weights[k])
        for k in range(own_weights.shape[0]):
            scratch.weights[k] = np.exp(own_weights[k] - largest)
        size = 0
        anchor = np.int64(anchors[b])
        for number in range(rules.n_clusters):
            if number > 0:
                anchor = draw_anchor(population, rules, scratch.taken, stamp, scratch.stream)
            starts[b, number] = size
            if anchor >= 0:
                size = draw_near_cluster(
                    words, population, rules, scratch, unweighted, stamp, anchor, own_weights,
                    batches[b], size, size + cluster_size,
                )  # fmt: skip
        lengths[b] = size
