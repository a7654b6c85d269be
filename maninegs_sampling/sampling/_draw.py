"""Numba kernels that draw batches: the random stream, the choice of a distance and of an instance.

One batch is a pure function of its arguments: it seeds its own stream and leaves nothing behind.
"""

from typing import Any, NamedTuple

import numpy as np
from numba.core import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from maninegs_sampling.distances._kernels import TILE, distance_tile, kernel
from maninegs_sampling.distances.hamming import distance_dtype

# Running sums are read and changed this many at a time: a loop of fixed length has no remainder
# that would run one by one.
LANES = 16


class Population(NamedTuple):
    """Which instances there are, by pattern and by group."""

    pattern_of: NDArray[np.int32]  # (N,)
    members: NDArray[np.int32]  # (N,) instances, grouped by pattern, ascending within one
    starts: NDArray[np.int32]  # (U,) first place of each pattern in `members`
    counts: NDArray[np.int32]  # (U,)
    group_of: NDArray[np.int32]  # (N,), or empty: no groups
    group_of_member: NDArray[np.int32]  # the same in the order of `members`


class Rules(NamedTuple):
    """The sampler's options, as flags."""

    low: int
    nearest: bool  # an empty distance moves to the nearest one, else the law is renormalised
    per_instance: bool  # uniform among a distance's instances, else among its patterns
    distinct_patterns: bool  # a pattern is used once a batch, else an instance is
    replacement: bool  # what is drawn again is left out, else it is never drawn again


class Scratch(NamedTuple):
    """Working memory of one call. `*_taken` hold the number of the batch that took an entry.

    A distance is listed when its bucket is written out for one batch: its patterns lie at
    listed_begin[d] to listed_end[d] of `patterns`, with the running sums of the weight that each
    has left in `running`, padded to whole lanes.
    """

    stream: NDArray[np.uint64]  # (11,) key 2, counter 4, buffer 4, words used of the buffer
    mass: NDArray[np.int64]  # (D,) weight at each distance; entry 0 is not used
    left: NDArray[np.int64]  # (D,) weight not yet taken; with groups an upper bound
    weights: NDArray[np.float64]  # (high - low + 1,) relative probabilities
    law: NDArray[np.float64]  # their running sums, padded with infinity to whole lanes
    listed_begin: NDArray[np.int64]  # (D,), -1 where a distance is not listed
    listed_end: NDArray[np.int64]  # (D,)
    patterns: NDArray[np.int32]  # (U + LANES * D,)
    running: NDArray[np.int64]  # (U + LANES * D,)
    distances: NDArray[Any]  # (U,) distances from the anchor, where rows are scanned
    block_mass: NDArray[np.int64]  # (blocks of TILE patterns, B + 1), where rows are scanned
    bins: NDArray[np.int64]  # (4, B + 1), where rows are scanned
    key_taken: NDArray[np.int32]  # (U,) patterns or (N,) instances
    group_taken: NDArray[np.int32]  # (groups,)


