"""Columns are encoded by their distinct cells, and give the bits that each cell alone gives."""

import datetime
import decimal
import math
from zoneinfo import ZoneInfo

import narwhals
import numpy as np
import pandas
import polars
import pyarrow
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maninegs_sampling import CBIS_DDSM, ManifestationStore, Schema, Trait, read_table
from maninegs_sampling.data.column_codes import distinct_cells
from maninegs_sampling.errors import TableError
from tests import naive_tables

# Cells that are equal and yet written differently, missing cells of all libraries, and others.
CELLS = [
    1, 1.0, True, "1", "01", np.int8(1), np.float32(1), np.bool_(True), decimal.Decimal("1.0"), 0, -0.0,
    False, "0", math.nan, float("nan"), np.float64("nan"), None, pandas.NaT, pandas.NA, "NaN", "NA", "", " ",
    "<NA>", "-9", -9, -9.0, decimal.Decimal("-9"), decimal.Decimal("NaN"), "yes", "No", " TRUE ",
    datetime.date(2024, 1, 5), datetime.datetime(2024, 1, 5), "2024-01-05", math.inf, "-Infinity",
    datetime.datetime(2024, 1, 5, 12, tzinfo=datetime.timezone.utc),
    datetime.datetime(2024, 1, 5, 13, tzinfo=datetime.timezone(datetime.timedelta(hours=1))),
    decimal.Decimal("1e400"), decimal.Decimal("10e399"), 0.1, np.float32(0.1), "0.1", 2**53 + 1, 2.0**53,
    "round", "Round ", "oval", "round-oval", "oval-round-round", "circular",
]  # fmt: skip
OPTIONS = (
    "1", "0", "True", "False", "2024-01-05", "2024-01-05 00:00:00", "2024-01-05 12:00:00+00:00", "0.1",
    "2024-01-05 13:00:00+01:00", "1E+400", "1.0E+400", "9007199254740993", "9007199254740992", "round",
    "oval", "yes", "No", "inf", "-inf",
)  # fmt: skip
TRAITS = [
    Trait("a", "flag"),
    Trait("a", "flag", ("0", "1")),
    Trait("a", "bins", edges=(-1, 0, 0.1, 1)),
    Trait("a", "one_of", OPTIONS, synonyms=(("circular", "round"),)),
    Trait("a", "any_of", OPTIONS, synonyms=(("circular", "round"),)),
]


@st.composite
def schemas(draw, names):
    traits = [draw(st.sampled_from(TRAITS)) for _ in names]
    return Schema(
        "any",
        [
            Trait(name, t.kind, t.options, t.edges, synonyms=t.synonyms)
            for name, t in zip(names, traits, strict=True)
        ],
        missing=draw(st.sampled_from(["absent", "option", "masked", "error"])),
        missing_values=draw(st.sampled_from([(), ("NA",), ("-9.0",), ("<NA>", "round")])),
    )


def check_encoding(schema, frame, columns):
    """Check a frame against the twin: the bits, or the place of the cell that is not allowed."""
    expected = naive_tables.encode(schema, columns)
    if isinstance(expected, list):
        assert schema.encode(frame).tolist() == expected
        store = ManifestationStore.from_table(frame, schema)
        assert store.to_dense().tolist() == expected
        assert store.digest == ManifestationStore.from_dense(np.array(expected)).digest
    else:
        row, name = expected
        for call in (schema.encode, lambda table: ManifestationStore.from_table(table, schema)):
            with pytest.raises(TableError, match=rf"row {row} \(the first is 0\), column '{name}'"):
                call(frame)


@given(cells=st.lists(st.sampled_from(CELLS), min_size=1, max_size=12), schema=schemas("a"))
def test_columns_of_objects_of_all_types(cells, schema):
    frame = pandas.DataFrame({"a": pandas.Series(cells, dtype=object)})
    check_encoding(schema, frame, {"a": cells})


