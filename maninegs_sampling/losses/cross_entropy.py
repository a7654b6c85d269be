"""The normalised temperature-scaled cross-entropies of one pair of views or modalities."""

import torch.distributed as dist
from torch import Tensor
from torch.nn.functional import softplus

from maninegs_sampling.losses.contrast import (
    Batch,
    Contrast,
    ModalityContrast,
    ViewContrast,
)
from maninegs_sampling.losses.numbers import check_label_smoothing

# Up to this number of logits the direct way is quicker. Measured forward and backward on 2 cores:
# at 2^16 (128 pairs of views; 256 of two modalities) the two ways take the same time within 10%,
# at a quarter of it the direct way takes 0.8 of the other's time, at four times it 1.3.
DIRECT_LOGITS = 2**16


def nt_xent(
    z_i: Tensor,
    z_j: Tensor,
    *,
    temperature: float | Tensor = 0.7,
    ids: Tensor | None = None,
    label_smoothing: float = 0.0,
    normalize: bool = True,
    reduction: str = "mean",
    gather: bool | dist.ProcessGroup = False,
) -> Tensor:
    """Return the NT-Xent loss of two views: each view is to find its partner among all 2N - 1.

    With the 2N unit vectors z of both views and s_ab = z_a . z_b / temperature, it is the mean over
    a of -s_{a, partner(a)} + log sum_{b != a} exp s_ab: Eq. (1) and (5) of the paper.

    Memory grows with N, not with N^2: the 2N x 2N logits are made in blocks, and again for the
    gradient. A second derivative (create_graph=True) works, with memory N^2; so do the transforms
    of torch.func and forward-mode differentiation.

    Args:
        z_i: (N, D) floating-point embeddings; row k belongs to instance k.
        z_j: (N, D), the other view of the same instances.
        temperature: positive number, or a tensor of one, which gets a gradient. Where a model keeps
            CLIP's `logit_scale`, pass `1 / logit_scale`: the scale gets its gradient through it.
            Default: Table III.
        ids: (N,) integers or booleans of any type. Instances with equal ids are no negatives of
            each other: such pairs are neither pulled nor pushed. Default: all instances differ.
        label_smoothing: in [0, 1]; the share of the target that is spread evenly over the partner
            and all negatives, as in torch.nn.functional.cross_entropy.
        normalize: scale embeddings to unit length; logits are then cosines. A vector no longer
            than 1e-12 counts as zero: its similarities and its gradient are zero.
        reduction: "mean" or "sum" over the 2N views, or "none": (2N,), first those of `z_i`.
        gather: take the negatives of all ranks: True, or a process group. Every rank of it must
            call. Each returns its own rows' part, scaled so that the mean over ranks of "mean" is
            the loss of the concatenated batch; with the gradients averaged as
            DistributedDataParallel does, training equals one process. Batches may differ in size.
            `ids` must then mean the same on all ranks.

    Returns:
        float32, or float64 for float64 embeddings, whatever autocast says; inf or NaN where
        the embeddings hold any.

    Raises:
        InvalidValueError: shapes that do not fit, a temperature that is not positive, an unknown
            reduction, ranks that disagree.
        InvalidTypeError: an argument that is no tensor, or not floating-point; ids that are not
            integers; a number that is none.

    Example:
        >>> import torch
        >>> z = torch.eye(4, 8)  # four instances, orthogonal, both views equal
        >>> print(f"{nt_xent(z, z, temperature=0.5):.4f}")  # log(1 + 6 exp(-1 / 0.5))
        0.5944
    """
    batch = Batch.of({"z_i": z_i, "z_j": z_j}, ids=ids, normalize=normalize, gather=gather)
    contrast = ViewContrast(batch, (0, 1), temperature)
    return batch.reduce(cross_entropy(contrast, label_smoothing), reduction)


def inter_modal_nt_xent(
    z_image: Tensor,
    z_other: Tensor,
    *,
    temperature: float | Tensor = 0.7,
    symmetric: bool = True,
    ids: Tensor | None = None,
    label_smoothing: float = 0.0,
    normalize: bool = True,
    reduction: str = "mean",
    gather: bool | dist.ProcessGroup = False,
) -> Tensor:
    """Return the inter-modal NT-Xent loss: each vector is to find its partner in the other set.

    With s_ab = image_a . other_b / temperature over N x N, it is the mean of the cross-entropies of
    the rows and of the columns of s, whose targets lie on the diagonal. It is l_inter of Eq. (6):
    pairs within a modality are no negatives. Memory grows with N, not with N^2.

    Args:
        z_image: (N, D) floating-point embeddings; row k belongs to instance k.
        z_other: (N, D), the same instances in the other modality, say manifestation or text.
        temperature: see `nt_xent`; `1 / logit_scale` for CLIP's learned scale.
        symmetric: both directions, as CLIP does (default). False: image to other alone, which is
            what the paper's authors ran.
        ids: see `nt_xent`.
        label_smoothing: see `nt_xent`.
        normalize: see `nt_xent`.
        reduction: "mean" or "sum" over the 2N vectors (N unless symmetric), or "none": (2N,), first
            those of `z_image`.
        gather: see `nt_xent`.

    Returns:
        float32, or float64 for float64 embeddings; inf or NaN where the embeddings hold any.

    Raises:
        InvalidValueError, InvalidTypeError: as `nt_xent`.

    Example:
        >>> import torch
        >>> z = torch.eye(4, 8)
        >>> print(f"{inter_modal_nt_xent(z, z, temperature=0.5):.4f}")  # log(1 + 3 exp(-1 / 0.5))
        0.3408
        >>> logit_scale = torch.tensor(2.0, requires_grad=True)
        >>> inter_modal_nt_xent(z, z, temperature=1 / logit_scale).backward()
        >>> logit_scale.grad  # -3 exp(-2) / (1 + 3 exp(-2))
        tensor(-0.2888)
    """
    batch = Batch.of(
        {"z_image": z_image, "z_other": z_other}, ids=ids, normalize=normalize, gather=gather
    )
    contrast = ModalityContrast(batch, (0, 1), temperature, symmetric=symmetric)
    return batch.reduce(cross_entropy(contrast, label_smoothing), reduction)


def cross_entropy(contrast: Contrast, label_smoothing: float) -> Tensor:
    """Return (k, n), the cross-entropy of each row's positive among it and the row's negatives."""
    label_smoothing = check_label_smoothing(label_smoothing)
    if not label_smoothing and contrast.may_be_direct(DIRECT_LOGITS):
        return contrast.direct_cross_entropy()
    positive = contrast.positive()
    # -log(e^p / (e^p + sum of e^negative)); the threshold leaves float64 its precision. A positive
    # of inf would leave a loss of 0, but what is not finite must not look like a good fit.
    losses = softplus(contrast.log_sum_exp() - positive, threshold=40.0) + positive * 0.0
    if label_smoothing:
        candidates = 1.0 + contrast.n_negatives()
        even = (positive + contrast.sum_of_negatives()) / candidates
        losses = losses + label_smoothing * (positive - even)
    return losses
