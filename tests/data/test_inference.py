"""What becomes a trait in a table without a schema, and what its note says."""

import numpy as np
import polars
import pytest

from maninegs_sampling import Schema, Trait
from maninegs_sampling.data.column_names import identifies
from maninegs_sampling.errors import InvalidTypeError, InvalidValueError, TableError


def infer(columns, **options):
    columns = {"halo": ["yes", "no"] * (len(next(iter(columns.values()))) // 2)} | columns
    table = polars.DataFrame(
        {k: [None if cell is None else str(cell) for cell in cells] for k, cells in columns.items()}
    )
    return Schema.infer(table, **options)


def note_of(schema, column):
    return dict(note.split(": ", 1) for note in schema.notes)[column]


def traits_of(schema):
    return {trait.name: trait for trait in schema.traits}


# Two values.


@pytest.mark.parametrize(
    ("cells", "off", "on"),
    [
        (["-1", "1"], "-1", "1"),
        (["1.0", "-1"], "-1", "1"),
        (["M", "F"], "F", "M"),
        (["b", "A"], "A", "b"),
        (["2", "10"], "2", "10"),
        (["benign", "Malignant"], "benign", "Malignant"),
    ],
)
def test_two_values_are_one_bit(tmp_path, cells, off, on):
    schema = infer({"a": cells * 5})
    assert traits_of(schema)["a"] == Trait("a", "flag", options=(off, on))
    assert schema.bit_names == ("halo", f"a={on}")
    assert note_of(schema, "a") == f"two values: one bit, set for {on!r}"
    schema.save(tmp_path / "schema.json")
    assert Schema.load(tmp_path / "schema.json") == schema
    bits = schema.encode(polars.DataFrame({"halo": ["no"] * 3, "a": [off, on.upper(), None]}))
    assert bits[:, 1].tolist() == [False, True, False]


def test_missing_cells_of_two_values_are_pointed_out():
    cells = ["M", "F", None, "M"]
    flags = {"sex": cells, "cyst": ["yes", None, "no", "no"]}
    assert note_of(infer(flags), "sex").endswith("; 1 missing cells count as 'F'")
    assert note_of(infer(flags), "cyst") == "yes or no: one bit; 1 missing cells count as no"
    option = infer(flags, missing="option")
    assert "missing" not in note_of(option, "sex")
    assert option.bit_names[2:4] == ("sex=M", "sex=missing")


def test_declared_options_stay_what_they_are():
    schema = Schema("s", (Trait("sex", "one_of", ("F", "M")),))
    assert schema.bit_names == ("sex=F", "sex=M")


@pytest.mark.parametrize("cell", ["0.0", "0", ""])
def test_zero_one_and_missing_are_one_bit(cell):
    assert traits_of(infer({"a": ["1.0", "1", "0", cell]}))["a"] == Trait("a", "flag")


# Numbers of things.


def rng_table(n):
    rng = np.random.default_rng(n)
    return {
        "age": rng.normal(60, 15, n).clip(18, 95).astype(int),
        "size in mm": rng.gamma(2, 10, n).astype(int) + 1,
        "score": rng.integers(0, 101, n),
        "weight in g": (rng.normal(3300, 500, n).astype(int) // 10) * 10,
        "platelets": rng.integers(100, 400, n) * 1000,
    }


@pytest.mark.parametrize("n", [30, 100, 500, 5000])
def test_ages_sizes_and_scores_stay_traits(n):
    table = rng_table(n)
    assert set(traits_of(infer(table))) == {"halo", *table}


def test_sorted_ages_stay_a_trait():
    assert "age" in traits_of(infer({"age": sorted(rng_table(40)["age"])}))


@pytest.mark.parametrize(
    "numbers",
    [
        np.repeat(np.arange(1, 400), 4)[:1500],  # patients, one after the other
        np.random.default_rng(0).integers(1, 30_000, 4000),  # more than a thousand of them
        np.random.default_rng(0)
        .integers(1_000_000, 9_999_999, 30)
        .repeat(2),  # a hospital's numbers
        np.random.default_rng(0).integers(10_000, 99_999, 300),
        range(100, 140),
    ],
    ids=["dense", "many", "digits", "five digits", "rows"],
)
def test_numbers_of_things_are_left_out(numbers):
    numbers = list(numbers)[: len(numbers) // 2 * 2]
    schema = infer({"nhc": numbers})
    assert list(traits_of(schema)) == ["halo"]
    assert "left out" in note_of(schema, "nhc")
    assert "include=" in note_of(schema, "nhc")
    assert traits_of(infer({"nhc": numbers}, include=["nhc"]))["nhc"].kind == "bins"


def test_numbers_that_may_be_of_things_are_pointed_out():
    numbers = np.random.default_rng(0).integers(1, 9_000, 400)
    schema = infer({"nhc": numbers})
    assert "if it is an identifier, exclude= leaves it out" in note_of(schema, "nhc")


@pytest.mark.parametrize(
    "name",
    [
        "id", "ID", "patient", "PatientID", "patientid", "patient_id", "Patient ID", "id_lesion",
        "case", "case no", "CaseNumber", "study_date", "StudyInstanceUID", "accession.number", "mrn",
        "image file path", "filename", "fileName", "lesion number", "file-path", "exam time", "index", "key",
        "patient_id_2", "", "Unnamed: 0", "study date",
    ],
)  # fmt: skip
def test_names_of_identifiers(name):
    assert identifies(name)


@pytest.mark.parametrize(
    "name",
    [
        "patient age", "patient_sex", "age_at_study_entry", "caseness", "lesion side",
        "image view", "keyhole", "solid", "fluid", "pathology", "number of cysts", "mass shape", "timing",
    ],
)  # fmt: skip
def test_names_of_traits(name):
    assert not identifies(name)


def test_a_fraction_is_measured():
    assert "mass index" in traits_of(infer({"mass index": [i + 0.5 for i in range(40)]}))
    assert "mass index" not in traits_of(infer({"mass index": [i % 30 for i in range(40)]}))


def test_include_and_exclude_decide():
    columns = {"patient": ["a", "b", "c", "a"], "shape": ["r", "o", "l", "o"]}
    assert list(traits_of(infer(columns))) == ["halo", "shape"]
    schema = infer(columns, include=["patient"], exclude=["shape", "halo"])
    assert list(traits_of(schema)) == ["patient"]
    assert note_of(schema, "shape") == "left out, it is excluded"


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"include": ["b"]}, TableError, "no column 'b', which was to be included; the columns are"),
        ({"exclude": ["b"]}, TableError, "no column 'b', which was to be excluded; the columns are"),
        ({"include": ["same"]}, TableError, "'same' cannot be included: left out, constant"),
        ({"include": ["day"]}, TableError, "'day' cannot be included: left out, dates or times"),
        ({"include": ["text"]}, TableError, "'text' cannot be included: left out, free text"),
        ({"include": ["halo"], "exclude": ["halo"]}, InvalidValueError, "cannot be included: it is excluded"),
        ({"include": ["halo"], "label_column": "halo"}, InvalidValueError, "cannot be included: it is the label"),
        ({"include": "halo"}, InvalidTypeError, "include must be a list of texts; got 'halo'"),
        ({"missing_values": -9}, InvalidTypeError, "missing_values must be a list of texts; got -9"),
        ({"n_bins": 1}, InvalidValueError, "n_bins must be at least 2"),
        ({"max_options": 0}, InvalidValueError, "max_options must be at least 1"),
    ],
)  # fmt: skip
def test_what_cannot_be_decided_so(options, error, message):
    columns = {
        "same": ["x"] * 20,
        "day": [f"2024-01-{day:02d}" for day in range(1, 21)],
        "text": [f"{n} is what {n * n} may be" for n in range(20)],
    }
    with pytest.raises(error, match=message):
        infer(columns, **options)


