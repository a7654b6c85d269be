"""What goes into a loss: embeddings, their length and the temperature, checked once."""

import math
from typing import Any

import torch
from torch import Tensor

from maninegs_sampling.errors import InvalidTypeError, InvalidValueError, check_choice
from maninegs_sampling.losses.numbers import check_positive
from maninegs_sampling.losses.transforms import needs_plain_operations

# Vectors no longer than this have no direction: torch.nn.functional.normalize's own limit.
ZERO_LENGTH = 1e-12


class _ScaledUnit(torch.autograd.Function):
    """z * length / |z| by rows; written out because it takes half the operations of autograd's."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, length: float) -> Tensor:
        divisor = torch.linalg.vector_norm(z, dim=1, keepdim=True)
        # Finite numbers may have an infinite length in their type: no zero may come of them.
        divisor.masked_fill_(divisor == math.inf, math.nan)
        torch.threshold_(divisor, ZERO_LENGTH, math.inf).div_(length)
        scaled: Tensor = z / divisor
        ctx.save_for_backward(z, scaled, divisor)
        ctx.length = length
        return scaled

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        z, scaled, divisor = ctx.saved_tensors
        if torch.is_grad_enabled():  # a second derivative is wanted: let autograd see every step
            scaled = _scaled_unit(z, ctx.length)
            return torch.autograd.grad(scaled, z, grad, create_graph=True)[0], None
        along = (scaled * grad).sum(1, keepdim=True)
        return torch.addcmul(grad, scaled, along, value=-(ctx.length**-2)).div_(divisor), None


def _scaled_unit(z: Tensor, length: float) -> Tensor:
    zero = torch.linalg.vector_norm(z.detach(), dim=1, keepdim=True) <= ZERO_LENGTH
    directed = z.masked_fill(zero, 1.0)  # the length of a zero vector has no second derivative
    norm = torch.linalg.vector_norm(directed, dim=1, keepdim=True)
    norm = norm.masked_fill(norm == math.inf, math.nan)
    scaled: Tensor = (directed / (norm / length)).masked_fill(zero, 0.0)
    return scaled


def check_embeddings(embeddings: dict[str, Tensor]) -> None:
    """Raise unless all are floating tensors of one shape (N, D) with N, D >= 1, on one device."""
    first_name, first = next(iter(embeddings.items()))
    for name, z in embeddings.items():
        if not isinstance(z, Tensor):
            raise InvalidTypeError(f"{name} must be a torch tensor; got {type(z).__name__}")
        if not z.is_floating_point():
            raise InvalidTypeError(f"{name} must hold floating-point numbers; got {z.dtype}")
        if z.ndim != 2 or 0 in z.shape:
            raise InvalidValueError(
                f"{name} must have the shape (N, D), one row for each instance, with N and D at "
                f"least 1; got {tuple(z.shape)}"
            )
        if z.shape != first.shape or z.device != first.device:
            raise InvalidValueError(
                f"{first_name} and {name} must have one shape and one device, row i of each "
                f"belonging to instance i; got {tuple(first.shape)} on {first.device} and "
                f"{tuple(z.shape)} on {z.device}"
            )


def inverse_temperature(temperature: float | Tensor, like: Tensor) -> float | Tensor:
    """Return 1 / temperature: a float for a float, for a tensor one of no dimensions.

    Raises:
        InvalidValueError: the temperature is not a positive finite number. A tensor's value is
            looked at on the CPU only, since elsewhere the look would wait for the device, and
            outside transforms.
        InvalidTypeError: neither a number nor a tensor, or the tensor holds more than one number,
            or integers.
    """
    if not isinstance(temperature, Tensor):
        return 1.0 / check_positive("temperature", temperature, "a number or a tensor")
    if temperature.numel() != 1 or not temperature.is_floating_point():
        raise InvalidTypeError(
            "temperature must be one floating-point number; got a tensor of shape "
            f"{tuple(temperature.shape)} and {temperature.dtype}"
        )
    may_look = not (torch.compiler.is_compiling() or needs_plain_operations(temperature))
    if temperature.device.type == "cpu" and may_look:
        check_positive("temperature", temperature.item())
    return temperature.reshape(()).to(like.device, like.dtype).reciprocal()


def scaled(z: Tensor, inverse: float | Tensor, *, normalize: bool) -> Tensor:
    """Return `z` times sqrt(1 / temperature), so that products of two such are the logits.

    Args:
        z: (N, D), float32 or float64.
        inverse: 1 / temperature.
        normalize: make rows unit vectors first. A row no longer than 1e-12 becomes zero: it has
            similarity 0 with everything, and its gradient is zero. A row that holds inf or NaN, or
            whose length is beyond the type, becomes NaN.
    """
    if isinstance(inverse, Tensor):
        return scaled(z, 1.0, normalize=normalize) * inverse.sqrt()
    length = math.sqrt(inverse)
    # The compiler joins the operations by itself.
    if normalize and (torch.compiler.is_compiling() or needs_plain_operations(z)):
        return _scaled_unit(z, length)
    if normalize:
        unit: Tensor = _ScaledUnit.apply(z, length)  # type: ignore[no-untyped-call]
        return unit
    return z * length


def reduced(losses: Tensor, reduction: str) -> Tensor:
    """Return the mean or the sum of `losses`, or all of them in one row, as `reduction` says."""
    check_choice("reduction", reduction, ("mean", "sum", "none"))
    if reduction == "none":
        return losses.flatten()
    return losses.mean() if reduction == "mean" else losses.sum()
