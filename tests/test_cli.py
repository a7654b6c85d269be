import json
import shlex
import subprocess
import sys

import numpy as np
import polars
import pytest

from maninegs_sampling.cli import main
from maninegs_sampling.distances import histogram, pairs


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "cases.csv"
    n = 60
    polars.DataFrame(
        {
            "id": range(n),
            "shape": [("round", "oval", "lobed")[i % 3] for i in range(n)],
            "halo": ["yes" if i % 4 else "no" for i in range(n)],
            "no_halo": ["no" if i % 4 else "yes" for i in range(n)],
            "copy": ["yes" if i % 4 else "no" for i in range(n)],
            "size": [None if i == 7 else float(i * 37 % 61) for i in range(n)],
            "grade": [str(i * 7 % 5) for i in range(n)],
            "outcome": [i % 2 for i in range(n)],
        }
    ).write_csv(path)
    return path


def test_compare_a_table(table, tmp_path, capsys):
    out = tmp_path / "out"
    schema = tmp_path / "schema.json"
    arguments = ["compare", str(table), "--label", "outcome", "--batch-size", "8", "--epochs", "2",
                 "--mu", "3", "0", "--sigma", "1", "--seed", "4", "--out", str(out),
                 "--save-schema", str(schema)]  # fmt: skip
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    for text in ("id: left out", "shape: 3 options", "uniform", "nearest only", "graph blocks",
                 "authors, mu=3", "ManiNeg, mu=0", "uniform-distinct", "nearest 7", "share of the 60 instances"):  # fmt: skip
        assert text in printed
    content = json.loads((out / "comparison.json").read_text())
    assert content["settings"]["mus"] == [3.0, 0.0]
    assert content["settings"]["seed"] == 4
    names = [entry["name"] for entry in content["samplers"]]
    assert names[-3:] == ["near cluster", "eight clusters", "eight covering"]
    assert len(names) + len(content["left_out"]) == 13
    assert (out / "comparison.png").stat().st_size > 10_000
    assert main(["compare", str(table), "--schema", str(schema), "--batch-size", "8", "--epochs", "1",
                 "--out", str(out)]) == 0  # fmt: skip
    assert "Inferred schema" not in capsys.readouterr().out


def test_compare_without_a_table_uses_wisconsin(tmp_path, capsys):
    assert main(["compare", "--epochs", "1", "--out", str(tmp_path)]) == 0
    assert "569 instances, 567 distinct patterns, 90 bits" in capsys.readouterr().out


def test_inspect(table, capsys):
    assert main(["inspect", str(table), "--label", "outcome"]) == 0
    printed = capsys.readouterr().out
    for text in ("60 rows, 14 bits, 41 distinct patterns", "shape=round", "33.3%",
                 "missing cells: size 1", "constant bits: none",
                 "no_halo is always the opposite of halo", "copy always equals halo",
                 "pairs of rows by Hamming distance"):  # fmt: skip
        assert text in printed, text


@pytest.fixture
def tags(tmp_path):
    """A table of tags, most of them absent."""
    path = tmp_path / "tags.csv"
    rng = np.random.default_rng(0)
    topics = rng.random((6, 30)) < 0.3
    has = topics[rng.integers(6, size=120)] & (rng.random((120, 30)) < 0.7)
    columns = {
        f"tag {b}": ["yes" if bit else "no" for bit in column] for b, column in enumerate(has.T)
    }
    polars.DataFrame(columns).write_csv(path)
    return path


