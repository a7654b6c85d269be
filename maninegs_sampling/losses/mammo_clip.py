"""Mammo-CLIP's objective: two image views and two text views of each study."""

import torch.distributed as dist
from torch import Tensor

from maninegs_sampling.losses.contrast import Batch
from maninegs_sampling.losses.numbers import check_finite
from maninegs_sampling.losses.terms import Terms


def mammo_clip_loss(
    z_image: Tensor,
    z_image_view: Tensor,
    z_text: Tensor,
    z_text_view: Tensor,
    *,
    temperature: float | Tensor = 0.07,
    image_weight: float = 1.0,
    text_weight: float = 0.5,
    ids: Tensor | None = None,
    label_smoothing: float = 0.0,
    normalize: bool = True,
    reduction: str = "mean",
    gather: bool | dist.ProcessGroup = False,
) -> Tensor:
    """Return Mammo-CLIP's multi-view image-text loss.

    It is the mean of `inter_modal_nt_xent` over the four pairs of an image view and a text view,
    plus `image_weight` times that of the two image views, plus `text_weight` times that of the two
    text views. One temperature serves all.

    From the source (Ghosh et al., "Mammo-CLIP", MICCAI 2024, and its published code): these six
    terms, the weights 1 and 0.5, the one temperature that starts at 0.07, smoothing in the
    image-text terms alone, and that views of one kind are compared with each other and not within
    themselves. Ours: `ids`, which the source does not have, for studies with equal reports.

    Args:
        z_image: (N, D) floating-point embeddings of the first image view; row k is study k.
        z_image_view: (N, D), the second image view.
        z_text: (N, D), the first text view.
        z_text_view: (N, D), the second text view.
        temperature: see `nt_xent`.
        image_weight: weight of the term between image views.
        text_weight: weight of the term between text views.
        ids: see `nt_xent`.
        label_smoothing: see `nt_xent`.
        normalize: see `nt_xent`.
        reduction: "mean" or "sum" over the N studies, or "none": (N,).
        gather: see `nt_xent`.

    Returns:
        float32, or float64 for float64 embeddings; inf or NaN where the embeddings hold any.

    Raises:
        InvalidValueError, InvalidTypeError: as `nt_xent`.

    Example:
        >>> import torch
        >>> z = torch.eye(4, 8)  # each of the six terms is log(1 + 3 exp(-1 / 0.5)) = 0.3408
        >>> print(f"{mammo_clip_loss(z, z, z, z, temperature=0.5):.4f}")
        0.8519
    """
    return mammo_clip_terms(
        z_image,
        z_image_view,
        z_text,
        z_text_view,
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
    ids: Tensor | None,
    label_smoothing: float,
    normalize: bool,
    gather: bool | dist.ProcessGroup,
) -> Terms:
    """Return the terms of `mammo_clip_loss`, whose arguments these are."""
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
