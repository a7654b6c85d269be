"""Similarities of binary patterns, one block of the N x N matrix at a time."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from maninegs_sampling.errors import InvalidTypeError, InvalidValueError
from maninegs_sampling.losses.options import Similarity
from maninegs_sampling.losses.products import products_between
from maninegs_sampling.losses.transforms import needs_plain_operations
from maninegs_sampling.quoting import quoted

Bits = Tensor | np.ndarray | Sequence[Sequence[int]]


def check_bits(bits: object, n: int, device: torch.device) -> Tensor:
    """Return `bits` as (N, B) booleans on the embeddings' device.

    Raises:
        InvalidTypeError: If bits are not numbers.
        InvalidValueError: If there is not one row for each instance, or a number is neither 0 nor
            1. Under torch.func, where no value can be read, every number but 0 counts as 1.
    """
    if not isinstance(bits, Tensor):
        try:
            array = np.asarray(bits)
        except ValueError:  # lists of unequal lengths
            raise InvalidTypeError(
                f"bits must be an array of N x B numbers; got {quoted(bits)}"
            ) from None
        if array.dtype.kind not in "biuf":
            raise InvalidTypeError(f"bits must be booleans, or 0 and 1; got {array.dtype}")
        bits = torch.as_tensor(np.ascontiguousarray(array))
    if bits.ndim != 2 or bits.shape[0] != n or bits.shape[1] == 0:
        raise InvalidValueError(
            f"bits must have the shape ({n}, B), one row for each instance; got {tuple(bits.shape)}"
        )
    if bits.dtype == torch.bool:
        return bits.to(device)
    if not needs_plain_operations(bits):
        bad = bits[(bits != 0) & (bits != 1)]
        if len(bad):
            raise InvalidValueError(f"bits must be 0 or 1; got {bad[0].item()}")
    return (bits != 0).to(device)


@dataclass(frozen=True)
class Similarities:
    """The similarities of the patterns of rows and columns, in [0, 1].

    Attributes:
        rows: (R, B) booleans.
        columns: (C, B) booleans.
        kind: "jaccard": the share of the bits set in either that are set in both, 1 where none is
            set; "hamming": the share of equal bits.
        dtype: Type of the similarities.
    """

    rows: Tensor
    columns: Tensor
    kind: Similarity
    dtype: torch.dtype

    def block(self, row: slice, column: slice) -> Tensor:
        """Return the similarities of some rows and some columns."""
        x, y = self.rows[row].to(self.dtype), self.columns[column].to(self.dtype)
        both = products_between(x, y)  # counts, exact below 2^24
        either = x.sum(1)[:, None] + y.sum(1) - both
        if self.kind == "hamming":
            return 1.0 - (either - both) / x.shape[1]
        return (both / either.clamp(min=1.0)).masked_fill(either == 0.0, 1.0)
