"""The loss functions of this package as modules, each with a temperature of its own."""

from typing import Any

import numpy as np
import torch.distributed as dist
from torch import Tensor

from maninegs_sampling.losses.contrastive_loss import ContrastiveLoss
from maninegs_sampling.losses.cross_entropy import (
    inter_modal_nt_xent,
    modality_terms,
    nt_xent,
    view_terms,
)
from maninegs_sampling.losses.hard_negative import (
    hard_negative_inter_modal_nt_xent,
    hard_negative_nt_xent,
)
from maninegs_sampling.losses.hardness_weighted import (
    hardness_weighted_inter_modal_nt_xent,
    hardness_weighted_nt_xent,
)
from maninegs_sampling.losses.instance_ids import Ids
from maninegs_sampling.losses.memory import CrossBatchMemory
from maninegs_sampling.losses.negative_weights import WeightOf, check_weight_of
from maninegs_sampling.losses.options import CHECKS, Checks, Reduction, Result, Similarity
from maninegs_sampling.losses.pair_options import Mask
from maninegs_sampling.losses.similarities import Bits


def _check_weights(name: str, value: object) -> WeightOf | None:
    """Return a function from similarities to weights, or None."""
    return None if value is None else check_weight_of(value)


WITH_WEIGHTS: Checks = CHECKS | {"negative_weights": _check_weights}


class _ViewLoss(ContrastiveLoss):
    """A loss of two views."""

    def forward(
        self, z_i: Tensor, z_j: Tensor, *, ids: Ids | None = None, return_terms: bool = False
    ) -> Result:
        """Return the loss. If `return_terms`, also return a dict of detached values to log."""
        return self._result(z_i, z_j, ids=ids, return_terms=return_terms)


class _ModalityLoss(ContrastiveLoss):
    """A loss of two modalities."""

    def forward(
        self,
        z_image: Tensor,
        z_other: Tensor,
        *,
        ids: Ids | None = None,
        return_terms: bool = False,
    ) -> Result:
        """Return the loss. If `return_terms`, also return a dict of detached values to log."""
        return self._result(z_image, z_other, ids=ids, return_terms=return_terms)


class NTXentLoss(ContrastiveLoss):
    """`nt_xent` with its own temperature.

    Args:
        temperature: Initial value. Default: 0.7 (Table III).
        learnable: If True (default), the temperature is a parameter, as in Table III.
        min_temperature: Lower bound of the temperature.
        negative_weights, similarity, label_smoothing, normalize, reduction, gather: See `nt_xent`.

    Example:
        >>> import torch
        >>> criterion = NTXentLoss(temperature=0.7)
        >>> z_i, z_j = torch.randn(2, 16, 8, generator=torch.manual_seed(0))
        >>> loss, terms = criterion(z_i, z_j, return_terms=True)
        >>> sorted(terms)
        ['nt_xent', 'temperature', 'top1', 'top5']
    """

    _function = staticmethod(nt_xent)
    _checks = WITH_WEIGHTS

    def __init__(
        self,
        temperature: float = 0.7,
        *,
        learnable: bool = True,
        min_temperature: float = 0.01,
        negative_weights: WeightOf | None = None,
        similarity: Similarity = "jaccard",
        label_smoothing: float = 0.0,
        normalize: bool = True,
        reduction: Reduction = "mean",
        gather: bool | dist.ProcessGroup = False,
    ) -> None:
        super().__init__(locals())

    def forward(
        self,
        z_i: Tensor,
        z_j: Tensor,
        *more_views: Tensor,
        ids: Ids | None = None,
        memory: CrossBatchMemory | None = None,
        log_q: Tensor | np.ndarray | None = None,
        bits: Bits | None = None,
        positive_mask: Mask | None = None,
        ignore: Mask | None = None,
        return_terms: bool = False,
    ) -> Result:
        """Return the loss. If `return_terms`, also return a dict of detached values to log.

        Among them are "top1" and "top5": the shares of positives with fewer than 1 and 5 negatives
        that are at least as similar, over this rank's rows. They are counted while the loss is
        computed.
        """
        return self._result(
            z_i,
            z_j,
            *more_views,
            ids=ids,
            memory=memory,
            log_q=log_q,
            bits=bits,
            positive_mask=positive_mask,
            ignore=ignore,
            return_terms=return_terms,
        )

    def _evaluate(
        self, *embeddings: Any, return_terms: bool, **options: Any
    ) -> tuple[Tensor, dict[str, Tensor]]:
        loss, accuracies = view_terms(*embeddings, count=return_terms, **options)
        return loss, {"nt_xent": loss.detach()} | accuracies


