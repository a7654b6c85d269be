"""The command line as a process: pipes, interrupts, encodings, and text that acts on a terminal."""

import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars
import pytest

import maninegs_sampling
from maninegs_sampling.cli import main
from maninegs_sampling.quoting import escape_controls
from maninegs_sampling.reports.terminal import shell_word
from maninegs_sampling.reports.text_table import text_table
from tests.analysis.test_settings import clustered

COMMAND = [sys.executable, "-m", "maninegs_sampling.cli"]
ACTS = ["\x1b", "\x07", "\x9b", "\u202e", "\u2066", "\r", "\t"]


def run(arguments, **options):
    environment = os.environ | options.pop("env", {})
    return subprocess.run([*COMMAND, *arguments], capture_output=True, env=environment, **options)


@pytest.fixture
def cases(tmp_path):
    """A table whose names and cells hold what acts on a terminal."""
    bits = clustered()
    table = {f"sign {b}": bits[:, b].astype(int) for b in range(20)}
    table["red\x1b[31m ≤2cm"] = bits[:, 20].astype(int)
    table["bell\x07\x9b\u202e\u2066"] = bits[:, 21].astype(int)
    table["tab\tbed\rhome"] = bits[:, 22].astype(int)
    table["shape"] = np.where(bits[:, 23], "round\x1b[2J", "oval\u202e").tolist()
    table["margin"] = np.where(
        bits[:, 24], "sharp\x1b[2J", np.where(bits[:, 25], "vague", "spiky\x07")
    ).tolist()
    path = tmp_path / "cases.csv"
    polars.DataFrame(table).write_csv(path)
    return str(path)


@pytest.mark.parametrize("command", ["inspect", "suggest", "compare", "report"])
def test_nothing_in_a_table_acts_on_the_terminal(cases, tmp_path, capsys, command):
    out = {
        "compare": ["--out", str(tmp_path / "c"), "--epochs", "1"],
        "report": ["--out", str(tmp_path / "r.html")],
    }
    assert main([command, cases, *out.get(command, [])]) == 0
    printed = capsys.readouterr()
    texts = [printed.out, printed.err]
    if command == "report":
        texts.append((tmp_path / "r.html").read_text(encoding="utf-8"))
    assert not [c for text in texts for c in ACTS if c in text]
    assert r"red\x1b[31m" in "".join(texts)
    assert main([command, cases, "--label", "\x1b[31mnowhere", *out.get(command, [])]) == 2
    error = capsys.readouterr().err
    assert "nowhere" in error
    assert "\x1b" not in error


@pytest.mark.parametrize("command", ["inspect", "suggest", "compare", "report"])
def test_no_name_starts_a_line(tmp_path, capsys, command):
    bits = clustered()
    table = {f"sign {b}\nFAKE": bits[:, b].astype(int) for b in range(20)}
    table["shape\nFAKE"] = np.where(bits[:, 20], "round\nFAKE", "oval\nFAKE").tolist()
    table["halo"] = [None, "yes\nFAKE", *["no"] * 598]
    path, schema = str(tmp_path / "cases\nFAKE.csv"), str(tmp_path / "schema\nFAKE.json")
    polars.DataFrame(table).write_csv(path)
    out = {
        "compare": ["--out", str(tmp_path / "c\nFAKE"), "--epochs", "1"],
        "report": ["--out", str(tmp_path / "r\nFAKE.html")],
    }.get(command, [])
    assert main([command, path, *out, "--save-schema", schema]) == 0
    assert main([command, path, *out, "--schema", schema, "--label", "shape\nFAKE"]) == 0
    assert main([command, path, *out, "--schema", schema, "--exclude", "sign 3\nFAKE"]) == 0
    assert main([command, path, *out, "--label", "no\nFAKE"]) == 2
    assert main([command, path + "\nFAKE", *out]) == 2
    printed = capsys.readouterr()
    lines = (printed.out + printed.err).splitlines()
    assert any(r"\nFAKE" in line for line in lines)
    assert not [line for line in lines if line.startswith("FAKE")]


def test_errors_of_the_parser_are_escaped(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["suggest", "cases.csv", "--batch-size", "\x1b[31m"])
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert r"\x1b[31m" in error
    assert "\x1b" not in error


