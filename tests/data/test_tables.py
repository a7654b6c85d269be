"""Tables from every library and file, read alike or refused with a reason."""

import datetime
import decimal
import io
import os
from pathlib import Path

import numpy as np
import pandas
import polars
import pyarrow
import pyarrow.csv
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from maninegs_sampling import Schema, Trait, read_table
from maninegs_sampling.data import table_files
from maninegs_sampling.errors import InvalidTypeError, InvalidValueError, TableError

HALO = Schema("test", (Trait("halo", "flag"),))
CSV = (
    "flag,code,grade,size,sex,done,when,big\n"
    "0.0,01,1,1.50,F,True,2024-01-05,9007199254740993\n"
    "1.0,02,+2,2,M,False,2024-02-06,9007199254740992\n"
    ",03,3.,1e0,M,True,2024-02-07,9007199254740993\n"
    "1.0,01,1e0,-0,F,False,2024-02-08,9007199254740991\n"
)


def write(tmp_path, content, name="cases.csv"):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def as_dicts(path, **options):
    return read_table(path, **options).to_dicts()


# The same table from everywhere.


def test_a_table_gives_one_schema_however_it_is_read(tmp_path):
    path = write(tmp_path, CSV)
    parquet, guessed = tmp_path / "a.parquet", tmp_path / "b.parquet"
    read_table(path).write_parquet(parquet)
    pandas.read_csv(path).to_parquet(guessed)
    tables = [
        path, read_table(path), pandas.read_csv(path), polars.read_csv(path),
        pandas.read_csv(path).convert_dtypes(), pandas.read_csv(path, dtype=str),
        pyarrow.csv.read_csv(path), parquet, guessed,
    ]  # fmt: skip
    schemas = [Schema.infer(table, group_column="code", label_column="grade") for table in tables]
    assert [t.name for t in schemas[0].traits] == ["flag", "size", "sex", "done", "big"]
    assert schemas[0].bit_names == (
        "flag", "size=0", "size=1", "size=1.5", "size=2", "sex=M", "done",
        "big=9007199254740991", "big=9007199254740992", "big=9007199254740993",
    )  # fmt: skip
    bits = schemas[0].encode(path)
    for schema in schemas:
        assert schema == schemas[0]
        assert schema.notes == schemas[0].notes
        for other in tables:
            assert (schema.encode(other) == bits).all()
            assert schema.labels(other).tolist() == ["1", "2", "3", "1"]
            assert schema.group_ids(other).tolist() == ["1", "2", "3", "1"]


def test_numbers_compare_as_numbers_wherever_values_are_compared():
    schema = Schema(
        "test",
        (Trait("a", "one_of", ("1", "2")), Trait("b", "flag", ("-1", "1")), Trait("c", "flag")),
        missing_values=("-9",),
        label_column="y",
        positive_labels=("2.0",),
    )
    table = polars.DataFrame(
        {
            "a": ["01", " +2.0 ", "-9.0"],
            "b": ["1.", "-1e0", "-9"],
            "c": ["1.0", "-0", "0.0"],
            "y": ["2", "1", "02"],
        }
    )
    assert schema.encode(table).astype(int).tolist() == [[1, 0, 1, 1], [0, 1, 0, 0], [0, 0, 0, 0]]
    assert schema.labels(table).tolist() == [1, 0, 1]
    assert schema.count_missing(table) == {"a": 1, "b": 1, "c": 0}


def test_texts_of_nan_are_missing_and_infinity_is_a_number():
    table = polars.DataFrame({"a": ["nan", "inf", "-Infinity"]})
    schema = Schema("test", (Trait("a", "bins", edges=(0,)),), missing_values=())
    assert schema.encode(table).astype(int).tolist() == [[0, 0], [0, 1], [1, 0]]


# Data frames.


