"""The file format of saved stores, and atomic writing."""

import json
import os
import stat
import subprocess
import sys
import time

import numpy as np
import pytest

from maninegs_sampling import CBIS_DDSM, ManifestationStore
from maninegs_sampling.data import storage
from maninegs_sampling.errors import InvalidTypeError, InvalidValueError, StorageError
from tests.conftest import random_store, signed

posix = pytest.mark.skipif(
    sys.platform == "win32", reason="pipes, links and permissions are POSIX's"
)


@pytest.mark.parametrize("mmap", [False, True])
@pytest.mark.parametrize("n_bits", [1, 63, 64, 65, 312])
@pytest.mark.parametrize("n", [1, 50])
def test_saved_stores_come_back(tmp_path, n, n_bits, mmap):
    store = random_store(n, n_bits)
    store.save(tmp_path / "a.store")
    loaded = ManifestationStore.load(tmp_path / "a.store", mmap=mmap)
    assert (loaded.to_dense() == store.to_dense()).all()
    assert loaded.digest == store.digest
    assert isinstance(loaded.words, np.memmap) == mmap
    with pytest.raises(ValueError, match="read-only"):
        loaded.words[0] = 0


def test_every_truncation_is_refused(tmp_path):
    path = tmp_path / "a"
    random_store(9, 70).save(path)
    content = path.read_bytes()
    for size in range(len(content)):
        path.write_bytes(content[:size])
        for mmap in (False, True):
            with pytest.raises(StorageError):
                ManifestationStore.load(path, mmap=mmap)


def test_every_flipped_byte_is_refused(tmp_path):
    path = tmp_path / "a"
    random_store(9, 70).save(path)
    content = path.read_bytes()
    for place in range(len(content)):
        changed = bytearray(content)
        changed[place] ^= 0x41
        path.write_bytes(changed)
        for mmap in (False, True):
            with pytest.raises(StorageError):
                ManifestationStore.load(path, mmap=mmap)


@pytest.mark.parametrize("mmap", [False, True])
def test_without_verification_the_arrays_are_not_read(tmp_path, mmap, monkeypatch):
    """A changed word passes, and a changed header does not."""
    path = tmp_path / "a"
    store = random_store(9, 64)
    store.save(path)
    content = bytearray(path.read_bytes())
    header_end = 24 + int.from_bytes(content[12:16], "little")
    content[-9 - 40] ^= 1
    path.write_bytes(content)
    with pytest.raises(StorageError):
        ManifestationStore.load(path, mmap=mmap)
    assert ManifestationStore.load(path, mmap=mmap, verify=False).n_patterns == 9
    content[header_end - 1] ^= 1
    path.write_bytes(content)
    with pytest.raises(StorageError, match="checksum of its header"):
        ManifestationStore.load(path, mmap=mmap, verify=False)


@pytest.mark.parametrize("n_bits", [40, 64, 130])
@pytest.mark.parametrize("mmap", [False, True])
def test_blocks_are_checked_across_their_edges(tmp_path, monkeypatch, n_bits, mmap):
    """With blocks of two or three rows each pair of neighboring patterns is compared."""
    store = random_store(20, n_bits)
    for block in (16, 24, 48, 2**20):
        monkeypatch.setattr(storage, "_BLOCK_BYTES", block)
        store.save(tmp_path / "a")
        assert ManifestationStore.load(tmp_path / "a", mmap=mmap).digest == store.digest
        for i in range(store.n_patterns - 1):
            words = store.words.copy()
            words[i + 1] = words[i]
            header = {"n_bits": n_bits, "bit_names": None}
            storage.save(tmp_path / "b", header, {"words": words, "pattern_of": store.pattern_of})
            with pytest.raises(StorageError, match=f"pattern {i + 1} does not come after"):
                ManifestationStore.load(tmp_path / "b", mmap=mmap)


