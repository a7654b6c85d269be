"""Weights of traits: repeated bits, their names, and what is made of them."""

import dataclasses
import json
import re

import numpy as np
import polars
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maninegs_sampling import ManifestationStore, ManiNegError, Schema, Trait, pairwise_hamming
from maninegs_sampling.data.repeated_bits import first_bits, repeated_names
from maninegs_sampling.errors import InvalidTypeError, InvalidValueError, SchemaError

SHAPE = Trait("shape", "one_of", ("round", "oval"), weight=3)
HALO = Trait("halo", "flag", weight=2)
SIZE = Trait("size", "bins", edges=(1, 2), ordered=True)
TABLE = polars.DataFrame(
    {
        "shape": ["round", "oval", None, "round"],
        "halo": ["1", "0", "1", None],
        "size": ["1", "2", "3", None],
    }
)


@pytest.mark.parametrize("missing", ["absent", "option"])
def test_the_distance_is_the_weighted_sum_over_traits(missing):
    traits = (SHAPE, HALO, SIZE)
    store = ManifestationStore.from_table(TABLE, Schema("s", traits, missing=missing))
    expected = np.zeros((4, 4), np.int64)
    for trait in traits:
        alone = Schema("s", (dataclasses.replace(trait, weight=1),), missing=missing)
        bits = alone.encode(TABLE)
        expected += trait.weight * (bits[:, None] != bits[None]).sum(axis=2)
    assert pairwise_hamming(store).tolist() == expected.tolist()


def test_repeated_bits_have_names_of_their_own():
    schema = Schema("s", (SHAPE, HALO), missing="option")
    assert schema.bit_names == (
        "shape=round", "shape=oval", "shape=missing",
        "shape=round (2 of 3)", "shape=oval (2 of 3)", "shape=missing (2 of 3)",
        "shape=round (3 of 3)", "shape=oval (3 of 3)", "shape=missing (3 of 3)",
        "halo", "halo=missing", "halo (2 of 2)", "halo=missing (2 of 2)",
    )  # fmt: skip
    assert ManifestationStore.from_table(TABLE, schema).bit_names == schema.bit_names
    # the trait itself speaks of its bits once
    assert SHAPE.bit_names == ("shape=round", "shape=oval")
    assert (SHAPE.n_bits, HALO.n_bits) == (2, 1)


def test_a_weighted_trait_is_read_from_a_column_for_each_option():
    schema = Schema("s", (SHAPE,))
    spread = polars.DataFrame({"shape=round": [1, 0], "shape=oval": [0, 1]})
    assert schema.encode(spread).tolist() == schema.encode(TABLE.head(2)).tolist()
    with pytest.raises(SchemaError, match="is also read by trait 'shape'"):
        dataclasses.replace(schema, group_column="shape=oval")


def test_schema_files_keep_order_and_weight(tmp_path):
    schema = Schema("s", (SHAPE, HALO, SIZE))
    schema.save(tmp_path / "schema.json")
    assert Schema.load(tmp_path / "schema.json") == schema
    saved = json.loads((tmp_path / "schema.json").read_text())["traits"]
    assert [trait.get("weight") for trait in saved] == [3, 2, None]
    assert [trait.get("ordered") for trait in saved] == [None, None, True]


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("weight", 0, "trait 0: 'weight' must be a whole number from 1 to 255; got 0"),
        ("weight", 256, "trait 0: 'weight' must be a whole number from 1 to 255; got 256"),
        ("weight", 1.5, "trait 0: 'weight' must be a whole number from 1 to 255; got 1.5"),
        ("weight", True, "trait 0: 'weight' must be a whole number from 1 to 255; got True"),
        ("ordered", 1, "trait 0: 'ordered' must be true or false; got 1"),
    ],
)
def test_files_with_another_order_or_weight(tmp_path, key, value, message):
    path = tmp_path / "schema.json"
    Schema("s", (SHAPE,)).save(path)
    content = json.loads(path.read_text())
    content["traits"][0][key] = value
    path.write_text(json.dumps(content))
    with pytest.raises(SchemaError, match=message):
        Schema.load(path)


