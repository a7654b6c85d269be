"""MVKL: a table with Table I's traits and a folder of lesion images.

The dataset's files are handed out on request and their layout is not published. What is read here
is `cases.csv` with a column for each trait of Table I, named as in `MVKL`, and the columns
`patient`, `label` (0 benign, 1 malignant), `cc` and `mlo`, the names of image files cut out around
the lesion, of which one may be empty.
"""

from pathlib import Path

import polars

from benchmarks.reference.data import Cases, cached, digest, split_by_patient
from benchmarks.reference.images import read_image, square
from maninegs_sampling import MVKL, ManifestationStore
from maninegs_sampling.errors import InvalidValueError


def load(folder: Path, cache: Path, size: int) -> Cases:
    """Return the lesions of `folder`/cases.csv, split 7:1:2 by patient.

    Raises:
        InvalidValueError: the table or one of its images is missing, or a column is.
    """
    table_path = folder / "cases.csv"
    if not table_path.is_file():
        raise InvalidValueError(f"{folder} lacks cases.csv")
    table = polars.read_csv(table_path, infer_schema=False)
    absent = {"patient", "label", "cc", "mlo"} - set(table.columns)
    if absent:
        raise InvalidValueError(f"{table_path} lacks the columns {sorted(absent)}")
    names = [(cc or mlo, mlo or cc) for cc, mlo in zip(table["cc"], table["mlo"], strict=True)]
    for row, pair in enumerate(names):
        if pair[0] is None:
            raise InvalidValueError(f"{table_path}, row {row}: neither cc nor mlo names an image")
    crops = ([square(read_image(folder / name), size) for name in pair] for pair in names)
    path = cache / f"mvkl-{digest(names, size, str(folder.resolve()))}.npy"
    images = cached(path, crops, (len(names), 2, size, size))
    labels = table["label"].cast(polars.Int64).to_numpy()
    patients = table["patient"].to_numpy()
    store = ManifestationStore.from_table(table, MVKL)
    return Cases("mvkl", images, store, labels, patients, split_by_patient(patients, seed=0))
