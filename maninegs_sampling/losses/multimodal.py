"""The multimodal loss of the paper, Eq. (6), for any number of views and modalities."""

import math
from collections.abc import Iterator, Sequence
from itertools import combinations, repeat
from typing import Any

import torch.distributed as dist
from torch import Tensor

from maninegs_sampling.errors import InvalidValueError, check_count
from maninegs_sampling.losses.batch import Batch
from maninegs_sampling.losses.contrastive_loss import WeightedTermsLoss
from maninegs_sampling.losses.instance_ids import Ids
from maninegs_sampling.losses.options import (
    CHECKS,
    Reduction,
    Result,
    check_finite,
    check_flag,
    check_share_or_shares,
    check_smoothings,
    check_weights,
)
from maninegs_sampling.losses.terms import Terms
from maninegs_sampling.quoting import quoted


def multimodal_nt_xent(
    *embeddings: Tensor | Sequence[Tensor],
    temperature: float | Tensor = 0.7,
    weights: Sequence[float] | None = None,
    symmetric: bool = True,
    ids: Ids | None = None,
    label_smoothing: float | Sequence[float] = 0.0,
    modality_weight: float = 0.0,
    normalize: bool = True,
    reduction: Reduction = "mean",
    gather: bool | dist.ProcessGroup = False,
) -> Tensor:
    """Return the multimodal loss of Eq. (6): views against views and views against modalities.

    For the views cc and mlo and the manifestation m it is (inter(cc, m) + inter(mlo, m)) / 2 +
    nt_xent(cc, mlo). In general: for each further modality the mean of `inter_modal_nt_xent` over
    the views, times its weight, plus the mean of `nt_xent` over all pairs of views.

    Args:
        embeddings: One or more image views, each (N, D), then a further modality, (N, D), or a list
            of modalities: `multimodal_nt_xent(cc, mlo, [manifestation, report])`.
        temperature: One for all terms, or a 1-D tensor with one for each term: view 0 to
            modality 0, view 1 to modality 0, and so on for each modality, then the pairs of views
            (0, 1), (0, 2), and so on to (1, 2), then the pairs of modalities in the same order.
        weights: One number for each further modality. Default: 1, as in Eq. (6).
        symmetric: See `inter_modal_nt_xent`.
        ids: See `nt_xent`.
        label_smoothing: See `nt_xent`. One number for all terms, or a sequence with one for each
            term, in the order of `temperature`.
        modality_weight: Weight of the mean of `inter_modal_nt_xent` over all pairs of further
            modalities. Default: 0, without these terms, as in Eq. (6).
        normalize: See `nt_xent`.
        reduction: "mean" or "sum" over the N instances, or "none": (N,).
        gather: See `nt_xent`.

    Returns:
        float32, or float64 for float64 embeddings. inf or NaN if embeddings hold inf or NaN.

    Raises:
        InvalidValueError, InvalidTypeError: If `nt_xent` would raise them, or if the numbers of
            embeddings, temperatures and weights do not match.

    Example:
        >>> import torch
        >>> from maninegs_sampling import inter_modal_nt_xent, nt_xent
        >>> cc, mlo, manifestation = torch.randn(3, 16, 8, generator=torch.manual_seed(0))
        >>> total = multimodal_nt_xent(cc, mlo, manifestation)
        >>> inter = (inter_modal_nt_xent(z, manifestation) for z in (cc, mlo))
        >>> torch.testing.assert_close(total, sum(inter) / 2 + nt_xent(cc, mlo))
    """
    return multimodal_terms(
        *embeddings,
        temperature=temperature,
        weights=weights,
        symmetric=symmetric,
        ids=ids,
        label_smoothing=label_smoothing,
        modality_weight=modality_weight,
        normalize=normalize,
        gather=gather,
    ).total(reduction)


