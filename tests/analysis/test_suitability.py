"""What the verdict compares with, what it says of training, and how groups and seeds reach it."""

import html
from fractions import Fraction
from math import comb
from types import SimpleNamespace

import numpy as np
import polars
import pytest

import maninegs_sampling as mn
from maninegs_sampling.analysis.reasons import FinalHardness, Reason
from maninegs_sampling.analysis.suitability import _expected_duplicates
from maninegs_sampling.cli import main
from maninegs_sampling.errors import InvalidTypeError, InvalidValueError, ManiNegError
from maninegs_sampling.reports.report import save_report
from tests.analysis.test_settings import clustered
from tests.conftest import random_store


def half_alike():
    """Half of the rows share a pattern, as healthy cases without any finding do."""
    bits = np.random.default_rng(0).random((1200, 16)) < 0.25
    bits[:700] = False
    return mn.ManifestationStore.from_dense(bits)


def test_the_yardstick_is_uniform_batches_of_distinct_patterns():
    store = half_alike()
    found = mn.suitability(store)
    rows, rng = store.to_dense(), np.random.default_rng(0)
    means = []
    for _ in range(300):
        batch = {}
        for i in rng.permutation(1200):
            batch.setdefault(rows[i].tobytes(), rows[i])
            if len(batch) == 64:
                break
        ones = np.sum(list(batch.values()), axis=0)
        means.append((ones * (64 - ones)).sum() / (64 * 63 / 2))
    assert found.uniform_distinct_mean == pytest.approx(np.mean(means), rel=0.02)
    # Plain uniform batches are nearer than even ManiNeg's, because they hold duplicates.
    assert found.uniform_mean < found.pair_means[-1] < 0.9 * found.uniform_distinct_mean
    assert found.verdict.startswith("harder batches")


def test_the_verdict_promises_no_better_representations():
    found = mn.suitability(mn.ManifestationStore.from_dense(clustered()))
    assert "do not promise better representations" in str(found.reasons[-1])
    assert "they gained nothing" in str(found.reasons[-1])
    nothing = mn.suitability(random_store(300, 100))
    assert not any("representations" in str(reason) for reason in nothing.reasons)


@pytest.mark.parametrize("command", ["--help", "suggest", "report"])
def test_no_command_says_that_maninegs_helps(command, tmp_path, capsys):
    if command == "--help":
        with pytest.raises(SystemExit):
            main(["--help"])
        text = capsys.readouterr().out
        assert "makes harder batches" in " ".join(text.split())
    else:
        path = write_cases(tmp_path, clustered())
        assert (
            main([command, path, *(["--out", str(tmp_path / "r.html")] * (command == "report"))])
            == 0
        )
        text = capsys.readouterr().out
        if command == "report":
            text = (tmp_path / "r.html").read_text(encoding="utf-8")
            assert "<h1>Does ManiNeg make harder batches of cases.csv?</h1>" in text
            assert "mean distance in uniform batches of distinct patterns" in text
        else:
            assert "uniform batches of distinct patterns  " in text
    assert "help on" not in text
    assert "helps" not in text


# Groups


def write_cases(folder, bits, **columns):
    path = folder / "cases.csv"
    table = {f"sign {b}": bits[:, b].astype(int) for b in range(bits.shape[1])}
    polars.DataFrame(table | columns).write_csv(path)
    return str(path)


def test_settings_hold_the_groups_that_they_were_read_off_with():
    store = mn.ManifestationStore.from_dense(clustered())
    patients = [f"P{i % 150}" for i in range(600)]
    settings = mn.suggest(store, steps=100, groups=patients)
    assert set(settings) == set(settings.reasons) == {"mu", "sigma", "low", "high", "groups"}
    sampler = mn.ManiNegBatchSampler(store, batch_size=64, **settings)
    for batch in sampler:
        assert len({patients[i] for i in batch}) == 64
    assert settings.call().endswith(", groups=groups")
    assert settings.call(groups="ids").endswith(", groups=ids")
    assert "groups" not in mn.suggest(store, steps=100)


def test_batches_are_measured_with_groups():
    # A patient is a cluster: of near patterns a batch may hold one.
    bits = clustered(n=600, n_clusters=80)
    rows = np.random.default_rng(0).integers(0, 80, 600)
    bits = clustered(n=80, n_clusters=80)[rows] ^ (
        np.random.default_rng(1).random((600, 30)) < 0.05
    )
    store = mn.ManifestationStore.from_dense(bits)
    free, grouped = mn.suitability(store), mn.suitability(store, groups=rows)
    assert free.neighborhood.nearest < grouped.neighborhood.nearest - 1
    assert free.pair_means[-1] < grouped.pair_means[-1] - 1
    assert free.uniform_distinct_mean < grouped.uniform_distinct_mean
    assert grouped.measured[0].instances_min == 64


