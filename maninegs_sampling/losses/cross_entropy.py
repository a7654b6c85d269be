"""The normalized temperature-scaled cross-entropies of one pair of views or modalities."""

from typing import Any

import numpy as np
import torch.distributed as dist
from torch import Tensor
from torch.nn.functional import softplus

from maninegs_sampling.errors import InvalidValueError
from maninegs_sampling.losses.batch import Batch
from maninegs_sampling.losses.instance_ids import Ids
from maninegs_sampling.losses.memory import CrossBatchMemory
from maninegs_sampling.losses.negative_weights import WeightOf
from maninegs_sampling.losses.options import Reduction, Similarity, check_share
from maninegs_sampling.losses.pair_contrasts import ModalityContrast, PairContrast, ViewContrast
from maninegs_sampling.losses.pair_options import Mask, PairOptions
from maninegs_sampling.losses.similarities import Bits
from maninegs_sampling.losses.softplus_sums import THRESHOLD


def nt_xent(
    z_i: Tensor,
    z_j: Tensor,
    *more_views: Tensor,
    temperature: float | Tensor = 0.7,
    ids: Ids | None = None,
    memory: CrossBatchMemory | None = None,
    log_q: Tensor | np.ndarray | None = None,
    bits: Bits | None = None,
    negative_weights: WeightOf | None = None,
    similarity: Similarity = "jaccard",
    positive_mask: Mask | None = None,
    ignore: Mask | None = None,
    label_smoothing: float = 0.0,
    normalize: bool = True,
    reduction: Reduction = "mean",
    gather: bool | dist.ProcessGroup = False,
) -> Tensor:
    """Return the NT-Xent loss of two views: identify each view's partner among the 2N - 1 others.

    With the 2N unit vectors z of both views and s_ab = z_a . z_b / temperature, the loss is the
    mean over a of -s_{a, partner(a)} + log sum_{b != a} exp s_ab: Eq. (1) and (5) of the paper.

    Memory grows with N, not with N^2: the 2N x 2N logits are computed in blocks, and again for the
    gradient. Second derivatives (create_graph=True), torch.func transforms and forward-mode
    differentiation are supported; they need memory N^2.

    Args:
        z_i: (N, D) floating-point embeddings; row k belongs to instance k.
        z_j: (N, D), the other view of the same instances.
        more_views: Any number of further views, each (N, D). Each row then has a cross-entropy with
            each other view of its instance, against the views of all other instances; its loss is
            their mean.
        temperature: Positive number, or a tensor of one number, which gets a gradient. For a model
            with CLIP's `logit_scale` pass `1 / logit_scale`. Default: 0.7 (Table III).
        ids: (N,) integers or booleans: a tensor, an array or a sequence. Pairs of instances with
            equal ids are left out of the negatives. Default: all instances differ.
        memory: Past embeddings, as further negatives of all rows: see `CrossBatchMemory`. They are
            embeddings of the same views. Call the loss with `ids` if it was filled with ids.
        log_q: (N,), without gradient: for each instance the logarithm of how often the sampler
            draws it as a negative, relative to uniform sampling. It is subtracted from the logits
            of the instance as a negative, so that in expectation the sum over negatives is that of
            uniform sampling: the logQ correction of sampled softmax (Bengio and Senecal, 2008). Use
            it to train uniform sampling's objective with a sampler that draws some instances too
            often; leave it out where hard negatives are meant to weigh more, as in ManiNeg.
        bits: (N, B) booleans, or numbers of 0 and 1, such as manifestations: with them
            `negative_weights` says how much a negative counts. Memory still grows with N.
        negative_weights: Elementwise function from a tensor of similarities of bits, in [0, 1], to
            weights of at least 0, which multiply the logits of negatives. For iMolCLR (Wang et al.,
            2022, arXiv 2202.09346) it is `lambda similarity: 1 - 0.5 * similarity`: negatives whose
            bits resemble the row's are pushed away less.
        similarity: The similarity of bits: "jaccard" (default), for fingerprints the Tanimoto
            similarity, or "hamming"; see `multi_label_sup_con`.
        positive_mask: (N, N) booleans, for small batches: True where the embeddings of instance b
            are positives of those of instance a. The loss of a row is then the mean over its
            positives, the views of its own instance among them, of the cross-entropy among the
            positive and all negatives. Takes memory N^2. `sup_con` is linear, if labels say it.
        ignore: (N, N) booleans, for small batches: True where the embeddings of instance b are no
            negatives of those of instance a. Takes memory N^2. `ids` is linear, if ids say it.
        label_smoothing: In [0, 1]: the share of the target that is spread evenly over the partner
            and all negatives, as in torch.nn.functional.cross_entropy.
        normalize: If True, scale embeddings to unit length, so that logits are cosines divided by
            the temperature. A vector no longer than 1e-12 counts as zero: its similarities and its
            gradient are zero.
        reduction: "mean" or "sum" over the 2N views, or "none": (2N,), those of `z_i` first.
        gather: Whether to use the negatives of all ranks: True, or a process group. Every rank of
            the group must call the loss. Each returns the loss of its own rows, scaled so that the
            mean over ranks of "mean" is the loss of the concatenated batch: with gradients averaged
            by DistributedDataParallel, training equals that of one process. Batches may differ in
            size. Equal ids on different ranks mean equal instances.

    Returns:
        float32, or float64 for float64 embeddings, also under autocast. inf or NaN if embeddings
        hold inf or NaN.

    Raises:
        InvalidValueError: If shapes do not match, a number is out of range, `reduction` is unknown,
            or ranks disagree.
        InvalidTypeError: If embeddings are not floating-point tensors, ids are not integers, or an
            option has the wrong type.

    Example:
        >>> import torch
        >>> z = torch.eye(4, 8)  # four instances, orthogonal, both views equal
        >>> print(f"{nt_xent(z, z, temperature=0.5):.4f}")  # log(1 + 6 exp(-1 / 0.5))
        0.5944
    """
    return view_terms(
        z_i,
        z_j,
        *more_views,
        temperature=temperature,
        ids=ids,
        memory=memory,
        log_q=log_q,
        bits=bits,
        negative_weights=negative_weights,
        similarity=similarity,
        positive_mask=positive_mask,
        ignore=ignore,
        label_smoothing=label_smoothing,
        normalize=normalize,
        reduction=reduction,
        gather=gather,
    )[0]


