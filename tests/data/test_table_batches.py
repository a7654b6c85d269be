"""Files read some rows at a time give what files read whole give, and the same errors."""

import subprocess
import sys

import numpy as np
import pandas
import polars
import polars.testing
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from maninegs_sampling import (
    CBIS_DDSM,
    ManifestationStore,
    Schema,
    Trait,
    concat_stores,
    read_table,
)
from maninegs_sampling.data import table_batches, tables
from maninegs_sampling.data.table_batches import read_rows
from maninegs_sampling.errors import TableError
from tests import naive_tables


@pytest.fixture
def small(monkeypatch):
    """Make parts and batches so small that a few rows fill several of them."""

    def set_sizes(part_bytes=40, rows=2):
        monkeypatch.setattr(table_batches, "_PART_BYTES", part_bytes)
        monkeypatch.setattr(table_batches, "_PART_ROWS", 3 * rows)
        monkeypatch.setattr(tables, "_BATCH_ROWS", rows)
        monkeypatch.setattr(table_batches, "SNIFFED", 0)

    set_sizes()
    return set_sizes


def outcome(read):
    """The rows of a table and its columns, or the error."""
    try:
        frame = read()
    except TableError as error:
        return str(error)
    return frame.columns, frame.rows()


def in_parts(path):
    rows = read_rows(path)
    frames = list(rows.frames)
    assert rows.n_rows == sum(map(len, frames))
    return polars.concat(frames)


def is_cut(path):
    return len(list(read_rows(path).frames)) > 1


lines = st.lists(
    st.lists(
        st.sampled_from(["x", "1", "", " ", '"a,b"', '"c\nd"', '""', '"e""f"', "ü", "name", 'g"', "1,5"]),
        min_size=2,
        max_size=2,
    ).map(",".join),
    max_size=12,
)  # fmt: skip


