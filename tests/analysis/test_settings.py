"""The verdict on data with near negatives and without, and the suggested settings."""

import numpy as np
import polars
import pytest

import maninegs_sampling as mn
from maninegs_sampling.analysis.neighborhood import neighborhood
from maninegs_sampling.cli import main
from maninegs_sampling.data.datasets import synthetic_mvkl, wisconsin
from maninegs_sampling.distances import histogram, pairs
from maninegs_sampling.errors import InvalidValueError
from tests import naive
from tests.conftest import random_store

HARDER = "harder batches, training gain not shown"


def clustered(n=600, n_bits=30, n_clusters=12, seed=0):
    """Groups of alike instances: hard negatives are there to be found."""
    rng = np.random.default_rng(seed)
    centers = rng.random((n_clusters, n_bits)) < 0.5
    return centers[rng.integers(0, n_clusters, n)] ^ (rng.random((n, n_bits)) < 0.05)


def test_clusters_give_harder_batches():
    found = mn.suitability(mn.ManifestationStore.from_dense(clustered()))
    assert found.verdict == HARDER
    assert found.pair_means[-1] < 0.8 * found.uniform_distinct_mean
    assert found.settings is not None
    assert str(found).startswith(f"{HARDER}:\n- the lower mu, the harder the batches")


def test_many_independent_traits_of_few_instances_give_no_harder_batches():
    found = mn.suitability(random_store(300, 100))
    assert found.verdict == "no harder batches"
    assert found.settings is None
    assert str(found.reasons[0]).startswith("a low mu makes batches hardly harder")


def test_too_few_patterns_give_no_harder_batches():
    found = mn.suitability(random_store(300, 4))
    assert found.verdict == "no harder batches"
    assert "need 64 distinct patterns and the data has 16: use a batch size of at most 16" in str(
        found.reasons[0]
    )


def test_equal_distances_give_no_harder_batches():
    for bits in (np.eye(100, dtype=bool), np.repeat(np.eye(100, dtype=bool), 3, axis=0)):
        found = mn.suitability(mn.ManifestationStore.from_dense(bits))
        assert found.verdict == "no harder batches"
        assert "all patterns are 2 bits apart" in str(found.reasons[0])
    with pytest.raises(InvalidValueError, match="all patterns are 2 bits apart"):
        mn.suggest(mn.ManifestationStore.from_dense(np.eye(100, dtype=bool)), steps=10)


def test_one_pattern_and_one_instance():
    for n in (1, 5):
        found = mn.suitability(mn.ManifestationStore.from_dense(np.ones((n, 3), dtype=bool)))
        assert found.verdict == "no harder batches"


@pytest.mark.parametrize("opposite", [False, True])
def test_a_trait_that_equals_the_label_is_called_out(opposite):
    bits = clustered()
    labels = np.where(bits[:, 7] ^ opposite, "MALIGNANT", "BENIGN")
    names = [f"sign {b}" for b in range(30)]
    store = mn.ManifestationStore.from_dense(bits)
    found = mn.suitability(store, labels=labels, bit_names=names)
    assert found.label_traits == (7,)
    assert found.verdict == HARDER
    assert any(str(reason).startswith("'sign 7' equals the label") for reason in found.reasons)
    labels[0] = {"MALIGNANT": "BENIGN", "BENIGN": "MALIGNANT"}[labels[0]]
    assert mn.suitability(store, labels=labels).label_traits == ()


def test_a_label_of_one_value_calls_nothing_out():
    bits = clustered()
    bits[:, 3] = True
    store = mn.ManifestationStore.from_dense(bits)
    assert mn.suitability(store, labels=np.ones(600)).label_traits == ()


def test_where_uniform_batches_are_nearer_mu_starts_lower():
    found = mn.suitability(random_store(1500, 40, density=0.08))
    assert found.verdict == HARDER
    assert found.pair_means[0] > 1.05 * found.uniform_distinct_mean
    assert found.settings["mu"].start < found.mus[0]
    assert found.pair_means[-1] < 0.9 * found.uniform_distinct_mean


