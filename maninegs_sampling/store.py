"""ManifestationStore: manifestations packed into 64-bit words, one row per distinct pattern."""

import hashlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from maninegs_sampling import storage
from maninegs_sampling.errors import InvalidTypeError, InvalidValueError

if TYPE_CHECKING:
    from maninegs_sampling.schema import Schema

# Instances and patterns are numbered with int32.
LARGEST_STORE = 2**31 - 1


def _as_binary(bits: ArrayLike | torch.Tensor) -> NDArray[np.bool_]:
    """Check a dense matrix of traits and return it as bool."""
    if isinstance(bits, torch.Tensor):
        bits = bits.detach().cpu().numpy()
    try:
        array = np.asarray(bits)
    except ValueError as error:
        raise InvalidValueError(f"bits must be a rectangular matrix: {error}") from None
    if array.ndim != 2:
        raise InvalidValueError(
            f"bits must be a matrix of shape (instances, traits); got {array.ndim} dimensions, "
            f"shape {array.shape}"
        )
    if array.shape[0] == 0 or array.shape[1] == 0:
        raise InvalidValueError(
            f"a store needs at least one instance and one trait; got shape {array.shape}"
        )
    if array.shape[0] > LARGEST_STORE:
        raise InvalidValueError(f"at most {LARGEST_STORE} instances fit; got {array.shape[0]}")
    if array.dtype == np.bool_:
        return array
    if array.dtype.kind not in "iuf":
        raise InvalidTypeError(
            f"bits must be bool, integers or floats that are 0 or 1; got dtype {array.dtype}"
        )
    binary: NDArray[np.bool_] = array == 1
    wrong = np.flatnonzero(~(binary | (array == 0)).all(axis=1))
    if len(wrong) > 0:
        row = int(wrong[0])
        column = int(np.flatnonzero((array[row] != 0) & (array[row] != 1))[0])
        value = array[row, column]
        problem = "is missing (NaN)" if np.isnan(value) else f"is {value}"
        raise InvalidValueError(
            f"bits must be 0 or 1; row {row}, column {column} {problem} ({len(wrong)} such rows)"
        )
    return binary


