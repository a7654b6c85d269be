"""Numba kernels that draw a distance: the distance distribution over what an anchor has left.

Distance low + k has the log-weight log_weights[k]. `cumulative` holds the running sums of the
weights, padded with infinity to whole LANES.
"""

import numpy as np

from maninegs_sampling.compiling import kernel

# Running sums are read and changed this many at a time: a loop of fixed length has no remainder
# that would run one by one.
LANES = 16


@kernel
def condition(log_weights, rules, remaining, weights, cumulative):
    """Condition the distribution on the distances with anything left; return its total weight.

    With `rules.nearest` it is left as it is. Weights are relative to the likeliest of these
    distances.
    """
    largest = -np.inf
    for k in range(log_weights.shape[0]):
        if rules.nearest or remaining[rules.low + k] > 0:
            largest = max(largest, log_weights[k])
    for k in range(log_weights.shape[0]):
        open_here = rules.nearest or remaining[rules.low + k] > 0
        weights[k] = np.exp(log_weights[k] - largest) if open_here else 0.0
    return running_sums(weights, cumulative)


@kernel
def running_sums(weights, cumulative):
    """Set `cumulative` to the running sums of `weights`; return their total.

    From the last distance on the sums are infinite, so that rounding can never carry a draw beyond
    it.
    """
    total = 0.0
    last = 0
    for k in range(weights.shape[0]):
        total += weights[k]
        cumulative[k] = total
        if weights[k] > 0.0:
            last = k
    cumulative[last:] = np.inf
    return total


@kernel
def close_distance(log_weights, rules, remaining, weights, cumulative, d):
    """Take the exhausted distance d out of the distribution; return the new total weight."""
    weights[d - rules.low] = 0.0
    total = running_sums(weights, cumulative)
    if total < 1e-200:  # what is left is about to underflow: take it relative to its own largest
        total = condition(log_weights, rules, remaining, weights, cumulative)
    return total


@kernel
def draw_distance(rules, unit, cumulative, total):
    """Return the distance at `unit`, a number in [0, 1), of the distribution."""
    target = unit * total
    chosen = rules.low
    for lane in range(0, cumulative.shape[0], LANES):
        for k in range(lane, lane + LANES):
            chosen += cumulative[k] <= target
    return chosen


@kernel
def nearest_open(rules, remaining, last, d):
    """Return the distance nearest to d with anything left, the lower one on a tie. There is one."""
    away = 0
    while True:
        if d - away >= rules.low and remaining[d - away] > 0:
            return d - away
        if d + away <= last and remaining[d + away] > 0:
            return d + away
        away += 1
