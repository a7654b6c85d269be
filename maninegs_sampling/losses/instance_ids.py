"""Instance ids of any integer type, converted to int64 tensors."""

from collections.abc import Sequence
from numbers import Integral

import numpy as np
import torch
from torch import Tensor

from maninegs_sampling.errors import InvalidTypeError, InvalidValueError
from maninegs_sampling.quoting import quoted

Ids = Tensor | np.ndarray | Sequence[int]

_INTEGERS = {
    torch.bool,
    torch.int8,
    torch.int16,
    torch.int32,
    torch.int64,
    torch.uint8,
    torch.uint16,
    torch.uint32,
    torch.uint64,
}


def check_ids(ids: object, n: int, device: torch.device, name: str = "ids") -> Tensor | None:
    """Return `ids` as (N,) int64 on the embeddings' device, or None for None.

    Only equality of ids matters, and the conversion keeps it: ids of 2^63 and more become distinct
    negative numbers. torch can sort and count int64, but not all of its integer types.

    Raises:
        InvalidTypeError: If ids are not integers.
        InvalidValueError: If there is not one id for each instance.
    """
    if ids is None:
        return None
    if isinstance(ids, Tensor):
        integers, shape, kind = ids.dtype in _INTEGERS, tuple(ids.shape), str(ids.dtype)
    else:
        ids = _as_array(ids, name)
        integers, shape, kind = ids.dtype.kind in "biu", ids.shape, _described(ids)
    if not integers and 0 not in shape:  # an empty list has no integer type
        raise InvalidTypeError(
            f"{name} must be integers, one for each instance; got {kind}. Convert names with "
            "np.unique(names, return_inverse=True)[1]"
        )
    if shape != (n,):
        raise InvalidValueError(
            f"{name} must have the shape ({n},), one for each instance; got {shape}"
        )
    if isinstance(ids, Tensor):
        return ids.to(device, torch.int64)
    return torch.as_tensor(ids.astype(np.int64), device=device)


def _as_array(ids: object, name: str) -> np.ndarray:
    """Return any other object as an array of its own type."""
    try:
        if not isinstance(ids, (list, tuple)):
            return np.asarray(ids)
        # NumPy refuses tensors on other devices, and converts integers beyond int64 to floats.
        items = [each.item() if isinstance(each, Tensor) else each for each in ids]
        whole = bool(items) and all(isinstance(each, Integral) for each in items)
        return np.asarray(items, dtype=np.uint64 if whole and max(items) >= 2**63 else None)
    except (ValueError, TypeError, RuntimeError, OverflowError):  # e.g. lists of unequal lengths
        raise InvalidTypeError(
            f"{name} must be integers, one for each instance; got {quoted(ids)}"
        ) from None


def _described(ids: np.ndarray) -> str:
    first = f", the first {quoted(ids.flat[0])}" if ids.size else ""
    return f"{ids.dtype}{first}"