def test_figures_by_counting():
    bits = clustered(n=40, n_bits=10)
    store = mn.ManifestationStore.from_dense(np.concatenate((bits, bits[:25])))
    rows = store.to_dense()
    found = mn.suitability(store, batch_size=6)
    n = len(rows)
    pairs = [(i, j) for i in range(n) for j in range(i)]
    distances = [naive.hamming(rows[i], rows[j]) for i, j in pairs]
    assert found.uniform_mean == pytest.approx(np.mean(distances))
    shares = [sum(rows[i][b] != rows[j][b] for i, j in pairs) / sum(distances) for b in range(10)]
    np.testing.assert_allclose(found.trait_shares, shares)

    patterns = {tuple(row) for row in rows}
    within, nearest = np.zeros(3), 0.0
    for row in rows:
        others = sorted(naive.hamming(row, p) for p in patterns if p != tuple(row))
        within += [sum(d <= reach for d in others) for reach in (1, 2, 3)]
        nearest += np.mean(others[:5])
    around = neighborhood(store, batch_size=6)
    assert around.n_anchors == n
    np.testing.assert_allclose(around.within, within / n)
    assert around.nearest == pytest.approx(nearest / n)

    rng = np.random.default_rng(0)
    drawn = [6 - len({tuple(rows[i]) for i in rng.choice(n, 6, False)}) for _ in range(4000)]
    assert found.duplicates == pytest.approx(np.mean(drawn), abs=5 * np.std(drawn) / 4000**0.5)


def test_settings_go_into_the_sampler_and_into_wrap():
    import torch

    store = mn.ManifestationStore.from_dense(clustered())
    settings = mn.suggest(store, steps=1000, batch_size=32)
    assert set(settings) == set(settings.reasons) == {"mu", "sigma", "low", "high"}
    sampler = mn.ManiNegBatchSampler(store, batch_size=32, **settings)
    assert sampler.mu == settings["mu"]
    assert settings["mu"].steps == 500
    dataset = torch.utils.data.TensorDataset(torch.arange(600))
    loader = torch.utils.data.DataLoader(dataset, batch_size=32, shuffle=True)
    wrapped = mn.ManiNegBatchSampler.wrap(loader, store, **settings)
    assert len(next(iter(wrapped))[0]) == 32
    assert eval(f"dict({settings.call()})", {"mn": mn}) == dict(settings)


def test_high_is_the_largest_distance_and_sigma_the_spread():
    store = random_store(500, 40)
    settings = mn.suggest(store, steps=10)
    assert settings["high"] == mn.max_distance(store)
    assert settings["sigma"] == pytest.approx(np.sqrt(10), abs=0.1)
    assert settings["mu"].start == pytest.approx(20, abs=0.1)


def test_settings_of_many_patterns_do_not_need_all_pairs(monkeypatch):
    store = random_store(500, 40)
    counted = mn.suggest(store, steps=10)
    monkeypatch.setattr(pairs, "MOST_COUNTED_PATTERNS", 400)
    fresh = random_store(500, 40)
    found = mn.suggest(fresh, steps=10)
    assert histogram.known_histogram(fresh) is None
    assert found["sigma"] == counted["sigma"]
    assert found["mu"] == counted["mu"]
    assert found["high"] == 40
    assert "estimated from 1,048,576 random pairs" in str(found.reasons["sigma"])
    exact = mn.suggest(fresh, steps=10, exact=True)
    assert dict(exact) == dict(counted)
    assert {n: str(r) for n, r in exact.reasons.items()} == {
        n: str(r) for n, r in counted.reasons.items()
    }
    # Settings do not depend on whether somebody has counted the pairs.
    assert mn.suggest(store, steps=10) == found


def test_equal_distances_of_patterns_are_noticed_up_to_the_most_there_can_be():
    # The simplex code: 4 patterns of 3 bits at distance 2 of each other.
    simplex = [[0, 0, 0], [0, 1, 1], [1, 0, 1], [1, 1, 0]]
    with pytest.raises(InvalidValueError, match="all patterns are 2 bits apart"):
        mn.suggest(mn.ManifestationStore.from_dense(simplex), steps=10, batch_size=4)