def test_appended_bytes_are_refused(tmp_path):
    path = tmp_path / "a"
    random_store(9, 70).save(path)
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(StorageError, match="1 bytes follow the last array"):
        ManifestationStore.load(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda h, a: h.update(n_bits=71 + 64), r"words must have the shape \(patterns, 3\)"),
        (lambda h, a: h.update(n_bits="70"), "n_bits must be a whole number; got '70'"),
        (lambda h, a: h.update(n_bits=True), "n_bits must be a whole number; got True"),
        (lambda h, a: h.update(n_bits=2**70), "at most 65535 bits"),
        (lambda h, a: h.update(n_bits=65), "bits beyond the 65"),
        (lambda h, a: h.update(bit_names=["x"]), "1 bit_names were given for 70 bits"),
        (lambda h, a: h.update(bit_names=[1] * 70), "bit_names are not a list of texts"),
        (lambda h, a: a.update(pattern_of=a["pattern_of"] + 1), r"is 9, and .* \[0, 9\)"),
        (lambda h, a: a.update(pattern_of=a["pattern_of"] - 1), r"is 255, and .* \[0, 9\)"),
        (lambda h, a: a.update(pattern_of=a["pattern_of"] * 0), "pattern 1 has no instance"),
        (
            lambda h, a: a.update(words=np.repeat(a["words"][:1], 9, 0)),
            "pattern 1 does not come after",
        ),
        (lambda h, a: a.update(words=a["words"][::-1]), "sorted and distinct; pattern 1 does not"),
        (
            lambda h, a: a.update(words=a["words"][[0, 1, 2, 3, 4, 5, 6, 8, 7]]),
            "pattern 8 does not",
        ),
        (
            lambda h, a: a.update(pattern_of=a["pattern_of"].astype(np.uint16)),
            "uint8 for 9 patterns; got uint16",
        ),
        (
            lambda h, a: a.update(pattern_of=a["pattern_of"].astype(np.int32)),
            "instead of pattern_of",
        ),
        (lambda h, a: a.update(words=a["words"].astype(np.int64)), "instead of words"),
        (lambda h, a: a.update(words=a["words"].ravel()), "instead of words"),
        (lambda h, a: a.update(more=a["words"]), "lists 3 arrays"),
        (lambda h, a: a.pop("words"), "lists 1 arrays"),
        (
            lambda h, a: a.update(words=a["words"][:0], pattern_of=a["pattern_of"][:0]),
            "at least one instance and one trait",
        ),
    ],
)
def test_content_that_no_store_has_is_refused_in_spite_of_its_checksum(tmp_path, change, message):
    store = random_store(9, 70)
    header = {"n_bits": 70, "bit_names": None}
    arrays = {"words": store.words, "pattern_of": store.pattern_of}
    change(header, arrays)
    storage.save(tmp_path / "a", header, arrays)
    for mmap in (False, True):
        with pytest.raises(StorageError, match=message):
            ManifestationStore.load(tmp_path / "a", mmap=mmap)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it is empty"),
        (b"PK\x03\x04" + bytes(100), "is not a saved store"),
        (signed(b"{}", version=1), "has format version 1; this release reads 2"),
        (signed(b"{}"), "lists no arrays"),
        (signed(b"[1]"), "lists no arrays"),
        (signed(b"nonsense"), "is not JSON"),
        (signed(b"[" * 100_000), "is not JSON"),
        (signed(b"\xff\xfe"), "is not JSON"),
        (signed(b"{}", header_size=2**32 - 1), "should end at byte"),
        (signed(b'{"arrays": [1, 2]}'), "instead of words"),
    ],
)
def test_crafted_files_are_refused(tmp_path, content, message):
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(StorageError, match=message):
        ManifestationStore.load(tmp_path / "a")


def test_a_header_cannot_ask_for_more_memory_than_the_file_has(tmp_path):
    listing = [
        {"name": "words", "dtype": "uint64", "shape": [2**50, 2**20]},
        {"name": "pattern_of", "dtype": "uint32", "shape": [2**50]},
    ]
    header = json.dumps({"n_bits": 64, "arrays": listing}).encode()
    (tmp_path / "a").write_bytes(signed(header))
    with pytest.raises(StorageError, match="does not fit"):
        ManifestationStore.load(tmp_path / "a")


def test_a_file_is_not_read_before_its_sizes_are_checked(tmp_path):
    """A file of a tebibyte, of which the disk holds a page: reading it would end the process."""
    path = tmp_path / "a"
    random_store(9, 70).save(path)
    os.truncate(path, 2**40)
    with pytest.raises(StorageError, match="bytes follow the last array"):
        ManifestationStore.load(path)
    path.write_bytes(b"PK")
    os.truncate(path, 2**40)
    with pytest.raises(StorageError, match="is not a saved store"):
        ManifestationStore.load(path)


@posix
@pytest.mark.parametrize("mmap", [False, True])
def test_only_regular_files_are_loaded(tmp_path, mmap):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe", "/dev/null"):
        with pytest.raises(StorageError, match="is not a regular file"):
            ManifestationStore.load(path, mmap=mmap)


def test_a_failed_save_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "a"
    old = random_store(9, 70)
    old.save(path)

    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        random_store(9, 70, seed=1).save(path)
    assert os.listdir(tmp_path) == ["a"]
    assert ManifestationStore.load(path).digest == old.digest


def test_a_killed_save_leaves_the_old_file(tmp_path):
    path = tmp_path / "a"
    old = random_store(9, 70)
    old.save(path)
    program = (
        "import os, signal, sys\n"
        "from maninegs_sampling import ManifestationStore\n"
        "os.replace = lambda *a: os.kill(os.getpid(), signal.SIGKILL)\n"
        "ManifestationStore.from_dense([[0, 1]]).save(sys.argv[1])\n"
    )
    killed = subprocess.run([sys.executable, "-c", program, str(path)], check=False)
    assert killed.returncode == -9
    assert ManifestationStore.load(path).digest == old.digest


def test_a_missing_file_says_so(tmp_path):
    with pytest.raises(FileNotFoundError):
        ManifestationStore.load(tmp_path / "none")


