"""Turning embeddings into bits whose Hamming distances follow the embeddings' cosines."""

from collections.abc import Callable
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from maninegs_sampling import randomness
from maninegs_sampling.data.blocks import patterns_in_blocks
from maninegs_sampling.data.dense import as_array
from maninegs_sampling.data.patterns import check_bits, check_instances, pack
from maninegs_sampling.errors import InvalidTypeError, InvalidValueError, check_choice
from maninegs_sampling.optional import require
from maninegs_sampling.quoting import quoted

Binarization = Literal["sign", "simhash", "itq"]

# Bits of methods that can make any number of them.
_USUAL_BITS = 256
# Rows that are scaled and projected at a time.
_BLOCK_ROWS = 4096
# Rows that the rotation of ITQ is fitted to, evenly spaced.
_FITTED_ROWS = 2**16

Project = Callable[[NDArray[np.float64]], NDArray[Any]]


def as_embeddings(embeddings: ArrayLike | torch.Tensor) -> NDArray[Any]:
    """Return embeddings as an (N, D) array of numbers; `unit_rows` checks the rows."""
    array = as_array("embeddings", embeddings)
    if array.ndim != 2 or 0 in array.shape:
        raise InvalidValueError(
            "embeddings must have the shape (instances, dimensions), both at least 1; "
            f"got shape {array.shape}"
        )
    if array.dtype.kind not in "iuf":
        raise InvalidTypeError(f"embeddings must be integers or floats; got dtype {array.dtype}")
    if array.dtype == np.uint8:
        raise InvalidTypeError(
            "embeddings must be signed; got dtype uint8. Packed codes go to "
            "ManifestationStore.from_packed; of embeddings quantized to bytes pass the originals."
        )
    check_instances(len(array))
    return array


def row_blocks(n: int) -> list[NDArray[np.int64]]:
    """Return the numbers of `n` rows in blocks, always the same, that take little memory."""
    return np.split(np.arange(n), range(_BLOCK_ROWS, n, _BLOCK_ROWS))


def unit_rows(embeddings: NDArray[Any], places: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return rows of embeddings scaled to unit length, or raise if one has no direction."""
    rows = embeddings[places].astype(np.float64)
    largest = np.abs(rows).max(axis=1, keepdims=True)
    wrong = np.flatnonzero(~((largest > 0) & np.isfinite(largest)))
    if len(wrong) > 0:
        problem = "is all zeros" if largest[wrong[0]] == 0 else "holds NaN or infinity"
        raise InvalidValueError(
            f"each row of embeddings must be finite and have a direction; row {places[wrong[0]]} "
            f"{problem}"
        )
    rows /= largest  # so that no square overflows
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows


def embedding_patterns(
    embeddings: ArrayLike | torch.Tensor,
    n_bits: int | None,
    method: Binarization,
    center: bool,
    seed: int,
) -> tuple[NDArray[np.uint64], NDArray[Any], int]:
    """Return the distinct bit patterns of embeddings, the pattern of each row, and B."""
    array = as_embeddings(embeddings)
    method = check_choice("method", method, get_args(Binarization))
    if not isinstance(center, bool):
        raise InvalidTypeError(f"center must be True or False; got {quoted(center)}")
    seed = randomness.check_seed(seed)
    n_bits = _check_bits(n_bits, method, array.shape)
    n = len(array)
    mean = np.zeros(array.shape[1])
    for places in row_blocks(n):
        rows = unit_rows(array, places)
        mean += rows.sum(axis=0) / n if center else 0.0
    project = _projection(array, mean, method, n_bits, seed, center)
    words = np.empty((n, -(-n_bits // 64)), np.uint64)
    for places in row_blocks(n):
        words[places] = pack(project(unit_rows(array, places) - mean) > 0)
    return *patterns_in_blocks(n, n_bits, lambda a, b: words[a:b]), n_bits


def _check_bits(n_bits: int | None, method: Binarization, shape: tuple[int, ...]) -> int:
    """Return the number of bits, or raise if the method cannot make as many."""
    n, dimensions = shape
    if n_bits is None:
        usual = {
            "sign": dimensions,
            "simhash": _USUAL_BITS,
            "itq": min(_USUAL_BITS, dimensions),
        }
        number = check_bits(usual[method])
    else:
        number = check_bits(n_bits)
    if method == "sign" and number != dimensions:
        raise InvalidValueError(
            f'method="sign" makes one bit of each of the {dimensions} dimensions; got '
            f'n_bits={number}. "simhash" makes any number, "itq" any smaller one.'
        )
    if method == "itq" and number > min(dimensions, n):
        raise InvalidValueError(
            f'method="itq" makes at most as many bits as there are dimensions and instances; got '
            f'n_bits={number} for embeddings of shape {shape}. "simhash" makes any number.'
        )
    return number


def _projection(
    array: NDArray[Any],
    mean: NDArray[np.float64],
    method: Binarization,
    n_bits: int,
    seed: int,
    center: bool,
) -> Project:
    """Return the function from (n, D) centered rows to (n, B) numbers whose signs are the bits."""
    if method == "sign":
        return lambda rows: rows
    if method == "simhash":
        stream = randomness.generator_at(seed, randomness.RANDOM_PROJECTIONS)
        directions = stream.standard_normal((array.shape[1], n_bits))
        return lambda rows: rows @ directions
    if not center:
        raise InvalidValueError('method="itq" subtracts the mean; got center=False')
    faiss = require("faiss", extra="itq", what='method="itq"')
    transform = faiss.ITQTransform(array.shape[1], n_bits, n_bits < array.shape[1])
    fitted = np.arange(0, len(array), -(-len(array) // _FITTED_ROWS))
    transform.train((unit_rows(array, fitted) - mean).astype(np.float32))
    return lambda rows: transform.apply(rows.astype(np.float32))
