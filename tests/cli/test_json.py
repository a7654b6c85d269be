"""--json: one object on standard output, which holds what the text tells."""

import json
import re

import pytest

import maninegs_sampling as mn
from maninegs_sampling.cli import main
from maninegs_sampling.cli_json import json_text
from maninegs_sampling.cli_parser import EXAMPLES
from tests.snippets import write_cases

MORE = {
    "compare": ["--epochs", "1", "--batch-size", "16"],
    "order": ["--epochs", "1", "--batch-size", "16"],
}


@pytest.fixture
def cases(tmp_path, monkeypatch):
    write_cases(tmp_path / "cases.csv")
    monkeypatch.chdir(tmp_path)
    return ["cases.csv", "--label", "outcome"]


def no_constants(name):
    raise AssertionError(f"{name} is no JSON")


def record_of(capsys, command, *arguments):
    assert main([command, *arguments, *MORE.get(command, []), "--json"]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    return json.loads(printed.out, parse_constant=no_constants)


@pytest.mark.parametrize("command", EXAMPLES)
def test_every_command_prints_one_object(cases, capsys, command):
    record = record_of(capsys, command, *cases)
    assert any(note.startswith("trait 0: ") for note in record["schema_notes"])


def test_inspect(cases, capsys):
    store = mn.ManifestationStore.from_table(
        "cases.csv", mn.Schema.infer("cases.csv", label_column="outcome")
    )
    record = record_of(capsys, "inspect", *cases)
    assert (record["rows"], record["patterns"]) == (300, store.n_patterns)
    assert list(record["bit_rows"].values()) == store.to_dense().sum(axis=0).tolist()
    histogram = mn.distance_histogram(store)
    assert record["pair_shares"] == (histogram / histogram.sum()).tolist()
    assert record["pairs_drawn"] is None
    assert record["missing_cells"] == {}


def test_suggest_gives_what_the_library_gives(cases, capsys):
    options = ["--groups", "patient_id", "--steps", "500", "--batch-size", "16"]
    record = record_of(capsys, "suggest", *cases, *options)
    schema = mn.Schema.infer("cases.csv", label_column="outcome", group_column="patient_id")
    store = mn.ManifestationStore.from_table("cases.csv", schema)
    groups = schema.group_ids("cases.csv")
    found = mn.suitability(store, batch_size=16, labels=schema.labels("cases.csv"),
                           bit_names=schema.bit_names, groups=groups, steps=500)  # fmt: skip
    assert record["verdict"] == found.verdict
    assert record["reasons"] == list(map(str, found.reasons))
    assert [row["pair_mean"] for row in record["mus"]] == list(found.pair_means)
    values = record["settings"]["values"]
    assert values["sigma"] == found.settings["sigma"]
    assert values["mu"]["steps"] == found.settings["mu"].steps
    assert values["groups"] == "schema.group_ids('cases.csv')"
    assert main(["suggest", *cases, *options]) == 0
    assert record["settings"]["call"] in capsys.readouterr().out


def test_no_settings_are_null(tmp_path, capsys):
    path = tmp_path / "few.csv"
    path.write_text("shape,halo\n" + "round,yes\noval,no\n" * 50)
    record = record_of(capsys, "suggest", str(path))
    assert (record["verdict"], record["settings"]) == ("no harder batches", None)


def test_compare_prints_its_file(cases, capsys):
    record = record_of(capsys, "compare", *cases)
    with open("comparison/comparison.json", encoding="utf-8") as file:
        content = json.load(file)
    # what is no number is null on standard output
    assert [row["name"] for row in record["samplers"]] == [
        row["name"] for row in content["samplers"]
    ]
    assert record["settings"] == content["settings"]
    assert record["wrote"] == ["comparison/comparison.json", "comparison/comparison.png"]


def test_report_says_where_it_is(cases, capsys):
    record = record_of(capsys, "report", *cases, "--out", "r.html")
    assert record["wrote"] == ["r.html"]
    assert re.match("harder|no harder", record["verdict"])


def test_an_error_prints_no_object(cases, capsys):
    assert main(["inspect", "nowhere.csv", "--json"]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("maninegs: there is no file")


def test_names_are_not_changed_but_escaped(tmp_path, capsys):
    path = tmp_path / "cases.csv"
    path.write_text("red\x1b[31m,≤2cm\n" + "yes,no\nno,yes\nyes,yes\n")
    assert main(["inspect", str(path), "--json"]) == 0
    printed = capsys.readouterr().out
    assert "\x1b" not in printed
    assert list(json.loads(printed)["bit_rows"]) == ["red\x1b[31m", "≤2cm"]


def test_numbers_that_json_lacks_are_null():
    values = {"mean": float("nan"), "ends": [float("inf"), (1.5, float("-inf"))], "n": 3}
    assert json.loads(json_text(values)) == {"mean": None, "ends": [None, [1.5, None]], "n": 3}
