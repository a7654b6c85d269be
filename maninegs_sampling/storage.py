"""The file format of saved stores.

    offset  size  content
    0       8     magic, b"MANINEGS"
    8       4     format version, uint32
    12      4     H, length of the header, uint32
    16      32    BLAKE2b-256 checksum of everything after this field
    48      H     header: UTF-8 JSON, an object; its key "arrays" lists the arrays in file order,
                  each as {"name", "dtype", "shape"}
    ...           the arrays in C order, each at the next multiple of 64 bytes, zeros between

All numbers are little-endian. A file is written beside its destination, flushed to disk and
renamed over it. Loading executes nothing, and compares sizes with the file's own before it
allocates anything.
"""

import hashlib
import json
import math
import os
import struct
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from maninegs_sampling.errors import StorageError

MAGIC = b"MANINEGS"
VERSION = 1
_PREFIX = struct.Struct("<8sII32s")
_CHECKSUM_FROM = _PREFIX.size
_ALIGNMENT = 64


def damaged(path: str | Path, problem: str) -> StorageError:
    """Return the error for a file whose content cannot be a saved store."""
    return StorageError(f"{path} is damaged: {problem}")


def _padding(offset: int) -> int:
    return -offset % _ALIGNMENT


def write_atomically(path: Path, chunks: list[bytes]) -> None:
    """Write `chunks` to a temporary file beside `path`, flush it and rename it over `path`."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            file.writelines(chunks)
            file.flush()
            os.fsync(file.fileno())
        # mkstemp makes files that only their owner reads; a saved file has the usual permissions.
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(temporary, 0o666 & ~mask)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def save(path: Path, header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write `arrays` and the JSON values of `header` to `path`."""
    little = {
        name: np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
        for name, array in arrays.items()
    }
    listing = [
        {"name": name, "dtype": array.dtype.name, "shape": list(array.shape)}
        for name, array in little.items()
    ]
    header_bytes = json.dumps({**header, "arrays": listing}).encode()
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


def _read_header(path: Path, content: memoryview) -> tuple[dict[str, Any], int]:
    """Check magic, version, header and checksum; return the header and where the arrays begin."""
    if len(content) < _PREFIX.size:
        raise damaged(path, f"{len(content)} bytes are too few for the {_PREFIX.size} of a prefix")
    magic, version, header_size, expected = _PREFIX.unpack_from(content)
    if magic != MAGIC:
        raise StorageError(f"{path} is not a saved store: it starts with {magic!r}, not {MAGIC!r}")
    if version != VERSION:
        raise StorageError(f"{path} has format version {version}; this release reads {VERSION}")
    begin = _PREFIX.size + header_size
    if begin > len(content):
        raise damaged(path, f"the header should end at byte {begin} of {len(content)}")
    checksum = hashlib.blake2b(content[_CHECKSUM_FROM:], digest_size=32)
    if checksum.digest() != expected:
        raise damaged(path, "its checksum does not match; it was truncated or changed")
    try:
        header = json.loads(bytes(content[_PREFIX.size : begin]))
    except (ValueError, RecursionError) as error:
        raise damaged(path, f"its header is not JSON: {error}") from None
    if not isinstance(header, dict) or not isinstance(header.get("arrays"), list):
        raise damaged(path, "its header lists no arrays")
    return header, begin


def load(
    path: Path, expected: Mapping[str, tuple[DTypeLike, int]], *, mmap: bool
) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Return the header and the arrays saved at `path`.

    Parameters:
        expected: for each array its dtype and number of dimensions.
        mmap: return read-only maps of the file instead of copies in memory.

    Raises:
        StorageError: the file is not what `save` writes, or its arrays are not the expected ones.
        OSError: it cannot be opened.
    """
    if path.stat().st_size == 0:
        raise damaged(path, "it is empty")
    content = np.memmap(path, dtype=np.uint8, mode="r") if mmap else np.fromfile(path, np.uint8)
    header, offset = _read_header(path, content.data)
    arrays: dict[str, NDArray[Any]] = {}
    listing = header["arrays"]
    if len(listing) != len(expected):
        raise damaged(path, f"it lists {len(listing)} arrays instead of {len(expected)}")
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
        # A shape with a 0 in it takes no bytes, however large the other number.
        if offset + size > len(content) or max(shape) > len(content):
            raise damaged(path, f"{name} of shape {shape} does not fit {len(content)} bytes")
        stored = content[offset : offset + size].view(wanted.newbyteorder("<")).reshape(shape)
        arrays[name] = stored.astype(wanted, copy=False)
        offset += size
    if offset != len(content):
        raise damaged(path, f"{len(content) - offset} bytes follow the last array")
    return header, arrays