def test_distances_of_a_table_by_jaccard(tags, capsys):
    assert main(["inspect", str(tags), "--metric", "jaccard"]) == 0
    printed = capsys.readouterr().out
    assert "pairs of rows by Jaccard distance (mean 0." in printed
    assert "\n 1.0 " in printed
    assert main(["inspect", str(tags), "--metric", "jaccard", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["metric"] == "jaccard"
    assert len(record["pair_shares"]) == 101
    assert 0 < record["mean_distance"] < 1


def test_suggest_by_jaccard_prints_a_call_that_compares(tags, tmp_path, capsys):
    assert main(["suggest", str(tags), "--metric", "jaccard", "--batch-size", "8"]) == 0
    printed = capsys.readouterr().out
    assert 'metric="jaccard")' in printed
    assert "bits" not in printed.split("instances, ")[1]
    (line,) = (line for line in printed.splitlines() if line.startswith("maninegs compare"))
    assert "--metric jaccard" in line
    words = [*shlex.split(line)[1:], "--epochs", "1", "--out", str(tmp_path / "out")]
    assert main(words) == 0
    printed = capsys.readouterr().out
    for text in ("left out: graph blocks, because its neighbors are near by Hamming distance",
                 "mean Jaccard distance of the others", "ManiNeg, mu=", "nearest only"):  # fmt: skip
        assert text in printed, text
    content = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert content["settings"]["metric"] == "jaccard"
    (ours,) = (e for e in content["samplers"] if e["name"] == "eight clusters")
    assert 0 < ours["pair_distance_mean"] < 1
    assert list(ours["share_within"]) == ["0.1", "0.2", "0.3"]
    assert len(content["left_out"]) == 6  # three of neighbors, the authors' at two mus, one center
    assert (tmp_path / "out" / "comparison.png").stat().st_size > 10_000


def test_a_report_by_jaccard(tags, tmp_path, capsys):
    out = tmp_path / "report.html"
    words = ["report", str(tags), "--metric", "jaccard", "--batch-size", "8", "--out", str(out)]
    assert main(words) == 0
    page = out.read_text()
    assert "Jaccard distance" in page
    assert "Hamming" not in page.replace("needs metric=&#34;hamming&#34;", "")
    assert "(bits)" not in page
    assert "Figure 4" not in page


def test_compare_by_jaccard_refuses_numbers_of_bits(tags, tmp_path, capsys):
    words = ["compare", str(tags), "--metric", "jaccard", "--out", str(tmp_path)]
    assert main([*words, "--mu", "6", "0"]) == 2
    assert 'mus[0] must be finite and within +-2 with metric="jaccard"' in capsys.readouterr().err
    assert main([*words, "--sigma", "3"]) == 2
    assert "whose distances are in [0, 1]; got 3.0" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["inspect", "suggest", "compare", "report"])
def test_estimates_of_many_pairs_are_called_so(command, table, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(pairs, "MOST_COUNTED_PATTERNS", 20)
    monkeypatch.setattr(histogram, "_histograms", {})
    counted = []
    count_pairs = histogram.count_pairs

    def count(store, *, metric, progress=False):
        counted.append(progress)
        return count_pairs(store, metric=metric)

    monkeypatch.setattr(histogram, "count_pairs", count)
    out = tmp_path / "out"
    options = [] if command == "inspect" else ["--batch-size", "8"]
    options += ["--out", str(out), "--epochs", "1", "--mu", "1"] if command == "compare" else []
    options += ["--out", str(out)] if command == "report" else []
    assert main([command, str(table), *options]) == 0
    text = capsys.readouterr().out + (out.read_text() if command == "report" else "")
    assert "estimated from 1,048,576 random pairs" in text
    if command == "suggest":
        assert "which no distance exceeds" in text
    else:
        assert "--exact counts all pairs" in text
    assert True not in counted
    if command == "compare":
        content = json.loads((out / "comparison.json").read_text())
        assert content["data"]["pairs_drawn"] == 2**20
        assert all(entry["distribution"] is None for entry in content["samplers"])
    assert main([command, str(table), *options, "--exact"]) == 0
    text = capsys.readouterr().out + (out.read_text() if command == "report" else "")
    assert "random pairs" not in text
    assert True in counted


def test_inspect_real_tables(cbis_files, capsys):
    assert main(["inspect", *cbis_files, "--schema", "cbis-ddsm"]) == 0
    printed = capsys.readouterr().out
    assert "3568 rows, 36 bits, 338 distinct patterns" in printed
    assert "constant bits: none" in printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["compare", "nowhere.csv"], "there is no file nowhere.csv"),
        (["compare", "TABLE", "--schema", "nothing"], "neither a built-in schema"),
        (
            ["compare", "TABLE", "--label", "z"],
            "no column 'z', which was to be the label column",
        ),
        (["compare", "TABLE", "--batch-size", "0"], "batch_size must be at least 2"),
        (["compare", "TABLE", "--epochs", "0"], "epochs must be at least 1"),
        (["compare", "TABLE", "--batch-size", "500"], "use a batch size of at most 54"),
        (["compare", "TABLE", "--sigma", "-1"], "sigma must be positive"),
        (["compare", "TABLE", "--out", "TABLE"], "exists"),
    ],
)
def test_errors_are_one_line(table, tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    arguments = [str(table) if word == "TABLE" else word for word in arguments]
    if "--batch-size" not in arguments:
        arguments += ["--batch-size", "4"]
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.startswith("maninegs: ")
    assert len(error.splitlines()) == 1


# Each optional dependency is imported where it is used.


@pytest.mark.parametrize(
    ("missing", "arguments", "extra"),
    [
        ("narwhals", ["inspect", "TABLE"], "maninegs-sampling[table]"),
        ("polars", ["inspect", "TABLE"], "maninegs-sampling[table]"),
        ("sklearn", ["compare"], "maninegs-sampling[demo]"),
        ("matplotlib", ["compare", "TABLE", "--batch-size", "4", "--epochs", "1"], "maninegs-sampling[plot]"),
        ("pyarrow", ["order", "TABLE", "--batch-size", "4", "--epochs", "1"], "maninegs-sampling[streams]"),
        ("jinja2", ["report", "TABLE", "--batch-size", "4"], "maninegs-sampling[plot]"),
    ],
)  # fmt: skip
def test_a_missing_extra_is_named(table, tmp_path, missing, arguments, extra):
    program = (
        "import sys\n"
        f"sys.modules[{missing!r}] = None\n"
        "from maninegs_sampling.cli import main\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    arguments = [str(table) if word == "TABLE" else word for word in arguments]
    run = subprocess.run(
        [sys.executable, "-c", program, *arguments], cwd=tmp_path, capture_output=True, text=True
    )
    assert (run.returncode, "Traceback" in run.stderr) == (2, False)
    assert extra in run.stderr


def test_compare_runs_without_a_progress_bar(table, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    arguments = ["--batch-size", "4", "--epochs", "1", "--mu", "0", "--out", str(tmp_path)]
    assert main(["compare", str(table), *arguments]) == 0
    assert "ManiNeg, mu=0" in capsys.readouterr().out


def test_without_a_folder_for_compiled_code_everything_still_runs():
    program = (
        "from numba.core.caching import CacheImpl\n"
        "CacheImpl._locator_classes = []\n"
        "import numba\n"
        "try:\n"
        "    numba.njit(cache=True)(lambda: 0)\n"
        "except RuntimeError:\n"
        "    print('no folder')\n"
        "import maninegs_sampling as mn\n"
        "store = mn.ManifestationStore.from_dense([[0, 1], [1, 0]])\n"
        "print(mn.pairwise_hamming(store).tolist())\n"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert run.stdout.split("\n") == ["no folder", "[[0, 2], [2, 0]]", ""], run.stderr


def test_importing_the_package_needs_core_dependencies_only():
    program = (
        "import sys\n"
        "for name in ('narwhals', 'polars', 'pandas', 'pyarrow', 'sklearn', 'matplotlib', 'tqdm'):\n"
        "    sys.modules[name] = None\n"
        "import maninegs_sampling as mn\n"
        "store = mn.ManifestationStore.from_dense([[0, 1], [1, 0]])\n"
        "print(list(mn.ManiNegBatchSampler(store, batch_size=2, mu=1.0))[0])\n"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert run.stdout.strip() in ("[0, 1]", "[1, 0]"), run.stderr


# How tables are read, and what is inferred.


def test_inspect_reads_as_it_is_told(tmp_path, capsys):
    path = tmp_path / "cases.csv"
    path.write_bytes("ovál;1,5\nround;2,5\nround;1,5\n".encode("cp1252"))
    assert main(["inspect", str(path)]) == 2
    assert "give the file's encoding=" in capsys.readouterr().err
    options = ["--encoding", "cp1252", "--separator", ";", "--decimal", ",", "--no-header"]
    assert main(["inspect", str(path), *options]) == 0
    printed = capsys.readouterr().out
    assert "column_1: two values: one bit, set for 'round'" in printed
    assert "column_2=2.5" in printed


def test_inspect_includes_and_excludes(tmp_path, capsys):
    path = tmp_path / "cases.csv"
    path.write_text("patient,grade,size\na,1,3\nb,2,4\nc,-9,5\na,1,3\n")
    assert main(["inspect", str(path), "--exclude", "size", "--include", "patient"]) == 0
    printed = capsys.readouterr().out
    assert "patient: 3 options" in printed
    assert "size: left out, it is excluded" in printed
    assert "if ['-9'] mean missing" in printed
    assert main(["inspect", str(path), "--missing-values", "-9", "-99"]) == 0
    assert "grade: yes" not in capsys.readouterr().out
    assert main(["inspect", str(path), "--include", "nothing"]) == 2
    assert "no column 'nothing', which was to be included" in capsys.readouterr().err


def test_a_label_is_not_among_the_bits_of_a_schema(tmp_path, capsys):
    path, schema = tmp_path / "cases.csv", tmp_path / "schema.json"
    path.write_text("shape,outcome,size\nround,a,1\noval,b,2\nlobed,a,3\nround,b,2\n")
    assert main(["inspect", str(path), "--save-schema", str(schema)]) == 0
    assert "label_column='outcome' keeps it out of the bits" in capsys.readouterr().out
    arguments = ["inspect", str(path), "--schema", str(schema)]
    assert main([*arguments, "--label", "outcome", "--exclude", "size"]) == 0
    printed = capsys.readouterr().out
    assert "outcome: left out of schema 'inferred', reads 'outcome' (label)" in printed
    assert "size: left out of schema 'inferred', reads 'size' (excluded)" in printed
    assert "4 rows, 3 bits" in printed
    assert main([*arguments, "--include", "size"]) == 2
    assert "--include is for inferred schemas" in capsys.readouterr().err
    assert main([*arguments, "--exclude", "nothing"]) == 2
    assert "no trait of schema 'inferred' reads 'nothing'" in capsys.readouterr().err


def test_suggest_repeats_how_the_table_is_read(tmp_path, capsys):
    path = tmp_path / "cases.csv"
    rows = [
        f"{'abcd'[i % 4]};{'efgh'[i // 4 % 4]};{'ijkl'[i // 16 % 4]};{i % 3}" for i in range(200)
    ]
    path.write_text("\n".join(["a;b;c;grade", *rows]))
    assert (
        main(["suggest", str(path), "--separator", ";", "--exclude", "grade", "--batch-size", "8"])
        == 0
    )
    assert "--separator ';' --exclude grade --batch-size 8" in capsys.readouterr().out
