"""The slow, obvious twin of every fast path, written from the paper. Imports nothing of the package."""

import itertools
from collections import Counter, defaultdict
from collections.abc import Sequence
from fractions import Fraction
from functools import cache
from math import ceil, exp, inf, nan

import mpmath
import numpy as np


def hamming(a, b):
    return sum(bool(x) != bool(y) for x, y in zip(a, b, strict=True))


def count_ones(words):
    """The number of bits that are set in each word, as `numpy.bitwise_count` of numpy 2."""
    bytes_of_words = np.ascontiguousarray(words)[..., None].view(np.uint8)
    return np.unpackbits(bytes_of_words, axis=-1).sum(-1, dtype=np.int64)


def pairwise_hamming(rows, others):
    return [[hamming(a, b) for b in others] for a in rows]


def jaccard(a, b):
    """The exact Jaccard distance, as a fraction. Two empty sets are equal."""
    a, b = ({k for k, bit in enumerate(row) if bit} for row in (a, b))
    return 1 - Fraction(len(a & b), len(a | b)) if a | b else Fraction(0)


def jaccard_step(a, b):
    """The Jaccard distance in hundredths, rounded up."""
    return ceil(100 * jaccard(a, b))


STEPS_BETWEEN = {"hamming": hamming, "jaccard": jaccard_step}


def masked_hamming(a, b, known_a, known_b):
    """The number of bits that differ among those that are known on both sides."""
    sides = zip(a, b, known_a, known_b, strict=True)
    return sum(bool(x) != bool(y) for x, y, of_a, of_b in sides if of_a and of_b)


def weighted_sum(weights, proxies, i, j):
    """The distance of instances i and j by several proxies, each the rows of all instances."""
    return sum(w * hamming(rows[i], rows[j]) for w, rows in zip(weights, proxies, strict=True))


def cosine(a, b):
    dot = sum(x * y for x, y in zip(a, b, strict=True))
    return dot / (sum(x * x for x in a) * sum(y * y for y in b)) ** 0.5


def neighbors_found(rows, embeddings, anchor, nearest):
    """The expected share of the nearest by Hamming that are as near by cosine as the last nearest."""
    others = [i for i in range(len(rows)) if i != anchor]
    cosines = {i: cosine(embeddings[anchor], embeddings[i]) for i in others}
    cutoff = sorted(cosines.values(), reverse=True)[nearest - 1]
    distances = {i: hamming(rows[anchor], rows[i]) for i in others}
    last = sorted(distances.values())[nearest - 1]
    below = [i for i in others if distances[i] < last]
    at = [i for i in others if distances[i] == last]
    share = (nearest - len(below)) / len(at)
    near = [i for i in others if cosines[i] >= cutoff - 1e-9]
    return sum(1 if i in below else share for i in near if distances[i] <= last) / nearest


def distance_histogram(rows, metric="hamming"):
    histogram = [0] * (101 if metric == "jaccard" else len(rows[0]) + 1)
    for i in range(len(rows)):
        for j in range(i):
            histogram[STEPS_BETWEEN[metric](rows[i], rows[j])] += 1
    return histogram


def bucket(rows, instance, step, metric="hamming"):
    others = (j for j in range(len(rows)) if j != instance)
    return [j for j in others if STEPS_BETWEEN[metric](rows[instance], rows[j]) == step]


def patterns_within(rows, i, radius):
    """The distance of each other pattern up to the radius, by its number among the distinct rows.

    Patterns are numbered as a store numbers them: by their bits, the last bit first.
    """
    patterns = sorted({tuple(map(int, row)) for row in rows}, key=lambda row: row[::-1])
    distances = {p: hamming(rows[i], row) for p, row in enumerate(patterns)}
    return {p: d for p, d in distances.items() if 0 < d <= radius}


