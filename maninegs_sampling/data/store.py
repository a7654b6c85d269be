"""ManifestationStore: manifestations packed into 64-bit words, one row per distinct pattern."""

import hashlib
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import ArrayLike, DTypeLike, NDArray

from maninegs_sampling.data import store_files
from maninegs_sampling.data._pattern_kernels import count_instances
from maninegs_sampling.data.dense import as_array, as_matrix, dense_patterns
from maninegs_sampling.data.embeddings import Binarization, embedding_patterns
from maninegs_sampling.data.encoding import encoded_batches
from maninegs_sampling.data.merging import Part, merge_parts, new_part
from maninegs_sampling.data.packed import BitOrder, packed_patterns
from maninegs_sampling.data.patterns import (
    check_all_seen,
    check_bits,
    check_instances,
    check_names,
    check_pattern_of,
    check_shapes,
    check_used_bits,
    deduplicate,
    frozen,
    id_dtype,
    in_order,
)
from maninegs_sampling.data.sets import sets_as_matrix
from maninegs_sampling.data.sparse import sparse_patterns
from maninegs_sampling.errors import InvalidTypeError, InvalidValueError

if TYPE_CHECKING:
    from maninegs_sampling.data.schema import Schema

# Instances hashed at a time: the digest is of 4 bytes each, whatever type holds them.
_DIGEST_BLOCK = 2**20


