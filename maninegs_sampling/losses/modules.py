"""The losses as modules, which own a temperature and learn it."""

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from maninegs_sampling.errors import InvalidValueError, check_count
from maninegs_sampling.losses.cross_entropy import inter_modal_nt_xent, nt_xent
from maninegs_sampling.losses.hard_negative import (
    hard_negative_inter_modal_nt_xent,
    hard_negative_nt_xent,
)
from maninegs_sampling.losses.mammo_clip import mammo_clip_terms
from maninegs_sampling.losses.multimodal import multimodal_terms
from maninegs_sampling.losses.numbers import check_number
from maninegs_sampling.losses.transforms import needs_plain_operations

Result = Tensor | tuple[Tensor, dict[str, Tensor]]


class ContrastiveLoss(nn.Module):
    """A temperature that is kept as its logarithm and never falls below a bound.

    Its parameter is one more for the optimiser; the paper's authors train it at a rate of 1e-2
    without weight decay. Under DistributedDataParallel make the loss part of the wrapped module:
    a parameter outside of it is not averaged over the ranks.

    Args:
        temperature: the value at the start.
        learnable: whether the temperature is a parameter, or a constant that is saved with the
            module all the same.
        min_temperature: where a step of the optimiser leaves the temperature below this, the next
            forward pass puts it back. 0.01 is CLIP's bound.
        n_temperatures: how many there are; None for one without dimensions.
        options: what the function is called with.
    """

    log_temperature: Tensor

    def __init__(
        self,
        temperature: float,
        learnable: bool,
        min_temperature: float,
        options: dict[str, Any],
        n_temperatures: int | None = None,
    ) -> None:
        super().__init__()
        temperature = check_number("temperature", temperature)
        min_temperature = check_number("min_temperature", min_temperature)
        if not 0.0 < min_temperature <= temperature < math.inf:
            raise InvalidValueError(
                "the temperature must be finite and at least min_temperature, which must be "
                f"positive; got temperature={temperature!r}, min_temperature={min_temperature!r}"
            )
        shape = () if n_temperatures is None else (n_temperatures,)
        logarithm = torch.full(shape, math.log(temperature))
        if learnable:
            self.log_temperature = nn.Parameter(logarithm)
        else:
            self.register_buffer("log_temperature", logarithm)
        self.min_temperature = min_temperature
        self._options = options

    @property
    def temperature(self) -> Tensor:
        """The temperature, a tensor of no dimensions, or of one with one value for each term."""
        return self.log_temperature.exp()

    def extra_repr(self) -> str:
        """Return the options, as they are shown in the module's repr."""
        values = ", ".join(
            f"{value:.4g}" for value in self.temperature.detach().reshape(-1).tolist()
        )
        learnable = isinstance(self.log_temperature, nn.Parameter)
        options = "".join(f", {name}={value!r}" for name, value in self._options.items())
        return f"temperature={values}, learnable={learnable}{options}"

    def _bounded(self) -> Tensor:
        """Return the temperature, after moving it up to its bound."""
        lowest = math.log(self.min_temperature)
        if needs_plain_operations(self.log_temperature):
            # A transform lets nothing be written to. The gradient is that of the moved parameter.
            logarithm = self.log_temperature
            return (logarithm + (logarithm.clamp(min=lowest) - logarithm).detach()).exp()
        with torch.no_grad():
            self.log_temperature.clamp_(min=lowest)
        return self.temperature

    @staticmethod
    def _result(
        loss: Tensor, temperature: Tensor, terms: dict[str, Tensor], return_terms: bool
    ) -> Result:
        if not return_terms:
            return loss
        names = ["temperature"]
        if temperature.ndim:
            names = [f"temperature/{term}" for term in terms]
        values = temperature.detach().reshape(-1).unbind()
        return loss, terms | dict(zip(names, values, strict=True))


class NTXentLoss(ContrastiveLoss):
    """`nt_xent` with a temperature of its own.

    Args:
        temperature: the value at the start; 0.7 is Table III's.
        learnable: train it, as Table III does (default).
        min_temperature: lower bound.
        label_smoothing, normalize, reduction, gather: see `nt_xent`.

    Example:
        >>> criterion = NTXentLoss(temperature=0.7)
        >>> z_i, z_j = torch.randn(2, 16, 8, generator=torch.manual_seed(0))
        >>> loss, terms = criterion(z_i, z_j, return_terms=True)
        >>> sorted(terms)
        ['nt_xent', 'temperature']
    """

    def __init__(
        self,
        temperature: float = 0.7,
        *,
        learnable: bool = True,
        min_temperature: float = 0.01,
        label_smoothing: float = 0.0,
        normalize: bool = True,
        reduction: str = "mean",
        gather: bool | dist.ProcessGroup = False,
    ) -> None:
        options = {
            "label_smoothing": label_smoothing,
            "normalize": normalize,
            "reduction": reduction,
            "gather": gather,
        }
        super().__init__(temperature, learnable, min_temperature, options)

    def forward(
        self, z_i: Tensor, z_j: Tensor, *, ids: Tensor | None = None, return_terms: bool = False
    ) -> Result:
        """Return the loss; with `return_terms` also a dict of detached values to log."""
        temperature = self._bounded()
        loss = nt_xent(z_i, z_j, temperature=temperature, ids=ids, **self._options)
        return self._result(loss, temperature, {"nt_xent": loss.detach()}, return_terms)