def test_integer_names_become_texts():
    table = pandas.DataFrame([[1, "a"], [0, "b"], [1, "c"]])
    assert Schema.infer(table).bit_names == ("0", "1=a", "1=b", "1=c")
    assert Schema.infer(table, label_column="1").label_column == "1"


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (pandas.DataFrame([[1, 2]], columns=["halo", "halo"]), r"several columns with the same name: \['halo'\]"),
        (pandas.DataFrame([[1, 2]], columns=[1, "1"]), r"several columns with the same name: \['1'\]"),
        (pyarrow.table([[1], [2]], names=["halo", "halo"]), "several columns with the same name"),
        (pandas.DataFrame([[1]], columns=pandas.MultiIndex.from_tuples([("a", "b")])), "MultiIndex"),
        (pandas.DataFrame([[1]], columns=[None]), "whose name is"),
        (pandas.DataFrame([[1]], columns=[b"halo"]), "whose name is bytes"),
        (pandas.DataFrame(index=range(3)), "has no columns"),
        (polars.DataFrame(), "has no columns"),
        (pandas.DataFrame({"halo": []}), "has no rows"),
        (polars.DataFrame({"halo": [b"1"]}), r"row 0 .*column 'halo': a cell of type bytes, b'1'"),
        (polars.DataFrame({"halo": [[1]]}), "column 'halo': a cell of type list"),
        (polars.DataFrame({"halo": [{"a": 1}]}), "column 'halo': a cell of type dict"),
        (pandas.DataFrame({"halo": [1, (1, 2)]}), "row 1 .*column 'halo': a cell of type tuple"),
        (pandas.DataFrame({"halo": [object()]}), "a cell of type object"),
    ],
)  # fmt: skip
def test_frames_that_are_refused(table, message):
    with pytest.raises(TableError, match=message):
        HALO.encode(table)


@pytest.mark.parametrize(
    "table",
    [
        pandas.Series([1]),
        polars.Series([1]),
        polars.LazyFrame({"halo": [1]}),
        {"halo": [1]},
        np.eye(2),
    ],
)
def test_what_is_no_table(table):
    with pytest.raises(InvalidTypeError, match="a table is a pandas, polars or pyarrow table"):
        HALO.encode(table)


def test_cells_of_every_type_are_read():
    table = pandas.DataFrame(
        {
            "halo": pandas.array([True, None, False], dtype="boolean"),
            "kind": pandas.Categorical(["b", None, "a"]),
            "size": [decimal.Decimal("1.50"), decimal.Decimal("2"), np.int64(3)],
        }
    )
    assert Schema.infer(table).bit_names == ("halo", "kind=b", "size=1.5", "size=2", "size=3")
    floats = polars.DataFrame({"a": polars.Series([0.1, 0.2, 0.3], dtype=polars.Float32)})
    assert Schema.infer(floats).bit_names == ("a=0.1", "a=0.2", "a=0.3")


def test_columns_that_are_no_texts_are_in_nobodys_way():
    table = polars.DataFrame({"halo": [0, 1], "image": [b"\x00", b"\x01"], "box": [[1], [2]]})
    schema = Schema.infer(table)
    assert schema.bit_names == ("halo",)
    assert "image: left out" in schema.notes[1]
    assert schema.encode(table).tolist() == [[False], [True]]


@pytest.mark.parametrize(
    "cells",
    [
        [datetime.date(2024, 1, 5 + i) for i in range(3)],
        [datetime.datetime(2024, 1, 5 + i, 12, 30) for i in range(3)],
        [datetime.time(12, i) for i in range(3)],
        [datetime.timedelta(days=i, seconds=i) for i in range(3)],
    ],
)
@pytest.mark.parametrize("make", [pandas.DataFrame, polars.DataFrame])
def test_dates_and_times_are_left_out(make, cells):
    schema = Schema.infer(make({"halo": [0, 1, 1], "seen": cells}))
    assert schema.notes[1] == "seen: left out, dates or times"


# Files: found out or asked for.


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_separators_are_found(tmp_path, separator):
    path = write(tmp_path, f"shape{separator}halo\nround{separator}1\noval{separator}\n")
    rows = [{"shape": "round", "halo": "1"}, {"shape": "oval", "halo": None}]
    assert as_dicts(path) == rows
    assert as_dicts(path, separator=separator) == rows


def test_sets_in_cells_are_no_separators(tmp_path):
    assert as_dicts(write(tmp_path, "signs\nA;B\nC\n")) == [{"signs": "A;B"}, {"signs": "C"}]
    path = write(tmp_path, "a,signs\n1,A|B\n2,C|D\n")
    assert as_dicts(path)[0] == {"a": "1", "signs": "A|B"}


@pytest.mark.parametrize(
    "content",
    [
        "a,b;c\n1,2;3\n",  # commas or semicolons
        "a b c\n1 2 3\n",  # spaces
        "My export\na;b;c\nx;y;z\n",  # a title
    ],
)
def test_a_separator_is_asked_for(tmp_path, content):
    with pytest.raises(TableError, match="give separator="):
        read_table(write(tmp_path, content))