class ManifestationStore:
    """The manifestations of a dataset: bit-packed, deduplicated, immutable.

    Create one with `from_dense`, `from_packed`, `from_sparse`, `from_sets`, `from_embeddings`,
    `from_table` or `load`. Instance i of the store is row i of its source, and must be item i of
    the dataset that the batches index.

    Attributes:
        words: (U, W) uint64, one row per distinct pattern, bit b in bit b % 64 of word b // 64;
            sorted by the last word, then by the one before it, and so on.
        pattern_of: (N,) the pattern of each instance, in the smallest unsigned type that holds U
            numbers: uint8 up to 256 patterns, uint16 up to 65,536, uint32 beyond.
        n_bits: B, the number of binary traits.
        bit_names: B names, or None if they are not known.

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
        pattern_of: NDArray[np.integer[Any]],
        n_bits: int,
        bit_names: Sequence[str] | None = None,
    ) -> None:
        """Create a store from packed patterns; `from_dense` packs them.

        Args:
            words: (U, W) uint64, distinct, with every bit from `n_bits` on zero.
            pattern_of: (N,) integers in [0, U); every pattern must have an instance.
            n_bits: B, from 1 to 65,535.
            bit_names: B texts, or integers, which become text.

        The arrays are copied, except read-only memory maps. Patterns that are not sorted, by their
        last word first, are sorted, and their instances follow.

        Raises:
            InvalidValueError: If the arrays contradict each other or `n_bits`.
            InvalidTypeError: If an array has another dtype, or a name is not a text.
        """
        n_bits = check_bits(n_bits)
        words, pattern_of = as_array("words", words), as_array("pattern_of", pattern_of)
        if words.dtype.newbyteorder("=") != np.uint64:
            raise InvalidTypeError(f"words must be uint64; got {words.dtype}")
        check_shapes(words.shape, pattern_of.shape, n_bits)
        if pattern_of.dtype.kind not in "iu":
            raise InvalidTypeError(f"pattern_of must hold whole numbers; got {pattern_of.dtype}")
        check_used_bits(words, n_bits)
        seen = np.zeros(len(words), np.bool_)
        check_pattern_of(pattern_of, 0, seen)
        check_all_seen(seen)
        words, pattern_of = in_order(_own(words, np.uint64), _own(pattern_of, id_dtype(len(words))))
        self._take(words, pattern_of, n_bits, check_names(bit_names, n_bits))

    def _take(
        self,
        words: NDArray[np.uint64],
        pattern_of: NDArray[Any],
        n_bits: int,
        bit_names: tuple[str, ...] | None,
    ) -> None:
        self.words = frozen(words)
        self.pattern_of = frozen(pattern_of)
        self.n_bits = n_bits
        self.bit_names = bit_names

    @classmethod
    def _of(
        cls,
        words: NDArray[np.uint64],
        pattern_of: NDArray[Any],
        n_bits: int,
        bit_names: tuple[str, ...] | None,
    ) -> "ManifestationStore":
        """Return a store of valid arrays that no other code refers to."""
        store = cls.__new__(cls)
        store._take(words, pattern_of, n_bits, bit_names)
        return store

    def __reduce__(self) -> tuple[Any, ...]:
        # Through `_of`, because unpickled arrays are writable, and without cached values. A memory
        # map becomes an array, because its file may be missing where the pickle is loaded.
        words, pattern_of = self.words.view(np.ndarray), self.pattern_of.view(np.ndarray)
        return type(self)._of, (words, pattern_of, self.n_bits, self.bit_names)

    @classmethod
    def from_dense(
        cls, bits: ArrayLike | torch.Tensor, bit_names: Sequence[str] | None = None
    ) -> "ManifestationStore":
        """Return the store of a dense matrix.

        Args:
            bits: (N, B), bool, or integers or floats that are exactly 0 or 1; an array, a nested
                list, a torch tensor (dense or sparse, of any dtype and device), a scipy sparse
                matrix or a data frame of numbers. B is at most 65,535.
            bit_names: B texts, used in reports only. Integers, such as the column labels of a data
                frame made without names, become text.

        Raises:
            InvalidValueError: If `bits` is not a matrix, is empty or too large, or holds a value
                other than 0 and 1 or a missing one; the message names its row and column.
            InvalidTypeError: If a value is neither bool nor a number, or a name is not a text.
        """
        matrix = as_matrix(bits)
        check_instances(len(matrix))
        n_bits = check_bits(matrix.shape[1])
        names = check_names(bit_names, n_bits)
        return cls._of(*dense_patterns(matrix), n_bits, names)

    @classmethod
    def from_packed(
        cls,
        codes: ArrayLike | torch.Tensor,
        n_bits: int,
        *,
        bitorder: BitOrder = "big",
        bit_names: Sequence[str] | None = None,
    ) -> "ManifestationStore":
        """Return the store of codes that hold eight bits in a byte.

        The codes are neither unpacked nor copied as a whole.

        Args:
            codes: (N, ceil(n_bits / 8)) uint8, an array, a memory map or a torch tensor. Bits of
                the last byte beyond `n_bits` must be zero.
            n_bits: B, from 1 to 65,535.
            bitorder: where the first bit of a byte is. "big": the highest bit, as `np.packbits`
                packs by default, and with it sentence-transformers (`precision="ubinary"`) and
                usearch (`dtype="b1"`). "little": the lowest bit, as faiss packs (`IndexLSH`,
                `real_to_binary`) and `np.packbits(..., bitorder="little")`.
            bit_names: B texts, used in reports only.

        Raises:
            InvalidValueError: If the shape does not fit `n_bits`, or a bit beyond it is set.
            InvalidTypeError: If the codes are not uint8, or a name is not a text.

        Example:
            >>> bits = np.array([[1, 0, 1], [0, 0, 1]])
            >>> store = ManifestationStore.from_packed(np.packbits(bits, axis=1), n_bits=3)
            >>> store.to_dense().astype(int).tolist()
            [[1, 0, 1], [0, 0, 1]]
        """
        words, pattern_of = packed_patterns(codes, n_bits, bitorder)
        return cls._of(words, pattern_of, n_bits, check_names(bit_names, n_bits))

    @classmethod
    def from_sparse(
        cls, matrix: Any, bit_names: Sequence[str] | None = None
    ) -> "ManifestationStore":
        """Return the store of a sparse matrix, without a dense copy.

        Args:
            matrix: (N, B) scipy sparse matrix or array of any format, bool or numbers. Entries
                that are stored as 0 are no bits. Entries of one place that are stored several
                times add up, as everywhere in scipy; only the sums must be 0 or 1.
            bit_names: B texts, used in reports only.

        Raises:
            InvalidValueError: If a value is neither 0 nor 1, such as a count; the message names
                its row and column. If the matrix is empty or too large.
            InvalidTypeError: If `matrix` is not a scipy sparse matrix of bool or real numbers, or
                a name is not a text.

        Example:
            >>> import scipy.sparse
            >>> ManifestationStore.from_sparse(scipy.sparse.eye_array(3, format="csr"))
            ManifestationStore(3 instances, 3 bits, 3 patterns)
        """
        words, pattern_of = sparse_patterns(matrix)
        n_bits = int(matrix.shape[1])
        return cls._of(words, pattern_of, n_bits, check_names(bit_names, n_bits))

    @classmethod
    def from_sets(
        cls, sets: Iterable[Iterable[str | int]], *, vocabulary: Sequence[str | int] | None = None
    ) -> "ManifestationStore":
        """Return the store of sets of tags, such as keywords, findings or ontology codes.

        Args:
            sets: the tags of each instance: a list, tuple or set of texts, or of integers. A tag
                that is listed twice counts once. `[]` is an instance without tags.
            vocabulary: the tag of each bit. Default: all tags of `sets`, sorted. Becomes
                `bit_names`.

        Raises:
            InvalidTypeError: If an instance's tags are one text instead of a list of texts, a tag
                is neither a text nor an integer, or texts and integers are mixed.
            InvalidValueError: If a tag is None or NaN, or not in `vocabulary`, if `vocabulary` has
                a tag twice, or if there are no instances, no tags, or more than 65,535 tags.

        Example:
            >>> store = ManifestationStore.from_sets([["effusion", "edema"], [], ["edema"]])
            >>> store.bit_names, store.to_dense().astype(int).tolist()
            (('edema', 'effusion'), [[1, 1], [0, 0], [1, 0]])
        """
        matrix, names = sets_as_matrix(sets, vocabulary)
        return cls._of(*sparse_patterns(matrix), len(names), tuple(map(str, names)))

    @classmethod
    def from_embeddings(
        cls,
        embeddings: ArrayLike | torch.Tensor,
        n_bits: int | None = None,
        *,
        method: Binarization = "sign",
        center: bool = True,
        seed: int = 0,
    ) -> "ManifestationStore":
        """Return the store of embeddings of a frozen model, as bits that keep their cosines' order.

        The bits keep it in part only: `rank_agreement(store, embeddings)` measures how well.

        Args:
            embeddings: (N, D) numbers of any length but 0; an array or a torch tensor. Rows are
                scaled to unit length first, since only their directions count.
            n_bits: B. Default: D for "sign", 256 for "simhash", the smaller of both for "itq".
            method: "sign": bit b is 1 where coordinate b is positive. "simhash": the same after a
                random projection to B directions (Charikar 2002), so that B may be larger than D.
                "itq": after a projection to B principal components and the rotation that makes
                signs lose least (Gong and Lazebnik 2011), by faiss: the extra `itq`.
            center: whether to subtract the mean of all rows first. Where all embeddings point in a
                similar direction, many bits are the same everywhere without it.
            seed: in [0, 2**64), of the projection of "simhash".

        Raises:
            InvalidValueError: If a row is zero or holds NaN or infinity, or `n_bits` does not fit
                the method.
            InvalidTypeError: If the embeddings are not floats or signed integers.
            MissingExtraError: If method="itq" and faiss is not installed.

        Example:
            >>> z = np.array([[1.0, 0.1], [-0.9, 0.2], [0.3, -0.8]])
            >>> store = ManifestationStore.from_embeddings(z, center=False)
            >>> store.to_dense().astype(int).tolist()
            [[1, 1], [0, 1], [1, 0]]
        """
        words, pattern_of, n_bits = embedding_patterns(embeddings, n_bits, method, center, seed)
        return cls._of(words, pattern_of, n_bits, None)

    @classmethod
    def from_table(
        cls, table: Any, schema: "Schema", *, progress: bool = False
    ) -> "ManifestationStore":
        """Return the store of a table, one instance per row, encoded by `schema`.

        Files are read some rows at a time, so that they may be larger than the memory; see
        `docs/tables.md` for the few that are read whole. A run that is killed leaves nothing. For
        tables in many files, save a store of each and join them with `concat_stores`.

        Args:
            table: a pandas, polars or pyarrow table, a path to a CSV or Parquet file, or a list of
                any of these, read one after the other.
            schema: how a row becomes bits, such as `MVKL`, `CBIS_DDSM` or `Schema.infer(table)`.
            progress: whether to show a progress bar, on a terminal and if tqdm is installed.

        Raises:
            TableError: If the schema does not allow a cell; the message names its row and column.
        """

        def part(words: NDArray[np.uint64]) -> Part:
            return new_part(*deduplicate(words))

        parts = list(encoded_batches(schema, table, part, progress=progress))
        words, pattern_of = merge_parts(parts)
        check_instances(len(pattern_of))
        return cls._of(words, pattern_of, schema.n_bits, schema.bit_names)

    def __len__(self) -> int:
        return self.n_instances

    @property
    def n_instances(self) -> int:
        """The number of instances, N."""
        return len(self.pattern_of)

    @property
    def n_patterns(self) -> int:
        """The number of distinct patterns, U."""
        return len(self.words)

    @cached_property
    def counts(self) -> NDArray[np.int32]:
        """The number of instances with each pattern, (U,) int32."""
        counts = np.zeros(self.n_patterns, np.int32)
        count_instances(frozen(np.asarray(self.pattern_of).view()), counts)
        return frozen(counts)

    @cached_property
    def digest(self) -> str:
        """A hexadecimal digest of the patterns and of each instance's pattern."""
        state = hashlib.blake2b(digest_size=16)
        state.update(f"{self.n_instances} {self.n_bits} {self.n_patterns}".encode())
        state.update(np.ascontiguousarray(self.words, dtype="<u8").data)
        for begin in range(0, self.n_instances, _DIGEST_BLOCK):
            block = self.pattern_of[begin : begin + _DIGEST_BLOCK]
            state.update(np.ascontiguousarray(block, dtype="<u4").data)
        return state.hexdigest()

    def to_dense(self) -> NDArray[np.bool_]:
        """Return the bits of all instances, (N, B) bool."""
        as_bytes = self.words.astype("<u8", copy=False).view(np.uint8)
        patterns = np.unpackbits(as_bytes, axis=1, count=self.n_bits, bitorder="little")
        dense: NDArray[np.bool_] = patterns.view(np.bool_)[self.pattern_of]
        return dense

    def subset(self, indices: ArrayLike | torch.Tensor) -> "ManifestationStore":
        """Return the store of some instances, for a torch `Subset` of the dataset.

        Args:
            indices: (n,) integers in [0, N), in any order, possibly repeated, such as
                `subset.indices` of a torch `Subset` or of a part of `random_split`.

        Raises:
            InvalidTypeError: If they are not integers. For a mask, pass `np.flatnonzero(mask)`.
            InvalidValueError: If they are not a vector, are empty, or are out of range.

        Example:
            >>> store = ManifestationStore.from_dense([[1, 0], [0, 1], [1, 1]])
            >>> store.subset([2, 0]).to_dense().tolist()
            [[True, True], [True, False]]
        """
        chosen = as_array("indices", indices)
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
        return ManifestationStore._of(
            self.words[used], pattern_of.astype(id_dtype(len(used))), self.n_bits, self.bit_names
        )

    def save(self, path: str | Path) -> None:
        """Write the store to `path` atomically: an older file stays valid until the end.

        Args:
            path: the file to write.
        """
        store_files.save(path, self.words, self.pattern_of, self.n_bits, self.bit_names)

    @classmethod
    def load(
        cls, path: str | Path, *, mmap: bool = False, verify: bool = True
    ) -> "ManifestationStore":
        """Return the store saved at `path`.

        Args:
            path: a file written by `save`.
            mmap: whether to memory-map the arrays, so that processes share them, and nothing is
                read before it is needed. The file must then stay as it is while the store exists.
            verify: whether to check the arrays and their checksum, which reads the file once.
                Without, a file that was damaged or crafted makes kernels read and write outside
                their arrays: use False for files that you wrote yourself.

        Raises:
            StorageError: If the file is not a saved store, has another version, is truncated or
                changed, or its arrays are invalid. Loading cannot execute code.
        """
        return cls._of(*store_files.load(path, mmap=mmap, verify=verify))

    def __repr__(self) -> str:
        return (
            f"ManifestationStore({self.n_instances} instances, {self.n_bits} bits, "
            f"{self.n_patterns} patterns)"
        )