def new_scratch(
    *,
    n_patterns: int,
    n_bits: int,
    n_distances: int,
    n_keys: int,
    n_groups: int,
    scanned: bool,
) -> Scratch:
    """Return working memory.

    Args:
        n_patterns: patterns that may be drawn.
        n_bits: bits of a pattern.
        n_distances: from `low` to the largest one with any probability.
        n_keys: instances, or patterns where they may be in a batch but once.
        n_groups: groups, 0 without.
        scanned: whether distances are computed for each anchor, without precomputed rows.
    """
    size = n_bits + 1
    listed = n_patterns + LANES * size
    blocks = -(-n_patterns // TILE) if scanned else 0
    return Scratch(
        stream=np.empty(11, np.uint64),
        mass=np.empty(size, np.int64),
        left=np.zeros(size, np.int64),
        weights=np.empty(n_distances),
        law=np.empty(-(-n_distances // LANES) * LANES),
        listed_begin=np.empty(size, np.int64),
        listed_end=np.empty(size, np.int64),
        patterns=np.empty(listed, np.int32),
        running=np.empty(listed, np.int64),
        distances=np.empty(n_patterns if scanned else 0, distance_dtype(n_bits)),
        block_mass=np.empty((blocks, size), np.int64),
        bins=np.empty((4, size), np.int64),
        key_taken=np.zeros(n_keys, np.int32),
        group_taken=np.zeros(n_groups, np.int32),
    )


@intrinsic
def multiply_high(typing_context: Any, a: Any, b: Any) -> Any:
    """The upper 64 bits of the 128-bit product of two uint64."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        wide = context.get_value_type(types.uint64).__class__(128)
        x, y = (builder.zext(argument, wide) for argument in arguments)
        high = builder.lshr(builder.mul(x, y), wide(64))
        return builder.trunc(high, context.get_value_type(types.uint64))

    return types.uint64(types.uint64, types.uint64), generate


@kernel
def start_stream(stream, seed, purpose, a, b, c):
    """Put `stream` where `randomness.generator_at(seed, purpose, (a, b, c))` starts."""
    stream[0] = seed
    stream[1] = purpose
    stream[2] = 0
    stream[3] = a
    stream[4] = b
    stream[5] = c
    stream[10] = 4


@kernel
def next_word(stream):
    """The next 64 random bits: Philox 4x64 with ten rounds (Salmon et al. 2011), as in numpy."""
    used = np.int64(stream[10])
    if used == 4:
        stream[2] += np.uint64(1)
        key0, key1 = stream[0], stream[1]
        c0, c1, c2, c3 = stream[2], stream[3], stream[4], stream[5]
        for _ in range(10):
            high0 = multiply_high(np.uint64(0xD2E7470EE14C6C93), c0)
            low0 = np.uint64(0xD2E7470EE14C6C93) * c0
            high1 = multiply_high(np.uint64(0xCA5A826395121157), c2)
            low1 = np.uint64(0xCA5A826395121157) * c2
            c0, c1, c2, c3 = high1 ^ c1 ^ key0, low1, high0 ^ c3 ^ key1, low0
            key0 += np.uint64(0x9E3779B97F4A7C15)
            key1 += np.uint64(0xBB67AE8584CAA73B)
        stream[6], stream[7], stream[8], stream[9] = c0, c1, c2, c3
        used = 0
    stream[10] = used + 1
    return stream[6 + used]


@kernel
def random_below(stream, limit):
    """A number in [0, limit), uniform to within limit / 2**64."""
    return np.int64(multiply_high(next_word(stream), np.uint64(limit)))


@kernel
def random_unit(stream):
    """A float64 in [0, 1), a multiple of 2**-53."""
    return np.float64(next_word(stream) >> np.uint64(11)) * 2.0**-53


@kernel
def scan_row(words, counts, unit, u, distances, block_mass, bins, mass):
    """Compute pattern u's distances and the weight at each, in blocks of TILE patterns."""
    patterns = words.shape[1]
    size = block_mass.shape[1]
    bins[:] = 0
    for block in range(block_mass.shape[0]):
        begin = block * TILE
        end = min(begin + TILE, patterns)
        tile = distances[begin:end]
        distance_tile(words, words, u, begin, end, tile)
        quarter = (end - begin) // 4
        if unit:
            for j in range(quarter):
                k = 4 * j
                bins[0, tile[k]] += 1
                bins[1, tile[k + 1]] += 1
                bins[2, tile[k + 2]] += 1
                bins[3, tile[k + 3]] += 1
        else:
            weights = counts[begin:end]
            for j in range(quarter):
                k = 4 * j
                bins[0, tile[k]] += weights[k]
                bins[1, tile[k + 1]] += weights[k + 1]
                bins[2, tile[k + 2]] += weights[k + 2]
                bins[3, tile[k + 3]] += weights[k + 3]
        for k in range(4 * quarter, end - begin):
            bins[0, tile[k]] += 1 if unit else counts[begin + k]
        for d in range(size):
            weight = bins[0, d] + bins[1, d] + bins[2, d] + bins[3, d]
            block_mass[block, d] = weight
            mass[d] += weight
        bins[:] = 0


# Patterns skipped at a time in a search: counting matches vectorises, stopping at one does not.
CHUNK = 64


@kernel
def select_scanned(distances, block_mass, counts, unit, d, target):
    """The pattern at distance d that holds weight number `target`, and the rest of `target`."""
    block = 0
    while target >= block_mass[block, d]:
        target -= block_mass[block, d]
        block += 1
    p = block * TILE
    end = min(p + TILE, distances.shape[0])
    while True:
        chunk_end = min(p + CHUNK, end)
        inside = 0
        if unit:
            for k in range(p, chunk_end):
                inside += distances[k] == d
        else:
            for k in range(p, chunk_end):
                inside += counts[k] if distances[k] == d else 0
        if target < inside:
            break
        target -= inside
        p = chunk_end
    while True:
        if distances[p] == d:
            weight = 1 if unit else counts[p]
            if target < weight:
                return p, target
            target -= weight
        p += 1


@kernel
def is_eligible(population, rules, scratch, now, instance):
    """Whether neither the instance (or its pattern) nor its group is in the batch."""
    key = population.pattern_of[instance] if rules.distinct_patterns else instance
    if scratch.key_taken[key] == now:
        return False
    if population.group_of.shape[0] == 0:
        return True
    return scratch.group_taken[population.group_of[instance]] != now


@kernel
def count_eligible(population, rules, scratch, now, p):
    """How many instances of pattern p are eligible."""
    eligible = np.int64(0)
    if rules.distinct_patterns:
        if scratch.key_taken[p] == now:
            return eligible
        if population.group_of.shape[0] == 0:
            return np.int64(population.counts[p])
        for place in range(population.starts[p], population.starts[p] + population.counts[p]):
            eligible += scratch.group_taken[population.group_of_member[place]] != now
        return eligible
    for place in range(population.starts[p], population.starts[p] + population.counts[p]):
        if is_eligible(population, rules, scratch, now, population.members[place]):
            eligible += 1
    return eligible


@kernel
def nth_eligible(population, rules, scratch, now, p, n):
    """The n-th eligible instance of pattern p, which has more than n."""
    if rules.distinct_patterns and population.group_of.shape[0] == 0:
        return np.int64(population.members[population.starts[p] + n])
    for place in range(population.starts[p], population.starts[p] + population.counts[p]):
        instance = population.members[place]
        if is_eligible(population, rules, scratch, now, instance):
            if n == 0:
                return np.int64(instance)
            n -= 1
    return np.int64(-1)


@kernel
def guess_instance(buckets, population, rules, scratch, unit, u, d):
    """An instance at distance d by the rule of `per_instance`, eligible or not."""
    target = random_below(scratch.stream, scratch.mass[d])
    if buckets.order.shape[0] > 0:
        p = np.int64(buckets.order[u, buckets.offsets[u, d] + target])
        if rules.per_instance:
            return p  # rows of instances
        target = np.int64(0)
    else:
        p, target = select_scanned(
            scratch.distances, scratch.block_mass, population.counts, unit, d, target
        )
    if not rules.per_instance and population.counts[p] > 1:
        target = random_below(scratch.stream, population.counts[p])
    return np.int64(population.members[population.starts[p] + target])


@kernel
def left_of_pattern(population, rules, scratch, now, p):
    """The weight that pattern p has left."""
    eligible = count_eligible(population, rules, scratch, now, p)
    return eligible if rules.per_instance else min(eligible, 1)


@kernel
def list_pattern(population, rules, scratch, now, p, end, total):
    """Append pattern p to a list if it has any weight left; returns the list's end and total."""
    weight = left_of_pattern(population, rules, scratch, now, p)
    if weight > 0:
        total += weight
        scratch.patterns[end] = p
        scratch.running[end] = total
        end += 1
    return end, total


@kernel
def list_row(buckets, population, rules, scratch, now, u, d, begin):
    """List what is left at distance d from the precomputed row u; returns the end and the total."""
    grouped = population.group_of.shape[0] > 0
    end, total = begin, np.int64(0)
    place, last = np.int64(buckets.offsets[u, d]), np.int64(buckets.offsets[u, d + 1])
    while place < last:
        p = np.int64(buckets.order[u, place])
        if rules.per_instance:  # rows of instances, those of a pattern side by side
            # One look dismisses each instance of a taken group, which may hold nearly all.
            if grouped and scratch.group_taken[population.group_of[p]] == now:
                place += 1
                continue
            p = np.int64(population.pattern_of[p])
            if grouped:  # some of the pattern's instances may have been dismissed
                while place + 1 < last and population.pattern_of[buckets.order[u, place + 1]] == p:
                    place += 1
            else:
                place += population.counts[p] - 1
        place += 1
        end, total = list_pattern(population, rules, scratch, now, p, end, total)
    return end, total


@kernel
def list_scanned(population, rules, scratch, now, d, begin):
    """List what is left at distance d from the scanned distances; returns the end and the total."""
    distances = scratch.distances
    end, total = begin, np.int64(0)
    for block in range(scratch.block_mass.shape[0]):
        if scratch.block_mass[block, d] == 0:
            continue
        block_end = min((block + 1) * TILE, distances.shape[0])
        for chunk in range(block * TILE, block_end, CHUNK):
            chunk_end = min(chunk + CHUNK, block_end)
            inside = 0
            for p in range(chunk, chunk_end):
                inside += distances[p] == d
            if inside > 0:
                for p in range(chunk, chunk_end):
                    if distances[p] == d:
                        end, total = list_pattern(population, rules, scratch, now, p, end, total)
    return end, total


@kernel
def list_bucket(buckets, population, rules, scratch, now, u, d, begin):
    """Write distance d's bucket to `patterns` and `running` from `begin` on; returns its end."""
    if buckets.order.shape[0] > 0:
        end, total = list_row(buckets, population, rules, scratch, now, u, d, begin)
    else:
        end, total = list_scanned(population, rules, scratch, now, d, begin)
    scratch.listed_begin[d] = begin
    scratch.listed_end[d] = end
    scratch.left[d] = total
    while (end - begin) % LANES != 0:
        scratch.running[end] = np.iinfo(np.int64).max
        end += 1
    return end


@kernel
def draw_listed(population, rules, scratch, now, d):
    """An eligible instance at the listed distance d and its place; -1 if there is none."""
    begin, end = scratch.listed_begin[d], scratch.listed_end[d]
    running = scratch.running
    while scratch.left[d] > 0:
        target = random_below(scratch.stream, scratch.left[d])
        place = begin
        for lane in range(begin, end, LANES):  # cheaper than a search that branches
            for k in range(lane, lane + LANES):
                place += running[k] <= target
        n = target - (running[place - 1] if place > begin else 0)
        p = np.int64(scratch.patterns[place])
        eligible = count_eligible(population, rules, scratch, now, p)
        if not rules.per_instance and eligible > 1:
            n = random_below(scratch.stream, eligible)
        if n < eligible:
            return nth_eligible(population, rules, scratch, now, p, n), place
        # Other distances' draws took p's groups: correct its weight and draw again.
        correct_weight(population, rules, scratch, now, d, place)
    return np.int64(-1), begin


@kernel
def correct_weight(population, rules, scratch, now, d, place):
    """Bring the listed weight of the pattern at `place` up to date."""
    running = scratch.running
    before = running[place - 1] if place > scratch.listed_begin[d] else 0
    p = np.int64(scratch.patterns[place])
    change = running[place] - before - left_of_pattern(population, rules, scratch, now, p)
    begin = scratch.listed_begin[d]
    for lane in range(place - (place - begin) % LANES, scratch.listed_end[d], LANES):
        for k in range(lane, lane + LANES):
            running[k] -= change if k >= place else 0
    scratch.left[d] -= change


# While at least this share of a bucket is left, an instance is guessed, which is mostly right.
# After GUESSES wrong guesses, or with less left, the bucket is listed. Both ways are exact, so
# these numbers only set the speed.
GUESS_WHILE_LEFT = 0.25
GUESSES = 8


@kernel
def guess_eligible(buckets, population, rules, scratch, unit, now, u, d):
    """An eligible instance at distance d, or -1 after GUESSES wrong guesses."""
    for _ in range(GUESSES):
        instance = guess_instance(buckets, population, rules, scratch, unit, u, d)
        if is_eligible(population, rules, scratch, now, instance):
            return instance
        if not rules.per_instance:
            # The pattern stays chosen as long as another of its instances is eligible.
            p = np.int64(population.pattern_of[instance])
            eligible = count_eligible(population, rules, scratch, now, p)
            if eligible > 0:
                n = random_below(scratch.stream, eligible)
                return nth_eligible(population, rules, scratch, now, p, n)
    return np.int64(-1)


@kernel
def take(population, rules, scratch, now, instance):
    """Mark the instance, or its pattern, and its group as taken."""
    key = population.pattern_of[instance] if rules.distinct_patterns else instance
    scratch.key_taken[key] = now
    if population.group_of.shape[0] > 0:
        scratch.group_taken[population.group_of[instance]] = now


@kernel
def condition(log_law, rules, left, weights, law):
    """Set `weights` and `law` to the law of the distances with anything left; returns their total.

    Weights are relative to the likeliest of these. From the last distance on the running sums are
    infinite, so that rounding can never carry a draw beyond it.
    """
    largest = -np.inf
    for k in range(log_law.shape[0]):
        if rules.nearest or left[rules.low + k] > 0:
            largest = max(largest, log_law[k])
    for k in range(log_law.shape[0]):
        open_here = rules.nearest or left[rules.low + k] > 0
        weights[k] = np.exp(log_law[k] - largest) if open_here else 0.0
    return running_sums(weights, law)


@kernel
def running_sums(weights, law):
    """Set `law` to the running sums of `weights`; returns their total."""
    total = 0.0
    last = 0
    for k in range(weights.shape[0]):
        total += weights[k]
        law[k] = total
        if weights[k] > 0.0:
            last = k
    law[last:] = np.inf
    return total


@kernel
def close_distance(log_law, rules, left, weights, law, d):
    """Take the exhausted distance d out of the law; returns the new total."""
    weights[d - rules.low] = 0.0
    total = running_sums(weights, law)
    if total < 1e-200:  # what is left is about to underflow: take it relative to its own largest
        total = condition(log_law, rules, left, weights, law)
    return total


@kernel
def draw_distance(rules, stream, law, total):
    """A distance by `law`."""
    target = random_unit(stream) * total
    chosen = rules.low
    for lane in range(0, law.shape[0], LANES):
        for k in range(lane, lane + LANES):
            chosen += law[k] <= target
    return chosen


@kernel
def nearest_open(rules, left, last, d):
    """The distance nearest to d with anything left, the lower one on a tie. There is one."""
    away = 0
    while True:
        if d - away >= rules.low and left[d - away] > 0:
            return d - away
        if d + away <= last and left[d + away] > 0:
            return d + away
        away += 1


# Longer rows are mostly not read; the figure is half a second-level cache.
TOUCHED_BYTES = 2**19


@kernel
def touch_row(order, u):
    """Read row u of `order` once in sequence, into the cache; random reads would each wait."""
    total = np.int64(0)
    if order.shape[1] * order.itemsize <= TOUCHED_BYTES:
        for k in range(0, order.shape[1], 32):
            total += order[u, k]
    return total


@kernel
def draw_batches(
    buckets, population, rules, scratch, anchors, log_law, seed, purpose, position, batches, lengths
):
    """Draw one batch for each anchor, batch b from the stream at position + (b, 0, 0).

    log_law: (M, high - low + 1). batches: (M, batch size), filled from the left; lengths: (M,).
    """
    # Whether every pattern weighs one, not its instances.
    unit = not rules.per_instance or population.members.shape[0] == population.counts.shape[0]
    last = rules.low + log_law.shape[1] - 1
    reach = min(last, scratch.block_mass.shape[1] - 1)
    mass, left, law = scratch.mass, scratch.left, scratch.law
    for b in range(anchors.shape[0]):
        now = b + 1
        anchor = anchors[b]
        u = np.int64(population.pattern_of[anchor])
        start_stream(
            scratch.stream, seed, purpose, position[0] + np.uint64(b), position[1], position[2]
        )
        mass[:] = 0
        if buckets.order.shape[0] > 0:
            for d in range(rules.low, reach + 1):
                mass[d] = buckets.offsets[u, d + 1] - buckets.offsets[u, d]
            mass[0] = touch_row(buckets.order, u)
        else:
            scan_row(
                buckets.words, population.counts, unit, u,
                scratch.distances, scratch.block_mass, scratch.bins, mass,
            )  # fmt: skip
        open_distances = 0
        for d in range(rules.low, last + 1):
            left[d] = mass[d]
            open_distances += mass[d] > 0
        scratch.listed_begin[:] = -1
        listed = 0
        total = condition(log_law[b], rules, left, scratch.weights, law)

        take(population, rules, scratch, now, anchor)
        batches[b, 0] = anchor
        size, draws = 1, 1
        wanted = batches.shape[1]
        drawn = -1
        while size < wanted and open_distances > 0:
            if drawn < 0:
                drawn = draw_distance(rules, scratch.stream, law, total)
            d = nearest_open(rules, left, last, drawn) if rules.nearest else drawn
            if rules.replacement:
                draws += 1
                drawn = -1
                instance = guess_instance(buckets, population, rules, scratch, unit, u, d)
                if is_eligible(population, rules, scratch, now, instance):
                    take(population, rules, scratch, now, instance)
                    batches[b, size] = instance
                    size += 1
                if draws == wanted:
                    break
                continue

            instance = np.int64(-1)
            if scratch.listed_begin[d] < 0 and left[d] >= GUESS_WHILE_LEFT * mass[d]:
                instance = guess_eligible(buckets, population, rules, scratch, unit, now, u, d)
            if instance >= 0:
                take(population, rules, scratch, now, instance)
                if rules.distinct_patterns:
                    left[d] -= 1 if unit else population.counts[population.pattern_of[instance]]
            else:
                if scratch.listed_begin[d] < 0:
                    listed = list_bucket(buckets, population, rules, scratch, now, u, d, listed)
                instance, place = draw_listed(population, rules, scratch, now, d)
                if instance >= 0:
                    take(population, rules, scratch, now, instance)
                    correct_weight(population, rules, scratch, now, d, place)
            if instance >= 0:
                batches[b, size] = instance
                size += 1
            if instance >= 0 or not rules.nearest:
                drawn = -1  # else it moves on to the next nearest distance
            if left[d] == 0:
                open_distances -= 1
                if not rules.nearest:
                    total = close_distance(log_law[b], rules, left, scratch.weights, law, d)
        lengths[b] = size
