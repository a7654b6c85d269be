"""The soft-label contrastive loss of Siamese networks on pairs of mammograms."""

import math

import torch
from torch import Tensor

from maninegs_sampling.errors import InvalidTypeError, InvalidValueError
from maninegs_sampling.losses.embeddings import check_embeddings, reduced
from maninegs_sampling.losses.numbers import check_positive
from maninegs_sampling.losses.transforms import needs_plain_operations
from maninegs_sampling.optional import require


def soft_label_contrastive(
    z_first: Tensor,
    z_second: Tensor,
    soft_labels: Tensor,
    *,
    margin: float = 1.0,
    reduction: str = "mean",
) -> Tensor:
    """Return w d^2 + (1 - w) max(0, margin - d)^2 for pairs at Euclidean distance d.

    From the source ("Siamese Networks with Soft Labels for Unsupervised Lesion Detection and Patch
    Pretraining on Screening Mammograms", 2024): a contrastive loss on pairs of patches from both
    breasts, whose labels are soft and come from the distances between the pairs' embeddings. Our
    reading: the classical contrastive loss of Hadsell et al. (2006), its label replaced by w.

    Args:
        z_first: (N, D) floating-point embeddings; row k belongs to pair k.
        z_second: (N, D), the other member of each pair.
        soft_labels: (N,) in [0, 1]: w, how surely a pair is alike, say from
            `gaussian_mixture_soft_labels`. No gradient flows into it.
        margin: distance from which a pair that is not alike costs nothing.
        reduction: "mean", "sum" or "none": (N,).

    Returns:
        float32, or float64 for float64 embeddings. At d = 0 the gradient is zero. Where embeddings
        hold inf or NaN, the loss is inf or NaN.

    Raises:
        InvalidValueError: shapes that do not fit, a label outside [0, 1] (NaN comes of it where
            torch.func lets no number be read), a margin that is not positive, an unknown
            reduction.
        InvalidTypeError: an argument that is no tensor, or not floating-point.

    Example:
        >>> first, second = torch.zeros(2, 3), torch.eye(2, 3) * 0.5
        >>> soft_label_contrastive(first, second, torch.tensor([1.0, 0.5]), reduction="none")
        tensor([0.2500, 0.2500])
    """
    check_embeddings({"z_first": z_first, "z_second": z_second})
    if not isinstance(soft_labels, Tensor):
        raise InvalidTypeError(
            f"soft_labels must be a torch tensor; got {type(soft_labels).__name__}"
        )
    if soft_labels.shape != z_first.shape[:1]:
        raise InvalidValueError(
            f"soft_labels must have the shape ({len(z_first)},), one for each pair; got "
            f"{tuple(soft_labels.shape)}"
        )
    outside = ~((soft_labels >= 0) & (soft_labels <= 1))
    if not needs_plain_operations(soft_labels) and bool(outside.any()):
        raise InvalidValueError("soft_labels must lie in [0, 1]")
    margin = check_positive("margin", margin)
    dtype = torch.promote_types(torch.promote_types(z_first.dtype, z_second.dtype), torch.float32)
    distance = torch.linalg.vector_norm(z_first.to(dtype) - z_second.to(dtype), dim=1)
    alike = soft_labels.detach().to(dtype).masked_fill(outside, math.nan)
    losses = alike * distance**2 + (1.0 - alike) * (margin - distance).clamp(min=0.0) ** 2
    return reduced(losses, reduction)


def gaussian_mixture_soft_labels(distances: Tensor) -> Tensor:
    """Return the probability that each distance belongs to the nearer of two groups.

    Two Gaussians are fitted to the distances (by scikit-learn); the label is the posterior of the
    one with the smaller mean. (Where that one is the narrower, distances far below both means may
    go to the other.) The source (see `soft_label_contrastive`) says that soft labels come
    from the Euclidean distances; the mixture and its posterior are our reading.

    Args:
        distances: (N,) finite distances of pairs, N at least 2.

    Returns:
        (N,) in [0, 1], on the same device and in the same dtype, without gradient. Where all
        distances are equal there are no two groups to tell apart, and all labels are 0.5.

    Raises:
        InvalidValueError: too few distances, another shape, or values that are not finite.
        InvalidTypeError: not a floating-point tensor.
        MissingExtraError: scikit-learn is not installed.

    Example:
        >>> near_and_far = torch.tensor([0.1, 0.2, 0.15, 2.0, 2.2, 2.1])
        >>> gaussian_mixture_soft_labels(near_and_far).round()
        tensor([1., 1., 1., 0., 0., 0.])
    """
    if not isinstance(distances, Tensor) or not distances.is_floating_point():
        raise InvalidTypeError(f"distances must be a floating-point tensor; got {distances!r}")
    if distances.ndim != 1 or len(distances) < 2:
        raise InvalidValueError(
            f"distances must have the shape (N,) with N at least 2; got {tuple(distances.shape)}"
        )
    if not bool(distances.isfinite().all()):
        raise InvalidValueError("distances must be finite")
    mixture_models = require(
        "sklearn.mixture", extra="soft-labels", what="gaussian_mixture_soft_labels"
    )
    values = distances.detach().double().cpu().reshape(-1, 1).numpy()
    if values.min() == values.max():
        return torch.full_like(distances, 0.5, requires_grad=False)
    values = (values - values.mean()) / values.std()  # its regularisation is absolute
    mixture = mixture_models.GaussianMixture(n_components=2, random_state=0).fit(values)
    nearer = mixture.means_[:, 0].argmin()
    return torch.as_tensor(mixture.predict_proba(values)[:, nearer]).to(distances)
