"""Cross-entropies with any number of positives in each row, from the whole matrix of logits."""

import torch
from torch import Tensor
from torch.nn.functional import softplus

from maninegs_sampling.losses.pairs import log_sum_exp
from maninegs_sampling.losses.softplus_sums import THRESHOLD

# Logits that differ by a few roundings count as equal.
ROUNDINGS = 16


def masked_cross_entropy(logits: Tensor, negatives: Tensor, positives: Tensor) -> Tensor:
    """Return (R,), the mean over a row's positives of the cross-entropy among it and all negatives.

    Args:
        logits: (R, C), those of positives.
        negatives: (R, C), the logits of negatives; -inf for pairs that are none.
        positives: (R, C) booleans, at least one in each row.
    """
    log_sum = log_sum_exp(negatives, 1).unsqueeze(1)
    # The last summand turns a positive of inf, whose loss would be 0, into NaN.
    each = softplus(log_sum - logits, threshold=THRESHOLD) + logits * 0.0
    return each.masked_fill(~positives, 0.0).sum(1) / positives.sum(1)


def slightly_below(logits: Tensor) -> Tensor:
    """Return thresholds that logits reach if they are equal to the given ones but for rounding."""
    return logits - ROUNDINGS * torch.finfo(logits.dtype).eps * (1.0 + logits.abs())


def counts_above(logits: Tensor, negatives: Tensor, positives: Tensor) -> Tensor:
    """Return (P,), for each positive the number of its row's negatives with as large a logit."""
    thresholds = slightly_below(logits).contiguous()
    below = torch.searchsorted(negatives.sort(1).values, thresholds)
    # Of NaN nothing is below: such a positive is not found.
    below = below.masked_fill(thresholds.isnan(), 0)
    return (logits.shape[1] - below)[positives]