class InterModalNTXentLoss(ContrastiveLoss):
    """`inter_modal_nt_xent` with a temperature of its own.

    Args:
        temperature: the value at the start; 0.7 is Table III's.
        learnable: train it, as Table III does (default).
        min_temperature: lower bound.
        symmetric, label_smoothing, normalize, reduction, gather: see `inter_modal_nt_xent`.

    Example:
        >>> criterion = InterModalNTXentLoss(temperature=0.1, learnable=False)
        >>> z_image, z_text = torch.randn(2, 16, 8, generator=torch.manual_seed(0))
        >>> loss = criterion(z_image, z_text)
    """

    def __init__(
        self,
        temperature: float = 0.7,
        *,
        learnable: bool = True,
        min_temperature: float = 0.01,
        symmetric: bool = True,
        label_smoothing: float = 0.0,
        normalize: bool = True,
        reduction: str = "mean",
        gather: bool | dist.ProcessGroup = False,
    ) -> None:
        options = {
            "symmetric": symmetric,
            "label_smoothing": label_smoothing,
            "normalize": normalize,
            "reduction": reduction,
            "gather": gather,
        }
        super().__init__(temperature, learnable, min_temperature, options)

    def forward(
        self,
        z_image: Tensor,
        z_other: Tensor,
        *,
        ids: Tensor | None = None,
        return_terms: bool = False,
    ) -> Result:
        """Return the loss; with `return_terms` also a dict of detached values to log."""
        tau = self._bounded()
        loss = inter_modal_nt_xent(z_image, z_other, temperature=tau, ids=ids, **self._options)
        return self._result(loss, tau, {"inter_modal_nt_xent": loss.detach()}, return_terms)


class HardNegativeNTXentLoss(ContrastiveLoss):
    """`hard_negative_nt_xent` with a temperature of its own.

    Args:
        temperature: the value at the start; 0.7 is Table III's.
        learnable: train it, as Table III does (default).
        min_temperature: lower bound.
        beta, tau_plus, normalize, reduction, gather: see `hard_negative_nt_xent`.

    Example:
        >>> criterion = HardNegativeNTXentLoss(beta=1.0, tau_plus=0.1)
        >>> z_i, z_j = torch.randn(2, 16, 8, generator=torch.manual_seed(0))
        >>> loss = criterion(z_i, z_j)
    """

    def __init__(
        self,
        temperature: float = 0.7,
        *,
        learnable: bool = True,
        min_temperature: float = 0.01,
        beta: float = 1.0,
        tau_plus: float = 0.1,
        normalize: bool = True,
        reduction: str = "mean",
        gather: bool | dist.ProcessGroup = False,
    ) -> None:
        options = {
            "beta": beta,
            "tau_plus": tau_plus,
            "normalize": normalize,
            "reduction": reduction,
            "gather": gather,
        }
        super().__init__(temperature, learnable, min_temperature, options)

    def forward(
        self, z_i: Tensor, z_j: Tensor, *, ids: Tensor | None = None, return_terms: bool = False
    ) -> Result:
        """Return the loss; with `return_terms` also a dict of detached values to log."""
        tau = self._bounded()
        loss = hard_negative_nt_xent(z_i, z_j, temperature=tau, ids=ids, **self._options)
        return self._result(loss, tau, {"hard_negative_nt_xent": loss.detach()}, return_terms)


