"""missing="masked": the second half of a pattern says which bits of the first are known."""

import dataclasses
import itertools
import json
from functools import partial

import numpy as np
import polars
import pytest
from hypothesis import given
from hypothesis import strategies as st

import maninegs_sampling as mn
from maninegs_sampling import ManifestationStore, Schema, Trait, combine_stores
from maninegs_sampling.cli import main
from maninegs_sampling.data.bit_layout import has_known_bits
from maninegs_sampling.distances.pairs import pair_distances
from maninegs_sampling.errors import SchemaError
from tests import naive
from tests.data.test_encoding import check_encoding

SHAPE = Trait("shape", "one_of", ("round", "oval"))
SIGNS = Trait("signs", "any_of", ("A", "B"))
HALO = Trait("halo", "flag", weight=2)
SIZE = Trait("size", "bins", edges=(1, 2), ordered=True, weight=3)
CELLS = {
    "shape": ["round", "oval", None],
    "signs": ["A", "B", "A-B", "NA"],
    "halo": ["yes", "no", ""],
    "size": ["1", "1.5", "99", None],
}
SCHEMA = Schema("s", (SHAPE, SIGNS, HALO, SIZE), missing="masked")


def encode(schema, columns):
    frame = polars.DataFrame(columns, schema=dict.fromkeys(columns, str))
    return schema.encode(frame).astype(int).tolist()


def test_each_bit_has_one_that_says_whether_it_is_known():
    schema = Schema("s", (SHAPE, HALO), missing="masked")
    values = ("shape=round", "shape=oval", "halo", "halo (2 of 2)")
    assert schema.bit_names == (*values, *(f"known: {name}" for name in values))
    assert schema.n_bits == 8
    rows = encode(schema, {"shape": ["oval", None, "round"], "halo": ["yes", "no", None]})
    assert rows == [
        [0, 1, 1, 1, 1, 1, 1, 1],
        [0, 0, 0, 0, 0, 0, 1, 1],
        [1, 0, 0, 0, 1, 1, 0, 0],
    ]


def tables(min_rows):
    rows = st.fixed_dictionaries({name: st.sampled_from(cells) for name, cells in CELLS.items()})
    as_columns = lambda rows: {name: [row[name] for row in rows] for name in CELLS}  # noqa: E731
    return st.lists(rows, min_size=min_rows, max_size=6).map(as_columns)


@given(columns=tables(1), weights=st.lists(st.sampled_from([1, 2, 31]), min_size=4, max_size=4))
def test_masked_traits_give_the_bits_of_the_twin(columns, weights):
    traits = [dataclasses.replace(t, weight=w) for t, w in zip(SCHEMA.traits, weights, strict=True)]
    frame = polars.DataFrame(columns, schema=dict.fromkeys(columns, str))
    check_encoding(dataclasses.replace(SCHEMA, traits=traits), frame, columns)


@given(columns=tables(2))
def test_only_traits_that_both_instances_have_count(columns):
    values, known = np.split(np.array(encode(SCHEMA, columns)), 2, axis=1)
    found = naive.masked_hamming(values[0], values[1], known[0], known[1])
    expected = 0
    for trait in SCHEMA.traits:
        first, second = columns[trait.name][:2]
        if not (SCHEMA.is_missing(first or "") or SCHEMA.is_missing(second or "")):
            bits = [set(trait.encode_text(cell)) for cell in (first, second)]
            expected += trait.weight * len(bits[0] ^ bits[1])
    assert found == expected


def test_a_column_that_a_table_lacks_is_unknown():
    schema = Schema("s", (HALO, dataclasses.replace(SHAPE, optional=True)), missing="masked")
    assert encode(schema, {"halo": ["yes"]}) == [[1, 1, 0, 0, 1, 1, 0, 0]]


def test_options_spread_over_columns_are_known_together():
    schema = Schema("s", (SHAPE,), missing="masked")
    columns = {"shape=round": ["1", "0", "0"], "shape=oval": [None, "0", "1"]}
    # without any option, as with missing="option", the cell is missing
    assert encode(schema, columns) == [[1, 0, 1, 1], [0, 0, 0, 0], [0, 1, 1, 1]]


def test_words_spread_over_columns_are_known_one_by_one():
    schema = Schema("s", (SIGNS,), missing="masked")
    columns = {"signs=A": ["1", "0", None], "signs=B": [None, "0", "1"]}
    assert encode(schema, columns) == [[1, 0, 1, 0], [0, 0, 1, 1], [0, 1, 0, 1]]
    # a word whose column is missing is unknown in every row
    assert encode(schema, {"signs=A": ["1", "0"]}) == [[1, 0, 1, 0], [0, 0, 1, 0]]


def test_ordered_bins_spread_over_columns_are_known_together():
    trait = Trait("size", "bins", edges=(1,), ordered=True)
    schema = Schema("s", (trait,), missing="masked")
    columns = {"size<=1": ["1", "0", None], "size>1": ["0", "1", None]}
    assert encode(schema, columns) == [[1, 0, 1, 1], [1, 1, 1, 1], [0, 0, 0, 0]]


