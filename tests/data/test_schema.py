import contextlib
import dataclasses
import json

import numpy as np
import pandas
import polars
import pyarrow
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maninegs_sampling import CBIS_DDSM, MVKL, ManifestationStore, ManiNegError, Schema, Trait
from maninegs_sampling.data.built_in_schemas import find_schema
from maninegs_sampling.errors import SchemaError, TableError

SHAPE = Trait("shape", "one_of", ("round", "oval"))
SIGNS = Trait("signs", "any_of", ("A_B", "C", "D_E"), separator="-")
HALO = Trait("halo", "flag")
AGE = Trait("age", "bins", edges=(40, 60))
SCHEMA = Schema("test", (SHAPE, SIGNS, HALO, AGE))
TABLE = {
    "shape": ["Round", "OVAL ", None],
    "signs": ["A_B-D_E", "C", "N/A"],
    "halo": ["yes", 0, True],
    "age": ["40", 60.5, ""],
}
BITS = [
    [1, 0, 1, 0, 1, 1, 1, 0, 0],
    [0, 1, 0, 1, 0, 0, 0, 0, 1],
    [0, 0, 0, 0, 0, 1, 0, 0, 0],
]


def polars_table(columns):
    return polars.DataFrame(
        {k: [None if v is None else str(v) for v in c] for k, c in columns.items()}
    )


def encode(schema, columns):
    return schema.encode(polars_table(columns)).astype(int).tolist()


def test_each_kind_of_trait():
    assert SCHEMA.bit_names == (
        "shape=round", "shape=oval", "signs=A_B", "signs=C", "signs=D_E", "halo",
        "age<=40", "40<age<=60", "age>60",
    )  # fmt: skip
    assert encode(SCHEMA, TABLE) == BITS


@pytest.mark.parametrize(
    "convert", [pandas.DataFrame, lambda c: pandas.DataFrame(c).convert_dtypes(), pyarrow.table]
)
def test_every_library(convert):
    columns = {"shape": ["round", "oval", None], "age": [30.0, 50.0, None], "halo": [1, 0, 1]}
    schema = Schema("test", (SHAPE, AGE, HALO))
    expected = [[1, 0, 1, 0, 0, 1], [0, 1, 0, 1, 0, 0], [0, 0, 0, 0, 0, 1]]
    assert schema.encode(convert(columns)).astype(int).tolist() == expected
    assert schema.encode(polars.DataFrame(columns)).astype(int).tolist() == expected


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet"])
def test_every_file_and_lists_of_files(tmp_path, suffix):
    table = polars_table(TABLE)
    path = tmp_path / f"a{suffix}"
    if suffix == ".parquet":
        table.write_parquet(path)
    else:
        table.write_csv(path, separator="," if suffix == ".csv" else "\t")
    assert SCHEMA.encode(path).astype(int).tolist() == BITS
    assert SCHEMA.encode([str(path), table]).astype(int).tolist() == BITS + BITS
    store = ManifestationStore.from_table(path, SCHEMA)
    assert store.to_dense().astype(int).tolist() == BITS
    assert store.bit_names == SCHEMA.bit_names


def test_missing_policies():
    table = {"shape": ["round", None], "halo": ["?", "1"]}
    traits = (SHAPE, HALO)
    assert encode(Schema("t", traits), table) == [[1, 0, 0], [0, 0, 1]]
    option = Schema("t", traits, missing="option")
    assert option.bit_names == (
        "shape=round",
        "shape=oval",
        "shape=missing",
        "halo",
        "halo=missing",
    )
    assert encode(option, table) == [[1, 0, 0, 0, 1], [0, 0, 1, 1, 0]]
    with pytest.raises(TableError, match=r"row 1 .*column 'shape': is missing"):
        encode(Schema("t", traits, missing="error"), table)
    assert option.count_missing(polars_table(table)) == {"shape": 1, "halo": 1}


def test_optional_columns():
    traits = (SHAPE, dataclasses.replace(SIGNS, optional=True))
    assert encode(Schema("t", traits), {"shape": ["oval"]}) == [[0, 1, 0, 0, 0]]
    option = Schema("t", traits, missing="option")
    assert encode(option, {"shape": ["oval"]}) == [[0, 1, 0, 0, 0, 0, 1]]
    assert option.count_missing(polars_table({"shape": ["oval"]})) == {"shape": 0, "signs": 1}