def concat_stores(stores: Sequence[ManifestationStore]) -> ManifestationStore:
    """Return one store of all instances, for a torch `ConcatDataset` of the datasets.

    Args:
        stores: one or more stores of the same bits. The first that has names of bits gives them.

    Raises:
        InvalidValueError: If there are none, or they differ in their bits.
        InvalidTypeError: If one of them is not a store.

    Example:
        >>> first = ManifestationStore.from_dense([[1, 0], [0, 1]])
        >>> concat_stores([first, first.subset([0])])
        ManifestationStore(3 instances, 2 bits, 2 patterns)
    """
    if not isinstance(stores, Iterable):
        raise InvalidTypeError(f"stores must be a sequence of stores; got {stores!r}")
    stores = list(stores)
    if not stores:
        raise InvalidValueError("concat_stores needs at least one store")
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
    check_instances(sum(store.n_instances for store in stores))
    words, pattern_of = merge_parts([new_part(store.words, store.pattern_of) for store in stores])
    bit_names = named[0][1] if named else None
    return ManifestationStore._of(words, pattern_of, stores[0].n_bits, bit_names)


def _own(array: NDArray[Any], dtype: DTypeLike) -> NDArray[Any]:
    """Return a copy of `array`, or a view of it if it is a read-only memory map."""
    is_map = isinstance(array, np.memmap) and array.mode == "r"
    if is_map and array.dtype == dtype and array.flags.c_contiguous:
        view: NDArray[Any] = array.view()
        return view
    return np.array(array, dtype, order="C")


def check_store(name: str, store: object) -> ManifestationStore:
    """Return `store`, or raise `InvalidTypeError` if it is not a ManifestationStore."""
    if not isinstance(store, ManifestationStore):
        raise InvalidTypeError(
            f"{name} must be a ManifestationStore; got {type(store).__name__}. "
            "ManifestationStore.from_dense(bits) makes one from a matrix of traits."
        )
    return store