def test_equal_cells_of_several_types_stay_apart():
    cells = [1, True, 1.0, "1", decimal.Decimal("1e400"), decimal.Decimal("10e399")]
    frame = pandas.DataFrame({"a": pandas.Series(cells, dtype=object)})
    schema = Schema("s", (Trait("a", "one_of", ("1", "True", "1E+400", "1.0E+400")),))
    assert schema.encode(frame).argmax(axis=1).tolist() == [0, 1, 0, 0, 2, 3]


PLAIN = {
    "texts": st.sampled_from(["1", "01", "yes", " no", "round", "round-oval", "NA", "nan", "-9", None]),
    "integers": st.sampled_from([0, 1, -9, 2, None]),
    "floats": st.sampled_from([0.0, -0.0, 1.0, 0.1, -9.0, math.nan, math.inf, None]),
    "booleans": st.sampled_from([True, False, None]),
    "dates": st.sampled_from([datetime.date(2024, 1, 5), datetime.date(2024, 1, 6), None]),
    "times": st.sampled_from(
        [datetime.datetime(2024, 1, 5), datetime.datetime(2024, 1, 5, 13, 30), None]
    ),
    "decimals": st.sampled_from([decimal.Decimal("1.00"), decimal.Decimal("0.10"), None]),
}  # fmt: skip
LIBRARIES = {
    "polars": polars.DataFrame,
    "pandas": pandas.DataFrame,
    "pandas, nullable": lambda columns: pandas.DataFrame(columns).convert_dtypes(),
    "pandas, pyarrow": lambda columns: pyarrow.table(columns).to_pandas(types_mapper=pandas.ArrowDtype),
    "pyarrow": pyarrow.table,
    "pyarrow, in chunks": lambda columns: pyarrow.concat_tables(
        [pyarrow.table(columns).slice(0, 2), pyarrow.table(columns).slice(2)]
    ),
}  # fmt: skip


@pytest.mark.parametrize("library", LIBRARIES)
@given(data=st.data())
def test_columns_of_one_type_in_every_library(library, data):
    kinds = data.draw(st.lists(st.sampled_from([*PLAIN]), min_size=1, max_size=3))
    n = data.draw(st.integers(1, 8))
    columns = {
        f"c{i}": data.draw(st.lists(PLAIN[kind], min_size=n, max_size=n))
        for i, kind in enumerate(kinds)
    }
    if "pandas" in library:
        # what pandas makes of missing integers and the like, as the cells themselves say
        frame = LIBRARIES[library](columns)
        columns = {name: frame[name].to_list() for name in columns}
    else:
        frame = LIBRARIES[library](columns)
    check_encoding(data.draw(schemas(tuple(columns))), frame, columns)


WORDS = ["not used", "yes", "round", "1", "NA", None]
CATEGORICAL = {
    "polars": lambda cells: polars.DataFrame({"a": polars.Series(cells, dtype=polars.Categorical)}),
    "polars, enum": lambda cells: polars.DataFrame(
        {"a": polars.Series(cells, dtype=polars.Enum(WORDS[:-1]))}
    ),
    "pandas": lambda cells: pandas.DataFrame(
        {"a": pandas.Categorical(cells, categories=WORDS[:-1])}
    ),
    "pyarrow": lambda cells: pyarrow.table({"a": pyarrow.array(cells).dictionary_encode()}),
    "pyarrow, a null among the categories": lambda cells: pyarrow.table(
        {"a": pyarrow.chunked_array([pyarrow.DictionaryArray.from_arrays(
            pyarrow.array([WORDS.index(c)]), pyarrow.array(WORDS)
        ) for c in cells])}
    ),
    "pyarrow, several dictionaries": lambda cells: pyarrow.table(
        {"a": pyarrow.chunked_array([pyarrow.array([c], "string").dictionary_encode() for c in cells])}
    ),
}  # fmt: skip


