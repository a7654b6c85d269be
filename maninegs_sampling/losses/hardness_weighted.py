"""In-batch hardness weighting: similar negatives have larger logits, by a constant of the step."""

import torch.distributed as dist
from torch import Tensor
from torch.nn.functional import softplus

from maninegs_sampling.losses.batch import Batch
from maninegs_sampling.losses.instance_ids import Ids
from maninegs_sampling.losses.options import Reduction, check_nonnegative
from maninegs_sampling.losses.pair_contrasts import ModalityContrast, PairContrast, ViewContrast
from maninegs_sampling.losses.softplus_sums import THRESHOLD


def hardness_weighted_nt_xent(
    z_i: Tensor,
    z_j: Tensor,
    *,
    temperature: float | Tensor = 0.7,
    alpha: float = 9.0,
    ids: Ids | None = None,
    normalize: bool = True,
    reduction: Reduction = "mean",
    gather: bool | dist.ProcessGroup = False,
) -> Tensor:
    """Return the NT-Xent loss of two views with a penalty on the logits of similar negatives.

    The logit of a negative is cosine / temperature + alpha * stop_gradient(cosine): Lan et al.,
    "LLaVE" (2025, arXiv 2503.04812), Eq. (5), and `hardness_mode="in_batch_negatives"` of
    sentence-transformers. A negative's weight in the gradient grows with exp(alpha * cosine).
    Memory grows with N.

    Args:
        z_i: (N, D) floating-point embeddings; row k belongs to instance k.
        z_j: (N, D), the other view of the same instances.
        temperature: See `nt_xent`.
        alpha: Strength of the penalty, at least 0, which is `nt_xent`. Default: 9, as in the
            source.
        ids: See `nt_xent`.
        normalize: See `nt_xent`. If False, dot products take the place of cosines.
        reduction: See `nt_xent`.
        gather: See `nt_xent`.

    Returns:
        float32, or float64 for float64 embeddings. inf or NaN if embeddings hold inf or NaN.

    Raises:
        InvalidValueError, InvalidTypeError: If `nt_xent` would raise them, or if alpha is negative
            or no finite number.

    Example:
        >>> import torch
        >>> z = torch.nn.functional.normalize(torch.randn(8, 4, generator=torch.manual_seed(0)))
        >>> cosines = z @ z.T  # four instances, of which row k and k + 4 are the views
        >>> partner, own = torch.arange(8).roll(4), torch.eye(8) == 1
        >>> logits = cosines / 0.7 + 9.0 * cosines * (torch.arange(8)[:, None] != partner)
        >>> logits = logits.masked_fill(own, -torch.inf)
        >>> expected = torch.nn.functional.cross_entropy(logits, partner)
        >>> torch.testing.assert_close(hardness_weighted_nt_xent(z[:4], z[4:]), expected)
    """
    batch = Batch.of({"z_i": z_i, "z_j": z_j}, ids=ids, normalize=normalize, gather=gather)
    return batch.reduce(_weighted(ViewContrast(batch, (0, 1), temperature), alpha), reduction)


def hardness_weighted_inter_modal_nt_xent(
    z_image: Tensor,
    z_other: Tensor,
    *,
    temperature: float | Tensor = 0.7,
    alpha: float = 9.0,
    symmetric: bool = True,
    ids: Ids | None = None,
    normalize: bool = True,
    reduction: Reduction = "mean",
    gather: bool | dist.ProcessGroup = False,
) -> Tensor:
    """Return `inter_modal_nt_xent` with negatives as in `hardness_weighted_nt_xent`.

    Args:
        z_image: (N, D) floating-point embeddings; row k belongs to instance k.
        z_other: (N, D), the same instances in the other modality.
        temperature: See `nt_xent`.
        alpha: See `hardness_weighted_nt_xent`.
        symmetric: See `inter_modal_nt_xent`.
        ids: See `nt_xent`.
        normalize: See `hardness_weighted_nt_xent`.
        reduction: See `inter_modal_nt_xent`.
        gather: See `nt_xent`.

    Returns:
        float32, or float64 for float64 embeddings. inf or NaN if embeddings hold inf or NaN.

    Raises:
        InvalidValueError, InvalidTypeError: If `hardness_weighted_nt_xent` would raise them.

    Example:
        >>> import torch
        >>> x, y = torch.nn.functional.normalize(torch.eye(4, 8) + 0.1), torch.eye(4, 8)
        >>> cosines, own = x @ y.T, torch.eye(4)
        >>> logits, target = cosines / 0.7 + 9.0 * cosines * (1 - own), torch.arange(4)
        >>> expected = torch.nn.functional.cross_entropy(logits, target)
        >>> found = hardness_weighted_inter_modal_nt_xent(x, y, symmetric=False)
        >>> torch.testing.assert_close(found, expected)
    """
    batch = Batch.of(
        {"z_image": z_image, "z_other": z_other}, ids=ids, normalize=normalize, gather=gather
    )
    contrast = ModalityContrast(batch, (0, 1), temperature, symmetric=symmetric)
    return batch.reduce(_weighted(contrast, alpha), reduction)


def _weighted(contrast: PairContrast, alpha: float) -> Tensor:
    """Return (k, n) losses. Negatives have the logits (1 + alpha temperature) s."""
    alpha = check_nonnegative("alpha", alpha)
    inverse = contrast.inverse
    contrast.factor = 1.0 + alpha / (inverse.detach() if isinstance(inverse, Tensor) else inverse)
    positive = contrast.positive()
    losses = softplus(contrast.log_sum_exp() - positive, threshold=THRESHOLD)
    return losses + positive * 0.0  # NaN for inf, as in `cross_entropy`
