"""The parser of the command: help, errors of one line, and the options of all commands."""

import argparse
from collections.abc import Mapping
from typing import Any, NoReturn

from maninegs_sampling.optional import require

# One command line for each command, which runs as it is where cases.csv has these columns.
EXAMPLES = {
    "compare": "maninegs compare cases.csv --label outcome --mu 6 0 --epochs 1",
    "inspect": "maninegs inspect cases.csv --label outcome --groups patient_id",
    "suggest": "maninegs suggest cases.csv --label outcome --steps 9000",
    "report": "maninegs report cases.csv --label outcome --out report.html",
    "order": "maninegs order cases.csv --label outcome --epochs 2 --batch-size 8",
}

# The names that options and help give to files and folders, which a shell completes.
_FILES, _FOLDERS = ("TABLE", "FILE", "NAME|FILE", "SHARD"), ("DIR",)


class CommandParser(argparse.ArgumentParser):
    """A parser whose errors are one line, which names the help to read."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.formatter_class = argparse.RawDescriptionHelpFormatter
        self.color = False  # Python 3.14 colors help, and what acts on a terminal is escaped

    def error(self, message: str) -> NoReturn:
        """Print the message and end the process with status 2."""
        self.exit(2, f"maninegs: {message}; {self.prog} --help shows the options\n")


class _PrintCompletion(argparse.Action):
    """Prints the script that completes the command's words in a shell."""

    def __call__(self, parser: argparse.ArgumentParser, _: Any, shell: Any, *__: Any) -> None:
        shtab = require("shtab", extra="completion", what="--print-completion")
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                for command in action.choices.values():
                    _mark_files(command, shtab)
        print(shtab.complete(parser, shell))
        parser.exit()


def _mark_files(command: argparse.ArgumentParser, shtab: Any) -> None:
    """Tell shtab which words are names of files and folders."""
    for action in command._actions:
        if action.metavar in _FILES:
            action.complete = shtab.FILE  # type: ignore[attr-defined]
        elif action.metavar in _FOLDERS:
            action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]


def add_completion_option(parser: argparse.ArgumentParser) -> None:
    """Add the option that prints a script for tab completion.

    Args:
        parser: The parser of the command `maninegs`.
    """
    parser.add_argument(
        "--print-completion",
        action=_PrintCompletion,
        choices=("bash", "zsh", "tcsh"),
        help="print a script for tab completion in this shell; needs the extra completion",
    )


def complete_commands(commands: Mapping[str, argparse.ArgumentParser]) -> None:
    """Add to each command its example and the option --json.

    Args:
        commands: The parsers by the names of the commands.
    """
    for name, parser in commands.items():
        parser.epilog = f"example:\n  {EXAMPLES[name]}"
        parser.add_argument(
            "--json", action="store_true", help="print one JSON object instead of text"
        )