def test_arguments():
    store = random_store(100, 10)
    with pytest.raises(InvalidValueError, match="bit_names must be 10 names; got 1"):
        mn.suitability(store, bit_names=["a"])
    with pytest.raises(InvalidValueError, match=r"labels must have the shape \(100,\)"):
        mn.suitability(store, labels=[0, 1])
    with pytest.raises(InvalidValueError, match="steps must be at least 1"):
        mn.suggest(store, steps=0)
    with pytest.raises(InvalidValueError, match="need 101 distinct patterns"):
        mn.suggest(store, steps=10, batch_size=101)


def test_command_line(tmp_path, capsys):
    bits = clustered()
    table = {f"sign {b}": bits[:, b].astype(int) for b in range(30)}
    table["outcome"] = bits[:, 0].astype(int)
    path = tmp_path / "my cases.csv"
    polars.DataFrame(table).write_csv(path)
    assert main(["suggest", str(path), "--label", "outcome", "--steps", "2000"]) == 0
    out = capsys.readouterr().out
    assert f"{HARDER}:" in out
    assert "'sign 0' equals the label" in out
    assert "uniform batches" in out
    assert "mn.ManiNegBatchSampler.wrap(loader, store, mu=mn.LinearAnnealing(" in out
    command = out.strip().splitlines()[-1]
    assert command.startswith(f"maninegs compare '{path}' --label outcome")
    assert main(["suggest", str(path), "--batch-size", "601"]) == 0
    assert "no harder batches" in capsys.readouterr().out


def test_wisconsin_gives_harder_batches():
    assert mn.suitability(wisconsin()[0]).verdict == HARDER


# The synthetic table


def test_synthetic_mvkl_keeps_table_1_and_table_2():
    store, labels = synthetic_mvkl()
    assert (store.n_instances, store.n_bits) == (2764, 35)
    assert (labels == 0).sum() == 881
    bits = store.to_dense()
    first = 0
    for trait in mn.MVKL.traits[:8]:
        block = bits[:, first : first + len(trait.options)]
        assert block.sum(axis=1).max() == 1
        assert block.any(axis=0).all()
        first += len(trait.options)
    mass, calcification = bits[:, :14], bits[:, 14:26]
    assert set(mass.sum(axis=1)) == {0, 4}
    assert set(calcification.sum(axis=1)) == {0, 4}
    assert (mass.any(axis=1) | calcification.any(axis=1)).all()


def test_synthetic_traits_depend_on_the_diagnosis_and_on_each_other():
    store, labels = synthetic_mvkl(20000)
    bits = dict(zip(mn.MVKL.bit_names, store.to_dense().T, strict=True))
    mass = bits["mass size=≤2cm"] | bits["mass size=2-5cm"] | bits["mass size=>5cm"]
    malignant = labels == 1
    # CBIS-DDSM: 341 of 600 malignant single-word masses are irregular, 84 of 726 benign ones
    assert bits["mass shape=irregular"][mass & malignant].mean() == pytest.approx(
        341 / 600, abs=0.02
    )
    assert bits["mass shape=irregular"][mass & ~malignant].mean() == pytest.approx(
        84 / 726, abs=0.02
    )
    irregular = bits["mass shape=irregular"] & malignant
    assert bits["mass edge=spiculated"][irregular].mean() == pytest.approx(206 / 341, abs=0.02)
    spiculated = bits["mass edge=spiculated"] & malignant
    comet = bits["comet tail sign"]
    assert comet[spiculated].mean() > 2 * comet[malignant & ~spiculated].mean()
    assert bits["halo sign"][~malignant].mean() > 3 * bits["halo sign"][malignant].mean()
    # correlated traits are farther from independent ones than chance allows
    assert mn.suitability(synthetic_mvkl()[0]).verdict != "no harder batches"


def test_synthetic_data_is_a_function_of_its_seed():
    one, two, other = synthetic_mvkl(50), synthetic_mvkl(50), synthetic_mvkl(50, seed=1)
    assert one[0].digest == two[0].digest
    assert (one[1] == two[1]).all()
    assert one[0].digest != other[0].digest
    assert synthetic_mvkl(1)[0].n_instances == 1
    with pytest.raises(InvalidValueError, match="n must be at least 1"):
        synthetic_mvkl(0)
