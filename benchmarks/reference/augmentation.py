"""The augmentation of section V, of a whole batch on its device.

RandomResizedCrop in (0.5, 1), a horizontal flip with probability 1/2, and two operations of
RandAugment at magnitude 7, drawn for each image out of those that the authors' code keeps, none of
which touches color. The crop, the flip and the operations that move pixels are one bicubic warp.
"""

import math
from typing import Final

import torch
from kornia.enhance import adjust_brightness, equalize, sharpness
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

OPERATIONS: Final = (
    "identity", "auto-contrast", "equalise", "brightness", "sharpness",
    "shear x", "shear y", "translate x", "translate y", "rotate",
)  # fmt: skip
# Each operation's largest magnitude in RandAugment (Cubuk et al. 2020), at 7 of 30 steps.
STRENGTH: Final = 7 / 30
SHEAR: Final = 0.3 * STRENGTH
TRANSLATION: Final = 150 / 331 * STRENGTH  # of the image's side
ROTATION: Final = math.radians(30) * STRENGTH
ENHANCEMENT: Final = 0.9 * STRENGTH


def scaled(images: Tensor) -> Tensor:
    """Return uint8 images (N, size, size) as input of the network, (N, 1, size, size)."""
    return standardised(images.unsqueeze(1).float() / 255)


def standardised(images: Tensor) -> Tensor:
    """Return images in [0, 1] with about mean 0 and standard deviation 1."""
    return (images - 0.5) / 0.25


def augmented(images: Tensor, *, smallest_area: float = 0.5) -> Tensor:
    """Return uint8 images (N, size, size) augmented at random, (N, 1, size, size).

    A random crop has at least `smallest_area` of the image.
    """
    x = images.unsqueeze(1).float() / 255
    n, device = len(x), x.device
    chosen = torch.rand(n, len(OPERATIONS), device=device).topk(2).indices
    sign = torch.where(torch.rand(n, len(OPERATIONS), device=device) < 0.5, -1.0, 1.0)
    # 0, +1 or -1: whether an operation is applied to an image, and in which direction.
    applied = torch.zeros_like(sign).scatter_(1, chosen, 1.0) * sign
    amount = dict(zip(OPERATIONS, applied.unbind(1), strict=True))

    grid = affine_grid(_warp(amount, n, device, smallest_area), list(x.shape), align_corners=False)
    x = grid_sample(x, grid, mode="bicubic", align_corners=False).clamp(0, 1)
    low, high = x.amin((2, 3), keepdim=True), x.amax((2, 3), keepdim=True)
    stretch = amount["auto-contrast"].abs().view(n, 1, 1, 1) * (high > low)
    x = torch.lerp(x, (x - low) / (high - low).clamp_min(1e-6), stretch)
    x = adjust_brightness(x, ENHANCEMENT * amount["brightness"])
    rows = amount["sharpness"].nonzero().squeeze(1)
    if len(rows):
        x[rows] = sharpness(x[rows], 1 + ENHANCEMENT * amount["sharpness"][rows])
    rows = amount["equalise"].nonzero().squeeze(1)
    if len(rows):
        x[rows] = equalize(x[rows])
    return standardised(x)


def _warp(amount: dict[str, Tensor], n: int, device: torch.device, smallest_area: float) -> Tensor:
    """Return the map from the new image's coordinates, in [-1, 1], to the old one's: (n, 2, 3)."""
    # RandomResizedCrop: the share of the area, the aspect ratio, and where the window lies.
    area = torch.empty(n, device=device).uniform_(smallest_area, 1.0)
    ratio = torch.empty(n, device=device).uniform_(math.log(3 / 4), math.log(4 / 3)).exp()
    width, height = (area * ratio).sqrt().clamp_max(1), (area / ratio).sqrt().clamp_max(1)
    flip = torch.where(torch.rand(n, device=device) < 0.5, -1.0, 1.0)
    x0, y0 = (
        (1 - side) * torch.empty(n, device=device).uniform_(-1, 1) for side in (width, height)
    )
    zero, one = torch.zeros_like(area), torch.ones_like(area)

    def matrix(*entries: Tensor) -> Tensor:
        return torch.stack(entries, 1).view(n, 3, 3)

    crop = matrix(flip * width, zero, x0, zero, height, y0, zero, zero, one)
    angle = ROTATION * amount["rotate"]
    rotate = matrix(
        angle.cos(), -angle.sin(), zero, angle.sin(), angle.cos(), zero, zero, zero, one
    )
    shift = [2 * TRANSLATION * amount[f"translate {axis}"] for axis in "xy"]
    shear = [SHEAR * amount[f"shear {axis}"] for axis in "xy"]
    move = matrix(one, shear[0], shift[0], shear[1], one, shift[1], zero, zero, one)
    return (crop @ rotate @ move)[:, :2]
