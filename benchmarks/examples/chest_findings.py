"""A report on the findings of ChestX-ray14, from the label table that torchxrayvision carries.

python -m benchmarks.examples.chest_findings chest.html
"""

import gzip
import sys
from importlib.util import find_spec
from pathlib import Path

import polars

from maninegs_sampling import ManifestationStore, Schema, Trait
from maninegs_sampling.analysis.suitability import Suitability
from maninegs_sampling.reports.report import save_report


def findings() -> tuple[ManifestationStore, polars.Series]:
    """Return the store of all 112,120 images, and the patient of each."""
    # Not imported: the package needs torchvision, its tables do not.
    package = find_spec("torchxrayvision")
    if package is None or package.origin is None:
        raise SystemExit("this example needs the tables in: pip install torchxrayvision")
    file = Path(package.origin).parent / "data" / "Data_Entry_2017_v2020.csv.gz"
    images = polars.read_csv(gzip.decompress(file.read_bytes()))
    labels = images["Finding Labels"].str.split("|").to_list()
    seen = [[label for label in image if label != "No Finding"] for image in labels]
    return ManifestationStore.from_sets(seen), images["Patient ID"]


def main(report: Path) -> Suitability:
    """Write the report, and return what was found."""
    store, patients = findings()
    schema = Schema("ChestX-ray14", tuple(Trait(name, "flag") for name in store.bit_names or ()))
    has_pneumothorax = store.to_dense()[:, (store.bit_names or ()).index("Pneumothorax")]
    return save_report(
        report, store, schema, source="ChestX-ray14", labels=has_pneumothorax, groups=patients
    )


if __name__ == "__main__":
    print(main(Path(sys.argv[1])))