def test_a_trait_spread_over_columns():
    table = {"shape=round": [1, 0, 0], "shape=oval": [0, 1, None], "halo": [0, 0, 1]}
    schema = Schema("t", (SHAPE, HALO))
    assert encode(schema, table) == [[1, 0, 0], [0, 1, 0], [0, 0, 1]]
    option = Schema("t", (SHAPE,), missing="option")
    assert encode(option, table) == [[1, 0, 0], [0, 1, 0], [0, 0, 1]]
    table["shape=round"] = [1, 1, 0]
    with pytest.raises(
        TableError, match=r"row 1 .*\['shape=round', 'shape=oval'\] are set together"
    ):
        encode(schema, table)


def test_synonyms():
    trait = Trait("shape", "one_of", ("round",), synonyms=(("circular", "round"),))
    assert encode(Schema("t", (trait,)), {"shape": ["Circular", "round"]}) == [[1], [1]]


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("shape", "rond", r"row 1 \(the first is 0\), column 'shape': 'rond' is not an option of "
         r"'shape', whose options are \['round', 'oval'\]; did you mean 'round'\?"),
        ("shape", "round; oval", "'round; oval' names several of the exclusive options of 'shape'"),
        ("shape", "round|oval", "names several of the exclusive options of 'shape'"),
        ("signs", "C-X", "'X' is not an option of 'signs'"),
        ("halo", "2", "'2' is neither yes nor no"),
        ("age", "old", "'old' is not a number"),
        ("age", "1e", "'1e' is not a number"),
    ],
)  # fmt: skip
def test_cells_that_are_not_allowed(column, value, message):
    table = {k: [v[0], value if k == column else v[1]] for k, v in TABLE.items()}
    with pytest.raises(TableError, match=message):
        encode(SCHEMA, table)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: encode(SCHEMA, {"shape": ["round"]}), "has no column 'signs' for trait 'signs'"),
        (lambda: SCHEMA.encode(polars.DataFrame({"shape": []})), "has no rows"),
        (lambda: SCHEMA.encode([]), "no table was given"),
        (lambda: SCHEMA.encode("nowhere.csv"), "there is no file nowhere.csv"),
        (lambda: SCHEMA.encode(3), "a table is a pandas, polars or pyarrow table"),
        (lambda: SCHEMA.labels(polars_table(TABLE)), "has no label column"),
        (lambda: dataclasses.replace(SCHEMA, group_column="x").group_ids(polars_table(TABLE)), "lacks the group column 'x'"),
        (lambda: Trait("t", "many", ("a",)), "kind of trait 't' must be one of 'one_of'"),
        (lambda: Trait("t", "one_of"), "has no options"),
        (lambda: Trait("t", "one_of", ("a", "A ")), "lists an option twice"),
        (lambda: Trait("t", "bins"), "at least one edge"),
        (lambda: Trait("t", "bins", edges=(2, 1)), "do not ascend"),
        (lambda: Trait("t", "bins", edges=(float("nan"), 1)), "do not ascend"),
        (lambda: Trait("t", "any_of", ("a",), separator=""), "needs a separator"),
        (lambda: Trait("t", "one_of", ("a",), synonyms=(("x", "b"),)), r"unknown options: \['b'\]"),
        (lambda: Schema("s", ()), "has no traits"),
        (lambda: Schema("s", (HALO, HALO)), "two traits with the same name"),
        (lambda: Schema("s", (HALO,), missing="skip"), "missing must be one of 'absent'"),
        (lambda: find_schema("nothing"), "neither a built-in schema"),
    ],
)  # fmt: skip
def test_errors(call, message):
    with pytest.raises(ManiNegError, match=message):
        call()


@pytest.mark.parametrize("name", ["a.csv", "a.parquet"])
def test_a_file_that_is_no_table(tmp_path, name):
    (tmp_path / name).write_bytes(b'a,b\n"1",2\n"3,4\n' if name == "a.csv" else b"PAR1")
    with pytest.raises(TableError, match="cannot be read as a table"):
        SCHEMA.encode(tmp_path / name)


# Built-in schemas.


def test_mvkl_is_table_1():
    assert (len(MVKL.traits), len(MVKL.bit_names)) == (17, 35)
    assert [len(t.options) for t in MVKL.traits] == [4, 4, 3, 3, 3, 3, 3, 3] + [0] * 9
    assert MVKL.bit_names[:4] == tuple(
        f"mass shape={o}" for o in ("irregular", "lobulated", "ovoid", "round")
    )
    assert MVKL.bit_names[-1] == "abnormal lymph node shadow"
    row = {trait.name: [trait.options[0] if trait.options else "1"] for trait in MVKL.traits}
    row["mass size"] = ["<=2cm"]
    assert sum(encode(MVKL, row)[0]) == 17