def test_an_interrupted_save_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "a"
    storage.write_atomically(path, [b"old"])

    def interrupted(*arguments):
        raise KeyboardInterrupt

    for step in ("fsync", "chmod", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(os, step, interrupted)
            with pytest.raises(KeyboardInterrupt):
                storage.write_atomically(path, [b"new"])
        assert os.listdir(tmp_path) == ["a"]
        assert path.read_bytes() == b"old"


@posix
def test_writing_goes_through_links_and_leaves_them(tmp_path):
    """A link, a chain of two over folders, and one whose target is not there yet."""
    (tmp_path / "data").mkdir()
    target, link, chain = tmp_path / "data" / "target", tmp_path / "link", tmp_path / "chain"
    link.symlink_to("data/target")
    chain.symlink_to(link)
    for place, content in ((link, b"first"), (chain, b"second"), (target, b"third")):
        storage.write_atomically(place, [content])
        assert target.read_bytes() == content
        assert link.is_symlink()
        assert chain.is_symlink()
        assert not target.is_symlink()
    assert sorted(os.listdir(tmp_path)) == ["chain", "data", "link"]
    assert os.listdir(tmp_path / "data") == ["target"]


@posix
def test_links_that_lead_nowhere(tmp_path):
    (tmp_path / "circle").symlink_to("circle")
    (tmp_path / "dangling").symlink_to("none/target")
    with pytest.raises(OSError, match="symbolic links"):
        storage.write_atomically(tmp_path / "circle", [b""])
    with pytest.raises(FileNotFoundError, match=r"no such folder: .*/none'"):
        storage.write_atomically(tmp_path / "dangling", [b""])
    assert sorted(os.listdir(tmp_path)) == ["circle", "dangling"]


@posix
@pytest.mark.parametrize("save", [lambda p: random_store(3, 3).save(p), CBIS_DDSM.save])
def test_only_regular_files_are_replaced(tmp_path, save):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("/dev/null")
    for path in (tmp_path / "pipe", tmp_path / "folder", tmp_path / "link"):
        before = path.stat()
        with pytest.raises(InvalidValueError, match="is not a regular file"):
            save(path)
        assert path.stat().st_mode == before.st_mode
    assert sorted(os.listdir(tmp_path)) == ["folder", "link", "pipe"]


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no such folder: .*/none'"):
        random_store(3, 3).save(tmp_path / "none" / "a")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(NotADirectoryError):
        random_store(3, 3).save(tmp_path / "file" / "a")


@posix
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o666, 0o444])
def test_a_replaced_file_keeps_its_mode(tmp_path, mode):
    path = tmp_path / "a"
    path.write_bytes(b"old")
    path.chmod(mode)
    storage.write_atomically(path, [b"new"])
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == mode


@posix
def test_a_new_file_has_the_mode_that_the_umask_says(tmp_path, monkeypatch):
    for mask in (0o022, 0o077, 0o002):
        before = os.umask(mask)
        try:
            with monkeypatch.context() as patch:
                # It belongs to all threads, and to change it for a moment is to change it for all.
                patch.setattr(os, "umask", None)
                storage.write_atomically(tmp_path / f"{mask}", [b""])
        finally:
            os.umask(before)
        assert stat.S_IMODE((tmp_path / f"{mask}").stat().st_mode) == 0o666 & ~mask


def test_names_as_long_as_a_folder_takes(tmp_path):
    path = tmp_path / ("n" * 255)
    storage.write_atomically(path, [b"new"])
    assert path.read_bytes() == b"new"


@pytest.mark.parametrize("path", [3, None, b"a", ["a"]])
def test_what_is_no_path(path):
    for use in (random_store(3, 3).save, ManifestationStore.load):
        with pytest.raises(InvalidTypeError, match="path must be a text or a Path; got "):
            use(path)


def test_a_path_that_no_system_takes():
    for use in (random_store(3, 3).save, ManifestationStore.load):
        with pytest.raises(
            InvalidValueError, match=r"path must not contain a null character; got 'a\\x00b'"
        ):
            use("a\0b")


def test_a_build_killed_at_any_moment_leaves_an_old_or_a_new_file(tmp_path):
    """Builds and saves without end, killed after pauses of many lengths."""
    path = tmp_path / "a"
    old = random_store(2000, 70)
    old.save(path)
    program = (
        "import sys\n"
        "import numpy as np\n"
        "from maninegs_sampling import ManifestationStore\n"
        "bits = np.random.default_rng(0).random((20_000, 300)) < 0.5\n"
        "print(flush=True)\n"
        "while True:\n"
        "    ManifestationStore.from_dense(bits).save(sys.argv[1])\n"
    )
    for pause in np.random.default_rng(0).random(6) / 4:
        command = [sys.executable, "-c", program, str(path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as builder:
            builder.stdout.readline()
            time.sleep(pause)
            builder.kill()
        assert ManifestationStore.load(path).n_instances in (2000, 20_000)
        assert [name for name in os.listdir(tmp_path) if not name.endswith(".tmp")] == ["a"]
