"""The file format of saved stores.

    offset  size  content
    0       8     magic, b"MANINEGS"
    8       4     format version, uint32
    12      4     H, length of the header, uint32
    16      4     CRC-32 of the header
    20      4     CRC-32 of everything after the header
    24      H     header: UTF-8 JSON, an object; its key "arrays" lists the arrays in file order,
                  each as {"name", "dtype", "shape"}
    ...           the arrays in C order, each at the next multiple of 64 bytes, zeros between

All numbers are little-endian. Lone surrogates in the header are encoded like other characters. A
file is written beside its destination, flushed to disk and renamed over it. Loading
cannot execute code. It reads the prefix and the header first, compares their sizes with the size of
the file, and only then reads the arrays, once, in blocks.

The checksums find files that were damaged. Whoever crafts a file can compute them, so the arrays
themselves are checked, too.
"""

import errno
import json
import math
import os
import secrets
import stat
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from maninegs_sampling.errors import InvalidTypeError, InvalidValueError, StorageError

MAGIC = b"MANINEGS"
VERSION = 2
_PREFIX = struct.Struct("<8sIIII")
_ALIGNMENT = 64
# Bytes read and checked at a time; they stay in the processor's cache.
_BLOCK_BYTES = 2**20


def damaged(path: str | Path, problem: str) -> StorageError:
    """Return the error for a file whose content cannot be a saved store."""
    return StorageError(f"{path} is damaged: {problem}")


def _as_path(path: str | Path) -> Path:
    try:
        made = Path(path)
    except TypeError:
        raise InvalidTypeError(f"path must be a text or a Path; got {path!r}") from None
    if "\0" in str(made):
        raise InvalidValueError(f"path must not contain a null character; got {path!r}")
    return made


def _padding(offset: int) -> int:
    return -offset % _ALIGNMENT


def write_atomically(path: str | Path, chunks: Sequence[bytes | memoryview]) -> None:
    """Write `chunks` to a temporary file, flush it and rename it over the file at `path`.

    A symbolic link is kept and its target is replaced. A replaced file keeps its permissions; a
    new file gets those that the umask allows.

    Raises:
        InvalidValueError: If `path` exists and is not a regular file.
        OSError: If the folder does not exist, or the file cannot be written.
    """
    path = _as_path(path)
    mode = _mode_to_keep(path)
    # The temporary file must be in the folder of the target: a link may lead to another disk.
    target = Path(os.path.realpath(path))
    if not os.path.lexists(target.parent):
        raise FileNotFoundError(errno.ENOENT, "There is no such folder", str(target.parent))
    temporary = target.with_name(f".saving-{secrets.token_hex(8)}.tmp")

    def create(name: str, flags: int) -> int:
        return os.open(name, flags, 0o666 if mode is None else mode)

    try:
        with open(temporary, "xb", opener=create) as file:
            file.writelines(chunks)
            file.flush()
            os.fsync(file.fileno())
        if mode is not None:
            os.chmod(temporary, mode)  # restores what the umask removed
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _mode_to_keep(path: Path) -> int | None:
    """Return the permissions of the regular file at `path`, or None if there is no file."""
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(mode):
        raise InvalidValueError(f"{path} is not a regular file; only regular files are replaced")
    return stat.S_IMODE(mode)