def _pack(bits: NDArray[np.bool_]) -> NDArray[np.uint64]:
    """Pack (N, B) bool into (N, ceil(B / 64)) words: bit b is bit b % 64 of word b // 64."""
    n, n_bits = bits.shape
    words = np.zeros((n, -(-n_bits // 64) * 8), dtype=np.uint8)
    words[:, : -(-n_bits // 8)] = np.packbits(bits, axis=1, bitorder="little")
    return words.view("<u8").astype(np.uint64, copy=False)


def _deduplicate(words: NDArray[np.uint64]) -> tuple[NDArray[np.uint64], NDArray[np.int32]]:
    """Return the distinct rows, sorted with the last word first, and each row's place in them."""
    order = np.lexsort(words.T)
    ordered = words[order]
    is_new = np.ones(len(words), dtype=np.bool_)
    is_new[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    pattern_of = np.empty(len(words), dtype=np.int32)
    pattern_of[order] = np.cumsum(is_new) - 1
    return ordered[is_new], pattern_of


def _frozen(array: NDArray[Any]) -> NDArray[Any]:
    array.flags.writeable = False
    return array


class ManifestationStore:
    """The manifestations of a dataset: bit-packed, deduplicated, immutable.

    Make one with `from_dense`, `from_table` or `load`. Instance i of the store is row i of what it
    was made from, and should be item i of the dataset that the batches index.

    Attributes:
        words: (U, W) uint64, one row per distinct pattern, bit b in bit b % 64 of word b // 64.
        pattern_of: (N,) int32, the pattern of each instance.
        n_bits: B, the number of binary traits.
        bit_names: B names, or None where they are not known.

    Example:
        >>> store = ManifestationStore.from_dense([[1, 0, 1], [0, 0, 1], [1, 0, 1]])
        >>> store
        ManifestationStore(3 instances, 3 bits, 2 patterns)
        >>> store.pattern_of.tolist(), store.counts.tolist()
        ([1, 0, 1], [1, 2])
    """

    def __init__(
        self,
        words: NDArray[np.uint64],
        pattern_of: NDArray[np.int32],
        n_bits: int,
        bit_names: Sequence[str] | None = None,
    ) -> None:
        """Take arrays that already keep this class's contract; `from_dense` makes them."""
        if bit_names is not None and len(bit_names) != n_bits:
            raise InvalidValueError(f"{len(bit_names)} bit_names were given for {n_bits} bits")
        self.words = _frozen(words)
        self.pattern_of = _frozen(pattern_of)
        self.n_bits = n_bits
        self.bit_names = None if bit_names is None else tuple(bit_names)

    @classmethod
    def from_dense(
        cls, bits: ArrayLike | torch.Tensor, bit_names: Sequence[str] | None = None
    ) -> "ManifestationStore":
        """Return the store of a dense matrix.

        Parameters:
            bits: (N, B), bool, or integers or floats that are exactly 0 or 1; an array, a nested
                list or a torch tensor.
            bit_names: B names, used in reports only.

        Raises:
            InvalidValueError: not a matrix, empty, or a value other than 0 and 1 (also NaN); the
                message names its row and column.
            InvalidTypeError: a dtype that is neither bool nor a number.
        """
        binary = _as_binary(bits)
        words, pattern_of = _deduplicate(_pack(binary))
        return cls(words, pattern_of, binary.shape[1], bit_names)

    @classmethod
    def from_table(cls, table: Any, schema: "Schema") -> "ManifestationStore":
        """Return the store of a table, one instance per row, encoded by `schema`.

        Parameters:
            table: a pandas, polars or pyarrow table, a path to a CSV or Parquet file, or a list of
                any of these, read one after the other.
            schema: how a row becomes bits, such as `MVKL`, `CBIS_DDSM` or `Schema.infer(table)`.

        Raises:
            TableError: a cell that the schema does not allow; the message names row and column.
        """
        return cls.from_dense(schema.encode(table), schema.bit_names)

    @property
    def n_instances(self) -> int:
        """N, the number of instances."""
        return len(self.pattern_of)

    @property
    def n_patterns(self) -> int:
        """U, the number of distinct patterns."""
        return len(self.words)

    @cached_property
    def counts(self) -> NDArray[np.int32]:
        """(U,) int32, how many instances share each pattern."""
        counts = np.bincount(self.pattern_of, minlength=self.n_patterns).astype(np.int32)
        return _frozen(counts)

    @cached_property
    def digest(self) -> str:
        """A hexadecimal digest of the patterns and of which instance has which."""
        state = hashlib.blake2b(digest_size=16)
        state.update(f"{self.n_instances} {self.n_bits} {self.n_patterns}".encode())
        state.update(np.ascontiguousarray(self.words, dtype="<u8").data)
        state.update(np.ascontiguousarray(self.pattern_of, dtype="<i4").data)
        return state.hexdigest()

    def to_dense(self) -> NDArray[np.bool_]:
        """Return (N, B) bool, exactly what went in."""
        as_bytes = self.words.astype("<u8", copy=False).view(np.uint8)
        patterns = np.unpackbits(as_bytes, axis=1, count=self.n_bits, bitorder="little")
        dense: NDArray[np.bool_] = patterns.view(np.bool_)[self.pattern_of]
        return dense

    def subset(self, indices: ArrayLike | torch.Tensor) -> "ManifestationStore":
        """Return the store of some instances, as torch's `Subset` has those items of a dataset.

        Parameters:
            indices: (n,) whole numbers in [0, N), in any order, repeated or not; `subset.indices`
                of a torch `Subset` or of a part of `random_split`.

        Raises:
            InvalidTypeError: not whole numbers. A mask is `np.flatnonzero(mask)`.
            InvalidValueError: not a vector, empty, or out of range; the message names the first.

        Example:
            >>> store = ManifestationStore.from_dense([[1, 0], [0, 1], [1, 1]])
            >>> store.subset([2, 0]).to_dense().tolist()
            [[True, True], [True, False]]
        """
        chosen = np.asarray(indices)
        if chosen.ndim != 1 or len(chosen) == 0:
            raise InvalidValueError(
                f"indices must be a vector of at least one instance; got shape {chosen.shape}"
            )
        if not np.issubdtype(chosen.dtype, np.integer):
            raise InvalidTypeError(f"indices must be whole numbers; got {chosen.dtype}")
        outside = (chosen < 0) | (chosen >= self.n_instances)
        if outside.any():
            raise InvalidValueError(
                f"indices must lie in [0, {self.n_instances}); indices[{outside.argmax()}] is "
                f"{chosen[outside.argmax()]}"
            )
        used, pattern_of = np.unique(self.pattern_of[chosen], return_inverse=True)
        return ManifestationStore(
            self.words[used], pattern_of.astype(np.int32), self.n_bits, self.bit_names
        )

    def save(self, path: str | Path) -> None:
        """Write the store to `path`; an older file there stays good until the new one is whole."""
        header = {"n_bits": self.n_bits, "bit_names": self.bit_names}
        storage.save(Path(path), header, {"words": self.words, "pattern_of": self.pattern_of})

    @classmethod
    def load(cls, path: str | Path, *, mmap: bool = False) -> "ManifestationStore":
        """Return the store saved at `path`.

        Parameters:
            path: a file written by `save`.
            mmap: map the arrays instead of reading them, so that processes share the memory.

        Raises:
            StorageError: not such a file, another version, truncated, changed since it was
                written, or holding arrays that no store has. Nothing in the file is executed.
        """
        header, arrays = storage.load(
            Path(path), {"words": (np.uint64, 2), "pattern_of": (np.int32, 1)}, mmap=mmap
        )
        words, pattern_of = arrays["words"], arrays["pattern_of"]
        n_bits, names = header.get("n_bits"), header.get("bit_names")
        if type(n_bits) is not int or n_bits < 1 or words.shape[1] != -(-n_bits // 64):
            raise storage.damaged(path, f"{n_bits!r} bits do not fit words of shape {words.shape}")
        if names is not None and not (
            isinstance(names, list)
            and len(names) == n_bits
            and all(isinstance(name, str) for name in names)
        ):
            raise storage.damaged(path, f"bit_names are not {n_bits} names")
        if len(words) == 0 or len(pattern_of) == 0:
            raise storage.damaged(path, "the store is empty")
        used = np.bincount(np.clip(pattern_of, 0, len(words)), minlength=len(words))
        if pattern_of.min() < 0 or len(used) > len(words) or not used.all():
            raise storage.damaged(path, "pattern_of does not cover the patterns")
        if n_bits % 64 != 0 and (words[:, -1] >> np.uint64(n_bits % 64)).any():
            raise storage.damaged(path, f"bits beyond the {n_bits} of a pattern are set")
        if len(_deduplicate(words)[0]) != len(words):
            raise storage.damaged(path, "a pattern appears twice")
        return cls(words, pattern_of, n_bits, names)

    def __repr__(self) -> str:
        return (
            f"ManifestationStore({self.n_instances} instances, {self.n_bits} bits, "
            f"{self.n_patterns} patterns)"
        )


def concat(stores: Sequence[ManifestationStore]) -> ManifestationStore:
    """Return one store of all instances, as torch's `ConcatDataset` has all items.

    Parameters:
        stores: one or more, of the same bits. Names of bits are taken from the first that has any.

    Raises:
        InvalidValueError: none, or they differ in their bits.
        InvalidTypeError: something else than a store.

    Example:
        >>> first = ManifestationStore.from_dense([[1, 0], [0, 1]])
        >>> concat([first, first.subset([0])])
        ManifestationStore(3 instances, 2 bits, 2 patterns)
    """
    stores = list(stores)
    if not stores:
        raise InvalidValueError("concat needs at least one store")
    for i, store in enumerate(stores):
        check_store(f"stores[{i}]", store)
        if store.n_bits != stores[0].n_bits:
            raise InvalidValueError(
                f"stores must have the same bits; stores[0] has {stores[0].n_bits} and "
                f"stores[{i}] {store.n_bits}"
            )
    named = [(i, store.bit_names) for i, store in enumerate(stores) if store.bit_names]
    for i, names in named:
        if names != named[0][1]:
            raise InvalidValueError(
                f"stores must have the same bits; stores[{named[0][0]}] and stores[{i}] name "
                "theirs differently"
            )
    words, row_of = _deduplicate(np.concatenate([store.words for store in stores]))
    first_row = np.cumsum([0, *(store.n_patterns for store in stores)])
    pattern_of = np.concatenate(
        [row_of[first + store.pattern_of] for first, store in zip(first_row, stores, strict=False)]
    )
    return ManifestationStore(words, pattern_of, stores[0].n_bits, named[0][1] if named else None)


def check_store(name: str, store: object) -> ManifestationStore:
    """Return `store`, or raise `InvalidTypeError` if it is not a ManifestationStore."""
    if not isinstance(store, ManifestationStore):
        raise InvalidTypeError(
            f"{name} must be a ManifestationStore; got {type(store).__name__}. "
            "ManifestationStore.from_dense(bits) makes one from a matrix of traits."
        )
    return store