def multimodal_terms(
    *embeddings: Any,
    temperature: float | Tensor,
    weights: Sequence[float] | None,
    symmetric: bool,
    ids: Ids | None,
    label_smoothing: float | Sequence[float],
    modality_weight: float,
    normalize: bool,
    gather: bool | dist.ProcessGroup,
) -> Terms:
    """Return the terms of `multimodal_nt_xent`, which has the same arguments."""
    if len(embeddings) < 2:
        raise InvalidValueError(
            "multimodal_nt_xent needs one or more views and then a further modality or a list of "
            f"modalities; got {len(embeddings)} arguments"
        )
    *views, last = embeddings
    modalities = list(last) if isinstance(last, (list, tuple)) else [last]
    named = {f"view {i}": z for i, z in enumerate(views)}
    named |= {f"modality {i}": z for i, z in enumerate(modalities)}
    weights = check_weights("weights", weights)
    modality_weight = check_finite("modality_weight", modality_weight)
    if weights is None:
        weights = [1.0] * len(modalities)
    if len(weights) != len(modalities) or not modalities:
        raise InvalidValueError(
            f"multimodal_nt_xent needs one weight for each further modality; got {len(weights)} "
            f"weights and {len(modalities)} modalities"
        )
    batch = Batch.of(named, ids=ids, normalize=normalize, gather=gather)
    v = range(len(views))
    pairs = list(combinations(v, 2))
    between = list(combinations(range(len(modalities)), 2)) if modality_weight else []
    n_terms = len(v) * len(modalities) + len(pairs) + len(between)
    temperatures = _for_each_term(temperature, n_terms)
    smoothings = iter(check_smoothings("label_smoothing", label_smoothing, n_terms))
    terms = Terms(batch)
    for m, weight in enumerate(weights):
        for i in v:
            terms.add_modalities(
                f"view{i}-modality{m}",
                weight / len(v),
                (i, len(v) + m),
                next(temperatures),
                next(smoothings),
                symmetric=symmetric,
            )
    for i, j in pairs:
        name, tau = f"view{i}-view{j}", next(temperatures)
        terms.add_views(name, 1.0 / len(pairs), (i, j), tau, next(smoothings))
    for i, j in between:
        terms.add_modalities(
            f"modality{i}-modality{j}",
            modality_weight / len(between),
            (len(v) + i, len(v) + j),
            next(temperatures),
            next(smoothings),
            symmetric=symmetric,
        )
    return terms


def _for_each_term(temperature: float | Tensor, n_terms: int) -> Iterator[float | Tensor]:
    if not isinstance(temperature, Tensor) or temperature.numel() == 1:
        return repeat(temperature)
    if temperature.shape != (n_terms,):
        raise InvalidValueError(
            f"temperature must be one number or one for each of the {n_terms} terms; got a "
            f"tensor of shape {tuple(temperature.shape)}"
        )
    return iter(temperature.unbind())


class MultimodalNTXentLoss(WeightedTermsLoss):
    """`multimodal_nt_xent` with one temperature, or one for each term.

    Args:
        temperature: Initial value. Default: 0.7 (Table III).
        learnable: If True (default), the temperature is a parameter, as in Table III.
        min_temperature: Lower bound of the temperature.
        temperature_per_term: If True, each term has its own temperature, as the paper's authors
            ran; calls must then have `n_views` views and `n_modalities` modalities. Default: one
            temperature for all terms.
        n_views: Number of image views.
        n_modalities: Number of further modalities.
        weights, symmetric, label_smoothing, modality_weight, normalize, reduction, gather: See
            `multimodal_nt_xent`.

    Example:
        >>> import torch
        >>> criterion = MultimodalNTXentLoss(temperature_per_term=True)
        >>> cc, mlo, manifestation = torch.randn(3, 16, 8, generator=torch.manual_seed(0))
        >>> loss, terms = criterion(cc, mlo, manifestation, return_terms=True)
        >>> [name for name in terms if "temperature" not in name]
        ['view0-modality0', 'view1-modality0', 'view0-view1']
    """

    _function = staticmethod(multimodal_terms)
    _checks = CHECKS | {"label_smoothing": check_share_or_shares}

    def __init__(
        self,
        temperature: float = 0.7,
        *,
        learnable: bool = True,
        min_temperature: float = 0.01,
        temperature_per_term: bool = False,
        n_views: int = 2,
        n_modalities: int = 1,
        weights: Sequence[float] | None = None,
        symmetric: bool = True,
        label_smoothing: float | Sequence[float] = 0.0,
        modality_weight: float = 0.0,
        normalize: bool = True,
        reduction: Reduction = "mean",
        gather: bool | dist.ProcessGroup = False,
    ) -> None:
        n_views = check_count("n_views", n_views, at_least=1)
        n_modalities = check_count("n_modalities", n_modalities, at_least=1)
        per_term = check_flag("temperature_per_term", temperature_per_term)
        n_terms = n_views * n_modalities + math.comb(n_views, 2)
        if modality_weight:
            n_terms += math.comb(n_modalities, 2)
        super().__init__(locals(), n_terms if per_term else None)
        weights = self._options["weights"]
        if per_term and weights is not None and len(weights) != n_modalities:
            raise InvalidValueError(
                f"weights must have one number for each of the {n_modalities} modalities; got "
                f"{quoted(weights)}"
            )

    def forward(
        self,
        *embeddings: Tensor | Sequence[Tensor],
        ids: Ids | None = None,
        return_terms: bool = False,
    ) -> Result:
        """Return the loss. If `return_terms`, also return each term's mean on this rank, to log."""
        return self._result(*embeddings, ids=ids, return_terms=return_terms)