def test_too_few_groups_are_refused_with_the_numbers():
    store = mn.ManifestationStore.from_dense(clustered())
    groups = np.arange(600) % 20
    message = "need 64 distinct groups and the data has 20: use a batch size of at most 20"
    with pytest.raises(InvalidValueError, match=message):
        mn.suggest(store, steps=10, groups=groups)
    found = mn.suitability(store, groups=groups)
    assert found.verdict == "no harder batches"
    assert message in str(found.reasons[0])
    # and what is advised works
    assert mn.suitability(store, groups=groups, batch_size=20).settings is not None
    assert mn.suggest(store, steps=10, groups=groups, batch_size=20)["groups"] is groups


@pytest.mark.parametrize("groups", [[1, 2], np.zeros((600, 2)), [None] + [1] * 599])
def test_groups_that_are_missing_or_too_few(groups):
    store = mn.ManifestationStore.from_dense(clustered())
    with pytest.raises(mn.ManiNegError, match="groups"):
        mn.suitability(store, groups=groups)
    with pytest.raises(mn.ManiNegError, match="groups"):
        mn.suggest(store, steps=10, groups=groups)


def test_short_batches_are_said():
    # One patient owns every pattern but the last.
    store = mn.ManifestationStore.from_dense(
        np.concatenate((random_store(40, 10).to_dense(), np.ones((30, 10), bool)))
    )
    groups = np.maximum(0, np.arange(70) - 39)
    with pytest.warns(UserWarning, match="one of each group"):
        found = mn.suitability(store, groups=groups, batch_size=8, batches=20)
    assert any("has 2 instances instead of 8" in str(reason) for reason in found.reasons)


def test_the_commands_measure_and_print_groups(tmp_path, capsys):
    patients = [f"P{i % 100}" for i in range(600)]
    path = write_cases(tmp_path, clustered(), patient=patients)
    report = tmp_path / "r.html"
    assert main(["suggest", path, "--groups", "patient", "--batch-size", "32"]) == 0
    out = capsys.readouterr().out
    assert f", groups=schema.group_ids({path!r}))" in out
    store = mn.ManifestationStore.from_dense(clustered())
    found = mn.suitability(store, batch_size=32, groups=patients)
    assert f"{found.pair_means[-1]:.2f} bits apart" in out
    assert (
        main(["report", path, "--groups", "patient", "--batch-size", "32", "--out", str(report)])
        == 0
    )
    capsys.readouterr()
    page = report.read_text(encoding="utf-8")
    assert f", groups=schema.group_ids({path!r}))" in html.unescape(page)
    for arguments in (["suggest"], ["report", "--out", str(report)]):
        assert main([*arguments, path, "--groups", "patient", "--batch-size", "101"]) == 0
        assert "need 101 distinct groups and the data has 100" in capsys.readouterr().out
    assert main(["compare", path, "--groups", "patient", "--batch-size", "101"]) == 2
    assert "need 101 distinct groups" in capsys.readouterr().err


# Seeds


def test_the_seed_is_of_everything_drawn():
    store = random_store(2500, 24)  # more instances than are looked around from
    one, again, other = (mn.suitability(store, batches=20, seed=seed) for seed in (0, 0, 1))
    for read in (
        lambda f: f.pair_means,
        lambda f: f.neighborhood,
        lambda f: f.uniform_distinct_mean,
    ):
        assert read(one) == read(again) != read(other)
    # At two seeds what is suggested may differ, by what the anchors looked at have around them.
    small = random_store(400, 12, density=0.1)
    settings = {mn.suggest(small, steps=10, batch_size=8, seed=s).call() for s in range(6)}
    assert len(settings) > 1
    for seed in (0, 3):
        found = mn.suitability(small, batch_size=8, steps=10, seed=seed).settings
        assert (
            found is None
            or found["sigma"] == mn.suggest(small, steps=10, batch_size=8, seed=seed)["sigma"]
        )


# Arguments


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": "a"}, "batch_size must be a whole number; got 'a'"),
        ({"batch_size": 1.5}, "batch_size must be a whole number; got 1.5"),
        ({"steps": None}, "steps must be a whole number; got None"),
        ({"batches": "a"}, "batches must be a whole number; got 'a'"),
        ({"seed": "a"}, "seed must be a whole number; got 'a'"),
        ({"labels": [0.0] * 99 + [float("nan")]}, r"labels\[99\] is missing; got nan"),
        ({"labels": np.array([0.0] * 99 + [np.nan])}, r"labels\[99\] is missing; got nan"),
        ({"labels": ["a"] * 99 + [None]}, r"labels\[99\] is missing; got None"),
        ({"labels": ["a"] * 99 + [float("nan")]}, r"labels\[99\] is missing; got nan"),
        ({"labels": [["a"]] * 100}, r"labels must have the shape \(100,\)"),
        (
            {"labels": [["a"]] * 99 + [["a", "b"]]},
            r"labels must be numbers or strings; labels\[0\]",
        ),
        ({"labels": "outcome"}, "labels must have the shape"),
        ({"bit_names": list(range(10))}, "bit_names must be strings; got 0"),
        ({"bit_names": ["a"] * 9 + [None]}, "bit_names must be strings; got None"),
        ({"bit_names": "abcdefghij"}, "bit_names must be a sequence of names; got 'abcdefghij'"),
        ({"bit_names": 10}, "bit_names must be a sequence of names; got 10"),
    ],
)
def test_arguments_that_cannot_be_used(options, message):
    with pytest.raises(ManiNegError, match=message):
        mn.suitability(random_store(100, 10), **options)
    if set(options) <= {"batch_size", "steps", "seed"}:
        with pytest.raises(InvalidTypeError, match=message):
            mn.suggest(random_store(100, 10), **({"steps": 10} | options))