def least_rates(rates, reach):
    """The least sum of rates of blocks whose distances add up to 0, 1, ..., reach.

    `rates[j][e]`: of distance e in block j.
    """
    least = [inf] * (reach + 1)
    for distances in itertools.product(*(range(len(own)) for own in rates)):
        if sum(distances) <= reach:
            total = sum(own[e] for own, e in zip(rates, distances, strict=True))
            least[sum(distances)] = min(least[sum(distances)], total)
    return least


def log_masses(mu, sigma, edges):
    """The log of the normal distribution's share between neighboring edges, exact digits and all.

    Relative to their sum.
    """
    with mpmath.workdps(60):
        mu, sigma = mpmath.mpf(mu), mpmath.mpf(sigma)

        def interval(a, b):
            a, b = (a - mu) / sigma, (b - mu) / sigma
            if a > 0:
                a, b = -b, -a
            return mpmath.erfc(-b / mpmath.sqrt(2)) - mpmath.erfc(-a / mpmath.sqrt(2))

        weights = [interval(a, b) for a, b in itertools.pairwise(edges)]
        total = sum(weights)
        return [float(mpmath.log(w / total)) if w > 0 else -inf for w in weights]


def log_pmf(mu, sigma, low, high, steps_per_bit=1):
    """log p(low), ..., log p(high), with as many digits as it takes.

    With more than one step per bit, of the steps in between, too.
    """
    with mpmath.workdps(60):
        halves = range(2 * low * steps_per_bit - 1, 2 * high * steps_per_bit + 2, 2)
        return log_masses(mu, sigma, [mpmath.mpf(half) / (2 * steps_per_bit) for half in halves])


def jaccard_law(mu, sigma, low, high):
    """The weight of each hundredth above low - 0.01 and up to high, by its upper edge."""
    with mpmath.workdps(60):
        first, last = round(100 * low), round(100 * high)
        logs = log_masses(mu, sigma, [mpmath.mpf(k) / 100 for k in range(first - 1, last + 1)])
    return {first + k: exp(log - max(logs)) for k, log in enumerate(logs)}


def distance_law(mu, sigma, low, high, *, center="anchor"):
    """The weight of each distance, or of each quarter of a bit with center="cluster".

    Relative to the likeliest: with a tiny sigma every weight itself would underflow.
    """
    steps_per_bit = 1 if center == "anchor" else 4
    logs = log_pmf(mu, sigma, low, high, steps_per_bit)
    return {low + k / steps_per_bit: exp(log - max(logs)) for k, log in enumerate(logs)}


def cluster_distance(rows, cluster, i, *, center, metric="hamming"):
    """How far instance i is from a cluster, of which the anchor comes first."""
    if center == "anchor":
        return STEPS_BETWEEN[metric](rows[cluster[0]], rows[i])
    members = [rows[j] for j in cluster if rows[j] != rows[i]]
    total = sum(hamming(row, rows[i]) for row in members)
    return (8 * total + len(members)) // (2 * len(members)) / 4  # floor(4 * mean + 1/2) / 4


@cache
def skipped_patterns(rows, anchor, skip_nearest, metric="hamming"):
    """The patterns nearest to the anchor, its own not counted.

    Of equally near ones, those whose bits make the smaller number come first.
    """
    others = set(rows) - {rows[anchor]}
    order = sorted(others, key=lambda row: (STEPS_BETWEEN[metric](rows[anchor], row), row[::-1]))
    return order[:skip_nearest]