def test_masked_schemas_are_saved_and_inferred(tmp_path):
    SCHEMA.save(tmp_path / "schema.json")
    assert Schema.load(tmp_path / "schema.json") == SCHEMA
    assert json.loads((tmp_path / "schema.json").read_text())["missing"] == "masked"
    table = polars.DataFrame({"halo": ["yes", "no", None]})
    inferred = Schema.infer(table, missing="masked")
    assert inferred.notes == ("halo: yes or no: one bit",)
    assert inferred.encode(table).astype(int).tolist() == [[1, 1], [0, 1], [0, 0]]


def test_known_bits_count_towards_the_most_bits():
    traits = [Trait("t", "one_of", tuple(map(str, range(32_768))))]
    assert Schema("s", traits).n_bits == 32_768
    with pytest.raises(SchemaError, match=r"has 65536 bits .*half of them say .* known"):
        Schema("s", traits, missing="masked")


# Several stores, some of which have known bits.


def masked_store():
    table = polars.DataFrame({"shape": ["round", "oval", None]})
    return ManifestationStore.from_table(table, Schema("s", (SHAPE,), missing="masked"))


def with_known_bits(values, known):
    """A store of values and of which are known; unknown ones are 0."""
    n_bits = values.shape[1]
    schema = Schema("s", [Trait(f"t{b}", "flag") for b in range(n_bits)], missing="masked")
    return ManifestationStore.from_dense(np.hstack([values & known, known]), schema.bit_names)


@given(data=st.data(), seed=st.integers(0, 2**32))
def test_masked_distances_of_combined_stores_are_weighted_sums(data, seed):
    n, rng = 3, np.random.default_rng(seed)
    stores, weights, expected = [], [], np.zeros((n, n), np.int64)
    some_masked = False
    for _ in range(data.draw(st.integers(1, 3))):
        n_bits = data.draw(st.sampled_from([1, 31, 32, 33, 63, 64, 65, 100]))
        values, known = rng.random((2, n, n_bits)) < 0.5
        masked = data.draw(st.booleans())
        some_masked |= masked
        known |= not masked
        weight = data.draw(st.sampled_from([1, 2, 5]))
        for i, j in itertools.product(range(n), repeat=2):
            distance = naive.masked_hamming(values[i], values[j], known[i], known[j])
            expected[i, j] += weight * distance
        plain = ManifestationStore.from_dense(values)
        stores.append(with_known_bits(values, known) if masked else plain)
        weights.append(weight)
    combined = combine_stores(stores, weights=weights)
    assert has_known_bits(combined.bit_names) == some_masked
    bits = combined.to_dense()
    values, known = np.split(bits, 2, axis=1) if some_masked else (bits, np.ones_like(bits))
    for i, j in itertools.product(range(n), repeat=2):
        found = naive.masked_hamming(values[i], values[j], known[i], known[j])
        assert found == expected[i, j]


def test_combined_names_have_the_known_bits_last():
    plain = ManifestationStore.from_dense([[1], [0], [1]], ["halo"])
    combined = combine_stores([masked_store(), plain], weights=[1, 2])
    values = ("0: shape=round", "0: shape=oval", "1: halo", "1: halo (2 of 2)")
    assert combined.bit_names == (*values, *(f"known: {name}" for name in values))
    assert combined.to_dense().astype(int).tolist() == [
        [1, 0, 1, 1, 1, 1, 1, 1],
        [0, 1, 0, 0, 1, 1, 1, 1],
        [0, 0, 1, 1, 0, 0, 1, 1],
    ]


# What takes the known bits for traits would be wrong.


def test_stores_tell_whether_they_have_known_bits():
    store = masked_store()
    assert has_known_bits(store.bit_names)
    assert not has_known_bits(None)
    assert not has_known_bits(store.bit_names[:2])
    assert not has_known_bits(store.bit_names[2:])
    assert not has_known_bits(("a", "known: b"))
    assert not has_known_bits(("a", "known: a", "b"))


def test_the_commands_refuse_known_bits(tmp_path, capsys):
    path, schema = tmp_path / "cases.csv", tmp_path / "schema.json"
    path.write_text("shape,other\nround,1\noval,2\n")
    Schema("s", (SHAPE,), missing="masked").save(schema)
    assert main(["inspect", str(path), "--schema", str(schema)]) == 2
    assert "missing='masked'" in capsys.readouterr().err


@pytest.mark.parametrize(
    "measure",
    [
        mn.pairwise_hamming,
        mn.pairwise_jaccard,
        mn.distance_histogram,
        mn.max_distance,
        mn.DistanceBucketIndex,
        mn.suitability,
        pair_distances,
        partial(mn.RandomWalkBatchSampler, batch_size=2),
        partial(mn.ManiNegBatchSampler, batch_size=2, mu=1.0),
        partial(mn.suggest, batch_size=2, steps=10),
    ],
)
def test_no_metric_counts_known_bits_as_traits(measure):
    with pytest.raises(mn.ManiNegError, match='missing="masked"'):
        measure(masked_store())
