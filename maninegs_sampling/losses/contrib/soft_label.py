"""The soft-label contrastive loss of Siamese networks on pairs of mammograms."""

import math

import torch
from torch import Tensor

from maninegs_sampling.errors import InvalidTypeError, InvalidValueError
from maninegs_sampling.losses.embeddings import check_embeddings, reduced
from maninegs_sampling.losses.options import Reduction, check_positive
from maninegs_sampling.losses.transforms import needs_plain_operations
from maninegs_sampling.optional import require
from maninegs_sampling.quoting import quoted


def soft_label_contrastive(
    z_first: Tensor,
    z_second: Tensor,
    soft_labels: Tensor,
    *,
    margin: float = 1.0,
    reduction: Reduction = "mean",
) -> Tensor:
    """Return w d^2 + (1 - w) max(0, margin - d)^2 for pairs at Euclidean distance d.

    The source ("Siamese Networks with Soft Labels for Unsupervised Lesion Detection and Patch
    Pretraining on Screening Mammograms", 2024) describes a contrastive loss of pairs of patches
    from both breasts, with soft labels that come from the distances between the pairs' embeddings.
    This implementation uses the contrastive loss of Hadsell et al. (2006) with w in place of its
    label.

    Args:
        z_first: (N, D) floating-point embeddings; row k belongs to pair k.
        z_second: (N, D), the second member of each pair.
        soft_labels: (N,) in [0, 1]: w, the probability that a pair is similar, for example from
            `gaussian_mixture_soft_labels`. It gets no gradient.
        margin: Distance from which a dissimilar pair has no loss.
        reduction: "mean", "sum" or "none": (N,).

    Returns:
        float32, or float64 for float64 embeddings. At d = 0 the gradient is zero. inf or NaN if
        embeddings hold inf or NaN.

    Raises:
        InvalidValueError: If shapes do not match, a label is outside [0, 1], `margin` is not
            positive, or `reduction` is unknown. Under torch.func, where no value can be read, the
            loss of a label outside [0, 1] is NaN.
        InvalidTypeError: If embeddings are not floating-point tensors, or labels are no tensor.

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
        raise InvalidValueError(
            f"soft_labels must lie in [0, 1]; got {soft_labels[outside][0].item()}"
        )
    margin = check_positive("margin", margin)
    dtype = torch.promote_types(torch.promote_types(z_first.dtype, z_second.dtype), torch.float32)
    distance = torch.linalg.vector_norm(z_first.to(dtype) - z_second.to(dtype), dim=1)
    similar = soft_labels.detach().to(dtype).masked_fill(outside, math.nan)
    losses = similar * distance**2 + (1.0 - similar) * (margin - distance).clamp(min=0.0) ** 2
    return reduced(losses, reduction)


def gaussian_mixture_soft_labels(distances: Tensor) -> Tensor:
    """Return the probability that each distance belongs to the nearer of two groups.

    Fit a mixture of two Gaussians to the distances with scikit-learn. The label is the posterior
    probability of the component with the smaller mean. If that component is the narrower one,
    distances far below both means may be assigned to the other. The source (see
    `soft_label_contrastive`) says that soft labels come from Euclidean distances; the mixture is
    this package's interpretation.

    Args:
        distances: (N,) finite distances of pairs; N must be at least 2.

    Returns:
        (N,) in [0, 1], with the device and dtype of `distances`, without gradient. If all
        distances are equal, all labels are 0.5.

    Raises:
        InvalidValueError: If `distances` does not have the shape (N,), N is less than 2, or a
            distance is not finite.
        InvalidTypeError: If `distances` is not a floating-point tensor.
        MissingExtraError: If scikit-learn is not installed.

    Example:
        >>> near_and_far = torch.tensor([0.1, 0.2, 0.15, 2.0, 2.2, 2.1])
        >>> gaussian_mixture_soft_labels(near_and_far).round()
        tensor([1., 1., 1., 0., 0., 0.])
    """
    if not isinstance(distances, Tensor) or not distances.is_floating_point():
        raise InvalidTypeError(
            f"distances must be a floating-point tensor; got {quoted(distances)}"
        )
    if distances.ndim != 1 or len(distances) < 2:
        raise InvalidValueError(
            f"distances must have the shape (N,) with N at least 2; got {tuple(distances.shape)}"
        )
    bad = distances[~distances.isfinite()]
    if len(bad):
        raise InvalidValueError(f"distances must be finite; got {bad[0].item()}")
    mixture_models = require(
        "sklearn.mixture", extra="soft-labels", what="gaussian_mixture_soft_labels"
    )
    values = distances.detach().double().cpu().reshape(-1, 1).numpy()
    if values.min() == values.max():
        return torch.full_like(distances, 0.5, requires_grad=False)
    # The mixture's regularization is absolute; standardized, the unit does not matter.
    values = (values - values.mean()) / values.std()
    mixture = mixture_models.GaussianMixture(n_components=2, random_state=0).fit(values)
    nearer = mixture.means_[:, 0].argmin()
    return torch.as_tensor(mixture.predict_proba(values)[:, nearer]).to(distances)