def test_cbis_ddsm_has_the_published_counts(cbis_files, cbis):
    assert (cbis.n_instances, cbis.n_patterns) == (3568, 338)
    assert cbis.n_bits <= 40
    train = [file for file in cbis_files if "train" in file]
    test = [file for file in cbis_files if "test" in file]
    # Table II: training and validation together, and test.
    assert np.bincount(CBIS_DDSM.labels(train)).tolist() == [1494 + 189, 1083 + 98]
    assert np.bincount(CBIS_DDSM.labels(test)).tolist() == [428, 276]


def test_cbis_ddsm_takes_any_subset_of_its_files(cbis_files, cbis):
    parts = [ManifestationStore.from_table(file, CBIS_DDSM).to_dense() for file in cbis_files]
    assert (np.concatenate(parts) == cbis.to_dense()).all()


def test_both_views_of_a_lesion_share_a_pattern(cbis_files, cbis):
    patients = CBIS_DDSM.group_ids(cbis_files)
    assert len(patients) == 3568
    # the four files number their patients alike; the published data has 1,566 of them
    assert len(set(patients.tolist())) == 1566


# Inference.


def test_inference_decides_each_column():
    rng = np.random.default_rng(0)
    n = 200
    table = polars.DataFrame(
        {
            "case_id": range(n),
            "number": range(100, 100 + n),
            "scan": [f"scan-{i:04d}-{rng.integers(1e9)}" for i in range(n)],
            "outcome": rng.integers(0, 2, n),
            "patient": rng.integers(0, 90, n),
            "site": ["here"] * n,
            "empty": [None] * n,
            "halo": rng.choice(["yes", "no"], n),
            "grade": rng.integers(1, 6, n),
            "size": rng.gamma(2, 10, n),
            "signs": [
                "|".join(rng.permutation(list("ABCDE"))[: rng.integers(1, 5)]) for _ in range(n)
            ],
            "comment": [" ".join(rng.choice(["a", "b", "c", "d"], 9)) for _ in range(n)],
            "many": [f"t{rng.integers(40)}" for _ in range(n)],
        }
    )
    schema = Schema.infer(table, label_column="outcome", group_column="patient")
    assert {t.name: t.kind for t in schema.traits} == {
        "halo": "flag", "grade": "one_of", "size": "bins", "signs": "any_of",
    }  # fmt: skip
    assert len(schema.notes) == len(table.columns)
    notes = dict(note.split(": ", 1) for note in schema.notes)
    for column, why in {
        "case_id": "identifier", "number": "numbers the rows", "scan": "free text or an identifier",
        "site": "constant", "empty": "every cell is missing", "comment": "free text",
        "many": "40 distinct values are more than 12", "outcome": "label column", "patient": "group column",
    }.items():  # fmt: skip
        assert why in notes[column], notes[column]
    bits = schema.encode(table)
    assert bits.shape == (n, 1 + 5 + 3 + 5)
    size = [i for i, name in enumerate(schema.bit_names) if "size" in name]
    assert (bits[:, size].sum(axis=0) >= n // 3 - 1).all()
    assert (schema.labels(table) == table["outcome"].cast(str).to_numpy()).all()


def test_wisconsin_becomes_90_bits():
    from maninegs_sampling.data.datasets import wisconsin

    store, labels = wisconsin()
    assert (store.n_instances, store.n_bits) == (569, 90)
    assert labels.tolist().count(1) == 212
    # ordered terciles: the first bit of each says that the feature is known, the others ascend
    terciles = store.to_dense().reshape(569, 30, 3)
    assert terciles[..., 0].all()
    assert not (terciles[..., 2] & ~terciles[..., 1]).any()


def test_real_tables_can_be_inferred(real_data, tmp_path):
    masses = real_data / "uci-mammographic-masses" / "mammographic_masses.csv"
    schema = Schema.infer(masses, label_column="Severity")
    assert [t.kind for t in schema.traits] == ["one_of", "bins", "one_of", "one_of", "one_of"]
    assert schema.encode(masses).shape[0] == 961
    mushroom = tmp_path / "mushroom.csv"
    header = ",".join(f"c{i}" for i in range(23))
    data = (real_data / "uci-mushroom" / "agaricus-lepiota.data").read_text()
    mushroom.write_text(f"{header}\n{data}")
    store = ManifestationStore.from_table(mushroom, Schema.infer(mushroom, label_column="c0"))
    assert (store.n_instances, store.n_patterns) == (8124, 8124)


def test_inference_of_nothing_says_why():
    with pytest.raises(TableError, match=r"no column can become a trait:\n  a: left out, constant"):
        Schema.infer(polars.DataFrame({"a": [1, 1]}))
    with pytest.raises(TableError, match="no column 'z', which was to be the label column"):
        Schema.infer(polars.DataFrame({"a": [1, 2]}), label_column="z")


def test_tables_with_different_columns_are_inferred_together():
    first, second = polars.DataFrame({"a": ["x", "y"]}), polars.DataFrame({"b": ["u", "v"]})
    schema = Schema.infer([first, second])
    assert [t.name for t in schema.traits] == ["a", "b"]


# Saving and loading.


@pytest.mark.parametrize("schema", [SCHEMA, MVKL, CBIS_DDSM], ids=lambda s: s.name)
def test_schemas_are_saved_as_readable_json(tmp_path, schema):
    path = tmp_path / "schema.json"
    schema.save(path)
    assert Schema.load(path) == schema == find_schema(path)
    assert schema.traits[0].name in json.loads(path.read_text())["traits"][0]["name"]
    assert find_schema("CBIS_ddsm") is CBIS_DDSM


def saved(tmp_path, **changes):
    path = tmp_path / "schema.json"
    SCHEMA.save(path)
    content = json.loads(path.read_text()) | changes
    path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema_version": 2}, "has version 2; this release reads 1"),
        ({"traits": {}}, "'traits' must be a list; got dict"),
        ({"traits": [3]}, "trait 0: expected an object; got int"),
        ({"traits": [{"name": "a"}]}, "trait 0: the key 'kind' is missing"),
        ({"traits": [{"name": "a", "kind": "flag", "color": 1}]}, "unknown key 'color'"),
        ({"traits": [{"name": 1, "kind": "flag"}]}, "'name' must be a text; got 1"),
        ({"traits": [{"name": "a", "kind": "bins", "edges": ["x"]}]}, "finite numbers"),
        ({"traits": []}, "has no traits"),
        ({"missing": 1}, "'missing' must be a text"),
        ({"extra": 1}, "unknown key 'extra'"),
    ],
)
def test_damaged_schemas(tmp_path, changes, message):
    with pytest.raises(ManiNegError, match=message):
        Schema.load(saved(tmp_path, **changes))