# Dates, codes, and numbers that are written otherwise.


@pytest.mark.parametrize(
    ("cell", "why"),
    [
        (lambda i: f"2024-{i % 12 + 1:02d}-{i % 28 + 1:02d}", "dates or times"),
        (lambda i: f"2024-{i % 12 + 1:02d}-{i % 28 + 1:02d}T{i % 24:02d}:30:00Z", "dates or times"),
        (lambda i: f"2024-{i % 12 + 1:02d}-{i % 28 + 1:02d} {i % 24:02d}:30:00.5+01:00", "dates or times"),
        (lambda i: f"{i % 28 + 1}/{i % 12 + 1}/2024", "dates or times"),
        (lambda i: f"{i % 28 + 1}.{i % 12 + 1}.24", "dates or times"),
        (lambda i: f"{i % 28 + 1}-Jan-2024", "dates or times"),
        (lambda i: f"March {i % 28 + 1}, 2024", "dates or times"),
        (lambda i: f"2024{i % 12 + 1:02d}{i % 28 + 1:02d}", "dates or times"),
        (lambda i: f"2024-{i % 3 + 1:02d}", "dates or times"),
        (lambda i: f"{i % 24:02d}:{i % 60:02d}", "dates or times"),
        (lambda i: f"1{i % 7}3-4{i % 5}-67{i % 9}9", "codes or telephone numbers"),
        (lambda i: f"555-12{i % 9}{i % 7}", "codes or telephone numbers"),
        (lambda i: f"{10 + i % 9}-{300 + i % 7}", "codes or telephone numbers"),
        (lambda i: f"(030) {100 + i % 9}-{300 + i % 7}", "codes or telephone numbers"),
        (lambda i: f"C{50 + i % 9}-{i % 7}", "free text or an identifier"),
        (lambda i: f"{i % 9},{i % 7}", "numbers with commas such as"),
        (lambda i: f"{1 + i},{100 + i % 7}", "numbers with commas"),
        (lambda i: "unknown" if i % 10 == 0 else i % 31, r"numbers except ['unknown']"),
        (lambda i: "inf" if i == 3 else i % 31, "infinite"),
    ],
)  # fmt: skip
def test_what_is_neither_words_nor_numbers(cell, why):
    schema = infer({"a": [cell(i) for i in range(120)]})
    assert why in note_of(schema, "a")
    assert list(traits_of(schema)) == ["halo"]


