"""The base of the loss modules: a function with fixed options and a temperature to learn."""

import inspect
import math
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from maninegs_sampling.errors import InvalidValueError
from maninegs_sampling.losses.options import (
    CHECKS,
    Checks,
    Result,
    check_flag,
    check_number,
    check_reduction,
)
from maninegs_sampling.losses.transforms import needs_plain_operations

# Arguments of the functions that may differ in each call: a module takes them in `forward`.
OF_A_CALL = ("ids", "memory", "log_q", "bits", "positive_mask", "ignore")


class ContrastiveLoss(nn.Module):
    """A loss function with fixed options and its own temperature.

    The temperature is stored as its logarithm and has a lower bound. Pass its parameter to the
    optimizer with the model's; the paper's authors train it at a rate of 1e-2 without weight decay.
    Under DistributedDataParallel make the loss part of the wrapped module: gradients of a parameter
    outside of it are not averaged over the ranks.

    A subclass names its function and writes out the signature of its constructor, which passes
    `locals()` on. Options are the keyword arguments that the function takes besides what is learned
    and the ids. They are checked when the module is made.

    Args:
        arguments: The constructor's arguments by name. Always among them: `temperature`, the
            initial value; `learnable`, whether the temperature is a parameter (otherwise it is a
            buffer); `min_temperature`, the bound. If an optimizer step leaves the temperature below
            the bound, the next forward pass raises it again. 0.01 is CLIP's bound.
        n_temperatures: Number of temperatures, or None for a temperature without dimensions.
    """

    _function: ClassVar[Callable[..., Any]]
    _checks: ClassVar[Checks] = CHECKS
    _learned: ClassVar[tuple[str, ...]] = ("temperature",)
    log_temperature: Tensor

    def __init__(self, arguments: dict[str, Any], n_temperatures: int | None = None) -> None:
        super().__init__()
        temperature = check_number("temperature", arguments["temperature"])
        min_temperature = check_number("min_temperature", arguments["min_temperature"])
        if not 0.0 < min_temperature <= temperature < math.inf:
            raise InvalidValueError(
                "temperature must be finite and at least min_temperature, which must be "
                f"positive; got temperature={temperature!r}, min_temperature={min_temperature!r}"
            )
        shape = () if n_temperatures is None else (n_temperatures,)
        logarithm = torch.full(shape, math.log(temperature))
        if check_flag("learnable", arguments["learnable"]):
            self.log_temperature = nn.Parameter(logarithm)
        else:
            self.register_buffer("log_temperature", logarithm)
        self.min_temperature = min_temperature
        self._options = {
            name: self._checks[name](name, arguments[name])
            for name, parameter in inspect.signature(self._function).parameters.items()
            if parameter.kind is parameter.KEYWORD_ONLY and name not in (*self._learned, *OF_A_CALL)
        }

    @property
    def temperature(self) -> Tensor:
        """The temperature: a tensor without dimensions, or of shape (n_terms,)."""
        return self.log_temperature.exp()

    def extra_repr(self) -> str:
        """Return the temperature and the options, as the module's repr shows them."""
        values = ", ".join(
            f"{value:.4g}" for value in self.temperature.detach().reshape(-1).tolist()
        )
        learnable = isinstance(self.log_temperature, nn.Parameter)
        options = "".join(f", {name}={value!r}" for name, value in self._options.items())
        return f"temperature={values}, learnable={learnable}{options}"

    def _result(self, *embeddings: Any, return_terms: bool, **arguments: Any) -> Result:
        """Return the loss; if `return_terms`, also the detached terms and temperatures by name."""
        temperature = self._bounded()
        arguments |= {"temperature": temperature, **self._options}
        loss, terms = self._evaluate(*embeddings, **arguments, return_terms=return_terms)
        if not return_terms:
            return loss
        names = ["temperature"]
        if temperature.ndim:
            names = [f"temperature/{term}" for term in terms]
        values = temperature.detach().reshape(-1).unbind()
        return loss, terms | dict(zip(names, values, strict=True))

    def _evaluate(
        self, *embeddings: Any, return_terms: bool, **options: Any
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss and its terms by name; those that take time only if `return_terms`."""
        loss: Tensor = self._function(*embeddings, **options)
        return loss, {self._function.__name__: loss.detach()}

    def _bounded(self) -> Tensor:
        """Return the temperature after raising it to its bound where it is below."""
        lowest = math.log(self.min_temperature)
        if needs_plain_operations(self.log_temperature):
            # A transform forbids in-place writes. The gradient is that of the raised parameter.
            logarithm = self.log_temperature
            return (logarithm + (logarithm.clamp(min=lowest) - logarithm).detach()).exp()
        with torch.no_grad():
            self.log_temperature.clamp_(min=lowest)
        return self.temperature


class WeightedTermsLoss(ContrastiveLoss):
    """A loss whose function returns `Terms`: a weighted sum of losses of pairs of embeddings.

    Args:
        arguments: See `ContrastiveLoss`; must contain `reduction`.
        n_temperatures: See `ContrastiveLoss`.
    """

    def __init__(self, arguments: dict[str, Any], n_temperatures: int | None = None) -> None:
        super().__init__(arguments, n_temperatures)
        self.reduction = check_reduction("reduction", arguments["reduction"])

    def _evaluate(
        self, *embeddings: Any, return_terms: bool, **options: Any
    ) -> tuple[Tensor, dict[str, Tensor]]:
        terms = self._function(*embeddings, **options)
        return terms.total(self.reduction), terms.means()
