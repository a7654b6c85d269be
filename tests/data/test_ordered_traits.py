"""Ordered options and bins: cumulative bits, whose distance is the number of steps between options."""

import dataclasses
import itertools

import polars
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maninegs_sampling import ManifestationStore, Schema, Trait, pairwise_hamming
from maninegs_sampling.errors import SchemaError, TableError
from tests.data.test_encoding import check_encoding

DENSITY = Trait("density", "one_of", ("low", "median", "high"), ordered=True)
AGE = Trait("age", "bins", edges=(40, 60, 80), ordered=True)


def rows_of(trait, cells, **options):
    frame = polars.DataFrame({trait.name: [None if c is None else str(c) for c in cells]})
    return Schema("s", (trait,), **options).encode(frame).astype(int)


def test_ordered_options_are_cumulative_bits():
    assert DENSITY.bit_names == ("density>=low", "density>=median", "density>=high")
    assert DENSITY.n_bits == 3
    assert DENSITY.encode_text("Median") == [0, 1]
    rows = rows_of(DENSITY, ["low", "median", "high", None]).tolist()
    assert rows == [[1, 0, 0], [1, 1, 0], [1, 1, 1], [0, 0, 0]]


def test_ordered_bins_are_cumulative_bits():
    assert AGE.bit_names == ("age known", "age>40", "age>60", "age>80")
    rows = rows_of(AGE, [40, 40.5, 61, "inf", "-inf", None]).tolist()
    assert rows == [
        [1, 0, 0, 0],
        [1, 1, 0, 0],
        [1, 1, 1, 0],
        [1, 1, 1, 1],
        [1, 0, 0, 0],
        [0, 0, 0, 0],
    ]


@given(n_options=st.integers(1, 9), weight=st.integers(1, 4))
def test_distances_are_the_steps_between_options(n_options, weight):
    options = tuple(f"grade {i}" for i in range(n_options))
    trait = Trait("grade", "one_of", options, ordered=True, weight=weight)
    store = ManifestationStore.from_dense(rows_of(trait, options))
    distances = pairwise_hamming(store)
    for i, j in itertools.product(range(n_options), repeat=2):
        assert distances[i, j] == weight * abs(i - j)


@pytest.mark.parametrize("trait", [DENSITY, AGE], ids=["options", "bins"])
@pytest.mark.parametrize("missing", ["absent", "option"])
def test_a_missing_cell_is_not_the_lowest_option(trait, missing):
    lowest = {"density": "low", "age": 1}[trait.name]
    ordered = rows_of(trait, [lowest, None], missing=missing)
    one_hot = rows_of(dataclasses.replace(trait, ordered=False), [lowest, None], missing=missing)
    # as far from the lowest option as without an order
    assert (ordered[0] != ordered[1]).sum() == (one_hot[0] != one_hot[1]).sum() > 0
    assert ordered[1].tolist() == one_hot[1].tolist()


def test_an_ordered_trait_is_read_from_a_column_for_each_option():
    table = polars.DataFrame(
        {
            "density=low": [1, 0, 0, 0],
            "density=median": [0, 1, 0, None],
            "density=high": [0, 0, 1, 0],
        }
    )
    schema = Schema("s", (DENSITY,), missing="option")
    assert schema.encode(table).astype(int).tolist() == [
        [1, 0, 0, 0],
        [1, 1, 0, 0],
        [1, 1, 1, 0],
        [0, 0, 0, 1],
    ]
    assert schema.count_missing(table) == {"density": 0}
    with pytest.raises(TableError, match="are set together"):
        schema.encode(table.with_columns(polars.Series("density=low", [1, 1, 0, 0])))
    with pytest.raises(SchemaError, match="label_column 'density=high' is also read by trait"):
        dataclasses.replace(schema, label_column="density=high")


