"""A report on white blood cells, whose traits pathologists noted: WBCAtt's table (Tsutsui 2023).

python -m benchmarks.examples.cells ../shared/data/wbcatt/cells.csv cells.html
"""

import sys
from pathlib import Path

import polars

from benchmarks.reference.wbcatt import ATTRIBUTES
from maninegs_sampling import ManifestationStore, Schema
from maninegs_sampling.analysis.suitability import Suitability
from maninegs_sampling.reports.report import save_report


def main(table: Path, report: Path) -> Suitability:
    """Write the report, and return what was found."""
    cells = polars.read_csv(table)
    traits = cells.select(ATTRIBUTES)
    schema = Schema.infer(traits, name="white blood cells")
    store = ManifestationStore.from_table(traits, schema)
    is_neutrophil = (cells["cell_type"] == "Neutrophil").to_numpy()
    return save_report(report, store, schema, source="WBCAtt", labels=is_neutrophil)


if __name__ == "__main__":
    print(main(Path(sys.argv[1]), Path(sys.argv[2])))