class InterModalNTXentLoss(ContrastiveLoss):
    """`inter_modal_nt_xent` with its own temperature.

    Args:
        temperature: Initial value. Default: 0.7 (Table III).
        learnable: If True (default), the temperature is a parameter, as in Table III.
        min_temperature: Lower bound of the temperature.
        symmetric, image_weight, negative_weights, similarity: See `inter_modal_nt_xent`.
        label_smoothing, normalize, reduction, gather: See `inter_modal_nt_xent`.

    Example:
        >>> import torch
        >>> criterion = InterModalNTXentLoss(temperature=0.1, learnable=False)
        >>> z_image, z_text = torch.randn(2, 16, 8, generator=torch.manual_seed(0))
        >>> loss = criterion(z_image, z_text)
    """

    _function = staticmethod(inter_modal_nt_xent)
    _checks = WITH_WEIGHTS

    def __init__(
        self,
        temperature: float = 0.7,
        *,
        learnable: bool = True,
        min_temperature: float = 0.01,
        symmetric: bool = True,
        image_weight: float = 0.5,
        negative_weights: WeightOf | None = None,
        similarity: Similarity = "jaccard",
        label_smoothing: float = 0.0,
        normalize: bool = True,
        reduction: Reduction = "mean",
        gather: bool | dist.ProcessGroup = False,
    ) -> None:
        super().__init__(locals())

    def forward(
        self,
        z_image: Tensor,
        z_other: Tensor,
        *,
        ids: Ids | None = None,
        memory: CrossBatchMemory | None = None,
        log_q: Tensor | np.ndarray | None = None,
        bits: Bits | None = None,
        positive_mask: Mask | None = None,
        ignore: Mask | None = None,
        return_terms: bool = False,
    ) -> Result:
        """Return the loss. If `return_terms`, also return a dict of detached values to log.

        Among them are "top1" and "top5": see `NTXentLoss.forward`.
        """
        return self._result(
            z_image,
            z_other,
            ids=ids,
            memory=memory,
            log_q=log_q,
            bits=bits,
            positive_mask=positive_mask,
            ignore=ignore,
            return_terms=return_terms,
        )

    def _evaluate(
        self, *embeddings: Any, return_terms: bool, **options: Any
    ) -> tuple[Tensor, dict[str, Tensor]]:
        loss, accuracies = modality_terms(*embeddings, count=return_terms, **options)
        return loss, {"inter_modal_nt_xent": loss.detach()} | accuracies


class HardNegativeNTXentLoss(_ViewLoss):
    """`hard_negative_nt_xent` with its own temperature.

    Args:
        temperature: Initial value. Default: 0.7 (Table III).
        learnable: If True (default), the temperature is a parameter, as in Table III.
        min_temperature: Lower bound of the temperature.
        beta, tau_plus, normalize, reduction, gather: See `hard_negative_nt_xent`.

    Example:
        >>> import torch
        >>> criterion = HardNegativeNTXentLoss(beta=1.0, tau_plus=0.1)
        >>> z_i, z_j = torch.randn(2, 16, 8, generator=torch.manual_seed(0))
        >>> loss = criterion(z_i, z_j)
    """

    _function = staticmethod(hard_negative_nt_xent)

    def __init__(
        self,
        temperature: float = 0.7,
        *,
        learnable: bool = True,
        min_temperature: float = 0.01,
        beta: float = 1.0,
        tau_plus: float = 0.1,
        normalize: bool = True,
        reduction: Reduction = "mean",
        gather: bool | dist.ProcessGroup = False,
    ) -> None:
        super().__init__(locals())