def inter_modal_nt_xent(
    z_image: Tensor,
    z_other: Tensor,
    *,
    temperature: float | Tensor = 0.7,
    symmetric: bool = True,
    image_weight: float = 0.5,
    ids: Ids | None = None,
    memory: CrossBatchMemory | None = None,
    log_q: Tensor | np.ndarray | None = None,
    bits: Bits | None = None,
    negative_weights: WeightOf | None = None,
    similarity: Similarity = "jaccard",
    positive_mask: Mask | None = None,
    ignore: Mask | None = None,
    label_smoothing: float = 0.0,
    normalize: bool = True,
    reduction: Reduction = "mean",
    gather: bool | dist.ProcessGroup = False,
) -> Tensor:
    """Return the inter-modal NT-Xent loss: identify each vector's partner in the other modality.

    With s_ab = image_a . other_b / temperature, (N, N), the loss is the mean of the cross-entropies
    of the rows and the columns of s, with targets on the diagonal: l_inter of Eq. (6). Pairs within
    a modality are not negatives. Memory grows with N, not with N^2.

    Args:
        z_image: (N, D) floating-point embeddings; row k belongs to instance k.
        z_other: (N, D), the same instances in the other modality, such as manifestation or text.
        temperature: See `nt_xent`.
        symmetric: If True (default), use both directions, as CLIP does. If False, only image to
            other, which is what the paper's authors ran.
        image_weight: In [0, 1], of a symmetric loss: the share of the direction from image to
            other. The other direction has the rest. Losses of rows are multiplied by twice their
            direction's share. MMCL and Mammo-CLIP use 0.75.
        ids: See `nt_xent`.
        memory: See `nt_xent`. Images are compared with the other modality in it, and conversely.
        log_q: See `nt_xent`.
        bits: See `nt_xent`.
        negative_weights: See `nt_xent`.
        similarity: See `nt_xent`.
        positive_mask: See `nt_xent`. Row a belongs to the vector whose loss it is, in both
            directions.
        ignore: See `nt_xent`. Row a belongs to the vector whose loss it is, in both directions.
        label_smoothing: See `nt_xent`.
        normalize: See `nt_xent`.
        reduction: "mean" or "sum" over the 2N vectors (N unless symmetric), or "none": (2N,), those
            of `z_image` first.
        gather: See `nt_xent`.

    Returns:
        float32, or float64 for float64 embeddings. inf or NaN if embeddings hold inf or NaN.

    Raises:
        InvalidValueError, InvalidTypeError: If `nt_xent` would raise them.

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
    return modality_terms(
        z_image,
        z_other,
        temperature=temperature,
        symmetric=symmetric,
        image_weight=image_weight,
        ids=ids,
        memory=memory,
        log_q=log_q,
        bits=bits,
        negative_weights=negative_weights,
        similarity=similarity,
        positive_mask=positive_mask,
        ignore=ignore,
        label_smoothing=label_smoothing,
        normalize=normalize,
        reduction=reduction,
        gather=gather,
    )[0]


def view_terms(
    z_i: Tensor,
    z_j: Tensor,
    *more_views: Tensor,
    temperature: float | Tensor,
    ids: Ids | None,
    label_smoothing: float,
    normalize: bool,
    reduction: Reduction,
    gather: bool | dist.ProcessGroup,
    count: bool = False,
    **pair_options: Any,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return `nt_xent`, which has the same arguments, and if `count`, the accuracies by name."""
    views = {"z_i": z_i, "z_j": z_j} | {f"view {k + 2}": z for k, z in enumerate(more_views)}
    options = PairOptions.of(views, **pair_options)
    agree = options.to_agree_on()
    batch = Batch.of(views, ids=ids, normalize=normalize, gather=gather, agree=agree)
    contrast = ViewContrast(batch, tuple(range(len(views))), temperature, options)
    losses = cross_entropy(contrast, label_smoothing, count=count)
    return batch.reduce(losses, reduction), contrast.accuracies() if count else {}