def test_sets_of_codes_are_still_sets():
    sets = [f"{i % 5};{i % 3};{i % 2}" for i in range(60)]
    assert traits_of(infer({"a": sets}))["a"].kind == "any_of"
    sets = [f"T{i % 3}-N{i % 5}-M{i % 2}" for i in range(60)]
    assert traits_of(infer({"a": sets}))["a"].kind == "any_of"


def test_age_ranges_stay_options():
    assert infer({"a": ["40-49", "50-59", "60-69", "70-79"]}).bit_names[1] == "a=40-49"


# What the notes suspect.


@pytest.mark.parametrize(
    "name",
    ["outcome", "Label", "target", "diagnosis", "is_malignant", "class", "severity", "pathology"],
)
def test_outcomes_are_suspected(name):
    cells = ["a", "b", "c", "a"]
    assert f"label_column={name!r} keeps it out" in note_of(infer({name: cells}), name)
    other = infer({name: cells, "y": cells}, label_column="y")
    assert "exclude= keeps it out" in note_of(other, name)
    assert (
        note_of(infer({name: cells}, label_column=name), name) == "left out, it is the label column"
    )
    assert "outcome" not in note_of(infer({name: cells}, include=[name]), name)


@pytest.mark.parametrize(
    ("cells", "suspected"),
    [
        ([1, 2, 3, 4, 9], ["9"]),
        ([1, 2, 3, -9], ["-9"]),
        ([*range(40), 999], ["999"]),
        ([*range(40), -99.0, 99], ["-99", "99"]),
        ([0, 1, 2, -1], ["-1"]),
        ([1, 0, -9, 1], ["-9"]),
        (["round", "oval", "Not  Recorded"], ["Not  Recorded"]),
        (["round", "oval", "UNKNOWN", "none"], ["UNKNOWN", "none"]),
        (["M", "unknown"], ["unknown"]),
        ([*range(100), 99], []),
        ([*range(1, 10)], []),
        ([-1, 1], []),
        ([-2, -1, 0, 1], []),
        ([-1000, -999, -998], []),
    ],
)
def test_missing_codes_are_suspected(cells, suspected):
    cells = cells * 2
    note = note_of(infer({"a": cells}), "a")
    assert (f"if {suspected} mean missing, pass them as missing_values=" in note) == bool(suspected)
    if suspected:
        settled = infer({"a": cells}, missing_values=suspected)
        assert settled.missing_values[-len(suspected) :] == tuple(suspected)
        assert settled.is_missing("NA")
        assert settled.is_missing(f" {suspected[0].upper()} ")
        if "a" in traits_of(settled):
            assert "mean missing" not in note_of(settled, "a")


def test_a_word_among_sets_is_suspected():
    sets = ["-".join(words) for words in ["AB", "BC", "CA", "ABC", "A", "B", "C"]] + ["unknown"]
    assert "if ['unknown'] mean missing" in note_of(infer({"a": sets}, max_options=3), "a")


def test_as_many_words_as_the_documentation_says():
    words = [f"w{i:c}" for i in range(ord("a"), ord("a") + 8)]
    sets = [f"{a};{b}" for a in words for b in words if a < b]
    assert traits_of(infer({"a": sets}, max_options=2))["a"].options == tuple(words)
    assert "a" not in traits_of(
        infer({"a": [*sets, "wa;zz"], "halo": ["yes", *["no"] * 28]}, max_options=2)
    )
