"""What a file or a state from elsewhere may do: be refused with an error of ours, or be whole.

Each target takes any bytes. test_untrusted gives it made-up ones, tests.fuzz millions.
"""

import json
import tempfile
from pathlib import Path

from maninegs_sampling import (
    CBIS_DDSM,
    LinearAnnealing,
    ManifestationStore,
    ManiNegBatchSampler,
    ManiNegError,
    Schema,
    Trait,
)
from maninegs_sampling.data.tables import read_tables
from tests.conftest import random_store, signed

STORE = random_store(20, 14)
# What loaded stores and schemas go through, in memory where that can be; gone with the process.
_TEMPORARY = tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None)
_FOLDER = Path(_TEMPORARY.name)


def load_store(content: bytes) -> ManifestationStore | None:
    """Load a store file, in memory and mapped; None if it is refused."""
    path = _FOLDER / "store"
    path.write_bytes(content)
    try:
        store = ManifestationStore.load(path)
    except ManiNegError:
        try:
            ManifestationStore.load(path, mmap=True)
        except ManiNegError:
            return None
        raise AssertionError("refused when read, and taken when mapped") from None
    assert ManifestationStore.load(path, mmap=True).digest == store.digest
    store.save(path)
    assert ManifestationStore.load(path).digest == store.digest
    again = ManifestationStore.from_dense(store.to_dense(), store.bit_names)
    assert (again.n_patterns, again.n_instances) == (store.n_patterns, store.n_instances)
    return store


def load_signed_store(content: bytes) -> ManifestationStore | None:
    """Load a store whose header and arrays are `content`, cut where it says, rightly signed."""
    size = int.from_bytes(content[:2], "little")
    return load_store(signed(content[2 : 2 + size], content[2 + size :]))


def load_schema(content: bytes) -> Schema | None:
    """Load a schema file; None if it is refused."""
    path = _FOLDER / "schema"
    path.write_bytes(content)
    try:
        schema = Schema.load(path)
    except ManiNegError:
        return None
    schema.save(path)
    assert Schema.load(path) == schema
    return schema


def load_table(content: bytes) -> ManifestationStore | None:
    """Make a schema and a store of a CSV file; None if it is refused."""
    path = _FOLDER / "table.csv"
    path.write_bytes(content)
    try:
        store = ManifestationStore.from_table(path, Schema.infer(path))
    except ManiNegError:
        return None
    assert len(store) == sum(table.n_rows for table in read_tables(path))
    return store


def load_state(content: bytes) -> ManiNegBatchSampler | None:
    """Load a sampler state that came as JSON; None if it is refused."""
    sampler = make_sampler()
    try:
        state = json.loads(content)
    except (ValueError, RecursionError):
        return None
    before = sampler.state_dict()
    try:
        sampler.load_state_dict(state)
    except ManiNegError:
        assert sampler.state_dict() == before
        return None
    next(iter(sampler))
    return sampler


def make_sampler() -> ManiNegBatchSampler:
    return ManiNegBatchSampler(STORE, batch_size=4, mu=LinearAnnealing(4, 0, 9))


def _saved(value: ManifestationStore | Schema) -> bytes:
    path = _FOLDER / "saved"
    value.save(path)
    return path.read_bytes()


def _valid_stores() -> list[bytes]:
    named = ManifestationStore.from_dense(STORE.to_dense(), [f"b{i}" for i in range(14)])
    return [_saved(store) for store in (STORE, named, random_store(3, 65))]


def _unsigned(content: bytes) -> bytes:
    return content[12:14] + content[24:]


# Flags, options, words, numbers, missing values, quotes, a column to leave out, and Windows' ends.
_TABLES = [
    b"shape,halo\nround,yes\noval,no\nround,\n",
    b'a,b,signs,id\n1,0.5,"x,y",p1\n0,2.5,x,p2\n1,-3e2,,p3\n0,7,"y ""z""",p4\n',
    "\ufeffgröße,ränder\r\n≤2cm,scharf\r\n>5cm,N/A\r\n".encode(),
]

_WEIGHTED = Schema(
    "weighted",
    (
        Trait("grade", "one_of", ("low", "high"), ordered=True, weight=3),
        Trait("size", "bins", edges=(1, 2), ordered=True),
    ),
    missing="masked",
)

# For each target what it loads with, and valid inputs to start from.
TARGETS = {
    "store": (load_store, _valid_stores()),
    "signed": (load_signed_store, [_unsigned(content) for content in _valid_stores()]),
    "schema": (load_schema, [_saved(CBIS_DDSM), _saved(_WEIGHTED)]),
    "table": (load_table, _TABLES),
    "state": (load_state, [json.dumps(make_sampler().state_dict()).encode()]),
}