@pytest.mark.parametrize("trait", [DENSITY, AGE], ids=["options", "bins"])
@pytest.mark.parametrize("missing", ["absent", "option", "masked"])
def test_an_ordered_trait_is_read_from_the_columns_of_its_bits(trait, missing):
    """A table that was made of the bits gives the same bits."""
    cells = {"density": ["low", "high", "median", None], "age": ["1", "50", None, "99"]}
    schema = Schema("s", (trait,), missing=missing)
    expected = schema.encode(polars.DataFrame({trait.name: cells[trait.name]}))
    own = expected[:, : trait.n_bits].astype(int)
    table = polars.DataFrame(own, schema=list(trait.bit_names))
    assert (schema.encode(table) == expected).all()
    assert schema.count_missing(table) == {trait.name: 0}
    for column in trait.bit_names:
        with pytest.raises(SchemaError, match="is also read by trait"):
            dataclasses.replace(schema, group_column=column)
    lowest, second, *_ = trait.bit_names
    with pytest.raises(TableError, match=f"lacks the columns \\['{lowest}'\\] of ordered trait"):
        schema.encode(table.drop(lowest))
    gap = table.with_columns(polars.Series(lowest, [1, 0, 1, 0]))
    with pytest.raises(TableError, match=f"row 1 .*columns .*'{second}'.* set without all"):
        schema.encode(gap)


@given(data=st.data(), missing=st.sampled_from(["absent", "option"]))
def test_ordered_and_weighted_traits_give_the_bits_of_the_twin(data, missing):
    kinds = {
        "options": (DENSITY, ["low", "median", "high", None]),
        "bins": (AGE, ["40", "41", "70", "99", "NA"]),
        "flag": (Trait("flag", "flag"), ["yes", "no", None]),
        "words": (Trait("words", "any_of", ("a", "b")), ["a", "a-b", None]),
    }
    traits, columns = [], {}
    n = data.draw(st.integers(1, 6))
    for name, (trait, cells) in kinds.items():
        ordered = trait.kind in ("one_of", "bins") and data.draw(st.booleans())
        weight = data.draw(st.sampled_from([1, 2, 3, 30]))
        traits.append(dataclasses.replace(trait, name=name, ordered=ordered, weight=weight))
        columns[name] = data.draw(st.lists(st.sampled_from(cells), min_size=n, max_size=n))
    schema = Schema("s", traits, missing=missing)
    check_encoding(schema, polars.DataFrame(columns, schema=dict.fromkeys(columns, str)), columns)


# What a trait refuses.


@pytest.mark.parametrize("kind", ["flag", "any_of"])
def test_only_options_and_bins_have_an_order(kind):
    options = {"flag": (), "any_of": ("a", "b")}[kind]
    with pytest.raises(SchemaError, match=f"'t' is ordered, .* its kind is '{kind}'"):
        Trait("t", kind, options, ordered=True)


@pytest.mark.parametrize("ordered", [1, "yes", None])
def test_ordered_is_true_or_false(ordered):
    with pytest.raises(SchemaError, match=f"'t' .*True or False; got ordered={ordered!r}"):
        Trait("t", "one_of", ("a", "b"), ordered=ordered)


def test_inferred_bins_are_ordered():
    table = polars.DataFrame({"size": [float(i) + 0.5 for i in range(30)]})
    schema = Schema.infer(table)
    assert schema.traits[0].ordered
    assert schema.bit_names[0] == "size known"
    assert schema.notes[0].startswith("size: number, 3 ordered bins cut at ")
    distances = (schema.encode(table)[[0]] != schema.encode(table)).sum(axis=1)
    assert distances.tolist() == [0] * 10 + [1] * 10 + [2] * 10


def test_inferred_options_have_no_order():
    table = polars.DataFrame({"grade": [1, 2, 3], "shape": ["a", "b", "c"]})
    schema = Schema.infer(table)
    assert [trait.ordered for trait in schema.traits] == [False, False]
    notes = dict(note.split(": ", 1) for note in schema.notes)
    assert notes["grade"] == (
        "3 options; if the order of these numbers matters, ordered=True makes it count"
    )
    assert notes["shape"] == "3 options"
