"""Where each sample lies in webdataset's tar shards, found in one pass over their headers."""

import hashlib
import re
import tarfile
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from maninegs_sampling.errors import InvalidTypeError, InvalidValueError, StorageError
from maninegs_sampling.quoting import quoted

# As webdataset splits names: the key ends at the first dot of the last component.
_KEY = re.compile(r"((?:.*/|)[^.]+)[.][^/]*")
_METADATA = re.compile(r"__[^/]*__($|/)")  # which webdataset skips
BLOCK = tarfile.BLOCKSIZE


@dataclass(frozen=True)
class TarShards:
    """The samples of uncompressed tar files, in order: 28 bytes of memory for each.

    A sample is a run of files with the same key, as in webdataset.

    Attributes:
        paths: The files.
        shard: (n,) the number of the file that each sample is in.
        begin: (n,) its first byte there.
        end: (n,) the byte after its last.
        key: (n,) uint64, a hash of its key.
    """

    paths: tuple[Path, ...]
    shard: NDArray[np.int32]
    begin: NDArray[np.int64]
    end: NDArray[np.int64]
    key: NDArray[np.uint64]

    @classmethod
    def find(cls, paths: Sequence[str | PathLike[str]]) -> "TarShards":
        """Return the samples of tar files, after one pass over the headers in them.

        Args:
            paths: The files.

        Raises:
            InvalidTypeError, InvalidValueError: If there are no paths, or no samples.
            StorageError: If a file is missing, compressed, damaged or no tar file.
        """
        if isinstance(paths, (str, PathLike)):
            raise InvalidTypeError(f"shards must be a list of paths; got {quoted(paths)}")
        files = tuple(Path(path) for path in paths)
        shard, begin, end, key = array("i"), array("q"), array("q"), array("Q")
        for number, path in enumerate(files):
            for first, stop, name in _samples(path):
                shard.append(number)
                begin.append(first)
                end.append(stop)
                key.append(_hash(name))
        if not shard:
            raise InvalidValueError(f"there are no samples in {len(files)} shards")
        return cls(
            files,
            np.frombuffer(shard, np.int32),
            np.frombuffer(begin, np.int64),
            np.frombuffer(end, np.int64),
            np.frombuffer(key, np.uint64),
        )

    def __len__(self) -> int:
        return len(self.shard)

    def sizes(self) -> NDArray[np.int64]:
        """Return the number of samples of each file."""
        return np.bincount(self.shard, minlength=len(self.paths))

    def read(self, sample: int) -> bytes:
        """Return a sample as it stands in its tar file: its headers and its files.

        Args:
            sample: In [0, n).

        Raises:
            StorageError: If the file has become shorter.
        """
        begin, length = int(self.begin[sample]), int(self.end[sample] - self.begin[sample])
        path = self.paths[int(self.shard[sample])]
        with path.open("rb") as file:
            file.seek(begin)
            content = file.read(length)
        if len(content) != length:
            raise StorageError(f"{path} has become shorter while it was read")
        return content

    def rows(self, keys: ArrayLike) -> NDArray[np.int64]:
        """Return the sample of each key.

        Args:
            keys: (N,) texts, as webdataset's `__key__`.

        Raises:
            InvalidTypeError: If they are not texts.
            InvalidValueError: If a key is of no sample, or of several.
        """
        names = np.asarray(keys)
        if names.ndim != 1 or not all(isinstance(name, str) for name in names):
            raise InvalidTypeError(f"keys must be a list of texts; got {quoted(keys)}")
        order = np.argsort(self.key, kind="stable")
        hashes = np.fromiter((_hash(name) for name in names), np.uint64, len(names))
        place = np.searchsorted(self.key, hashes, sorter=order)
        count = np.searchsorted(self.key, hashes, side="right", sorter=order) - place
        if (wrong := np.flatnonzero(count != 1)).size:
            row = wrong[0]
            raise InvalidValueError(
                f"row {row}: {count[row]} samples have the key {quoted(str(names[row]))}; each "
                "row needs one"
            )
        return order[place]


def _samples(path: Path) -> Iterator[tuple[int, int, str]]:
    """Return the first byte, the byte after the last, and the key of each sample of a file."""
    key, begin, end = None, 0, 0
    try:
        with tarfile.open(path, "r:") as tar:
            while (member := tar.next()) is not None:
                tar.members.clear()  # type: ignore[attr-defined]  # tarfile keeps them all
                match = _KEY.fullmatch(member.name)
                if not match or not member.isreg() or _METADATA.match(member.name):
                    continue
                if match[1] != key:
                    if key is not None:
                        yield begin, end, key
                    key, begin = match[1], member.offset
                end = tar.offset
            if tar.pax_headers:
                raise StorageError(f"{path} has global headers, which a sample would lose")
            _check_end(path, tar.offset)
    except (OSError, tarfile.TarError) as error:
        raise StorageError(f"{path} cannot be read as an uncompressed tar file: {error}") from error
    if key is not None:
        yield begin, end, key


def _check_end(path: Path, offset: int) -> None:
    """Raise unless the file ends here: tarfile takes a damaged header for the end."""
    with path.open("rb") as file:
        file.seek(offset)
        if file.read(BLOCK).strip(b"\0"):
            raise StorageError(f"{path} is damaged: byte {offset} begins no header")


def _hash(key: str) -> int:
    digest = hashlib.blake2b(key.encode("utf-8", "surrogateescape"), digest_size=8).digest()
    return int.from_bytes(digest, "little")