@pytest.mark.parametrize("text", ["", "[", "[" * 100_000, "3", "{}", "null"])
def test_files_that_are_no_schema(tmp_path, text):
    path = tmp_path / "schema.json"
    path.write_text(text)
    with pytest.raises(SchemaError):
        Schema.load(path)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip


@given(
    key=st.sampled_from([f.name for f in dataclasses.fields(Schema)]),
    trait_key=st.sampled_from([f.name for f in dataclasses.fields(Trait)]),
    value=json_values,
)
def test_any_json_is_a_schema_or_a_schema_error(tmp_path_factory, key, trait_key, value):
    path = tmp_path_factory.getbasetemp() / "any.json"
    SCHEMA.save(path)
    good = json.loads(path.read_text())
    for content in (
        {**good, key: value},
        {**good, "traits": [{**good["traits"][0], trait_key: value}]},
    ):
        path.write_text(json.dumps(content))
        with contextlib.suppress(ManiNegError):
            Schema.load(path)


# What the label, the groups and sizes may be.


def test_positive_labels_are_compared_as_options_are():
    schema = Schema("s", (HALO,), label_column="y", positive_labels=("MALIGNANT", "3"))
    table = polars_table({"y": ["Malignant", " malignant ", "benign", "3.0"]})
    assert schema.labels(table).tolist() == [1, 1, 0, 1]
    texts = dataclasses.replace(schema, positive_labels=())
    assert texts.labels(table).tolist() == ["Malignant", "Malignant", "benign", "3"]


def test_a_positive_value_that_never_occurs_is_an_error():
    schema = Schema("s", (HALO,), label_column="y", positive_labels=("malignat",))
    with pytest.raises(
        TableError,
        match=r"no label in 'y' is one of positive_labels, \['malignat'\]; the labels are \['malignant', 'benign'\]",
    ):
        schema.labels(polars_table({"y": ["malignant", "benign"]}))


