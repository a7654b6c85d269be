"""Reading matrices of traits: nested lists, numpy, torch, scipy and data frames; packing them."""

import numbers
from typing import Any

import numpy as np
import scipy.sparse
import torch
from numpy.typing import ArrayLike, NDArray

from maninegs_sampling.data.blocks import patterns_in_blocks
from maninegs_sampling.data.patterns import pack
from maninegs_sampling.errors import InvalidTypeError, InvalidValueError


def as_array(name: str, values: Any) -> NDArray[Any]:
    """Return `values` as a NumPy array of the same numbers.

    The array may share memory with `values`. A memory map stays a memory map.

    Raises:
        InvalidTypeError: If NumPy cannot read the values.
        InvalidValueError: If rows differ in length, or a value is masked.
    """
    if isinstance(values, torch.Tensor):
        return _from_tensor(name, values)
    if scipy.sparse.issparse(values):
        dense: NDArray[Any] = values.toarray()
        return dense
    if isinstance(values, (list, tuple)) and any(isinstance(v, np.ma.MaskedArray) for v in values):
        values = np.ma.asarray(values)  # np.asarray would ignore the masks
    if np.ma.is_masked(values):
        place = ", column ".join(str(i) for i in np.argwhere(np.ma.getmaskarray(values))[0])
        raise InvalidValueError(f"{name} must be complete; row {place} is missing (masked)")
    if isinstance(values, np.memmap):
        return values
    try:
        return np.asarray(values)
    except ValueError as error:
        raise InvalidValueError(f"{name} must be a rectangular array: {error}") from None
    except (TypeError, RuntimeError) as error:
        raise InvalidTypeError(
            f"{name} cannot be read as an array: {error}. Tensors in a list become one tensor "
            "with torch.stack(...)."
        ) from None


def _from_tensor(name: str, tensor: torch.Tensor) -> NDArray[Any]:
    if tensor.is_meta:
        raise InvalidTypeError(f"{name} is a tensor on the meta device, which holds no values")
    try:
        plain = tensor.detach().to_dense().cpu().resolve_conj().resolve_neg()
        # NumPy lacks bfloat16 and float8; float32 represents every value of both, and of float16.
        if plain.is_floating_point() and plain.dtype not in (torch.float32, torch.float64):
            plain = plain.float()
        array: NDArray[Any] = plain.numpy()
    except (TypeError, RuntimeError) as error:
        raise InvalidTypeError(
            f"{name} is a tensor that cannot be read as an array: {error}. "
            "A dense tensor of bool, integers or float32 can."
        ) from None
    return array


def as_matrix(bits: ArrayLike | torch.Tensor) -> NDArray[Any]:
    """Return a dense matrix of traits as an (N, B) array of numbers; `binary_rows` checks them."""
    array = as_array("bits", bits)
    if array.ndim != 2:
        raise InvalidValueError(
            f"bits must be a matrix of shape (instances, traits); got {array.ndim} dimensions, "
            f"shape {array.shape}"
        )
    if 0 in array.shape:
        raise InvalidValueError(
            f"a store needs at least one instance and one trait; got shape {array.shape}"
        )
    if array.dtype == object:
        _check_numbers(array)
    elif array.dtype.kind not in "biuf":
        raise InvalidTypeError(
            f"bits must be bool, integers or floats that are 0 or 1; got dtype {array.dtype}"
        )
    return array


def dense_patterns(matrix: NDArray[Any]) -> tuple[NDArray[np.uint64], NDArray[Any]]:
    """Return the distinct rows of an (N, B) matrix, packed and sorted, and the pattern of each."""
    n, n_bits = matrix.shape
    return patterns_in_blocks(n, n_bits, lambda a, b: pack(_binary_rows(matrix, a, b)))


def _binary_rows(matrix: NDArray[Any], begin: int, end: int) -> NDArray[np.bool_]:
    """Return some rows as bool, or raise if a value is neither 0 nor 1."""
    block = np.ascontiguousarray(matrix[begin:end])
    if block.dtype == np.bool_:
        return block
    if block.dtype.kind in "iu" and block.itemsize == 1 and block.view(np.uint8).max() <= 1:
        return block.view(np.bool_)
    binary: NDArray[np.bool_] = block == 1
    if not (binary | (block == 0)).all():
        raise _not_binary(matrix)
    return binary


def _not_binary(matrix: NDArray[Any]) -> InvalidValueError:
    """Return the error for a matrix that holds another value than 0 and 1."""
    wrong = np.flatnonzero(~((matrix == 0) | (matrix == 1)).all(axis=1))
    row = int(wrong[0])
    column = int(np.flatnonzero((matrix[row] != 0) & (matrix[row] != 1))[0])
    value = matrix[row, column]
    problem = f"is {value}" if value == value else "is missing (NaN)"
    return InvalidValueError(
        f"bits must be 0 or 1; row {row}, column {column} {problem} ({len(wrong)} such rows)"
    )


def _check_numbers(objects: NDArray[np.object_]) -> None:
    """Raise unless all objects are real numbers, as in a frame of bool and integer columns."""
    is_number = np.frompyfunc(lambda v: isinstance(v, (numbers.Real, np.bool_)), 1, 1)(objects)
    wrong = np.argwhere(~is_number.astype(np.bool_))
    if len(wrong) > 0:
        row, column = wrong[0].tolist()
        value = objects[row, column]
        where = f"bits must be 0 or 1; row {row}, column {column} is"
        # pandas is not a dependency, so its missing value is recognized by its text.
        if value is None or str(value) == "<NA>":
            raise InvalidValueError(f"{where} missing ({value})")
        raise InvalidTypeError(
            f"{where} {value!r}. A table of texts becomes a store with "
            "ManifestationStore.from_table(table, schema)."
        )