def save(path: str | Path, header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write `arrays` and the JSON values of `header` to `path`."""
    little = {
        name: np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
        for name, array in arrays.items()
    }
    listing = [
        {"name": name, "dtype": array.dtype.name, "shape": list(array.shape)}
        for name, array in little.items()
    ]
    # Not escaped: JSON reads two escaped surrogates in a row as one character.
    text = json.dumps({**header, "arrays": listing}, ensure_ascii=False)
    header_bytes = text.encode("utf-8", "surrogatepass")
    chunks: list[bytes | memoryview] = []
    offset = _PREFIX.size + len(header_bytes)
    for array in little.values():
        chunks += [bytes(_padding(offset)), array.reshape(-1).view(np.uint8).data]
        offset += _padding(offset) + array.nbytes
    checksum = 0
    for chunk in chunks:
        checksum = zlib.crc32(chunk, checksum)
    sums = zlib.crc32(header_bytes), checksum
    prefix = _PREFIX.pack(MAGIC, VERSION, len(header_bytes), *sums)
    write_atomically(path, [prefix, header_bytes, *chunks])


class _Place(NamedTuple):
    """The place of an array in the file."""

    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]


def _read_header(path: Path, file: BinaryIO, size: int) -> tuple[dict[str, Any], int, int]:
    """Check magic, version and header; return the header, where it ends, and the checksum."""
    prefix = file.read(_PREFIX.size)
    if len(prefix) < _PREFIX.size:
        raise damaged(path, f"{len(prefix)} bytes are too few for the {_PREFIX.size} of a prefix")
    magic, version, header_size, header_checksum, checksum = _PREFIX.unpack(prefix)
    if magic != MAGIC:
        raise StorageError(f"{path} is not a saved store: it starts with {magic!r}, not {MAGIC!r}")
    if version != VERSION:
        raise StorageError(f"{path} has format version {version}; this release reads {VERSION}")
    end = _PREFIX.size + header_size
    if end > size:
        raise damaged(path, f"the header should end at byte {end} of {size}")
    header_bytes = file.read(header_size)
    if zlib.crc32(header_bytes) != header_checksum:
        raise damaged(path, "the checksum of its header does not match; it was changed")
    try:
        header = json.loads(header_bytes.decode("utf-8", "surrogatepass"))
    except (ValueError, RecursionError) as error:
        raise damaged(path, f"its header is not JSON: {error}") from None
    if not isinstance(header, dict) or not isinstance(header.get("arrays"), list):
        raise damaged(path, "its header lists no arrays")
    return header, end, checksum


def _find_arrays(
    path: Path,
    listing: list[Any],
    expected: Mapping[str, tuple[Sequence[DTypeLike], int]],
    offset: int,
    file_size: int,
) -> dict[str, _Place]:
    """Check that the arrays listed are the expected ones and fill the file; return their places."""
    if len(listing) != len(expected):
        raise damaged(path, f"it lists {len(listing)} arrays instead of {len(expected)}")
    places = {}
    for entry, (name, (dtypes, dimensions)) in zip(listing, expected.items(), strict=True):
        names = [np.dtype(dtype).name for dtype in dtypes]
        shape = entry.get("shape") if isinstance(entry, dict) else None
        if (
            not isinstance(shape, list)
            or entry.get("name") != name
            or entry.get("dtype") not in names
            or len(shape) != dimensions
            or not all(type(size) is int and size >= 0 for size in shape)
        ):
            raise damaged(path, f"instead of {name} ({' or '.join(names)}) it lists {entry!r}")
        dtype = np.dtype(entry["dtype"])
        offset += _padding(offset)
        size = math.prod(shape) * dtype.itemsize
        # A shape that contains 0 takes no bytes, however large its other number is.
        if offset + size > file_size or max(shape) > file_size:
            raise damaged(path, f"{name} of shape {shape} does not fit {file_size} bytes")
        places[name] = _Place(offset, tuple(shape), dtype)
        offset += size
    if offset != file_size:
        raise damaged(path, f"{file_size - offset} bytes follow the last array")
    return places


# Called with the name of an array, the number of the first row, and some rows.
Check = Callable[[str, int, NDArray[Any]], None]


class StoredArrays:
    """A file whose header was read, open to load its arrays.

    Attributes:
        header: what `save` was given.
        places: the place, shape and dtype of each array; they fill the file.
    """

    def __init__(
        self, path: Path, file: BinaryIO, expected: Mapping[str, tuple[Sequence[DTypeLike], int]]
    ) -> None:
        size = os.fstat(file.fileno()).st_size
        if size == 0:
            raise damaged(path, "it is empty")
        self.header, self._begin, self._checksum = _read_header(path, file, size)
        self.places = _find_arrays(path, self.header["arrays"], expected, self._begin, size)
        self._path = path
        self._file = file

    def load(self, *, mmap: bool, check: Check | None) -> dict[str, NDArray[Any]]:
        """Return the arrays.

        Args:
            mmap: whether to return read-only memory maps instead of copies.
            check: called with the rows of each array, in order, as they are read. With None the
                checksum is not compared either, and what is mapped is not read.

        Raises:
            StorageError: If the checksum does not match, or the file ends too early.
        """
        if mmap:
            arrays = self._map()
            if check is not None:
                self._read({}, check)
        else:
            arrays = {
                name: np.empty(place.shape, place.dtype.newbyteorder("<"))
                for name, place in self.places.items()
            }
            self._read(arrays, check)
        return {
            name: array.astype(self.places[name].dtype, copy=False)
            for name, array in arrays.items()
        }

    def _map(self) -> dict[str, NDArray[Any]]:
        content = np.memmap(self._file, np.uint8, "r")
        arrays = {}
        for name, (offset, shape, dtype) in self.places.items():
            taken = content[offset : offset + math.prod(shape) * dtype.itemsize]
            arrays[name] = taken.view(dtype.newbyteorder("<")).reshape(shape)
        return arrays

    def _read(self, arrays: Mapping[str, NDArray[Any]], check: Check | None) -> None:
        """Read the arrays once, in blocks, into `arrays` if they are there, and check them."""
        checksum, offset = 0, self._begin
        self._file.seek(offset)
        for name, place in self.places.items():
            checksum = zlib.crc32(self._file.read(place.offset - offset), checksum)
            row_bytes = math.prod(place.shape[1:]) * place.dtype.itemsize
            n_rows = min(place.shape[0], max(1, _BLOCK_BYTES // max(1, row_bytes)))
            room = np.empty((n_rows, *place.shape[1:]), place.dtype.newbyteorder("<"))
            for first in range(0, place.shape[0], max(1, n_rows)):
                rows = min(n_rows, place.shape[0] - first)
                block = arrays[name][first : first + rows] if name in arrays else room[:rows]
                content = block.reshape(-1).view(np.uint8).data
                if self._file.readinto(content) < len(content):  # type: ignore[attr-defined]
                    raise damaged(self._path, f"it ended while {name} was read")
                if check is not None:
                    checksum = zlib.crc32(content, checksum)
                    check(name, first, block.astype(place.dtype, copy=False))
            offset = place.offset + place.shape[0] * row_bytes
        if check is not None and checksum != self._checksum:
            raise damaged(self._path, "its checksum does not match; it was changed")


@contextmanager
def opened(
    path: str | Path, expected: Mapping[str, tuple[Sequence[DTypeLike], int]]
) -> Iterator[StoredArrays]:
    """Open the file at `path` and read its header.

    Args:
        path: the file.
        expected: the possible dtypes and the number of dimensions of each array.

    Raises:
        StorageError: If `save` did not write the file, or its arrays are not the expected ones.
        OSError: If the file cannot be opened.
    """
    path = _as_path(path)
    if not stat.S_ISREG(path.stat().st_mode):
        raise StorageError(f"{path} is not a regular file")
    with path.open("rb") as file:
        yield StoredArrays(path, file, expected)
