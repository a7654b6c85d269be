"""Data and settings shared by the tests."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from maninegs_sampling import ManifestationStore
from maninegs_sampling.data import storage
from maninegs_sampling.data.built_in_schemas import CBIS_DDSM

# The first call of a kernel compiles it, which no deadline should count.
settings.register_profile(
    "project",
    deadline=None,
    derandomize=True,
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("project")

collect_ignore = ["fuzz.py"]  # a program, which needs atheris

DATA = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def real_data() -> Path:
    if not DATA.is_dir():
        pytest.skip(f"the real tables are not in {DATA}")
    return DATA


@pytest.fixture(scope="session")
def cbis_files(real_data):
    return sorted(str(path) for path in (real_data / "cbis-ddsm").glob("*.csv"))


@pytest.fixture(scope="session")
def cbis(cbis_files) -> ManifestationStore:
    return ManifestationStore.from_table(cbis_files, CBIS_DDSM)


def random_store(n: int, n_bits: int, seed: int = 0, density: float = 0.5) -> ManifestationStore:
    return ManifestationStore.from_dense(np.random.default_rng(seed).random((n, n_bits)) < density)


def signed(
    header: bytes,
    arrays: bytes = b"",
    version: int = storage.VERSION,
    header_size: int | None = None,
) -> bytes:
    """Return a store file with this content and checksums that match."""
    size = len(header) if header_size is None else header_size
    checksums = zlib.crc32(header), zlib.crc32(arrays)
    prefix = struct.pack("<8sIIII", b"MANINEGS", version, size, *checksums)
    return prefix + header + arrays


@st.composite
def bit_matrices(draw, max_rows: int = 40) -> np.ndarray:
    """Awkward shapes: one row, all rows equal, one bit, word boundaries, many bits."""
    n_bits = draw(st.sampled_from([5, 1, 2, 63, 64, 65, 128, 255, 256, 312]))
    n = draw(st.one_of(st.integers(1, 4), st.integers(5, max_rows)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    bits = rng.random((n, n_bits)) < draw(st.sampled_from([0.5, 0.05, 0.0, 1.0]))
    if draw(st.integers(0, 2)) == 0:  # many repeated rows
        bits = bits[rng.integers(0, max(1, n // 3), n)]
    return bits
