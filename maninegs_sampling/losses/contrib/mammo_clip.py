"""Mammo-CLIP's objective: two image views and two text views of each study."""

import torch.distributed as dist
from torch import Tensor

from maninegs_sampling.losses.batch import Batch
from maninegs_sampling.losses.contrastive_loss import WeightedTermsLoss
from maninegs_sampling.losses.instance_ids import Ids
from maninegs_sampling.losses.options import CHECKS, Reduction, Result, check_finite
from maninegs_sampling.losses.terms import Terms


# Longer than 60 lines because of its docstring.
def mammo_clip_loss(
    z_image: Tensor,
    z_image_view: Tensor,
    z_text: Tensor,
    z_text_view: Tensor,
    *,
    temperature: float | Tensor = 0.07,
    image_weight: float = 1.0,
    text_weight: float = 0.5,
    ids: Ids | None = None,
    label_smoothing: float = 0.0,
    normalize: bool = True,
    reduction: Reduction = "mean",
    gather: bool | dist.ProcessGroup = False,
) -> Tensor:
    """Return Mammo-CLIP's multi-view image-text loss.

    The loss is the mean of `inter_modal_nt_xent` over the four pairs of an image and a text view,
    plus `image_weight` times that of the image views, plus `text_weight` times that of the text
    views.

    The source (Ghosh et al., "Mammo-CLIP", MICCAI 2024, and its published code) has these six
    terms, the weights 1 and 0.5, one temperature with the initial value 0.07, and label smoothing
    in the image-text terms only. This package adds `ids`, for studies with equal reports.

    Args:
        z_image: (N, D) floating-point embeddings of the first image view; row k is study k.
        z_image_view: (N, D), the second image view.
        z_text: (N, D), the first text view.
        z_text_view: (N, D), the second text view.
        temperature: See `nt_xent`.
        image_weight: Weight of the term between image views.
        text_weight: Weight of the term between text views.
        ids: See `nt_xent`.
        label_smoothing: See `nt_xent`.
        normalize: See `nt_xent`.
        reduction: "mean" or "sum" over the N studies, or "none": (N,).
        gather: See `nt_xent`.

    Returns:
        float32, or float64 for float64 embeddings. inf or NaN if embeddings hold inf or NaN.

    Raises:
        InvalidValueError, InvalidTypeError: If `nt_xent` would raise them.

    Example:
        >>> import torch
        >>> z = torch.eye(4, 8)  # each of the six terms is log(1 + 3 exp(-1 / 0.5)) = 0.3408
        >>> print(f"{mammo_clip_loss(z, z, z, z, temperature=0.5):.4f}")
        0.8519
    """
    views = z_image, z_image_view, z_text, z_text_view
    return mammo_clip_terms(
        *views,
        temperature=temperature,
        image_weight=image_weight,
        text_weight=text_weight,
        ids=ids,
        label_smoothing=label_smoothing,
        normalize=normalize,
        gather=gather,
    ).total(reduction)


def mammo_clip_terms(
    z_image: Tensor,
    z_image_view: Tensor,
    z_text: Tensor,
    z_text_view: Tensor,
    *,
    temperature: float | Tensor,
    image_weight: float,
    text_weight: float,
    ids: Ids | None,
    label_smoothing: float,
    normalize: bool,
    gather: bool | dist.ProcessGroup,
) -> Terms:
    """Return the terms of `mammo_clip_loss`, which has the same arguments."""
    named = {
        "z_image": z_image,
        "z_image_view": z_image_view,
        "z_text": z_text,
        "z_text_view": z_text_view,
    }
    image_weight = check_finite("image_weight", image_weight)
    text_weight = check_finite("text_weight", text_weight)
    batch = Batch.of(named, ids=ids, normalize=normalize, gather=gather)
    terms = Terms(batch)
    for i in (0, 1):
        for t in (0, 1):
            name, pair = f"image{i}-text{t}", (i, 2 + t)
            terms.add_modalities(name, 0.25, pair, temperature, label_smoothing)
    terms.add_modalities("image0-image1", image_weight, (0, 1), temperature, 0.0)
    terms.add_modalities("text0-text1", text_weight, (2, 3), temperature, 0.0)
    return terms


class MammoCLIPLoss(WeightedTermsLoss):
    """`mammo_clip_loss` with its own temperature: the inverse of the source's logit scale.

    Args:
        temperature: Initial value. Default: 0.07, as in the source.
        learnable: If True (default), the temperature is a parameter, as in the source.
        min_temperature: Lower bound of the temperature.
        image_weight, text_weight, label_smoothing, normalize, reduction, gather: See
            `mammo_clip_loss`.

    Example:
        >>> import torch
        >>> criterion = MammoCLIPLoss()
        >>> images_and_texts = torch.randn(4, 16, 8, generator=torch.manual_seed(0))
        >>> loss = criterion(*images_and_texts)
    """

    _function = staticmethod(mammo_clip_terms)
    _checks = CHECKS | {"image_weight": check_finite, "text_weight": check_finite}

    def __init__(
        self,
        temperature: float = 0.07,
        *,
        learnable: bool = True,
        min_temperature: float = 0.01,
        image_weight: float = 1.0,
        text_weight: float = 0.5,
        label_smoothing: float = 0.0,
        normalize: bool = True,
        reduction: Reduction = "mean",
        gather: bool | dist.ProcessGroup = False,
    ) -> None:
        super().__init__(locals())

    def forward(
        self,
        z_image: Tensor,
        z_image_view: Tensor,
        z_text: Tensor,
        z_text_view: Tensor,
        *,
        ids: Ids | None = None,
        return_terms: bool = False,
    ) -> Result:
        """Return the loss. If `return_terms`, also return each term's mean on this rank, to log."""
        views = z_image, z_image_view, z_text, z_text_view
        return self._result(*views, ids=ids, return_terms=return_terms)