def step_law(
    rows,
    cluster,
    taken,
    law,
    *,
    empty,
    draw,
    distinct,
    replacement,
    groups,
    center="anchor",
    skip_nearest=0,
    metric="hamming",
):
    """The probability of each instance to be the next one drawn; `law` maps distance to weight.

    `rows` are tuples. `cluster` holds the members so far, the anchor first. With replacement an
    instance that may not enter the batch can be drawn; without, it cannot.
    """
    anchor = cluster[0]
    refused = {rows[anchor], *skipped_patterns(rows, anchor, skip_nearest, metric)}
    at = defaultdict(list)
    for i in range(len(rows)):
        if rows[i] in refused:
            continue
        if not replacement and not may_enter(rows, taken, i, distinct=distinct, groups=groups):
            continue
        distance = cluster_distance(rows, cluster, i, center=center, metric=metric)
        if distance in law:
            at[distance].append(i)
    if not at:
        return {}
    chance_of_distance = Counter()
    for d, weight in law.items():
        if d in at:
            chance_of_distance[d] += weight
        elif empty == "nearest":
            nearest = min(at, key=lambda other: (abs(other - d), other))
            chance_of_distance[nearest] += weight
    total = sum(chance_of_distance.values())
    result = Counter()
    for d, weight in chance_of_distance.items():
        if draw == "instance":
            for i in at[d]:
                result[i] += weight / total / len(at[d])
        else:
            by_pattern = defaultdict(list)
            for i in at[d]:
                by_pattern[rows[i]].append(i)
            for members in by_pattern.values():
                for i in members:
                    result[i] += weight / total / len(by_pattern) / len(members)
    return result


def may_enter(rows, taken, i, *, distinct, groups):
    if groups is not None and groups[i] in [groups[j] for j in taken]:
        return False
    if distinct:
        return rows[i] not in [rows[j] for j in taken]
    return i not in taken


def batch_law(
    rows: Sequence[Sequence[int]],
    anchor: int,
    batch_size: int,
    law: dict[float, float],
    *,
    empty: str,
    draw: str,
    duplicates: str,
    groups: Sequence[int] | None = None,
    anchors_per_batch: int = 1,
    center: str = "anchor",
    skip_nearest: int = 0,
    metric: str = "hamming",
):
    """The exact probability of every batch, as an ordered tuple, by going through all draws."""
    rows = tuple(map(tuple, rows))
    distinct = duplicates in ("refill", "drop_patterns")
    now = {((anchor,), 0): 1.0}  # what the batch holds, and where its latest cluster begins
    for number in range(anchors_per_batch):
        if number > 0:
            now = with_another_anchor(rows, now, distinct=distinct, groups=groups)
        for _ in range(batch_size // anchors_per_batch - 1):
            following = Counter()
            for (taken, start), chance in now.items():
                step = {}
                if start < len(taken):
                    step = step_law(
                        rows,
                        taken[start:],
                        taken,
                        law,
                        empty=empty,
                        draw=draw,
                        distinct=distinct,
                        replacement=duplicates in ("drop_patterns", "drop_instances"),
                        groups=groups,
                        center=center,
                        skip_nearest=skip_nearest,
                        metric=metric,
                    )
                if not step:
                    following[taken, start] += chance
                for i, p in step.items():
                    enters = may_enter(rows, taken, i, distinct=distinct, groups=groups)
                    following[(*taken, i) if enters else taken, start] += chance * p
            now = following
    result = Counter()
    for (taken, _), chance in now.items():
        result[taken] += chance
    return result


def with_another_anchor(rows, now, *, distinct, groups):
    """The same with the anchor of another cluster, where any instance may be one."""
    following = Counter()
    for (taken, _), chance in now.items():
        anchors = [
            i
            for i in range(len(rows))
            if may_enter(rows, taken, i, distinct=distinct, groups=groups)
        ]
        for i in anchors:
            following[(*taken, i), len(taken)] += chance / len(anchors)
        if not anchors:
            following[taken, len(taken)] += chance
    return following


def plan_law(
    rows,
    anchors,
    others,
    batch_size,
    cluster_size,
    law,
    *,
    empty,
    draw,
    duplicates,
    groups=None,
    skip_nearest=0,
    metric="hamming",
):
    """The exact probability of every epoch with these anchors and these other instances.

    An epoch is an ordered tuple. Also returned: how many of its pairs cannot be drawn at all.
    """
    rows = tuple(map(tuple, rows))
    distinct = duplicates == "refill"
    chance_of = [
        step_law(
            rows,
            (anchor,),
            (anchor,),
            law,
            empty=empty,
            draw=draw,
            distinct=distinct,
            replacement=True,
            groups=groups,
            skip_nearest=skip_nearest,
            metric=metric,
        )
        for anchor in anchors
    ]
    n = len(anchors) + len(others)
    now = {(): (0, 1.0)}  # the pairs that cannot be drawn, and the product of all others
    for place in range(n):
        within_batch = place % batch_size
        within_cluster = within_batch % cluster_size
        cluster = place // batch_size * -(-batch_size // cluster_size) + (
            within_batch // cluster_size
        )
        following = {}
        for order, (impossible, product) in now.items():
            for i in [anchors[cluster]] if within_cluster == 0 else others:
                held = order[place - within_batch :]
                if i in order or not may_enter(rows, held, i, distinct=distinct, groups=groups):
                    continue
                longer = (*order, i)
                if within_cluster == 0:
                    following[longer] = impossible, product
                elif i in chance_of[cluster]:
                    following[longer] = impossible, product * chance_of[cluster][i]
                else:
                    following[longer] = impossible + 1, product
        now = following
    if not now:
        return {}, None
    fewest = min(impossible for impossible, _ in now.values())
    kept = {order: product for order, (count, product) in now.items() if count == fewest}
    total = sum(kept.values())
    return {order: product / total for order, product in kept.items()}, fewest


