"""`maninegs order`: its files hold what the sampler draws with the options of the command line."""

import numpy as np
import polars
import pytest

pytest.importorskip("pyarrow", reason="pyarrow is not installed")

import maninegs_sampling as mn
from maninegs_sampling.cli import main
from tests.orders.shards import STORE, N, rows_in, write_shards

TURNED = np.random.default_rng(0).permutation(N)


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    STORE.save("cases.store")
    columns = {
        f"trait {i}": ["yes" if bit else "no" for bit in bits]
        for i, bits in enumerate(STORE.to_dense().T)
    }
    columns["patient"] = [f"p{i // 2}" for i in range(N)]
    columns["key"] = [f"sample-{row:03d}" for row in TURNED]
    polars.DataFrame(columns).write_csv("cases.csv")
    return tmp_path


def batches_in(path="order.parquet"):
    order = mn.BatchOrder(path)
    return [batch for epoch in range(order.n_epochs) for batch in order.batches(epoch)]


def drawn(epochs=2, store=STORE, **options):
    sampler = mn.ManiNegBatchSampler(store, **({"batch_size": 5, "seed": 3} | options))
    return [sampler.batch(k, epoch) for epoch in range(epochs) for k in range(len(sampler))]


def run(*words):
    return main(["order", *words, "--batch-size", "5", "--seed", "3", "--epochs", "2"])


def test_of_a_saved_store(here, capsys):
    assert run("cases.store", "--mu", "6", "1", "--sigma", "2") == 0
    # 24 steps, of which the first half anneal.
    assert batches_in() == drawn(mu=mn.LinearAnnealing(6, 1, steps=12), sigma=2.0)
    assert "wrote order.parquet: 24 batches" in capsys.readouterr().out


def test_by_jaccard(here):
    assert run("cases.store", "--mu", "0.5", "--metric", "jaccard", "--out", "a.parquet") == 0
    assert batches_in("a.parquet") == drawn(mu=0.5, metric="jaccard")
    assert run("cases.store", "--metric", "jaccard", "--out", "b.parquet") == 0
    settings = mn.suggest(STORE, steps=24, batch_size=5, metric="jaccard")
    assert batches_in("b.parquet") == drawn(**settings)


def test_options_reach_the_sampler(here):
    assert run("cases.store", "--mu", "2", "--anchors-per-batch", "5", "--center", "cluster",
               "--coverage", "epoch", "--duplicates", "keep", "--out", "other.parquet") == 0  # fmt: skip
    options = {
        "anchors_per_batch": 5,
        "center": "cluster",
        "coverage": "epoch",
        "duplicates": "keep",
    }
    assert batches_in("other.parquet") == drawn(mu=2.0, **options)
    assert not (here / "order.parquet").exists()


def test_of_a_table_with_groups_and_suggested_settings(here):
    schema = ["--exclude", "key", "--groups", "patient", "--save-schema", "schema.json"]
    assert run("cases.csv", *schema) == 0
    saved = mn.Schema.load("schema.json")
    store, groups = (
        mn.ManifestationStore.from_table("cases.csv", saved),
        saved.group_ids("cases.csv"),
    )
    settings = mn.suggest(store, steps=24, batch_size=5, groups=groups)
    assert batches_in() == drawn(store=store, **settings)


@pytest.mark.parametrize("by_key", [False, True])
def test_rewritten_shards(here, by_key):
    shards = list(map(str, write_shards(here)))
    table = ["cases.csv", "--exclude", "key", "patient"]
    key = ["--key", "key"] if by_key else []
    words = [*table, "--mu", "1", "--rewrite", *shards, "--batches-per-shard", "4", *key]
    assert run(*words) == 0
    (here / "shards" / "0001-000001.tar").unlink()
    assert run(*words) == 0, "what is finished is kept"
    new = sorted((here / "shards").glob("*.tar"))
    assert len(new) == 6
    batches = batches_in()
    assert sorted(sum(batches[:12], [])) == list(range(N)), "the plan covers the data"
    read = sum(map(rows_in, new), [])
    assert read == [TURNED[row] if by_key else row for batch in batches for row in batch]


def test_within_shards(here):
    sizes = [20, 25, 15]
    shards = list(map(str, write_shards(here, sizes)))
    words = ["cases.store", "--mu", "3", "1", "--within", *shards, "--shards-per-window", "2"]
    assert run(*words) == 0
    sampler = mn.ShardLocalBatchSampler(
        STORE,
        sizes,
        batch_size=5,
        mu=mn.LinearAnnealing(3, 1, steps=12),
        seed=3,
        shards_per_window=2,
    )
    assert batches_in() == [*sampler, *sampler]
    assert run("cases.store", "--within", *shards, "--out", "suggested.parquet") == 0
    assert len(batches_in("suggested.parquet")) == 24


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere.csv"], "there is no file nowhere.csv"),
        (["cases.store", "cases.csv"], "is a saved store, which is given alone; got 'cases.csv'"),
        (["cases.store", "--groups", "patient"], "is given alone; got '--groups'"),
        (["cases.store", "--key", "key"], "--key is for --rewrite"),
        (["cases.store", "--key", "key", "--rewrite", "x"], "is given alone; got '--key'"),
        (["cases.csv", "--key", "kez", "--rewrite", "x"], "no column 'kez', which was to be the column of keys"),
        (["cases.store", "--mu", "3", "2", "1"], "--mu takes one or two numbers; got [3.0, 2.0, 1.0]"),
        (["cases.store", "--mu", "3", "--rewrite", "nowhere.tar"], "nowhere.tar cannot be read"),
        (["cases.store", "--mu", "3", "--within", "nowhere.tar"], "nowhere.tar cannot be read"),
        (["cases.store", "--mu", "3", "--out", "nowhere/order.parquet"], "there is no folder"),
    ],
)  # fmt: skip
def test_errors_are_one_line(here, capsys, words, message):
    assert run(*words) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.startswith("maninegs: ")


def test_a_row_without_a_key_is_named(here, capsys):
    polars.read_csv("cases.csv").with_columns(key=polars.lit(None, str)).write_csv("no_keys.csv")
    words = ["no_keys.csv", "--exclude", "patient", "--key", "key", "--mu", "1", "--rewrite", "x"]
    assert run(*words) == 2
    assert "row 0 has no key in column 'key'" in capsys.readouterr().err