def test_rows_without_a_group_meet_no_group_of_their_name():
    schema = Schema("s", (HALO,), group_column="g")
    for named in ("row 1", " row 1", "row 0", "_row 1"):
        ids = schema.group_ids(polars_table({"g": [named, None, "a", "?"]})).tolist()
        assert len(set(ids)) == 4


@pytest.mark.parametrize("role", ["label_column", "group_column"])
@pytest.mark.parametrize("column", ["shape", "shape=round", "form", "halo"])
def test_a_trait_may_not_read_the_label(role, column):
    traits = (dataclasses.replace(SHAPE, columns=("form",)) if column == "form" else SHAPE, HALO)
    with pytest.raises(SchemaError, match=f"its {role} '{column}' is also read by trait"):
        Schema("s", traits, **{role: column})
    assert Schema("s", traits, **{role: "other"})


def test_no_schema_has_too_many_bits():
    options = tuple(map(str, range(65_535)))
    schema = Schema("s", (Trait("a", "one_of", options),))
    assert len(schema.bit_names) == 65_535
    with pytest.raises(SchemaError, match="has 65536 bits; at most 65535 are allowed"):
        dataclasses.replace(schema, missing="option")
    with pytest.raises(SchemaError, match="has 65536 bits"):
        Schema("s", (*schema.traits, HALO))


LONG = "x" * 1_000_000
MANY = tuple(f"option {i}" for i in range(50_000))


@pytest.mark.parametrize(
    "call",
    [
        lambda: encode(Schema("s", (Trait("a", "one_of", MANY),)), {"a": ["optio 3"]}),
        lambda: encode(Schema("s", (SHAPE,)), {"shape": [LONG]}),
        lambda: encode(Schema("s", (SHAPE,)), {"shape": [f"round;{LONG}"]}),
        lambda: encode(Schema("s", (HALO,)), {"halo": [LONG]}),
        lambda: encode(Schema("s", (AGE,)), {"age": [LONG]}),
        lambda: encode(Schema("s", (HALO,)), {name: ["1"] for name in MANY[:3000]}),
        lambda: encode(Schema("s", (HALO,)), {LONG: ["1"]}),
        lambda: Schema("s", (HALO,), label_column="y").labels(polars_table({"y": [LONG]})),
        lambda: Schema("s", (HALO,), group_column="y").group_ids(polars_table({"y": [LONG]})),
        lambda: Trait(LONG, "one_of"),
        lambda: Trait("a", LONG),
        lambda: Trait("a", "flag", MANY),
        lambda: Trait("a", "one_of", (*MANY, "option 1")),
        lambda: Trait("a", "bins", edges=(*range(50_000), 0)),
        lambda: Trait("a", "one_of", ("b",), synonyms=tuple((o, o) for o in MANY)),
        lambda: Schema("s", (HALO,) * 50_000),
        lambda: Schema(LONG, ()),
        lambda: Schema.infer(polars_table({name: ["1", "2"] for name in MANY[:3000]}), label_column="z"),
        lambda: find_schema(LONG[:200]),
    ],
)  # fmt: skip
def test_messages_are_short(call):
    with pytest.raises(ManiNegError) as caught:
        call()
    assert len(str(caught.value)) < 2000


@pytest.mark.parametrize("key", ["name", "kind", "options", "edges"])
def test_messages_on_long_schema_files_are_short(tmp_path, key):
    trait = {"name": "a", "kind": "one_of", "options": ["b"], key: {"x": LONG}}
    with pytest.raises(SchemaError) as caught:
        Schema.load(saved(tmp_path, traits=[trait]))
    assert len(str(caught.value)) < 2000


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Trait("t", "flag", ("a",)), r"is a flag; its options must be off and on; got \['a'\]"),
        (lambda: Trait("t", "flag", ("a", "A")), "lists an option twice"),
        (lambda: Trait("t", "one_of", ("1", "01")), "lists an option twice"),
        (lambda: Trait("t", "bins", ("a",), (1,)), "have edges and no options"),
        (lambda: Trait("t", "flag", edges=(1,)), "has edges, which only bins have"),
        (lambda: encode(Schema("s", (Trait("t", "flag", ("F", "M")),)), {"t": ["X"]}), r"'X' is not an option of 't', whose options are \['F', 'M'\]"),
    ],
)  # fmt: skip
def test_what_traits_cannot_be(call, message):
    with pytest.raises(ManiNegError, match=message):
        call()