class HardNegativeInterModalNTXentLoss(ContrastiveLoss):
    """`hard_negative_inter_modal_nt_xent` with a temperature of its own.

    Args:
        temperature: the value at the start; 0.7 is Table III's.
        learnable: train it, as Table III does (default).
        min_temperature: lower bound.
        beta, tau_plus, symmetric, normalize, reduction, gather: see
            `hard_negative_inter_modal_nt_xent`.

    Example:
        >>> criterion = HardNegativeInterModalNTXentLoss(beta=1.0, tau_plus=0.1)
        >>> z_image, z_other = torch.randn(2, 16, 8, generator=torch.manual_seed(0))
        >>> loss = criterion(z_image, z_other)
    """

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
        reduction: str = "mean",
        gather: bool | dist.ProcessGroup = False,
    ) -> None:
        options = {
            "symmetric": symmetric,
            "beta": beta,
            "tau_plus": tau_plus,
            "normalize": normalize,
            "reduction": reduction,
            "gather": gather,
        }
        super().__init__(temperature, learnable, min_temperature, options)

    def forward(
        self,
        z_image: Tensor,
        z_other: Tensor,
        *,
        ids: Tensor | None = None,
        return_terms: bool = False,
    ) -> Result:
        """Return the loss; with `return_terms` also a dict of detached values to log."""
        tau = self._bounded()
        options = {"temperature": tau, "ids": ids, **self._options}
        loss = hard_negative_inter_modal_nt_xent(z_image, z_other, **options)
        terms = {"hard_negative_inter_modal_nt_xent": loss.detach()}
        return self._result(loss, tau, terms, return_terms)


class MultimodalNTXentLoss(ContrastiveLoss):
    """`multimodal_nt_xent` with one temperature, or one for each term.

    Args:
        temperature: the value at the start; 0.7 is Table III's.
        learnable: train it, as Table III does (default).
        min_temperature: lower bound.
        temperature_per_term: one temperature for each term, as the paper's authors ran; the numbers
            of views and modalities must then be those of the calls. Default: one for all.
        n_views: image views.
        n_modalities: further modalities.
        weights, symmetric, label_smoothing, normalize, reduction, gather: see
            `multimodal_nt_xent`.

    Example:
        >>> criterion = MultimodalNTXentLoss(temperature_per_term=True)
        >>> cc, mlo, manifestation = torch.randn(3, 16, 8, generator=torch.manual_seed(0))
        >>> loss, terms = criterion(cc, mlo, manifestation, return_terms=True)
        >>> [name for name in terms if "temperature" not in name]
        ['view0-modality0', 'view1-modality0', 'view0-view1']
    """

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
        label_smoothing: float = 0.0,
        normalize: bool = True,
        reduction: str = "mean",
        gather: bool | dist.ProcessGroup = False,
    ) -> None:
        n_views = check_count("n_views", n_views, at_least=1)
        n_modalities = check_count("n_modalities", n_modalities, at_least=1)
        options = {
            "weights": weights,
            "symmetric": symmetric,
            "label_smoothing": label_smoothing,
            "normalize": normalize,
            "gather": gather,
        }
        n_terms = n_views * n_modalities + math.comb(n_views, 2)
        n_temperatures = n_terms if temperature_per_term else None
        super().__init__(temperature, learnable, min_temperature, options, n_temperatures)
        self.reduction = reduction

    def forward(
        self,
        *embeddings: Tensor | Sequence[Tensor],
        ids: Tensor | None = None,
        return_terms: bool = False,
    ) -> Result:
        """Return the loss; with `return_terms` also each term's mean on this rank, to log."""
        tau = self._bounded()
        terms = multimodal_terms(*embeddings, temperature=tau, ids=ids, **self._options)
        return self._result(terms.total(self.reduction), tau, terms.means(), return_terms)


class MammoCLIPLoss(ContrastiveLoss):
    """`mammo_clip_loss` with a temperature of its own: the source's logit scale, inverted.

    Args:
        temperature: the value at the start; 0.07 is the source's.
        learnable: train it, as the source does (default).
        min_temperature: lower bound.
        image_weight, text_weight, label_smoothing, normalize, reduction, gather: see
            `mammo_clip_loss`.

    Example:
        >>> criterion = MammoCLIPLoss()
        >>> images_and_texts = torch.randn(4, 16, 8, generator=torch.manual_seed(0))
        >>> loss = criterion(*images_and_texts)
    """

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
        reduction: str = "mean",
        gather: bool | dist.ProcessGroup = False,
    ) -> None:
        options = {
            "image_weight": image_weight,
            "text_weight": text_weight,
            "label_smoothing": label_smoothing,
            "normalize": normalize,
            "gather": gather,
        }
        super().__init__(temperature, learnable, min_temperature, options)
        self.reduction = reduction

    def forward(
        self,
        z_image: Tensor,
        z_image_view: Tensor,
        z_text: Tensor,
        z_text_view: Tensor,
        *,
        ids: Tensor | None = None,
        return_terms: bool = False,
    ) -> Result:
        """Return the loss; with `return_terms` also each term's mean on this rank, to log."""
        tau = self._bounded()
        views = z_image, z_image_view, z_text, z_text_view
        terms = mammo_clip_terms(*views, temperature=tau, ids=ids, **self._options)
        return self._result(terms.total(self.reduction), tau, terms.means(), return_terms)
