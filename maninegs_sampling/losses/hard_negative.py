"""Hard-negative weighting by a von Mises-Fisher distribution: the paper's baseline "vMF"."""

import math

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn.functional import softplus

from maninegs_sampling.losses.batch import Batch
from maninegs_sampling.losses.instance_ids import Ids
from maninegs_sampling.losses.options import Reduction, check_nonnegative, check_tau_plus
from maninegs_sampling.losses.pair_contrasts import ModalityContrast, PairContrast, ViewContrast
from maninegs_sampling.losses.softplus_sums import THRESHOLD


def hard_negative_nt_xent(
    z_i: Tensor,
    z_j: Tensor,
    *,
    temperature: float | Tensor = 0.7,
    beta: float = 1.0,
    tau_plus: float = 0.1,
    ids: Ids | None = None,
    normalize: bool = True,
    reduction: Reduction = "mean",
    gather: bool | dist.ProcessGroup = False,
) -> Tensor:
    """Return the NT-Xent loss of two views with negatives weighted by their similarity.

    Robinson et al., "Contrastive Learning with Hard Negative Samples" (ICLR 2021), with the
    debiased estimator; "vMF" in the paper's tables. For a view with N' negatives, let pos and neg
    be exp(cosine / temperature) and w proportional to neg^beta with mean 1. Then
    Ng = max((sum(w neg) - tau_plus N' pos) / (1 - tau_plus), N' exp(-1 / temperature)) and the loss
    is -log(pos / (pos + Ng)). It is computed in logarithms and stays finite at any temperature.

    Args:
        z_i: (N, D) floating-point embeddings; row k belongs to instance k.
        z_j: (N, D), the other view of the same instances.
        temperature: See `nt_xent`.
        beta: Concentration, at least 0. Larger values give similar negatives more weight; 0 weights
            all equally. Default: 1, as the paper's authors ran.
        tau_plus: Assumed share of negatives that are of the anchor's class, in [0, 1). With
            beta = 0 and tau_plus = 0 the loss is `nt_xent`. Default: 0.1, as the authors ran.
        ids: See `nt_xent`.
        normalize: See `nt_xent`. The floor N' exp(-1 / temperature) assumes unit vectors.
        reduction: See `nt_xent`.
        gather: See `nt_xent`.

    Returns:
        float32, or float64 for float64 embeddings. inf or NaN if embeddings hold inf or NaN.

    Raises:
        InvalidValueError, InvalidTypeError: If `nt_xent` would raise them, or if beta or tau_plus
            is out of range.

    Example:
        >>> z = torch.eye(4, 8)
        >>> print(f"{hard_negative_nt_xent(z, z, temperature=0.5, beta=0, tau_plus=0):.4f}")
        0.5944
    """
    batch = Batch.of({"z_i": z_i, "z_j": z_j}, ids=ids, normalize=normalize, gather=gather)
    contrast = ViewContrast(batch, (0, 1), temperature)
    return batch.reduce(_weighted(contrast, beta, tau_plus), reduction)


def hard_negative_inter_modal_nt_xent(
    z_image: Tensor,
    z_other: Tensor,
    *,
    temperature: float | Tensor = 0.7,
    beta: float = 1.0,
    tau_plus: float = 0.1,
    symmetric: bool = True,
    ids: Ids | None = None,
    normalize: bool = True,
    reduction: Reduction = "mean",
    gather: bool | dist.ProcessGroup = False,
) -> Tensor:
    """Return `inter_modal_nt_xent` with the negatives weighted as in `hard_negative_nt_xent`.

    Args:
        z_image: (N, D) floating-point embeddings; row k belongs to instance k.
        z_other: (N, D), the same instances in the other modality.
        temperature: See `nt_xent`.
        beta: See `hard_negative_nt_xent`.
        tau_plus: See `hard_negative_nt_xent`.
        symmetric: See `inter_modal_nt_xent`.
        ids: See `nt_xent`.
        normalize: See `hard_negative_nt_xent`.
        reduction: See `inter_modal_nt_xent`.
        gather: See `nt_xent`.

    Returns:
        float32, or float64 for float64 embeddings. inf or NaN if embeddings hold inf or NaN.

    Raises:
        InvalidValueError, InvalidTypeError: If `hard_negative_nt_xent` would raise them.

    Example:
        >>> z = torch.eye(4, 8)
        >>> loss = hard_negative_inter_modal_nt_xent(z, z, temperature=0.5, beta=0, tau_plus=0)
        >>> print(f"{loss:.4f}")
        0.3408
    """
    batch = Batch.of(
        {"z_image": z_image, "z_other": z_other}, ids=ids, normalize=normalize, gather=gather
    )
    contrast = ModalityContrast(batch, (0, 1), temperature, symmetric=symmetric)
    return batch.reduce(_weighted(contrast, beta, tau_plus), reduction)


def _weighted(contrast: PairContrast, beta: float, tau_plus: float) -> Tensor:
    """Return (k, n) losses, computed from sum(w neg) = N' sum(neg^(1 + beta)) / sum(neg^beta)."""
    beta, tau_plus = check_nonnegative("beta", beta), check_tau_plus("tau_plus", tau_plus)
    positive, n = contrast.positive(), contrast.n_negatives()
    none = n == 0
    log_n = n.clamp(min=1).log()
    harder, weight = (
        contrast.log_sum_exp(power).masked_fill(none, 0.0) for power in (1.0 + beta, beta)
    )
    log_sum = log_n + harder - weight
    floor = log_n - contrast.inverse
    if tau_plus > 0.0:
        own_class = math.log(tau_plus) + log_n + positive
        # Where the share of the own class exceeds the sum, the difference has no logarithm and the
        # floor applies. A gap below one rounding step counts as none.
        gap = (own_class - log_sum).clamp(max=-torch.finfo(n.dtype).eps)
        rest = log_sum + torch.log(-torch.expm1(gap)) - math.log1p(-tau_plus)
        log_sum = torch.where(own_class >= log_sum, floor, rest)  # keeps NaN
    log_sum = torch.maximum(log_sum, floor)
    losses = softplus(log_sum - positive, threshold=THRESHOLD).masked_fill(none, 0.0)
    return losses + positive * 0.0  # NaN for inf, as in `cross_entropy`