def test_tables_stay_tables():
    rows = [("a\tb", "1"), ("c\nd", "22"), ("e\x1b[31m", "3")]
    lines = text_table(("name", "n"), rows).split("\n")
    assert lines == ["name        n", r"a\tb        1", r"c\nd       22", r"e\x1b[31m   3"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("mass size=≤2cm é 大小", "mass size=≤2cm é 大小"),
        ("wide\u3000space\xa0", "wide\u3000space\xa0"),
        ("\x00\x1b\x7f\x9b", r"\x00\x1b\x7f\x9b"),
        ("a\u2028b\u200fc\ufeffd", r"a\u2028b\u200fc\ufeffd"),
        ("caf\udce9", r"caf\udce9"),
        ("\U000e0041", r"\U000e0041"),
    ],
)
def test_what_acts_is_escaped_and_what_is_read_stays(text, shown):
    assert escape_controls(text) == shown


@pytest.mark.parametrize(
    "word", ["my cases.csv", "it's", "a\tb.csv", "caf\udce9's.csv", "x\\\x1b", "é.csv"]
)
def test_a_shell_reads_the_word_back(word):
    quoted = shell_word(word)
    assert escape_controls(quoted) == quoted
    script = f"printf %s {quoted}"
    read = subprocess.run(["bash", "-c", script], capture_output=True, check=True).stdout
    assert read == os.fsencode(word)


def test_a_closed_pipe_is_no_error(cases):
    # The reader is gone before the first line is written.
    end, pipe = os.pipe()
    os.close(end)
    for arguments in (["inspect", cases], ["--help"]):
        ended = subprocess.run(
            [*COMMAND, *arguments],
            stdout=pipe,
            stderr=subprocess.PIPE,
            env=os.environ | {"PYTHONUNBUFFERED": ""},  # else argparse passes over it
        )
        assert (ended.returncode, ended.stderr) == (141, b"")
    os.close(pipe)
    line = f"{shlex.join([*COMMAND, 'inspect', cases])} | head -1"
    ended = subprocess.run(["bash", "-c", line], capture_output=True, text=True)
    assert (ended.stderr, len(ended.stdout.splitlines())) == ("", 1)


def test_an_interrupt_is_one_line(cases, tmp_path):
    arguments = ["compare", cases, "--epochs", "1000000", "--out", str(tmp_path)]
    process = subprocess.Popen(
        [*COMMAND, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    process.stdout.readline()  # the command is at work
    process.send_signal(signal.SIGINT)
    error = process.communicate()[1]
    assert (process.returncode, error) == (130, b"maninegs: interrupted\n")


@pytest.mark.parametrize(
    "env",
    [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}],
)
def test_narrow_encodings_lose_nothing_and_break_nothing(cases, tmp_path, env):
    report = tmp_path / "r.html"
    for arguments in (
        ["inspect", cases],
        ["suggest", cases],
        ["report", cases, "--out", str(report)],
    ):
        ended = run(arguments, env=env)
        assert (ended.returncode, ended.stderr) == (0, b"")
        assert rb"\u22642cm" in ended.stdout
    assert "≤2cm" in report.read_text(encoding="utf-8")  # which is not printed
    ended = run(["inspect", "≤.csv"], env=env)
    assert ended.returncode == 2
    assert b"Traceback" not in ended.stderr


def test_a_file_name_that_is_not_utf_8(cases, tmp_path, capsys):
    name = os.fsdecode(os.fsencode(str(tmp_path)) + b"/caf\xe9.csv")
    os.rename(cases, name)
    out = os.fsdecode(os.fsencode(str(tmp_path)) + b"/out\xe9")
    for arguments in (
        ["inspect", name],
        ["suggest", name],
        ["compare", name, "--epochs", "1", "--out", out],
        ["report", name, "--out", out + ".html"],
    ):
        assert main(arguments) == 0, capsys.readouterr().err
        printed = capsys.readouterr().out
        printed.encode()
        if arguments[0] == "suggest":
            assert r"caf\xe9.csv' --batch-size" in printed
    assert r"caf\udce9.csv" in Path(out + ".html").read_text(encoding="utf-8")


def test_version(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["--version"])
    assert stopped.value.code == 0
    assert capsys.readouterr().out == f"maninegs {maninegs_sampling.__version__}\n"
