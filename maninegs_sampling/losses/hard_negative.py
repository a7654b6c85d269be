"""Hard-negative weighting by a von Mises-Fisher distribution: the paper's baseline "vMF"."""

import math

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn.functional import softplus

from maninegs_sampling.errors import InvalidValueError
from maninegs_sampling.losses.contrast import (
    Batch,
    Contrast,
    ModalityContrast,
    ViewContrast,
)
from maninegs_sampling.losses.numbers import check_number


def hard_negative_nt_xent(
    z_i: Tensor,
    z_j: Tensor,
    *,
    temperature: float | Tensor = 0.7,
    beta: float = 1.0,
    tau_plus: float = 0.1,
    ids: Tensor | None = None,
    normalize: bool = True,
    reduction: str = "mean",
    gather: bool | dist.ProcessGroup = False,
) -> Tensor:
    """Return the NT-Xent loss of two views whose negatives are weighted by how near they are.

    Robinson et al., "Contrastive Learning with Hard Negative Samples" (ICLR 2021), with the
    debiased estimator; "vMF" in the paper's tables. For a view with N' negatives, let pos and neg
    be exp(cosine / temperature) and w proportional to neg^beta with mean 1. Then
    Ng = max((sum(w neg) - tau_plus N' pos) / (1 - tau_plus), N' exp(-1 / temperature)) and the loss
    is -log(pos / (pos + Ng)). It is worked in logarithms and stays finite at any temperature.

    Args:
        z_i: (N, D) floating-point embeddings; row k belongs to instance k.
        z_j: (N, D), the other view of the same instances.
        temperature: see `nt_xent`.
        beta: concentration, at least 0: how much near negatives count for more. 0 weights all
            alike. Default: what the paper's authors ran.
        tau_plus: in [0, 1), the assumed share of negatives that are of the anchor's own class.
            With beta = 0 and tau_plus = 0 the loss is `nt_xent`. Default: the authors'.
        ids: see `nt_xent`.
        normalize: see `nt_xent`. The floor N' exp(-1 / temperature) supposes unit vectors.
        reduction: see `nt_xent`.
        gather: see `nt_xent`.

    Returns:
        float32, or float64 for float64 embeddings; inf or NaN where the embeddings hold any.

    Raises:
        InvalidValueError: beta or tau_plus outside their ranges; and as `nt_xent`.
        InvalidTypeError: as `nt_xent`.

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
    ids: Tensor | None = None,
    normalize: bool = True,
    reduction: str = "mean",
    gather: bool | dist.ProcessGroup = False,
) -> Tensor:
    """Return `inter_modal_nt_xent` with the negatives weighted as in `hard_negative_nt_xent`.

    Args:
        z_image: (N, D) floating-point embeddings; row k belongs to instance k.
        z_other: (N, D), the same instances in the other modality.
        temperature: see `nt_xent`.
        beta: see `hard_negative_nt_xent`.
        tau_plus: see `hard_negative_nt_xent`.
        symmetric: see `inter_modal_nt_xent`.
        ids: see `nt_xent`.
        normalize: see `hard_negative_nt_xent`.
        reduction: see `inter_modal_nt_xent`.
        gather: see `nt_xent`.

    Returns:
        float32, or float64 for float64 embeddings; inf or NaN where the embeddings hold any.

    Raises:
        InvalidValueError, InvalidTypeError: as `hard_negative_nt_xent`.

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


def _weighted(contrast: Contrast, beta: float, tau_plus: float) -> Tensor:
    """Return (k, n) losses. In logarithms sum(w neg) = N' sum(neg^(1 + beta)) / sum(neg^beta)."""
    beta, tau_plus = _check_options(beta, tau_plus)
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
        # Where the own class would take more than there is, the difference has no logarithm and
        # the floor holds; a gap under one rounding step is no gap.
        gap = (own_class - log_sum).clamp(max=-torch.finfo(n.dtype).eps)
        rest = log_sum + torch.log(-torch.expm1(gap)) - math.log1p(-tau_plus)
        log_sum = torch.where(own_class >= log_sum, floor, rest)  # NaN is no number to hide
    log_sum = torch.maximum(log_sum, floor)
    losses = softplus(log_sum - positive, threshold=40.0).masked_fill(none, 0.0)
    return losses + positive * 0.0  # see `cross_entropy`


def _check_options(beta: object, tau_plus: object) -> tuple[float, float]:
    concentration = check_number("beta", beta)
    if not 0.0 <= concentration < math.inf:
        raise InvalidValueError(f"beta must be finite and at least 0; got {beta!r}")
    share = check_number("tau_plus", tau_plus)
    if not 0.0 <= share < 1.0:
        raise InvalidValueError(f"tau_plus must lie in [0, 1); got {tau_plus!r}")
    return concentration, share
