"""A report measures everything once: one index, and one count of all pairs."""

import numpy as np
import pytest

import maninegs_sampling as mn
from maninegs_sampling.distances import histogram
from maninegs_sampling.distances.index import DistanceBucketIndex
from maninegs_sampling.reports import comparison
from maninegs_sampling.reports.report import save_report
from tests.analysis.test_settings import clustered


@pytest.fixture
def counted(monkeypatch):
    """Count the indices that are built and the stores whose pairs are counted."""
    calls = {"indices": [], "all pairs": []}
    init, count_pairs = DistanceBucketIndex.__init__, histogram.count_pairs

    def counted_init(self, store, **options):
        calls["indices"].append(options.get("rows", "instances"))
        init(self, store, **options)

    def counted_pairs(store, *, metric, progress):
        calls["all pairs"].append(store)
        return count_pairs(store, metric=metric, progress=progress)

    monkeypatch.setattr(DistanceBucketIndex, "__init__", counted_init)
    monkeypatch.setattr(histogram, "count_pairs", counted_pairs)
    return calls


@pytest.mark.parametrize(
    "groups",
    [pytest.param(None, marks=pytest.mark.slow, id="free"), np.arange(300) % 100],
)
def test_a_report_builds_one_index_and_counts_all_pairs_once(counted, tmp_path, groups):
    store = mn.ManifestationStore.from_dense(clustered(n=300, n_bits=12))
    schema = mn.Schema("signs", tuple(mn.Trait(f"sign {b}", "flag") for b in range(12)))
    found = save_report(
        tmp_path / "r.html", store, schema, source="cases", batch_size=16, steps=50, groups=groups
    )
    assert found.settings is not None
    assert counted == {"indices": ["instances"], "all pairs": [store]}


def test_suitability_and_suggest_build_one_index_each(counted):
    store = mn.ManifestationStore.from_dense(clustered(n=300, n_bits=12))
    mn.suitability(store, batch_size=16, batches=5)
    mn.suggest(store, batch_size=16, steps=50)
    assert counted == {"indices": ["instances"] * 2, "all pairs": [store]}


def test_a_comparison_builds_an_index_for_each_kind_of_rows(counted):
    store = mn.ManifestationStore.from_dense(clustered(n=300, n_bits=12))
    list(comparison.compare(store, batch_size=16, epochs=1))
    # The first serves the nearest-neighbor batches, the others the two kinds of samplers.
    assert counted["indices"] == ["instances", "patterns", "instances"]
    assert counted["all pairs"].count(store) == 1
