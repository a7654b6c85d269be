"""How often a sampler draws what it has drawn, to correct a loss for it."""

import math

import numpy as np
from numpy.typing import NDArray

from maninegs_sampling.distances.metrics import pattern_steps
from maninegs_sampling.errors import InvalidValueError
from maninegs_sampling.sampling.drawer import BatchDrawer


def log_frequencies(
    drawer: BatchDrawer, batch: NDArray[np.int64], log_weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return (B,), what `ManiNegBatchSampler.log_q` returns for a batch, its anchor first.

    Args:
        drawer: Draws without replacement for one anchor, measured from it.
        batch: (B,) instances, in the order in which they were drawn.
        log_weights: (E,) of the steps from `low` on, not conditioned.
    """
    counts, pattern_of = drawer.store.counts, drawer.store.pattern_of
    low, distinct = drawer.low, drawer.rules.distinct_patterns
    instances_left = counts.astype(np.int64)
    bucket_of = pattern_steps(drawer.store, int(pattern_of[batch[0]]), drawer.metric.name).astype(
        np.int64
    )
    can_be_drawn = (bucket_of >= low) & (bucket_of < low + len(log_weights))
    n_candidates = int(instances_left[can_be_drawn].sum())
    # What a distance is drawn from: instances, or patterns.
    units = instances_left if drawer.rules.per_instance else np.ones_like(instances_left)
    left_at = np.bincount(bucket_of, units, minlength=low + len(log_weights))
    log_q = np.zeros(len(batch))
    n_drawn = len(batch) - 1
    for k, instance in enumerate(batch[1:].tolist(), start=1):
        pattern = pattern_of[instance]
        distance = bucket_of[pattern]
        open_weights = log_weights[left_at[low : low + len(log_weights)] > 0]
        largest = open_weights.max()
        log_p = log_weights[distance - low] - largest
        log_p -= math.log(np.exp(open_weights - largest).sum()) + math.log(left_at[distance])
        if not drawer.rules.per_instance:
            log_p -= math.log(instances_left[pattern])
        # What was drawn before is known, and the rest of its pattern is like it (Des Raj, 1956).
        known = (n_drawn - k) * int(counts[pattern] if distinct else 1)
        log_known = math.log(known) if known else -math.inf
        log_q[k] = math.log(n_candidates) - np.logaddexp(log_known, -log_p)
        removed = instances_left[pattern] if distinct else 1
        instances_left[pattern] -= removed
        if drawer.rules.per_instance:
            left_at[distance] -= removed
        elif not instances_left[pattern]:
            left_at[distance] -= 1
    return log_q


def check_known(drawer: BatchDrawer, *, covers: bool) -> None:
    """Raise unless the probability of each draw follows from the draws before.

    Raises:
        InvalidValueError: If an option makes it unknown.
    """
    options = {
        'coverage="epoch"': covers,
        f"anchors_per_batch={drawer.anchors_per_batch}": drawer.anchors_per_batch > 1,
        f'center="{drawer.center}"': drawer.center != "anchor",
        f'duplicates="{drawer.duplicates}"': not drawer.fills_batches,
        f'empty="{drawer.empty}"': drawer.empty != "renormalize",
        f"skip_nearest={drawer.skip_nearest}": drawer.skip_nearest > 0,
        "groups": drawer.n_groups > 0,
    }
    for option, is_set in options.items():
        if is_set:
            raise InvalidValueError(
                f"log_q is not known with {option}: it needs one anchor in a batch, and draws "
                "without replacement whose probabilities depend on the anchor alone"
            )