@pytest.mark.parametrize("library", CATEGORICAL)
@given(
    cells=st.lists(st.sampled_from(["yes", "round", "1", "NA", None]), min_size=1, max_size=8),
    data=st.data(),
)
def test_categories_of_every_library(library, cells, data):
    if library == "pyarrow" and set(cells) == {None}:
        return  # a dictionary of nulls has no type
    check_encoding(data.draw(schemas("a")), CATEGORICAL[library](cells), {"a": cells})


def test_categories_that_no_row_has_may_be_unknown_to_the_trait():
    schema = Schema("s", (Trait("a", "one_of", ("yes", "round")),))
    for make in CATEGORICAL.values():
        assert schema.encode(make(["round", "yes", "round"])).tolist() == [
            [False, True],
            [True, False],
            [False, True],
        ]


def test_categories_of_one_kind_of_number_are_read_as_numbers():
    frame = pandas.DataFrame({"a": pandas.Categorical([2.0, 1.5, None, 2.0])})
    schema = Schema("s", (Trait("a", "one_of", ("1.5", "2")),))
    assert schema.encode(frame).tolist() == [
        [False, True],
        [True, False],
        [False] * 2,
        [False, True],
    ]


def test_one_moment_in_two_time_zones_is_two_texts():
    moment = datetime.datetime(2024, 1, 5, 12, tzinfo=datetime.timezone.utc)
    cells = [moment, moment.astimezone(ZoneInfo("Etc/GMT-1"))]
    assert cells[0] == cells[1]
    schema = Schema("s", (Trait("a", "one_of", tuple(map(str, cells))),))
    frame = pandas.DataFrame({"a": pandas.Series(cells, dtype=object)})
    assert schema.encode(frame).tolist() == [[True, False], [False, True]]


@pytest.mark.parametrize("n_bits", [1, 62, 63, 64, 65, 127, 300])
@pytest.mark.parametrize("missing", ["absent", "option"])
def test_traits_across_the_ends_of_words(n_bits, missing):
    # a trait that begins anywhere in a word, and one that may fill several
    wide = Trait("wide", "one_of", tuple(f"w{i}" for i in range(n_bits)))
    schema = Schema(
        "s", (Trait("first", "flag"), wide, Trait("last", "flag", ("x", "y"))), missing=missing
    )
    rng = np.random.default_rng(n_bits)
    columns = {
        "first": rng.choice(["yes", "no"], 40).tolist(),
        "wide": [*(f"w{i}" for i in rng.integers(0, n_bits, 38)), f"w{n_bits - 1}", None],
        "last": rng.choice(["x", "y"], 40).tolist(),
    }
    check_encoding(schema, polars.DataFrame(columns), columns)


@pytest.mark.parametrize("make", [polars.Series, pandas.Series])
def test_a_column_gives_python_few_cells(make):
    column = narwhals.from_native(make([0, 1, 1, 0] * 1000), series_only=True)
    cells, codes = distinct_cells(column)
    assert cells == [0, 1]
    assert codes.tolist() == [0, 1, 1, 0] * 1000


def test_the_real_tables_give_the_bits_of_the_twin(real_data, cbis_files, tmp_path):
    cbis = [read_table(path) for path in cbis_files]
    cases = [(CBIS_DDSM, cbis)]
    mushroom = read_table(real_data / "uci-mushroom" / "agaricus-lepiota.data", header=False)
    masses = read_table(real_data / "uci-mammographic-masses" / "mammographic_masses.csv")
    blood = read_table(real_data / "wbcatt" / "cells.csv")
    cases += [
        (Schema.infer(table, missing=missing), [table])
        for table in (mushroom, masses, blood.head(2000))
        for missing in ("absent", "option")
    ]
    for schema, tables in cases:
        expected = []
        for table in tables:
            columns = {}
            for trait in schema.traits:
                names = [c for c in trait.columns or (trait.name,) if c in table.columns]
                columns[trait.name] = table[names[0]].to_list() if names else [None] * len(table)
            expected += naive_tables.encode(schema, columns)
        assert schema.encode(tables).tolist() == expected