def test_decimal_commas(tmp_path):
    content = "shape;size\nround;1,5\noval;NA\nlobed;,25\n"
    assert [row["size"] for row in as_dicts(write(tmp_path, content))] == ["1.5", "NA", ".25"]
    table = Schema.infer(write(tmp_path, content))
    assert table.bit_names[-1] == "size=1.5"
    path = write(tmp_path, 'shape,size\nround,"1,5"\noval,"1,25"\n')
    assert [row["size"] for row in as_dicts(path, decimal=",")] == ["1.5", "1.25"]
    assert [row["size"] for row in as_dicts(path)] == ["1,5", "1,25"]
    sets = write(tmp_path, "shape;signs\nround;1,2\noval;1,2,3\n")
    assert as_dicts(sets, decimal=",") == as_dicts(sets)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", "shape;size\nround;1,234\noval;2,000\n"),  # thousands?
        ("a.csv", "shape;size\nround;1,5\noval;1.5\n"),  # both signs
        ("a.tsv", "shape\tsigns\nround\t1,3\noval\t2\n"),  # a set?
    ],
)
def test_decimals_are_asked_for(tmp_path, name, content):
    path = write(tmp_path, content, name)
    with pytest.raises(TableError, match="give decimal=','"):
        read_table(path)
    assert len(read_table(path, decimal=",")) == len(read_table(path, decimal=".")) == 2


@pytest.mark.parametrize(
    "content", ["1,0\n2,1\n", "round,5\noval,4\nround,5\n", "a,a\n1,2\n", "a,,\n1,2,3\n"]
)
def test_a_first_line_of_data_asks_for_header(tmp_path, content):
    path = write(tmp_path, content)
    with pytest.raises(TableError, match="header=False"):
        read_table(path)
    frame = read_table(path, header=False)
    assert frame.columns[:2] == ["column_1", "column_2"]
    assert len(frame) == content.count("\n")


def test_years_can_name_columns(tmp_path):
    path = write(tmp_path, "2015,2016\n1,2\n")
    assert as_dicts(path, header=True) == [{"2015": "1", "2016": "2"}]


def test_mushrooms_ask_for_header(real_data):
    path = real_data / "uci-mushroom" / "agaricus-lepiota.data"
    with pytest.raises(TableError, match="header=False"):
        Schema.infer(path)
    assert read_table(path, header=False).shape == (8124, 23)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_encodings_with_a_mark_are_found(tmp_path, encoding):
    path = write(tmp_path, "größe,form\n1,ö\n2,ä\n".encode(encoding))
    assert as_dicts(path) == [{"größe": "1", "form": "ö"}, {"größe": "2", "form": "ä"}]


def test_other_encodings_are_asked_for(tmp_path):
    path = write(tmp_path, "a,form\n1,o\n2,größer\n".encode("cp1252"))
    with pytest.raises(TableError, match=r"cases.csv, line 3: byte 0xf6 is not utf-8; .*encoding="):
        read_table(path)
    assert as_dicts(path, encoding="cp1252")[1]["form"] == "größer"
    path = write(tmp_path, "a,b\n1,2\n".encode("utf-16-le"))
    with pytest.raises(TableError, match=r"line 1: a NUL character.*encoding='utf-16-le'"):
        read_table(path)
    assert as_dicts(path, encoding="utf-16-le") == [{"a": "1", "b": "2"}]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a,b,c\n1,2,3\n4,5\n", r"row 1 \(the first is 0; line 3\): 2 cells where the first line has 3: \['4', '5'\]"),
        ("a,b\n1,2\n4,5,6\n", r"row 1 .*line 3\): 3 cells"),
        ('a,b\n"x\ny",2\n4\n', r"row 1 \(the first is 0; line 4\): 1 cells"),
        ("a,b\n1,2\n\n3,4\n", "line 3: a blank line"),
        ("a\n1x\n\n3x\n", "line 3: a blank line"),
        ("\na,b\n1,2\n", "line 1: a blank line"),
        ('a,b\n1,2\n"3,4\n5,6\n', "begins in line 3 is not complete.*quote left open"),
        ('a,b\n"1"2,3\n', "begins in line 2"),
        ("a,b\n1,\x002\n", "line 2: a NUL character"),
        ("", "is empty"),
        ("sep=;\na;b\nx;1\n", "line 1: 'sep=;' is for Excel"),
        ("\n \n", "is empty"),
        ("a,b\n", "has no rows"),
        (f"a,b\nu,{'x' * 200_000}\nv\n", "line 2.*field larger than field limit"),
    ],
)  # fmt: skip
def test_texts_that_are_no_table(tmp_path, content, message):
    with pytest.raises(TableError, match=message) as caught:
        HALO.encode(write(tmp_path, content))
    assert "truncate_ragged_lines" not in str(caught.value)


