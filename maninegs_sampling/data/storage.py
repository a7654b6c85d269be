"""The file format of saved stores.

    offset  size  content
    0       8     magic, b"MANINEGS"
    8       4     format version, uint32
    12      4     H, length of the header, uint32
    16      32    BLAKE2b-256 checksum of everything after this field
    48      H     header: UTF-8 JSON, an object; its key "arrays" lists the arrays in file order,
                  each as {"name", "dtype", "shape"}
    ...           the arrays in C order, each at the next multiple of 64 bytes, zeros between

All numbers are little-endian. Lone surrogates in the header are encoded like other characters. A
file is written beside its destination, flushed to disk and renamed over it. Loading
cannot execute code. It reads the prefix and the header first, compares their sizes with the size of
the file, and only then reads the arrays.
"""

import errno
import hashlib
import json
import math
import os
import secrets
import stat
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from maninegs_sampling.errors import InvalidTypeError, InvalidValueError, StorageError

MAGIC = b"MANINEGS"
VERSION = 1
_PREFIX = struct.Struct("<8sII32s")
_CHECKSUM_FROM = _PREFIX.size
_ALIGNMENT = 64


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
    chunks = [header_bytes]
    offset = _PREFIX.size + len(header_bytes)
    for array in little.values():
        chunks += [bytes(_padding(offset)), array.tobytes()]
        offset += _padding(offset) + array.nbytes
    checksum = hashlib.blake2b(digest_size=32)
    for chunk in chunks:
        checksum.update(chunk)
    prefix = _PREFIX.pack(MAGIC, VERSION, len(header_bytes), checksum.digest())
    write_atomically(path, [prefix, *chunks])


class _Place(NamedTuple):
    """The place of an array in the file."""

    offset: int
    shape: list[int]
    dtype: np.dtype[Any]


def _read_header(path: Path, file: BinaryIO, size: int) -> tuple[dict[str, Any], int, bytes]:
    """Check magic, version and header; return the header, where it ends, and the checksum."""
    prefix = file.read(_PREFIX.size)
    if len(prefix) < _PREFIX.size:
        raise damaged(path, f"{len(prefix)} bytes are too few for the {_PREFIX.size} of a prefix")
    magic, version, header_size, checksum = _PREFIX.unpack(prefix)
    if magic != MAGIC:
        raise StorageError(f"{path} is not a saved store: it starts with {magic!r}, not {MAGIC!r}")
    if version != VERSION:
        raise StorageError(f"{path} has format version {version}; this release reads {VERSION}")
    end = _PREFIX.size + header_size
    if end > size:
        raise damaged(path, f"the header should end at byte {end} of {size}")
    try:
        header = json.loads(file.read(header_size).decode("utf-8", "surrogatepass"))
    except (ValueError, RecursionError) as error:
        raise damaged(path, f"its header is not JSON: {error}") from None
    if not isinstance(header, dict) or not isinstance(header.get("arrays"), list):
        raise damaged(path, "its header lists no arrays")
    return header, end, checksum


def _find_arrays(
    path: Path,
    listing: list[Any],
    expected: Mapping[str, tuple[DTypeLike, int]],
    offset: int,
    file_size: int,
) -> dict[str, _Place]:
    """Check that the arrays listed are the expected ones and fill the file; return their places."""
    if len(listing) != len(expected):
        raise damaged(path, f"it lists {len(listing)} arrays instead of {len(expected)}")
    places = {}
    for entry, (name, (dtype, dimensions)) in zip(listing, expected.items(), strict=True):
        wanted = np.dtype(dtype)
        shape = entry.get("shape") if isinstance(entry, dict) else None
        if (
            not isinstance(shape, list)
            or entry.get("name") != name
            or entry.get("dtype") != wanted.name
            or len(shape) != dimensions
            or not all(type(size) is int and size >= 0 for size in shape)
        ):
            raise damaged(path, f"instead of {name} ({wanted.name}) it lists {entry!r}")
        offset += _padding(offset)
        size = math.prod(shape) * wanted.itemsize
        # A shape that contains 0 takes no bytes, however large its other number is.
        if offset + size > file_size or max(shape) > file_size:
            raise damaged(path, f"{name} of shape {shape} does not fit {file_size} bytes")
        places[name] = _Place(offset, shape, wanted)
        offset += size
    if offset != file_size:
        raise damaged(path, f"{file_size - offset} bytes follow the last array")
    return places


def load(
    path: str | Path, expected: Mapping[str, tuple[DTypeLike, int]], *, mmap: bool
) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Return the header and the arrays saved at `path`.

    Args:
        path: the file.
        expected: the dtype and the number of dimensions of each array.
        mmap: whether to return read-only memory maps instead of copies.

    Raises:
        StorageError: If `save` did not write the file, or its arrays are not the expected ones.
        OSError: If the file cannot be opened.
    """
    path = _as_path(path)
    if not stat.S_ISREG(path.stat().st_mode):
        raise StorageError(f"{path} is not a regular file")
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size == 0:
            raise damaged(path, "it is empty")
        header, end, checksum = _read_header(path, file, size)
        places = _find_arrays(path, header["arrays"], expected, end, size)
        file.seek(0)
        content = np.memmap(file, np.uint8, "r") if mmap else np.fromfile(file, np.uint8)
    if hashlib.blake2b(content.data[_CHECKSUM_FROM:], digest_size=32).digest() != checksum:
        raise damaged(path, "its checksum does not match; it was changed")
    arrays = {}
    for name, (offset, shape, dtype) in places.items():
        taken = content[offset : offset + math.prod(shape) * dtype.itemsize]
        stored = taken.view(dtype.newbyteorder("<")).reshape(shape)
        arrays[name] = stored.astype(dtype, copy=False)
    return header, arrays
