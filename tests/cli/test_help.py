"""Help, errors of the parser, and tab completion."""

import shlex
import subprocess
import sys

import pytest

from maninegs_sampling.cli import main
from maninegs_sampling.cli_parser import EXAMPLES
from tests.snippets import write_cases


def printed_help(capsys, *command):
    with pytest.raises(SystemExit) as stopped:
        main([*command, "--help"])
    assert stopped.value.code == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("command", [[], *([name] for name in EXAMPLES)], ids=str)
def test_help_fits_80_columns_and_ends_with_an_example(monkeypatch, capsys, command):
    monkeypatch.setenv("COLUMNS", "80")
    text = printed_help(capsys, *command)
    assert max(map(len, text.splitlines())) <= 80
    assert f"  {EXAMPLES[command[0] if command else 'suggest'][:26]}" in text
    assert text.count("\nexample:\n") == 1


def test_every_option_says_what_it_does(capsys):
    for name in EXAMPLES:
        lines = printed_help(capsys, name).split("options:\n")[1].split("\nexample:")[0].split("\n")
        for line, following in zip(lines, [*lines[1:], ""], strict=True):
            if line.startswith("  -"):
                explained = "  " in line.strip() or following.startswith(" " * 10)
                assert explained, (name, line)


def test_every_command_is_in_the_help(capsys):
    text = printed_help(capsys)
    for name in EXAMPLES:
        assert f"\n    {name} " in text


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_run(tmp_path, monkeypatch, capsys, name):
    write_cases(tmp_path / "cases.csv")
    monkeypatch.chdir(tmp_path)
    program, *words = shlex.split(EXAMPLES[name])
    assert (program, words[0]) == ("maninegs", name)
    assert main(words) == 0, capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "maninegs: the following arguments are required: COMMAND; maninegs --help"),
        (["nothing"], "invalid choice: 'nothing'"),
        (["suggest", "cases.csv", "--batch-size", "many"], "maninegs suggest --help shows the"),
        (["inspect"], "the following arguments are required: TABLE"),
    ],
)
def test_errors_of_the_parser_are_one_line(capsys, arguments, message):
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1


def completed(script, line):
    """Return what bash offers for the last word of a line."""
    program = (
        f"{script}\n"
        f"COMP_WORDS=({line}''); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))\n"
        "_shtab_maninegs; printf '%s\\n' \"${COMPREPLY[@]}\"\n"
    )
    ended = subprocess.run(["bash", "-c", program], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.split()


def test_bash_completes_commands_options_and_files(tmp_path, monkeypatch, capsys):
    pytest.importorskip("shtab", reason="shtab comes with the extra completion")
    with pytest.raises(SystemExit) as stopped:
        main(["--print-completion", "bash"])
    assert stopped.value.code == 0
    script = capsys.readouterr().out
    assert completed(script, "maninegs ins") == ["inspect"]
    assert completed(script, "maninegs suggest --batch-") == ["--batch-size"]
    (tmp_path / "cases.csv").touch()
    monkeypatch.chdir(tmp_path)
    assert completed(script, "maninegs inspect ca") == ["cases.csv"]


def test_completion_names_its_extra(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert main(["--print-completion", "zsh"]) == 2
    error = capsys.readouterr().err
    assert "maninegs-sampling[completion]" in error
    assert len(error.splitlines()) == 1