def modality_terms(
    z_image: Tensor,
    z_other: Tensor,
    *,
    temperature: float | Tensor,
    symmetric: bool,
    image_weight: float,
    ids: Ids | None,
    label_smoothing: float,
    normalize: bool,
    reduction: Reduction,
    gather: bool | dist.ProcessGroup,
    count: bool = False,
    **pair_options: Any,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return `inter_modal_nt_xent`, which has the same arguments, and the accuracies by name."""
    pair = {"z_image": z_image, "z_other": z_other}
    options = PairOptions.of(pair, **pair_options)
    agree = options.to_agree_on()
    batch = Batch.of(pair, ids=ids, normalize=normalize, gather=gather, agree=agree)
    contrast = ModalityContrast(batch, (0, 1), temperature, options, symmetric=symmetric)
    image_weight = check_share("image_weight", image_weight)
    if image_weight != 0.5 and not symmetric:
        raise InvalidValueError(
            f"image_weight needs both directions; got {image_weight} with symmetric=False"
        )
    losses = cross_entropy(contrast, label_smoothing, count=count)
    if image_weight != 0.5:
        losses = losses * losses.new_tensor([[2.0 * image_weight], [2.0 - 2.0 * image_weight]])
    return batch.reduce(losses, reduction), contrast.accuracies() if count else {}


def cross_entropy(contrast: PairContrast, label_smoothing: float, *, count: bool = False) -> Tensor:
    """Return (k, n), the cross-entropy of each row's positives among each and the row's negatives.

    If `count`, the contrast can then return accuracies.
    """
    label_smoothing = check_share("label_smoothing", label_smoothing)
    names = contrast.options.names
    if label_smoothing and names:
        raise InvalidValueError(f"label_smoothing must be 0 with {names[0]}; got {label_smoothing}")
    if contrast.options.is_masked:
        return contrast.masked_cross_entropy(count=count)
    if count:
        contrast.count_above()
    elif not label_smoothing and contrast.may_be_direct():
        return contrast.direct_cross_entropy()
    positive = contrast.positive()
    # -log(e^p / (e^p + sum of e^negative)). The last summand turns a positive of inf, whose loss
    # would be 0, into NaN.
    losses = softplus(contrast.log_sum_exp() - positive, threshold=THRESHOLD) + positive * 0.0
    if label_smoothing:
        candidates = 1.0 + contrast.n_negatives()
        even = (positive + contrast.sum_of_negatives()) / candidates
        losses = losses + label_smoothing * (positive - even)
    return losses.mean(0) if losses.ndim == 3 else losses