@pytest.mark.parametrize("end", ["", "\n", "\r\n", "\n\n", "\r"])
def test_line_ends(tmp_path, end):
    inner = end[:2] or "\n"
    inner = "\n" if inner == "\n\n" else inner
    assert as_dicts(write(tmp_path, f"a,b{inner}x,2{end}")) == [{"a": "x", "b": "2"}]


@pytest.mark.parametrize("suffix", ["csv", "tsv", "parquet"])
def test_exactly_the_named_file_is_read(tmp_path, monkeypatch, suffix):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    names = [f"cases[1].{suffix}", f"cases1.{suffix}", f"ca*s.{suffix}"]
    for number, name in enumerate(names):
        frame = polars.DataFrame({"halo": [f"no {number}"], "b": ["x"]})
        if suffix == "parquet":
            content = io.BytesIO()
            frame.write_parquet(content)
            Path(name).write_bytes(content.getvalue())
        else:
            Path(name).write_text(frame.write_csv(separator="," if suffix == "csv" else "\t"))
    for number, name in enumerate(names):
        assert as_dicts(name) == [{"halo": f"no {number}", "b": "x"}]
    for name in (f"ca?es1.{suffix}", f"~/cases1.{suffix}"):
        with pytest.raises(TableError, match="there is no file"):
            read_table(name)
    os.mkdir(f"folder.{suffix}")
    with pytest.raises(TableError, match="is a folder"):
        read_table(f"folder.{suffix}")
    odd = os.fsdecode(b"caf\xe9." + suffix.encode())
    os.rename(names[0], odd)
    assert as_dicts(odd)[0]["halo"] == "no 0"
    with pytest.raises(TableError, match="no column") as caught:
        Schema("test", (Trait("x", "flag"),)).encode(odd)
    str(caught.value).encode()  # can be printed


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"separator": ";;"}, "separator must be one character"),
        ({"separator": '"'}, "separator must be one character"),
        ({"decimal": ";"}, "decimal must be ',' or '.'; got ';'"),
        ({"encoding": "klingon"}, "encoding must be one that Python knows"),
        ({"encoding": "zlib"}, "encoding must be one that Python knows"),
        ({"header": "no"}, "header must be True, False or None"),
    ],
)
def test_options_of_reading(tmp_path, options, message):
    with pytest.raises((InvalidValueError, InvalidTypeError), match=message):
        read_table(write(tmp_path, "a,b\nx,2\n"), **options)


def test_parquet_takes_no_options_and_keeps_types(tmp_path):
    polars.DataFrame({"a": [1, 2]}).write_parquet(tmp_path / "a.parquet")
    assert read_table(tmp_path / "a.parquet").schema["a"] == polars.Int64
    with pytest.raises(InvalidValueError, match="takes no separator="):
        read_table(tmp_path / "a.parquet", separator=";")
    with pytest.raises(InvalidTypeError, match="a path is a text"):
        read_table(3)


# Most files are regular and read fast; what is not is read by rules of its own.

pieces = st.text(alphabet='x,"\n\r1 ', min_size=1, max_size=25).filter(str.strip)


@given(text=pieces, one_line_end=st.booleans())
@settings(max_examples=1000)
@example(text=',\r"x\n,\n"\n",",\n  ,', one_line_end=False)
@example(text='"x, ""y""",1\r\n"",2\r\n', one_line_end=False)
def test_regular_files_are_read_as_others_are(tmp_path_factory, text, one_line_end):
    text = "a,b\n" + (text.replace("\r", "\n") if one_line_end else text)
    if table_files.regular_shape(text, ","):
        path = write(tmp_path_factory.getbasetemp(), text)
        slow = table_files._rows(text, "text", ",", True)
        fast = read_table(path, separator=",", header=True).rows()
        assert [[cell or "" for cell in row] for row in fast] == slow[1:]


def test_spaces_around_a_columns_name_do_not_matter(tmp_path):
    path = write(tmp_path, "halo , size\n1,2\n0,3\n")
    assert read_table(path).columns == ["halo", "size"]
    for table in (path, pandas.read_csv(path), polars.read_csv(path), pyarrow.csv.read_csv(path)):
        assert HALO.encode(table).tolist() == [[True], [False]]
    with pytest.raises(TableError, match=r"twice|same name"):
        HALO.encode(write(tmp_path, "halo,halo \n1,2\n"))
    with pytest.raises(TableError, match="several columns with the same name"):
        HALO.encode(polars.DataFrame({"halo": [1], "halo ": [0]}))