def plan_law_of_clusters(rows, anchors, others, cluster_size, law, *, may_meet):
    """The same with center="cluster", for batches of one cluster; `may_meet` takes a batch.

    Every member of a cluster has the weight of its mean distance to the members of other patterns.
    """
    found = {}
    for order in itertools.permutations(others):
        left, plan = list(order), []
        for anchor in anchors:
            plan.append((anchor, *left[: cluster_size - 1]))
            left = left[cluster_size - 1 :]
        impossible, product = 0, 1.0
        for cluster in plan:
            for i in cluster:
                weight = None
                if any(rows[j] != rows[i] for j in cluster):
                    weight = law.get(cluster_distance(rows, cluster, i, center="cluster"))
                impossible += weight is None
                product *= 1.0 if weight is None else weight
        if all(map(may_meet, plan)):
            found[sum(plan, ())] = impossible, product
    fewest = min(impossible for impossible, _ in found.values())
    kept = {order: product for order, (count, product) in found.items() if count == fewest}
    total = sum(kept.values())
    return {order: product / total for order, product in kept.items()}, fewest


def hardness(rows, batches):
    """Histograms of anchor-negative and of all pairs' distances."""
    anchors, pairs = np.zeros(len(rows[0]) + 1, int), np.zeros(len(rows[0]) + 1, int)
    for batch in batches:
        for a in range(len(batch)):
            for b in range(a + 1, len(batch)):
                d = hamming(rows[batch[a]], rows[batch[b]])
                pairs[d] += 1
                if a == 0:
                    anchors[d] += 1
    return anchors, pairs


def nearest_distances(rows, batch, place, k, *, masked):
    """The k smallest distances from one place of a batch to the others, ascending.

    Masked: equal patterns are no negatives. With fewer than k negatives, all of them.
    """
    others = [hamming(rows[batch[place]], rows[i]) for p, i in enumerate(batch) if p != place]
    return sorted(d for d in others if d > 0 or not masked)[:k]


def nearest_mean(rows, batches, k, *, masked):
    """The mean over all rows of all batches of the mean of those distances."""
    means = []
    for batch in batches:
        for place in range(len(batch)):
            nearest = nearest_distances(rows, batch, place, k, masked=masked)
            if nearest:
                means.append(sum(nearest) / len(nearest))
    return sum(means) / len(means) if means else nan


def merged_patterns(lists):
    """All distinct patterns of some lists, sorted by the last word first, and each one's place.

    A pattern is a tuple of words.
    """
    whole = sorted({pattern for patterns in lists for pattern in patterns}, key=lambda p: p[::-1])
    return whole, [[whole.index(pattern) for pattern in patterns] for patterns in lists]
