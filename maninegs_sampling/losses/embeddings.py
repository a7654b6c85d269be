"""What goes into a loss: embeddings, their length, the temperature and the ids, checked once."""

import math
from typing import Any

import torch
from torch import Tensor

from maninegs_sampling.errors import InvalidTypeError, InvalidValueError, check_choice

# Shorter vectors have no direction: torch.nn.functional.normalize's own limit.
ZERO_LENGTH = 1e-12


class _ScaledUnit(torch.autograd.Function):
    """z * length / |z| by rows; written out because it takes half the operations of autograd's."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, length: float) -> Tensor:
        divisor = torch.linalg.vector_norm(z, dim=1, keepdim=True)
        divisor.masked_fill_(divisor < ZERO_LENGTH, math.inf).div_(length)
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
    norm = torch.linalg.vector_norm(z, dim=1, keepdim=True)
    scaled: Tensor = z / (norm.masked_fill(norm < ZERO_LENGTH, math.inf) / length)
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


def check_ids(ids: object, n: int, device: torch.device) -> Tensor | None:
    """Return `ids` as an (N,) tensor of integers on the embeddings' device, or None for None."""
    if ids is None:
        return None
    tensor = torch.as_tensor(ids, device=device)
    if tensor.is_floating_point() or tensor.is_complex():
        raise InvalidTypeError(f"ids must be integers, one for each instance; got {tensor.dtype}")
    if tensor.shape != (n,):
        raise InvalidValueError(
            f"ids must have the shape ({n},), one for each instance; got {tuple(tensor.shape)}"
        )
    return tensor


def check_label_smoothing(label_smoothing: float) -> None:
    """Raise unless `label_smoothing` lies in [0, 1], as torch.nn.functional.cross_entropy does."""
    if not 0.0 <= label_smoothing <= 1.0:
        raise InvalidValueError(f"label_smoothing must lie in [0, 1]; got {label_smoothing!r}")


def inverse_temperature(temperature: float | Tensor, like: Tensor) -> float | Tensor:
    """Return 1 / temperature: a float for a float, for a tensor one of no dimensions.

    Raises:
        InvalidValueError: the temperature is not a positive finite number. A tensor's value is
            looked at on the CPU only, since elsewhere the look would wait for the device.
        InvalidTypeError: the tensor holds more than one number, or integers.
    """
    if not isinstance(temperature, Tensor):
        if isinstance(temperature, bool) or not isinstance(temperature, (int, float)):
            raise InvalidTypeError(f"temperature must be a number or a tensor; got {temperature!r}")
        if not 0.0 < temperature < math.inf:
            raise InvalidValueError(f"temperature must be positive and finite; got {temperature!r}")
        return 1.0 / temperature
    if temperature.numel() != 1 or not temperature.is_floating_point():
        raise InvalidTypeError(
            "temperature must be one floating-point number; got a tensor of shape "
            f"{tuple(temperature.shape)} and {temperature.dtype}"
        )
    if temperature.device.type == "cpu" and not torch.compiler.is_compiling():
        inverse_temperature(float(temperature.detach()), like)
    return temperature.reshape(()).to(like.device, like.dtype).reciprocal()


def scaled(z: Tensor, inverse: float | Tensor, *, normalize: bool) -> Tensor:
    """Return `z` times sqrt(1 / temperature), so that products of two such are the logits.

    Args:
        z: (N, D), float32 or float64.
        inverse: 1 / temperature.
        normalize: make rows unit vectors first. A row shorter than 1e-12 becomes zero: it has
            similarity 0 with everything, and its gradient is zero.
    """
    if isinstance(inverse, Tensor):
        return scaled(z, 1.0, normalize=normalize) * inverse.sqrt()
    length = math.sqrt(inverse)
    if normalize and torch.compiler.is_compiling():
        return _scaled_unit(z, length)  # the compiler joins the operations by itself
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
