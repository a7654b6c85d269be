"""A report on the findings of ChestX-ray14, from the label table that torchxrayvision carries.

Pneumothorax is the label of the task, so it is no trait.

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

LABEL = "Pneumothorax"


def findings() -> polars.DataFrame:
    """Return a row for each of the 112,120 images: its patient, and what was found."""
    # Not imported: the package needs torchvision, its tables do not.
    package = find_spec("torchxrayvision")
    if package is None or package.origin is None:
        raise SystemExit("this example needs the tables in: pip install torchxrayvision")
    file = Path(package.origin).parent / "data" / "Data_Entry_2017_v2020.csv.gz"
    images = polars.read_csv(gzip.decompress(file.read_bytes()))
    return images.select(
        patient="Patient ID",
        findings=polars.col("Finding Labels").replace("No Finding", None).str.split("|"),
    )


def main(report: Path, images: polars.DataFrame) -> Suitability:
    """Write the report, and return what was found."""
    findings = [set(found or []) for found in images["findings"].to_list()]
    store = ManifestationStore.from_sets(found - {LABEL} for found in findings)
    schema = Schema("ChestX-ray14", tuple(Trait(name, "flag") for name in store.bit_names or ()))
    labels = [LABEL in found for found in findings]
    return save_report(
        report, store, schema, source="ChestX-ray14", labels=labels, groups=images["patient"]
    )


if __name__ == "__main__":
    print(main(Path(sys.argv[1]), findings()))
