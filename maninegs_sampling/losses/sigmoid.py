"""SigLIP's loss: each pair of an image and a text is classified on its own."""

import torch.distributed as dist
from torch import Tensor
from torch.nn.functional import softplus

from maninegs_sampling.losses.contrast import Batch, ModalityContrast
from maninegs_sampling.losses.embeddings import check_scalar
from maninegs_sampling.losses.instance_ids import Ids
from maninegs_sampling.losses.options import Reduction, check_finite
from maninegs_sampling.losses.softplus_sums import THRESHOLD


# Longer than 60 lines because of its docstring.
def siglip_loss(
    z_image: Tensor,
    z_other: Tensor,
    *,
    temperature: float | Tensor = 0.1,
    bias: float | Tensor = -10.0,
    ids: Ids | None = None,
    normalize: bool = True,
    reduction: Reduction = "mean",
    gather: bool | dist.ProcessGroup = False,
) -> Tensor:
    """Return the sigmoid loss of two modalities: decide for each pair whether it belongs together.

    With l_ab = image_a . other_b / temperature + bias, the loss of row a is -log sigmoid(l_aa) -
    sum_{b != a} log sigmoid(-l_ab): Zhai et al., "Sigmoid Loss for Language Image Pre-Training"
    (ICCV 2023, arXiv 2303.15343), Algorithm 1. Memory grows with N, not with N^2.

    Args:
        z_image: (N, D) floating-point embeddings; row k belongs to instance k.
        z_other: (N, D), the same instances in the other modality, such as manifestation or text.
        temperature: See `nt_xent`. 1 / temperature is the paper's t. Default: 0.1, where the paper
            starts.
        bias: Finite number, or a tensor of one number, which gets a gradient. Default: -10, where
            the paper starts, so that the many negatives do not dominate at first.
        ids: See `nt_xent`.
        normalize: See `nt_xent`.
        reduction: "mean" or "sum" over the N images, or "none": (N,). As in the paper, each row is
            a sum over N pairs, which is not divided by N.
        gather: See `nt_xent`.

    Returns:
        float32, or float64 for float64 embeddings. inf or NaN if embeddings hold inf or NaN.

    Raises:
        InvalidValueError: If `nt_xent` would raise it, or if the bias is not finite.
        InvalidTypeError: If `nt_xent` would raise it, or if the bias is neither a number nor a
            tensor of one floating-point number.

    Example:
        >>> import torch
        >>> from torch.nn.functional import logsigmoid, normalize
        >>> image, text = torch.randn(2, 16, 8, generator=torch.manual_seed(0))
        >>> logits = normalize(image) @ normalize(text).T / 0.1 - 10.0
        >>> expected = -logsigmoid(logits * (2 * torch.eye(16) - 1)).sum() / 16
        >>> torch.testing.assert_close(siglip_loss(image, text), expected)
    """
    batch = Batch.of(
        {"z_image": z_image, "z_other": z_other}, ids=ids, normalize=normalize, gather=gather
    )
    bias = check_scalar("bias", bias, batch.embeddings[0], check_finite)
    contrast = ModalityContrast(batch, (0, 1), temperature, symmetric=False)
    if contrast.may_be_direct():
        logits = contrast.logits() + bias
        losses = softplus(logits, threshold=THRESHOLD).sum(1) - logits.diagonal()
    else:
        positive = contrast.positive() + bias
        losses = contrast.softplus_sum(bias) + softplus(-positive, threshold=THRESHOLD)
        losses = losses + positive * 0.0  # NaN for inf, as in `cross_entropy`
    return batch.reduce(losses, reduction)
