"""The slow, obvious twin of every fast path, written from the paper. Imports nothing of the package."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from math import inf, nan

import mpmath
import numpy as np


def hamming(a, b):
    return sum(bool(x) != bool(y) for x, y in zip(a, b, strict=True))


def pairwise_hamming(rows, others):
    return [[hamming(a, b) for b in others] for a in rows]


def distance_histogram(rows):
    histogram = [0] * (len(rows[0]) + 1)
    for i in range(len(rows)):
        for j in range(i):
            histogram[hamming(rows[i], rows[j])] += 1
    return histogram


def bucket(rows, instance, distance):
    others = (j for j in range(len(rows)) if j != instance)
    return [j for j in others if hamming(rows[instance], rows[j]) == distance]


def log_pmf(mu, sigma, low, high):
    """log p(low .. high), with as many digits as it takes."""
    with mpmath.workdps(60):
        mu, sigma = mpmath.mpf(mu), mpmath.mpf(sigma)

        def interval(d):
            a, b = (d - mpmath.mpf(1) / 2 - mu) / sigma, (d + mpmath.mpf(1) / 2 - mu) / sigma
            if a > 0:
                a, b = -b, -a
            return mpmath.erfc(-b / mpmath.sqrt(2)) - mpmath.erfc(-a / mpmath.sqrt(2))

        weights = [interval(d) for d in range(low, high + 1)]
        total = sum(weights)
        return [float(mpmath.log(w / total)) if w > 0 else -inf for w in weights]


def step_law(rows, anchor, taken, law, *, empty, draw, distinct, replacement, groups):
    """The probability of each instance to be the next one drawn; `law` maps distance to weight.

    With replacement an instance that may not enter the batch can be drawn; without, it cannot.
    """
    pattern = [tuple(row) for row in rows]

    def eligible(i):
        if i == anchor or hamming(rows[anchor], rows[i]) not in law:
            return False
        if replacement:
            return True
        return may_enter(rows, taken, i, distinct=distinct, groups=groups)

    at = defaultdict(list)
    for i in range(len(rows)):
        if eligible(i):
            at[hamming(rows[anchor], rows[i])].append(i)
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
                by_pattern[pattern[i]].append(i)
            for members in by_pattern.values():
                for i in members:
                    result[i] += weight / total / len(by_pattern) / len(members)
    return result


def may_enter(rows, taken, i, *, distinct, groups):
    if groups is not None and groups[i] in [groups[j] for j in taken]:
        return False
    if distinct:
        return tuple(rows[i]) not in [tuple(rows[j]) for j in taken]
    return i not in taken


def batch_law(
    rows: Sequence[Sequence[int]],
    anchor: int,
    batch_size: int,
    law: dict[int, float],
    *,
    empty: str,
    draw: str,
    duplicates: str,
    groups: Sequence[int] | None = None,
):
    """The exact probability of every batch, as an ordered tuple, by going through all draws."""
    distinct = duplicates in ("refill", "drop_patterns")
    replacement = duplicates in ("drop_patterns", "drop_instances")
    now = {(anchor,): 1.0}
    for _ in range(batch_size - 1):
        following = Counter()
        for taken, chance in now.items():
            step = step_law(
                rows,
                anchor,
                taken,
                law,
                empty=empty,
                draw=draw,
                distinct=distinct,
                replacement=replacement,
                groups=groups,
            )
            if not step:
                following[taken] += chance
            for i, p in step.items():
                enters = may_enter(rows, taken, i, distinct=distinct, groups=groups)
                following[(*taken, i) if enters else taken] += chance * p
        now = following
    return now


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
