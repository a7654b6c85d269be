"""CBIS-DDSM: its four public tables and the images in the archive's folders.

A folder `Mass-Training_P_00001_LEFT_CC` holds a whole mammogram, and `..._CC_1`, with the
abnormality's number, its mask and a crop, both somewhere below, as .dcm or as .png or .jpg copies.
The tables' own paths name the same folders, but which of the latter two is the mask is mixed up in
some rows: it is the larger one.
"""

from pathlib import Path
from typing import Any, Final

import numpy as np
import polars
from numpy.typing import NDArray

from benchmarks.reference.data import Cases, cached, digest, split_by_patient
from benchmarks.reference.images import around_lesion, read_image, square
from maninegs_sampling import CBIS_DDSM, ManifestationStore
from maninegs_sampling.errors import InvalidValueError

TABLES: Final = tuple(
    f"{kind}_case_description_{part}_set.csv"
    for kind in ("mass", "calc")
    for part in ("train", "test")
)
LESION: Final = ("patient_id", "left or right breast", "abnormality id")
FORMATS: Final = (".dcm", ".png", ".jpg", ".jpeg")


def load(folder: Path, cache: Path, size: int) -> Cases:
    """Return the lesions, each with its CC and its MLO view, a lone view serving twice.

    Manifestation and label are the CC row's: in 246 of the 1,518 pairs the two views are described
    in other words, and in 6 they are labelled differently.
    The split is the published one, with a tenth of the training set's patients for validation.

    Args:
        folder: holds the four tables, and the archive's folders below it, at any depth.
        cache: where the crops are kept.
        size: pixels a side.

    Raises:
        InvalidValueError: a table or an image is missing, with its name.
    """
    rows = read_tables(folder)
    lesions = lesion_views(rows)
    first = [views[0] for views in lesions]
    store = ManifestationStore.from_dense(CBIS_DDSM.encode(rows)[first])
    labels = CBIS_DDSM.labels(rows)[first].astype(np.int64)
    patients = rows["patient_id"].to_numpy()[first]
    is_test = rows["set"].to_numpy()[first] == "Test"
    part = np.where(is_test, 2, split_by_patient(patients, seed=0, shares=(0.9, 0.1, 0.0)))
    names = [[rows["image"][view] for view in views] for views in lesions]
    folders = {path.name: path for path in sorted(folder.rglob("*_P_*")) if path.is_dir()}
    crops = (
        [
            crop(folders, name, int(rows["abnormality id"][view]), size)
            for name, view in zip(pair, views, strict=True)
        ]
        for pair, views in zip(names, lesions, strict=True)
    )
    made_by = digest(names, size, str(folder.resolve()))
    path = cache / f"cbis-ddsm-{made_by}.npy"
    images = cached(path, crops, (len(lesions), 2, size, size))
    return Cases("cbis-ddsm", images, store, labels, patients, part.astype(np.int64))


def read_tables(folder: Path) -> polars.DataFrame:
    """Return the four tables as one of texts, with the columns `set` and `image` added."""
    parts = []
    for name in TABLES:
        if not (folder / name).is_file():
            raise InvalidValueError(f"{folder} lacks {name}")
        table = polars.read_csv(folder / name, infer_schema=False)
        table = table.rename({"breast density": "breast_density"}, strict=False)
        kind, part = name.split("_")[0].title(), "Test" if "test" in name else "Training"
        fields = (table[c] for c in ("patient_id", "left or right breast", "image view"))
        images = [f"{kind}-{part}_{p}_{side}_{view}" for p, side, view in zip(*fields, strict=True)]
        parts.append(
            table.with_columns(
                set=polars.lit(part), kind=polars.lit(kind), image=polars.Series(images)
            )
        )
    return polars.concat(parts, how="diagonal")


def lesion_views(rows: polars.DataFrame) -> list[tuple[int, int]]:
    """Return for each lesion the rows of its CC and its MLO view."""
    found: dict[tuple[Any, ...], dict[str, int]] = {}
    keys = rows.select("kind", "set", *LESION).rows()
    for i, (key, view) in enumerate(zip(keys, rows["image view"], strict=True)):
        found.setdefault(key, {})[view] = i
    return [
        (views.get("CC", views.get("MLO", -1)), views.get("MLO", views.get("CC", -1)))
        for views in found.values()
    ]


def crop(folders: dict[str, Path], image: str, abnormality: int, size: int) -> NDArray[np.uint8]:
    """Return a lesion with context out of one mammogram."""
    whole = files_of(folders, image)[0]
    lesion = files_of(folders, f"{image}_{abnormality}")
    mask = max((read_image(path) for path in lesion), key=np.size)
    try:
        return square(around_lesion(read_image(whole), mask), size)
    except InvalidValueError as error:
        raise InvalidValueError(f"{image}_{abnormality}: {error}") from None


def files_of(folders: dict[str, Path], name: str) -> list[Path]:
    """Return the images below one of the archive's folders."""
    files = (
        sorted(p for p in folders[name].rglob("*") if p.suffix.lower() in FORMATS)
        if name in folders
        else []
    )
    if not files:
        raise InvalidValueError(f"there is no image in a folder {name}")
    return files
