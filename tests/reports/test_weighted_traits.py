"""What suitability, the report and `inspect` say of traits whose bits are repeated."""

import json
import re

import numpy as np
import polars
import pytest

import maninegs_sampling as mn
from maninegs_sampling.analysis.reasons import EqualsLabel, LargestShares
from maninegs_sampling.cli import main
from maninegs_sampling.reports.report import save_report

N = 120
SCHEMA = mn.Schema(
    "signs",
    (
        mn.Trait("shape", "one_of", ("round", "oval", "flat"), weight=20),
        mn.Trait("sign", "flag", weight=2),
        *(mn.Trait(f"other {i}", "flag") for i in range(5)),
    ),
)


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    columns = {f"other {i}": rng.integers(0, 2, N) for i in range(5)}
    return polars.DataFrame(
        {
            "shape": rng.choice(["round", "oval", "flat"], N),
            "sign": rng.integers(0, 2, N),
            **columns,
        }
    )


@pytest.fixture(scope="module")
def store(table):
    return mn.ManifestationStore.from_table(table, SCHEMA)


def test_shares_of_repeated_bits_are_added_up(store):
    found = mn.suitability(store, batch_size=4, batches=2)
    (largest,) = (r for r in found.reasons if isinstance(r, LargestShares))
    # three shapes, of weight 20, each differ in about 4/9 of the pairs, and the sign in 1/2
    assert set(largest.names) == {"shape=round", "shape=oval", "shape=flat"}
    for name, share in zip(largest.names, largest.shares, strict=True):
        bits = [i for i, n in enumerate(store.bit_names) if n.startswith(name)]
        assert len(bits) == 20
        assert share == pytest.approx(found.trait_shares[bits].sum())
    assert found.trait_shares.sum() == pytest.approx(1)


def test_a_weighted_trait_that_equals_the_label_is_named_once(store, table):
    labels = table["sign"].to_numpy()
    found = mn.suitability(store, batch_size=4, batches=2, labels=labels)
    named = [reason.name for reason in found.reasons if isinstance(reason, EqualsLabel)]
    assert named == ["sign"]
    assert [store.bit_names[bit] for bit in found.label_traits] == ["sign", "sign (2 of 2)"]


def test_the_report_lists_a_weighted_trait_once(tmp_path, store):
    out = tmp_path / "report.html"
    found = save_report(out, store, SCHEMA, source="signs", batch_size=4)
    page = out.read_text(encoding="utf-8")
    assert " of 20)" not in page
    assert " of 2)" not in page
    assert "traits with smaller shares" not in page  # 67 bits of 9 traits' options
    shares = dict(
        re.findall(
            r'<th scope=row>([^<]*)</th><td class="number">[\d.]+%</td>'
            r'<td class="number">([\d.]+)%</td>',
            page,
        )
    )
    names = [f"shape={option}, 20 bits" for option in ("round", "oval", "flat")]
    assert set(shares) == {*names, "sign, 2 bits", *(f"other {i}" for i in range(5))}
    assert sum(map(float, shares.values())) == pytest.approx(100, abs=1)
    sign = [i for i, name in enumerate(store.bit_names) if name.startswith("sign")]
    assert float(shares["sign, 2 bits"]) == pytest.approx(
        100 * found.trait_shares[sign].sum(), abs=0.1
    )
    # the distance of an example is the sum over the traits that it lists
    for name in ("nearest", "middle", "farthest"):
        distance, changes = re.search(
            rf"<th scope=row>{name}</th><td class=number>(\d+)</td>.*?</td><td>([^<]*)</td>", page
        ).groups()
        bits = [re.search(r", (\d+) bits", change) for change in changes.split("; ")]
        assert sum(int(found[1]) if found else 1 for found in bits) == int(distance)


def test_inspect_takes_repeated_bits_for_no_duplicates(tmp_path, table, store, capsys):
    SCHEMA.save(tmp_path / "schema.json")
    path = tmp_path / "cases.csv"
    table.with_columns(polars.col("other 0").alias("other 1")).write_csv(path)
    arguments = ["inspect", str(path), "--schema", str(tmp_path / "schema.json")]
    assert main(arguments) == 0
    text = capsys.readouterr().out
    assert "duplicate bits: other 1 always equals other 0\n" in text
    assert re.search(r"^shape=round, 20 bits +\d+ +[\d.]+%$", text, re.M)
    assert " of 20)" not in text
    assert main([*arguments, "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["duplicate_bits"] == ["other 1 always equals other 0"]
    assert list(record["bit_rows"]) == list(store.bit_names)