@settings(max_examples=300)
@given(
    header=st.sampled_from(["name,size", '"na;me",b', "x,1", "1,2", ",a", "a,a", "a", '"e""f",x', '"a\nb",c', "x,"]),
    rows=lines,
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    after=st.sampled_from(["", "\n", "\r\n", "\n\n \n", "\n\n\n\n", "\r", "\n\n1,2", "\0", "\n\xff"]),
    mark=st.sampled_from(["", "\ufeff"]),
    separator=st.sampled_from([",", ";"]),
    size=st.sampled_from([1, 7, 16, 64, 10_000]),
)  # fmt: skip
@example("name,size", ['"c\nd",x'] * 5, "\n", "", "", ",", 16)
@example("x,1", ["x,2"] * 9, "\n", "", "", ",", 16)
@example("x,b", ["y,x"] * 9, "\n", "", "", ",", 16)
@example('"e""f",1', ['"e""f",2'] * 9, "\n", "", "", ",", 40)
@example("a,", ['a,""'] * 9, "\n", "", "", ",", 16)
def test_any_text_is_read_in_parts_as_whole(
    tmp_path_factory, header, rows, end, after, mark, separator, size
):
    text = mark + end.join([header, *rows]).replace(",", separator) + after
    path = tmp_path_factory.getbasetemp() / "any.csv"
    path.write_bytes(text.encode("latin-1" if "\xff" in after and not mark else "utf-8"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(table_batches, "_PART_BYTES", size)
        patch.setattr(table_batches, "SNIFFED", 0)
        assert outcome(lambda: in_parts(path)) == outcome(lambda: read_table(path))


@pytest.mark.parametrize(
    "text",
    [
        "name,size\n" + "x,1\n" * 20,
        "name,size\r\n" + "x,1\r\n" * 20 + "\r\n\r\n",
        "\ufeffname;size\n" + "ü;\n" * 20,
        'name,size\n"a,\nb",1\n' + '"",""\n' * 20,
        "a,b\n" + "ab,ba\n" * 20,  # the names are parts of cells, but no cells
    ],
)
def test_regular_files_are_cut(tmp_path, small, text):
    path = tmp_path / "cases.csv"
    path.write_bytes(text.encode())
    assert is_cut(path)
    assert outcome(lambda: in_parts(path)) == outcome(lambda: read_table(path))


@pytest.mark.parametrize(
    "content",
    [
        ("name,size\n" + "x,1\n" * 20).encode("utf-16"),
        ("name;size\n" + "x;1,5\n" * 20).encode(),
        ("name\n" + "x\n" * 20).encode(),
        ('name,size\n"' + "x\n" * 200 + '",1\n').encode(),
    ],
    ids=["UTF-16", "decimal commas", "one column", "a long cell"],
)
def test_other_files_are_read_whole(tmp_path, small, content):
    path = tmp_path / "cases.csv"
    path.write_bytes(content)
    assert not is_cut(path)
    assert outcome(lambda: in_parts(path)) == outcome(lambda: read_table(path))


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path, small):
    path = tmp_path / "cases.csv"
    path.write_text("name,size\n" + "x,1\n" * 20)
    rows = read_rows(path)
    path.write_text("name,size\n" + "x\n,1" * 20)
    with pytest.raises(TableError, match=r"cases\.csv changed while it was read"):
        list(rows.frames)


def test_parquet_files_are_cut_and_keep_types(tmp_path, small):
    frame = polars.DataFrame({"a": range(20), "b": ["x", None] * 10}).with_columns(
        c=polars.col("b").cast(polars.Categorical)
    )
    frame.write_parquet(tmp_path / "a.parquet", row_group_size=7)
    rows = read_rows(tmp_path / "a.parquet")
    assert rows.n_rows == 20
    frames = list(rows.frames)
    assert [len(part) for part in frames] == [6, 6, 6, 2]
    polars.testing.assert_frame_equal(polars.concat(frames), frame)


def test_parquet_files_that_are_none(tmp_path):
    path = tmp_path / "a.parquet"
    path.write_bytes(b"not a table")
    schema = Schema("s", (Trait("a", "flag"),))
    for read in (read_table, schema.encode):
        with pytest.raises(TableError, match=r"a\.parquet cannot be read as a table"):
            read(path)
    polars.DataFrame({"a": []}).write_parquet(path)
    with pytest.raises(TableError, match=r"a\.parquet has no rows"):
        schema.encode(path)


# Encoding.

TRAITS = (
    Trait("a", "one_of", ("x", "y")),
    Trait("b", "flag"),
    Trait("s", "one_of", ("p", "q")),  # spread over two columns
)
CELLS = {
    "a": ["x", "y", "x", "y", None, "z"],
    "b": ["1", "0", "1", "0", None, "2"],
    "s=p": ["1", "0", "0", "0", None, "2"],
    "s=q": ["0", "0", "0", "0", None, "1", "3"],
}


def as_files(columns, folder):
    """Paths and data frames of the same cells."""
    frame = polars.DataFrame(columns, schema=dict.fromkeys(columns, polars.String))
    frame.write_csv(folder / "table.csv")
    frame.write_parquet(folder / "table.parquet", row_group_size=3)
    return [
        folder / "table.csv",
        folder / "table.parquet",
        frame,
        frame.to_pandas(),
        frame.to_arrow(),
    ]


def result(call):
    try:
        return call()
    except TableError as error:
        return str(error)


@settings(max_examples=60)
@given(data=st.data(), missing=st.sampled_from(["absent", "option", "error"]))
def test_batches_give_the_bits_and_the_error_of_the_whole(tmp_path_factory, data, missing):
    n = data.draw(st.integers(1, 12))
    rare = {name: [*cells[:4] * 4, *cells[4:]] for name, cells in CELLS.items()}
    columns = {
        name: data.draw(st.lists(st.sampled_from(cells), min_size=n, max_size=n))
        for name, cells in rare.items()
    }
    schema = Schema("s", TRAITS, missing=missing)
    table = data.draw(st.sampled_from(as_files(columns, tmp_path_factory.getbasetemp())))
    whole = result(lambda: schema.encode(table).tolist())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tables, "_BATCH_ROWS", 2)
        patch.setattr(table_batches, "_PART_ROWS", 3)
        patch.setattr(table_batches, "_PART_BYTES", 40)
        patch.setattr(table_batches, "SNIFFED", 0)
        assert result(lambda: schema.encode(table).tolist()) == whole
        store = result(lambda: ManifestationStore.from_table(table, schema))
    expected = naive_tables.encode(Schema("s", TRAITS[:2], missing=missing), columns)
    if isinstance(whole, str):
        assert store == whole
        if not isinstance(expected, list):
            assert f"row {expected[0]} (the first is 0), column '{expected[1]}'" in whole
    else:
        assert store.to_dense().tolist() == whole
        assert store.digest == ManifestationStore.from_dense(np.array(whole)).digest
        n_bits = 3 + 2 * (missing == "option")
        assert [row[:n_bits] for row in whole] == expected


def test_a_cell_that_is_none_comes_before_a_word_that_is_unknown(small):
    # as when the column is read whole
    cells = ["no", "maybe", "no", "no", "no", ["yes"]]
    frame = pandas.DataFrame({"b": pandas.Series(cells, dtype=object)})
    with pytest.raises(TableError, match=r"row 5 .*a cell of type list"):
        Schema("s", (Trait("b", "flag"),)).encode(frame)
    schema = Schema.infer(frame.assign(a=[1, 2, 3] * 2))
    assert "row 5 (the first is 0)" in schema.notes[1]


def test_the_errors_of_one_table_come_before_the_next_table(small):
    bad = polars.DataFrame({"b": ["no"] * 5 + ["maybe"]})
    with pytest.raises(TableError, match="table 1, row 5 "):
        Schema("s", (Trait("b", "flag"),)).encode([bad, polars.DataFrame({"c": [1]})])


