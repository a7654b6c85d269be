"""A report on molecules by their Morgan fingerprints, of the NCI molecules that RDKit carries.

Negatives are drawn by Jaccard distance, which is 1 minus the Tanimoto similarity.

python -m benchmarks.examples.molecules molecules.html
"""

import sys
from pathlib import Path

import numpy as np
from rdkit import Chem, RDConfig, rdBase
from rdkit.Chem.rdFingerprintGenerator import GetMorganGenerator

from benchmarks.examples.bits_on import BitsOn, bits_on
from maninegs_sampling import ManifestationStore, Schema, Trait
from maninegs_sampling.reports.report import save_report


def fingerprints() -> ManifestationStore:
    """Return the fingerprints of the molecules that can be read."""
    table = Path(RDConfig.RDDataDir) / "NCI" / "first_5K.smi"
    smiles = [line.split()[0] for line in table.read_text().splitlines()]
    with rdBase.BlockLogs():  # they say what is wrong with the others
        molecules = [read for read in map(Chem.MolFromSmiles, smiles) if read is not None]
    morgan = GetMorganGenerator(radius=2, fpSize=2048)
    return ManifestationStore.from_dense(
        np.stack([morgan.GetFingerprintAsNumPy(molecule) for molecule in molecules])
    )


def main(report: Path, store: ManifestationStore) -> BitsOn:
    """Write the report, and return how many bits anchors and hard negatives have."""
    schema = Schema("molecules", tuple(Trait(f"bit {b}", "flag") for b in range(store.n_bits)))
    save_report(report, store, schema, source="NCI molecules of RDKit", metric="jaccard")
    return bits_on(store)


if __name__ == "__main__":
    print(main(Path(sys.argv[1]), fingerprints()))
