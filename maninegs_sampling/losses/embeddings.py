"""Embeddings and temperature: checks, scaling and the reduction of losses."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from maninegs_sampling.errors import InvalidTypeError, InvalidValueError
from maninegs_sampling.losses.options import Reduction, check_positive, check_reduction
from maninegs_sampling.losses.transforms import needs_plain_operations

# Vectors no longer than this count as zero, as in torch.nn.functional.normalize.
ZERO_LENGTH = 1e-12


class _ScaledUnit(torch.autograd.Function):
    """z * length / |z| by rows. Takes half the operations that autograd would."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, length: float) -> Tensor:
        divisor = torch.linalg.vector_norm(z, dim=1, keepdim=True)
        # The norm of finite numbers may overflow to inf; such rows must not become zero.
        divisor.masked_fill_(divisor == math.inf, math.nan)
        torch.threshold_(divisor, ZERO_LENGTH, math.inf).div_(length)
        scaled: Tensor = z / divisor
        ctx.save_for_backward(z, scaled, divisor)
        ctx.length = length
        return scaled

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        z, scaled, divisor = ctx.saved_tensors
        if torch.is_grad_enabled():  # for a second derivative autograd must see every operation
            scaled = _scaled_unit(z, ctx.length)
            return torch.autograd.grad(scaled, z, grad, create_graph=True)[0], None
        along = (scaled * grad).sum(1, keepdim=True)
        return torch.addcmul(grad, scaled, along, value=-(ctx.length**-2)).div_(divisor), None


def _scaled_unit(z: Tensor, length: float) -> Tensor:
    zero = torch.linalg.vector_norm(z.detach(), dim=1, keepdim=True) <= ZERO_LENGTH
    directed = z.masked_fill(zero, 1.0)  # the norm of a zero vector has no second derivative
    norm = torch.linalg.vector_norm(directed, dim=1, keepdim=True)
    norm = norm.masked_fill(norm == math.inf, math.nan)
    scaled: Tensor = (directed / (norm / length)).masked_fill(zero, 0.0)
    return scaled


def check_embeddings(embeddings: dict[str, Tensor]) -> None:
    """Raise unless all are floating-point tensors of one shape (N, D), not empty, on one device."""
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
                f"{first_name} and {name} must have the same shape and device, with row i of each "
                f"belonging to instance i; got {tuple(first.shape)} on {first.device} and "
                f"{tuple(z.shape)} on {z.device}"
            )


def inverse_temperature(temperature: float | Tensor, like: Tensor) -> float | Tensor:
    """Return 1 / temperature: a float for a float, a tensor without dimensions for a tensor.

    Raises:
        InvalidValueError: If the temperature is not a positive finite number. A tensor is checked
            on the CPU only, since reading a value elsewhere would wait for the device, and outside
            transforms only.
        InvalidTypeError: If it is neither a number nor a tensor, or if the tensor holds several
            numbers or integers.
    """
    checked = check_scalar("temperature", temperature, like, check_positive)
    return checked.reciprocal() if isinstance(checked, Tensor) else 1.0 / checked


def check_scalar(
    name: str, value: float | Tensor, like: Tensor, check: Callable[..., float]
) -> float | Tensor:
    """Return a float for a number, and for a tensor one without dimensions, of the type of `like`.

    Args:
        name: Name of the argument, for messages.
        value: A number, or a tensor of one floating-point number.
        like: Tensor whose device and dtype the result has.
        check: Check of the number: `check_positive` or `check_finite`.

    Raises:
        InvalidValueError: If `check` refuses the number. A tensor is checked on the CPU only, since
            reading a value elsewhere would wait for the device, and outside transforms only.
        InvalidTypeError: If it is neither a number nor a tensor, or if the tensor holds several
            numbers or integers.
    """
    if not isinstance(value, Tensor):
        return check(name, value, "a number or a tensor")
    if value.numel() != 1 or not value.is_floating_point():
        raise InvalidTypeError(
            f"{name} must be one floating-point number; got a tensor of shape "
            f"{tuple(value.shape)} and {value.dtype}"
        )
    may_read = not (torch.compiler.is_compiling() or needs_plain_operations(value))
    if value.device.type == "cpu" and may_read:
        check(name, value.item())
    return value.reshape(()).to(like.device, like.dtype)


def scaled(z: Tensor, inverse: float | Tensor, *, normalize: bool) -> Tensor:
    """Return `z` times sqrt(1 / temperature), so that products of scaled rows are the logits.

    Args:
        z: (N, D), float32 or float64.
        inverse: 1 / temperature.
        normalize: If True, scale rows to unit length first. A row no longer than 1e-12 becomes
            zero, with similarity 0 to all others and a gradient of zero. A row that holds inf or
            NaN, or whose length overflows, becomes NaN.
    """
    if isinstance(inverse, Tensor):
        return scaled(z, 1.0, normalize=normalize) * inverse.sqrt()
    length = math.sqrt(inverse)
    # The compiler fuses the operations by itself.
    if normalize and (torch.compiler.is_compiling() or needs_plain_operations(z)):
        return _scaled_unit(z, length)
    if normalize:
        unit: Tensor = _ScaledUnit.apply(z, length)  # type: ignore[no-untyped-call]
        return unit
    return z * length


def with_offsets(rows: Tensor, columns: Tensor, offsets: Tensor) -> tuple[Tensor, Tensor]:
    """Return rows and columns whose products are those of the given ones plus the offsets.

    Args:
        rows: (R, D).
        columns: (C, D).
        offsets: (C,), by column.

    Returns:
        (R, D + 1) and (C, D + 1).
    """
    return (
        torch.cat([rows, torch.ones_like(rows[:, :1])], 1),
        torch.cat([columns, offsets[:, None]], 1),
    )


def reduced(losses: Tensor, reduction: Reduction) -> Tensor:
    """Return the mean or the sum of `losses`, or all of them flattened for "none"."""
    check_reduction("reduction", reduction)
    if reduction == "none":
        return losses.flatten()
    return losses.mean() if reduction == "mean" else losses.sum()
