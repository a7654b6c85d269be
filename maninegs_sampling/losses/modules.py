"""The loss functions of this package as modules, each with a temperature of its own."""

import math
from collections.abc import Sequence

import torch.distributed as dist
from torch import Tensor

from maninegs_sampling.errors import InvalidValueError, check_count
from maninegs_sampling.losses.contrastive_loss import ContrastiveLoss, WeightedTermsLoss
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
from maninegs_sampling.losses.instance_ids import Ids
from maninegs_sampling.losses.memory import CrossBatchMemory
from maninegs_sampling.losses.multimodal import multimodal_terms
from maninegs_sampling.losses.options import (
    CHECKS,
    Reduction,
    Result,
    check_flag,
    check_share_or_shares,
)
from maninegs_sampling.quoting import quoted


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
        label_smoothing, normalize, reduction, gather: See `nt_xent`.

    Example:
        >>> import torch
        >>> criterion = NTXentLoss(temperature=0.7)
        >>> z_i, z_j = torch.randn(2, 16, 8, generator=torch.manual_seed(0))
        >>> loss, terms = criterion(z_i, z_j, return_terms=True)
        >>> sorted(terms)
        ['nt_xent', 'temperature', 'top1', 'top5']
    """

    _function = staticmethod(nt_xent)
    _accuracies = staticmethod(view_terms)

    def __init__(
        self,
        temperature: float = 0.7,
        *,
        learnable: bool = True,
        min_temperature: float = 0.01,
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
        return_terms: bool = False,
    ) -> Result:
        """Return the loss. If `return_terms`, also return a dict of detached values to log.

        Among them are "top1" and "top5": the shares of positives with fewer than 1 and 5 negatives
        that are at least as similar, over this rank's rows. They are counted while the loss is
        computed.
        """
        return self._result(
            z_i, z_j, *more_views, ids=ids, memory=memory, return_terms=return_terms
        )


class InterModalNTXentLoss(ContrastiveLoss):
    """`inter_modal_nt_xent` with its own temperature.

    Args:
        temperature: Initial value. Default: 0.7 (Table III).
        learnable: If True (default), the temperature is a parameter, as in Table III.
        min_temperature: Lower bound of the temperature.
        symmetric, image_weight, label_smoothing, normalize, reduction, gather: See
            `inter_modal_nt_xent`.

    Example:
        >>> import torch
        >>> criterion = InterModalNTXentLoss(temperature=0.1, learnable=False)
        >>> z_image, z_text = torch.randn(2, 16, 8, generator=torch.manual_seed(0))
        >>> loss = criterion(z_image, z_text)
    """

    _function = staticmethod(inter_modal_nt_xent)
    _accuracies = staticmethod(modality_terms)

    def __init__(
        self,
        temperature: float = 0.7,
        *,
        learnable: bool = True,
        min_temperature: float = 0.01,
        symmetric: bool = True,
        image_weight: float = 0.5,
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
        return_terms: bool = False,
    ) -> Result:
        """Return the loss. If `return_terms`, also return a dict of detached values to log.

        Among them are "top1" and "top5": see `NTXentLoss.forward`.
        """
        return self._result(z_image, z_other, ids=ids, memory=memory, return_terms=return_terms)


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
