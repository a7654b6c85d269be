"""Cases: what the reference training needs of any data."""

import hashlib
import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray
from tqdm import tqdm

from maninegs_sampling import ManifestationStore
from maninegs_sampling.data.storage import write_atomically
from maninegs_sampling.errors import InvalidValueError

TRAINING, VALIDATION, TEST = 0, 1, 2


@dataclass(frozen=True)
class Cases:
    """Lesions: two views of each, a manifestation, a label, a patient and a part of the split.

    Any data can be trained on as soon as it is one of these. For lesions whose crops lie in a
    folder as 17-cc.png and 17-mlo.png beside a table of their traits, this is all::

        def load_mine(folder: Path, size: int) -> Cases:
            table = polars.read_csv(folder / "cases.csv")
            schema = Schema.infer(table, label_column="outcome", group_column="patient")
            files = [
                [folder / f"{case}-{view}.png" for view in ("cc", "mlo")] for case in table["case"]
            ]
            images = cached(
                folder / f"images-{size}.npy",
                ([square(read_image(file), size) for file in views] for views in files),
                (len(files), 2, size, size),
            )
            patients = schema.group_ids(table)
            return Cases(
                "mine",
                images,
                ManifestationStore.from_table(table, schema),
                schema.labels(table),
                patients,
                split_by_patient(patients, seed=0),
            )

    and a line for it in `DATA` of `__main__.py`.

    Attributes:
        name: for messages and file names.
        images: (N, 2, size, size) uint8, CC and MLO; a lone view stands twice. May be
            memory-mapped.
        store: the N manifestations.
        labels: (N,) int64, 1 for malignant.
        patients: N ids; a patient's lesions are all in one part.
        part: (N,) int64: TRAINING, VALIDATION or TEST.
    """

    name: str
    images: NDArray[np.uint8]
    store: ManifestationStore
    labels: NDArray[np.int64]
    patients: NDArray[np.generic]
    part: NDArray[np.int64]

    def __post_init__(self) -> None:
        n = self.store.n_instances
        if self.images.shape != (n, 2, *self.images.shape[2:]) or self.images.dtype != np.uint8:
            raise InvalidValueError(
                f"{self.name}: images must be ({n}, 2, size, size) uint8, a row for each "
                f"manifestation; got {self.images.shape} {self.images.dtype}"
            )
        for field in ("labels", "patients", "part"):
            if getattr(self, field).shape != (n,):
                raise InvalidValueError(
                    f"{self.name}: {field} must hold {n} values, one for each manifestation; got "
                    f"shape {getattr(self, field).shape}"
                )
        for part, text in enumerate(("training", "validation", "test")):
            if len(np.unique(self.labels[self.part == part])) != 2:
                raise InvalidValueError(
                    f"{self.name}: the {text} part holds {(self.part == part).sum()} lesions and "
                    "must hold benign and malignant ones"
                )

    def rows(self, part: int) -> NDArray[np.intp]:
        """Return the numbers of the lesions of one part."""
        return np.flatnonzero(self.part == part)


def split_by_patient(
    patients: ArrayLike, *, seed: int, shares: tuple[float, float, float] = (0.7, 0.1, 0.2)
) -> NDArray[np.int64]:
    """Return the part of each lesion, all of a patient's in one: section V's 7:1:2 by default."""
    ids, patient_of = np.unique(np.asarray(patients), return_inverse=True)
    place = np.random.default_rng(seed).permutation(len(ids))
    bounds = np.round(np.cumsum(shares[:2]) * len(ids))
    part: NDArray[np.int64] = np.searchsorted(bounds, place, side="right")[patient_of]
    return part


def cached(
    path: Path, images: Iterable[ArrayLike], shape: tuple[int, int, int, int]
) -> NDArray[np.uint8]:
    """Return the images, memory-mapped from `path`, which is written first where it is missing.

    Args:
        path: an .npy file, which appears only when it is complete.
        images: each lesion's views; not looked at where the file is there.
        shape: (N, 2, size, size).
    """
    if not path.exists():
        made = np.empty(shape, np.uint8)
        for i, views in enumerate(tqdm(images, total=shape[0], desc=f"making {path.name}")):
            made[i] = views
        content = io.BytesIO()
        np.save(content, made)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, [content.getbuffer()])
    return np.load(path, mmap_mode="r")


def digest(*parts: object) -> str:
    """Return a short text that changes with any of what images are made from."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:12]
