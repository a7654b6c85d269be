"""Losses that weight in-batch negatives by their similarity.

Each negative's exp(logit) is multiplied by exp(strength * cosine); the weight has no gradient.
It is the `hardness_mode="in_batch_negatives"` of sentence-transformers, after LLaVE (Lan et al.
2025). The package's `hardness_weighted_nt_xent` and `hardness_weighted_inter_modal_nt_xent` compute
the same, with other rounding errors. The comparison keeps the functions here, because round 1 began
with them.
"""

from typing import Final

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

STRENGTH: Final = 9.0  # LLaVE's alpha


def weighted_nt_xent(
    z_i: Tensor, z_j: Tensor, *, temperature: float | Tensor, ids: Tensor | None
) -> Tensor:
    """Return NT-Xent of two views (N, D), with weighted negatives."""
    z = torch.cat([z_i, z_j])
    n = len(z_i)
    positive = torch.arange(2 * n).roll(n)
    repeated = None if ids is None else ids.repeat(2)
    return _weighted(z, z, positive, temperature, repeated, torch.eye(2 * n, dtype=torch.bool))


def weighted_inter_modal_nt_xent(
    z_image: Tensor, z_other: Tensor, *, temperature: float | Tensor, ids: Tensor | None
) -> Tensor:
    """Return the loss between two modalities (N, D), with weighted negatives."""
    positive = torch.arange(len(z_image))
    nothing = torch.zeros(len(z_image), len(z_image), dtype=torch.bool)
    halves = [
        _weighted(x, y, positive, temperature, ids, nothing)
        for x, y in ((z_image, z_other), (z_other, z_image))
    ]
    return (halves[0] + halves[1]) / 2


def _weighted(
    rows: Tensor,
    columns: Tensor,
    positive: Tensor,
    temperature: float | Tensor,
    ids: Tensor | None,
    excluded: Tensor,
) -> Tensor:
    cosines = normalize(rows) @ normalize(columns).T
    is_positive = torch.zeros_like(excluded)
    is_positive[torch.arange(len(rows)), positive] = True
    if ids is not None:
        excluded = excluded | ((ids[:, None] == ids) & ~is_positive)
    weights = (STRENGTH * cosines.detach()).masked_fill(is_positive, 0.0)
    logits = (cosines / temperature + weights).masked_fill(excluded, -torch.inf)
    return cross_entropy(logits, positive)
