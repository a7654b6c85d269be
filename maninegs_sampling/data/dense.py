"""Reading matrices of traits: nested lists, numpy, torch, scipy and data frames."""

import numbers
from typing import Any

import numpy as np
import scipy.sparse
import torch
from numpy.typing import ArrayLike, NDArray

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


def as_binary(bits: ArrayLike | torch.Tensor) -> NDArray[np.bool_]:
    """Return a dense matrix of traits as (N, B) bool, or raise if a value is neither 0 nor 1."""
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
    if array.dtype == np.bool_:
        return array
    if array.dtype == object:
        _check_numbers(array)
    elif array.dtype.kind not in "iuf":
        raise InvalidTypeError(
            f"bits must be bool, integers or floats that are 0 or 1; got dtype {array.dtype}"
        )
    binary: NDArray[np.bool_] = array == 1
    wrong = np.flatnonzero(~(binary | (array == 0)).all(axis=1))
    if len(wrong) > 0:
        row = int(wrong[0])
        column = int(np.flatnonzero((array[row] != 0) & (array[row] != 1))[0])
        value = array[row, column]
        problem = f"is {value}" if value == value else "is missing (NaN)"
        raise InvalidValueError(
            f"bits must be 0 or 1; row {row}, column {column} {problem} ({len(wrong)} such rows)"
        )
    return binary


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