def test_labels_groups_and_missing_cells_of_batches(small, tmp_path):
    columns = {
        "b": ["1", "0", None, "0", "1", None, "1"],
        "group": ["g", None, "h", "g", None, "h", "i"],
        "label": list("abbabba"),
    }
    schema = Schema(
        "s", (Trait("b", "flag"),), label_column="label", positive_labels=("b",), group_column="group"
    )  # fmt: skip
    for table in as_files(columns, tmp_path):
        assert schema.labels(table).tolist() == [0, 1, 1, 0, 1, 1, 0]
        assert schema.group_ids(table).tolist() == ["g", " row 1", "h", "g", " row 4", "h", "i"]
        assert schema.count_missing(table) == {"b": 2}
        assert Schema.infer(table) == Schema.infer(polars.DataFrame(columns))


def test_the_real_tables_give_the_same_store(real_data, cbis_files, small, tmp_path):
    mushroom = tmp_path / "mushroom.csv"
    read_table(real_data / "uci-mushroom" / "agaricus-lepiota.data", header=False).write_csv(
        mushroom
    )
    masses = real_data / "uci-mammographic-masses" / "mammographic_masses.csv"
    blood = real_data / "wbcatt" / "cells.csv"
    labels = np.load(real_data / "coco-multihot" / "labels.npz")
    tags = next(labels[name] for name in labels.files if labels[name].ndim == 2)[:5000]
    coco = tmp_path / "coco.parquet"
    polars.DataFrame(
        {f"tag {i}": tags[:, i].astype(np.int8) for i in range(tags.shape[1])}
    ).write_parquet(coco)
    small(2**16, 1000)
    for path in (mushroom, masses, blood, coco, *cbis_files):
        whole = read_table(path)
        schema = CBIS_DDSM if path in cbis_files else Schema.infer(whole)
        if path not in cbis_files:
            assert Schema.infer(path) == schema
            assert Schema.infer(path).notes == schema.notes
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(tables, "_BATCH_ROWS", 10**9)
            expected = ManifestationStore.from_table(whole, schema)
        assert ManifestationStore.from_table(path, schema).digest == expected.digest
    assert sum(map(is_cut, (mushroom, blood, coco, *cbis_files))) == 7


# Long runs.


def test_progress_counts_the_rows_of_all_tables(small, monkeypatch, tmp_path):
    bars = []

    class Bar:
        total = None

        def __init__(self, **options):
            self.moves, self.options = [], options
            bars.append(self)

        def __enter__(self):
            return self

        def __exit__(self, *error):
            self.closed = True

        def update(self, n):
            self.moves.append((n, self.total))

    monkeypatch.setattr("tqdm.tqdm", Bar)
    files = as_files({"b": ["0", "1", "1", "0", "1"], "c": list("abcde")}, tmp_path)[:2]
    schema = Schema("s", (Trait("b", "flag"),))
    expected = ManifestationStore.from_table(files, schema)
    assert not bars
    store = ManifestationStore.from_table(files, schema, progress=True)
    assert store.digest == expected.digest
    (bar,) = bars
    assert bar.closed
    assert bar.options["disable"] is None  # that is, shown on a terminal only
    assert [total for _, total in bar.moves] == [5] * 3 + [10] * 3
    assert sum(n for n, _ in bar.moves) == 10


# Encodes files one by one, and saves the store of each: what docs/tables.md says of long runs.
SCRIPT = """
import sys
from pathlib import Path
from maninegs_sampling import ManifestationStore, Schema
folder = Path(sys.argv[1])
schema = Schema.load(folder / "schema.json")
for table in sorted(folder.glob("*.csv")):
    saved = table.with_suffix(".store")
    if not saved.exists():
        ManifestationStore.from_table(table, schema).save(saved)
        print("saved", flush=True)
        sys.stdin.readline()
"""


def test_a_run_that_is_killed_loses_no_store_that_was_saved(tmp_path):
    schema = Schema("s", (Trait("a", "one_of", tuple("uvwxyz")), Trait("b", "flag")))
    schema.save(tmp_path / "schema.json")
    rng = np.random.default_rng(0)
    paths = [tmp_path / f"{number:03}.csv" for number in range(8)]
    for path in paths:
        cells = {"a": rng.choice(list("uvwxyz"), 5000), "b": rng.choice(["0", "1"], 5000)}
        polars.DataFrame(cells).write_csv(path)
    command = [sys.executable, "-c", SCRIPT, str(tmp_path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, **pipes, text=True, bufsize=1) as killed:
        for _ in range(3):
            assert killed.stdout.readline() == "saved\n"
            killed.stdin.write("\n")
        killed.kill()  # anywhere in the fourth file
    saved = sorted(tmp_path.glob("*.store"))
    assert len(saved) in (3, 4)
    before = {path: path.read_bytes() for path in saved}
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True
    )
    assert done.stdout.count("saved") == len(paths) - len(saved)
    assert all(path.read_bytes() == content for path, content in before.items())
    stores = [ManifestationStore.load(path.with_suffix(".store")) for path in paths]
    joined = concat_stores(stores)
    assert joined.digest == ManifestationStore.from_table(paths, schema).digest