def test_labels_of_any_kind_are_compared_as_they_are():
    bits = clustered(n=100)
    store = mn.ManifestationStore.from_dense(bits)
    as_objects = [("yes", 1)[bit] for bit in bits[:, 7].astype(int)]
    for labels in (
        as_objects,
        np.array(as_objects, object),
        bits[:, 7].tolist(),
        bits[:, 7].astype(float),
    ):
        assert mn.suitability(store, labels=labels, batch_size=8, batches=1).label_traits == (7,)


def test_the_stores_own_names_are_the_default():
    bits = clustered(n=100)
    store = mn.ManifestationStore.from_dense(bits, [f"sign {b}" for b in range(30)])
    found = mn.suitability(store, labels=bits[:, 7], batch_size=8, batches=1)
    assert any(str(reason).startswith("'sign 7' equals") for reason in found.reasons)


@pytest.mark.parametrize("n_patterns", [1, 2, 5])
def test_the_batch_size_that_is_advised_works(n_patterns):
    bits = np.repeat(np.tri(5, dtype=bool)[:n_patterns], 4, axis=0)
    store = mn.ManifestationStore.from_dense(bits)
    reason = str(mn.suitability(store).reasons[0])
    assert f"the data has {n_patterns}" in reason
    assert ("a batch size of at most" in reason) == (n_patterns > 1)
    if n_patterns > 1:
        assert f"a batch size of at most {n_patterns}, or more traits" in reason
        found = mn.suitability(store, batch_size=n_patterns, batches=2)
        assert "a batch size" not in str(found.reasons[0])
        mn.ManiNegBatchSampler(store, batch_size=n_patterns, mu=1.0)


def test_report_of_names_that_act(tmp_path):
    names = ("a\x1b[31m", "b\nb", "c\u202ec", "d\x85")
    schema = mn.Schema("signs", tuple(mn.Trait(name, "flag") for name in names))
    store = mn.ManifestationStore.from_dense(random_store(60, 4).to_dense(), schema.bit_names)
    out = tmp_path / "r.html"
    found = save_report(out, store, schema, source="caf\udce9\x07.csv", batch_size=8)
    page = out.read_text(encoding="utf-8")
    for text in (page, str(found)):
        assert not any(c in text for c in "\x1b\x07\x85\u202e")
    for shown in (r"a\x1b[31m", r"b\nb", r"c\u202ec", r"d\x85", r"caf\udce9\x07.csv"):
        assert shown in page
    assert "b\nb" not in page


# Reasons


def test_expected_duplicates_are_exact_for_many_instances():
    # Of n instances, n / 2 share a pattern; the others have one each.
    n, size = 400_000, 512
    counts = np.array([n // 2] + [1] * (n // 2))
    store = SimpleNamespace(n_instances=n, counts=counts)
    none_of_the_common = Fraction(comb(n // 2, size), comb(n, size))
    expected = size - (1 - none_of_the_common) - Fraction(size, 2)
    found = _expected_duplicates(store, size)
    assert found == pytest.approx(float(expected), rel=1e-6)
    assert _expected_duplicates(SimpleNamespace(n_instances=3, counts=np.array([3])), 64) == 2


def test_a_reason_is_its_numbers_and_one_sentence():
    found = mn.suitability(random_store(1500, 40, density=0.08), batches=50)
    final, near, *_ = found.reasons
    assert isinstance(final, FinalHardness)
    assert (final.mu, final.pair_mean) == (found.mus[-1], found.pair_means[-1])
    assert final.uniform_mean == found.uniform_distinct_mean
    assert final.easier_at == found.settings.reasons["mu"].easier_at
    assert final.easier_at > found.settings["mu"].start
    assert (near.within, near.nearest) == (found.neighborhood.within, found.neighborhood.nearest)  # type: ignore[attr-defined]
    for reason in (*found.reasons, *found.settings.reasons.values()):
        assert isinstance(reason, Reason)
        assert str(reason)
        assert "\n" not in str(reason)