class HardNegativeInterModalNTXentLoss(_ModalityLoss):
    """`hard_negative_inter_modal_nt_xent` with its own temperature.

    Args:
        temperature: Initial value. Default: 0.7 (Table III).
        learnable: If True (default), the temperature is a parameter, as in Table III.
        min_temperature: Lower bound of the temperature.
        beta, tau_plus, symmetric, normalize, reduction, gather: See
            `hard_negative_inter_modal_nt_xent`.

    Example:
        >>> import torch
        >>> criterion = HardNegativeInterModalNTXentLoss(beta=1.0, tau_plus=0.1)
        >>> z_image, z_other = torch.randn(2, 16, 8, generator=torch.manual_seed(0))
        >>> loss = criterion(z_image, z_other)
    """

    _function = staticmethod(hard_negative_inter_modal_nt_xent)

    def __init__(
        self,
        temperature: float = 0.7,
        *,
        learnable: bool = True,
        min_temperature: float = 0.01,
        beta: float = 1.0,
        tau_plus: float = 0.1,
        symmetric: bool = True,
        normalize: bool = True,
        reduction: Reduction = "mean",
        gather: bool | dist.ProcessGroup = False,
    ) -> None:
        super().__init__(locals())


class HardnessWeightedNTXentLoss(_ViewLoss):
    """`hardness_weighted_nt_xent` with its own temperature.

    Args:
        temperature: Initial value. Default: 0.7 (Table III).
        learnable: If True (default), the temperature is a parameter, as in Table III.
        min_temperature: Lower bound of the temperature.
        alpha, normalize, reduction, gather: See `hardness_weighted_nt_xent`.

    Example:
        >>> import torch
        >>> criterion = HardnessWeightedNTXentLoss(alpha=9.0)
        >>> z_i, z_j = torch.randn(2, 16, 8, generator=torch.manual_seed(0))
        >>> loss = criterion(z_i, z_j)
    """

    _function = staticmethod(hardness_weighted_nt_xent)

    def __init__(
        self,
        temperature: float = 0.7,
        *,
        learnable: bool = True,
        min_temperature: float = 0.01,
        alpha: float = 9.0,
        normalize: bool = True,
        reduction: Reduction = "mean",
        gather: bool | dist.ProcessGroup = False,
    ) -> None:
        super().__init__(locals())


class HardnessWeightedInterModalNTXentLoss(_ModalityLoss):
    """`hardness_weighted_inter_modal_nt_xent` with its own temperature.

    Args:
        temperature: Initial value. Default: 0.7 (Table III).
        learnable: If True (default), the temperature is a parameter, as in Table III.
        min_temperature: Lower bound of the temperature.
        alpha, symmetric, normalize, reduction, gather: See
            `hardness_weighted_inter_modal_nt_xent`.

    Example:
        >>> import torch
        >>> criterion = HardnessWeightedInterModalNTXentLoss(alpha=9.0)
        >>> z_image, z_other = torch.randn(2, 16, 8, generator=torch.manual_seed(0))
        >>> loss = criterion(z_image, z_other)
    """

    _function = staticmethod(hardness_weighted_inter_modal_nt_xent)

    def __init__(
        self,
        temperature: float = 0.7,
        *,
        learnable: bool = True,
        min_temperature: float = 0.01,
        alpha: float = 9.0,
        symmetric: bool = True,
        normalize: bool = True,
        reduction: Reduction = "mean",
        gather: bool | dist.ProcessGroup = False,
    ) -> None:
        super().__init__(locals())