@pytest.mark.parametrize(
    ("weight", "error", "message"),
    [
        (0, InvalidValueError, "weight of trait 't' must be at least 1; got 0"),
        (-1, InvalidValueError, "weight of trait 't' must be at least 1; got -1"),
        (256, InvalidValueError, "weight of trait 't' must be at most 255; got 256"),
        (0.5, InvalidTypeError, "weight of trait 't' must be a whole number; got 0.5"),
        (True, InvalidTypeError, "weight of trait 't' must be a whole number; got True"),
        ("2", InvalidTypeError, "weight of trait 't' must be a whole number; got '2'"),
    ],
)
def test_weights_are_small_whole_numbers(weight, error, message):
    with pytest.raises(error, match=message):
        Trait("t", "flag", weight=weight)


def test_a_weight_of_numpy_is_saved_as_a_number(tmp_path):
    schema = Schema("s", (Trait("t", "flag", weight=np.int64(2)),))
    schema.save(tmp_path / "schema.json")
    assert Schema.load(tmp_path / "schema.json") == schema


def test_repeated_bits_count_towards_the_most_bits():
    traits = [Trait("t", "one_of", tuple(map(str, range(300))), weight=255)]
    with pytest.raises(SchemaError, match=r"has 76500 bits \(300 without weights\); at most 65535"):
        Schema("s", traits)
    with pytest.raises(ManiNegError, match="has 76755 bits"):
        Schema("s", traits, missing="option")


# Names.


@pytest.mark.parametrize(
    ("traits", "name"),
    [
        ([Trait("dose", "any_of", ("a", "a (2 of 2)"))], "dose=a (2 of 2)"),
        ([HALO, Trait("halo (2 of 2)", "flag")], "halo (2 of 2)"),
        ([HALO, Trait("t", "flag"), Trait("t (2 of 2)", "flag")], "t (2 of 2)"),
        ([Trait("a", "one_of", ("b",), weight=2), Trait("a=b", "flag")], "a=b (2 of 2)"),
    ],
)
def test_names_that_read_like_repeated_bits_are_refused(traits, name):
    with pytest.raises(SchemaError, match=re.escape(f"which bit {name!r} repeats")):
        Schema("s", traits)


def test_names_that_only_look_like_repeated_bits_are_not_refused():
    names = ["dose (1 of 3)", "dose (2 of 3)", "dose (3 of 3)"]
    schema = Schema("s", [HALO, *(Trait(name, "flag") for name in names)])
    assert schema.bit_names == ("halo", "halo (2 of 2)", *names)
    assert schema.n_bits == 5


@given(
    names=st.lists(st.sampled_from(["a", "b", "a\n", "c (2 of 2)", "d (2 of 3)"]), unique=True),
    times=st.lists(st.integers(1, 4), max_size=3),
)
def test_names_tell_which_bit_is_repeated(names, times):
    repeated = tuple(names)
    expected = list(range(len(names)))
    for n in times:
        repeated, expected = repeated_names(repeated, n), expected * n
    assert len(set(repeated)) == len(repeated)
    assert first_bits(repeated) == expected
    assert repeated[: len(names)] == tuple(names)


@pytest.mark.parametrize(
    "names",
    [
        ["dose (1 of 3)", "dose (2 of 3)", "dose (3 of 3)"],
        ["dose", "dose (3 of 3)"],
        ["dose", "dose (2 of 3)", "dose (4 of 3)"],
        ["dose", "dose (2 of 2)", "dose"],
        ["dose", "dose (0 of 0)", "dose (1 of 1)"],
        ["dose", "dose(2 of 2)", "dose (2 of 2) "],
    ],
)
def test_other_names_repeat_nothing(names):
    assert first_bits(names) == list(range(len(names)))
