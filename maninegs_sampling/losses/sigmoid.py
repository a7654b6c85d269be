"""SigLIP's loss: each pair of an image and a text is classified on its own."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.functional import softplus

from maninegs_sampling.losses.batch import Batch
from maninegs_sampling.losses.contrastive_loss import ContrastiveLoss
from maninegs_sampling.losses.embeddings import check_scalar
from maninegs_sampling.losses.instance_ids import Ids
from maninegs_sampling.losses.options import Reduction, Result, check_finite
from maninegs_sampling.losses.pair_contrasts import ModalityContrast
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


class SigLIPLoss(ContrastiveLoss):
    """`siglip_loss` with its own temperature and bias, as in the paper.

    Args:
        temperature: Initial value. Default: 0.1, where the paper starts.
        bias: Initial value. Default: -10, where the paper starts.
        learnable: If True (default), the temperature and the bias are parameters.
        min_temperature: Lower bound of the temperature.
        normalize, reduction, gather: See `siglip_loss`.

    Example:
        >>> import torch
        >>> criterion = SigLIPLoss()
        >>> z_image, z_text = torch.randn(2, 16, 8, generator=torch.manual_seed(0))
        >>> loss, terms = criterion(z_image, z_text, return_terms=True)
        >>> sorted(terms)
        ['bias', 'siglip_loss', 'temperature']
    """

    _function = staticmethod(siglip_loss)
    _learned = ("temperature", "bias")
    bias: Tensor

    def __init__(
        self,
        temperature: float = 0.1,
        bias: float = -10.0,
        *,
        learnable: bool = True,
        min_temperature: float = 0.01,
        normalize: bool = True,
        reduction: Reduction = "mean",
        gather: bool | dist.ProcessGroup = False,
    ) -> None:
        super().__init__(locals())
        value = torch.tensor(check_finite("bias", bias))
        if learnable:
            self.bias = nn.Parameter(value)
        else:
            self.register_buffer("bias", value)

    def forward(
        self,
        z_image: Tensor,
        z_other: Tensor,
        *,
        ids: Ids | None = None,
        return_terms: bool = False,
    ) -> Result:
        """Return the loss. If `return_terms`, also return a dict of detached values to log."""
        return self._result(z_image, z_other, ids=ids, bias=self.bias, return_terms=return_terms)

    def extra_repr(self) -> str:
        """Return the bias, the temperature and the options, as the module's repr shows them."""
        return f"bias={self.bias.item():.4g}, {super().extra_repr()}"

    def _evaluate(
        self, *embeddings: Any, return_terms: bool, **options: Any
    ) -> tuple[Tensor, dict[str, Tensor]]:
        loss, terms = super()._evaluate(*embeddings, return_terms=return_terms, **options)
        return loss, terms | {"bias": self.bias.detach()}
