"""White blood cells: WBCAtt's attributes (Tsutsui, Pang and Wen 2023) and the PBC images.

The folder holds `cells.csv`, a row per image, and `images.npz`, the JPEG files one after the other.
"""

import io
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np
import polars
from numpy.typing import NDArray
from PIL import Image

from benchmarks.reference.data import TEST, TRAINING, VALIDATION, cached, digest
from maninegs_sampling import ManifestationStore, Schema
from maninegs_sampling.errors import InvalidValueError

# Without granularity, granule type and granule color, which name the cell type.
ATTRIBUTES: Final = (
    "cell_size", "cell_shape", "nucleus_shape", "nuclear_cytoplasmic_ratio", "chromatin_density",
    "cytoplasm_vacuole", "cytoplasm_texture", "cytoplasm_colour",
)  # fmt: skip
PARTS: Final = {"train": TRAINING, "val": VALIDATION, "test": TEST}


@dataclass(frozen=True)
class Cells:
    """Single images with a manifestation, labels and a part of the split.

    Attributes:
        images: (N, 1, size, size) uint8, gray. May be memory-mapped.
        store: the N manifestations.
        cell_type: (N,) int64, from 0.
        subtype: (N,) int64, 0 or 1 for two kinds of neutrophils, -1 for all other cells.
        part: (N,) int64: TRAINING, VALIDATION or TEST.
    """

    images: NDArray[np.uint8]
    store: ManifestationStore
    cell_type: NDArray[np.int64]
    subtype: NDArray[np.int64]
    part: NDArray[np.int64]

    def rows(self, part: int) -> NDArray[np.intp]:
        """Return the numbers of the cells of one part."""
        return np.flatnonzero(self.part == part)


def load(folder: Path, cache: Path, size: int) -> Cells:
    """Return the cells with the official split.

    Args:
        folder: holds cells.csv and images.npz.
        cache: where the images are kept as an array.
        size: pixels a side.

    Raises:
        InvalidValueError: If a file is missing, or the two differ in length.
    """
    for name in ("cells.csv", "images.npz"):
        if not (folder / name).exists():
            raise InvalidValueError(f"{folder} must hold {name}")
    table = polars.read_csv(folder / "cells.csv")
    with np.load(folder / "images.npz") as files:
        jpeg, offsets = files["jpeg"], files["offsets"]
    n = len(table)
    if len(offsets) != n + 1:
        raise InvalidValueError(
            f"{folder}: cells.csv has {n} rows and images.npz has {len(offsets) - 1} images"
        )
    images = cached(
        cache / f"wbcatt-{size}-{digest(offsets.tobytes())}.npy",
        ([gray(jpeg[a:b].tobytes(), size)] for a, b in pairwise(offsets)),
        (n, 1, size, size),
    )
    return Cells(
        images,
        manifestations(table),
        numbered(table["cell_type"]),
        numbered(table["neutrophil_subtype"]),
        table["official_split"].replace_strict(PARTS, return_dtype=polars.Int64).to_numpy(),
    )


def manifestations(table: polars.DataFrame) -> ManifestationStore:
    """Return the manifestations of a table's cells, from `ATTRIBUTES`."""
    described = table.select(ATTRIBUTES)
    return ManifestationStore.from_table(described, Schema.infer(described))


def gray(jpeg: bytes, size: int) -> NDArray[np.uint8]:
    """Return a JPEG file as a gray image (size, size)."""
    with Image.open(io.BytesIO(jpeg)) as image:
        resized = image.convert("L").resize((size, size), Image.Resampling.BICUBIC)
    return np.asarray(resized)


def numbered(names: polars.Series) -> NDArray[np.int64]:
    """Return the place of each name among the sorted names, or -1 where there is none."""
    known = sorted(names.drop_nulls().unique())
    places = names.replace_strict(known, range(len(known)), return_dtype=polars.Int64)
    return places.fill_null(-1).to_numpy()
