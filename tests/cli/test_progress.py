"""Progress on a terminal, and no color anywhere."""

import io
import os
import pty
import re
import sys
import threading

import pytest

from maninegs_sampling import cli_progress
from maninegs_sampling.cli_progress import progress
from tests.reports.test_terminal import COMMAND
from tests.snippets import write_cases

COLOR = re.compile(r"\x1b\[[\d;]*m")


class Terminal(io.StringIO):
    """A stream that is a terminal, and tells when something is written."""

    def __init__(self, shows):
        super().__init__()
        self.shows, self.shown = shows, threading.Event()

    def isatty(self):
        return True

    def write(self, text):
        if self.shows in text:
            self.shown.set()
        return super().write(text)


@pytest.fixture
def terminal(monkeypatch):
    stream = Terminal("measuring: 00:00")
    monkeypatch.setattr(sys, "__stderr__", stream)
    return stream


def test_long_work_is_shown_and_then_cleared(monkeypatch, terminal):
    monkeypatch.setattr(cli_progress, "DELAY", 0.001)
    with progress("measuring"):
        assert terminal.shown.wait(timeout=60)
    assert terminal.getvalue().rstrip("\r").endswith(" " * len("measuring: 00:00"))
    assert not COLOR.search(terminal.getvalue())


def test_short_work_is_not_shown(monkeypatch, terminal):
    monkeypatch.setattr(cli_progress, "DELAY", 1000)
    with progress("measuring"):
        pass
    assert terminal.getvalue() == ""


def test_progress_ends_with_an_error(monkeypatch, terminal):
    monkeypatch.setattr(cli_progress, "DELAY", 0.001)
    before = threading.active_count()
    with pytest.raises(KeyboardInterrupt), progress("measuring"):
        raise KeyboardInterrupt
    assert threading.active_count() == before


def test_without_a_terminal_nothing_is_shown(monkeypatch):
    monkeypatch.setattr(cli_progress, "DELAY", 0)
    monkeypatch.setattr(sys, "__stderr__", io.StringIO())
    before = threading.active_count()
    with progress("measuring"):
        assert threading.active_count() == before
    assert sys.__stderr__.getvalue() == ""


def test_without_tqdm_the_work_is_done(monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    with progress("measuring"):
        pass


@pytest.mark.parametrize("arguments", [["--help"], ["inspect", "cases.csv"], ["nothing"]])
@pytest.mark.parametrize("env", [{"NO_COLOR": "1"}, {"FORCE_COLOR": "1", "TERM": "xterm"}], ids=str)
def test_nothing_is_colored_on_a_terminal(tmp_path, arguments, env):
    write_cases(tmp_path / "cases.csv")
    pid, end = pty.fork()
    if pid == 0:
        os.chdir(tmp_path)
        os.execve(COMMAND[0], [*COMMAND, *arguments], os.environ | env)
    printed = b""
    try:
        while part := os.read(end, 65536):
            printed += part
    except OSError:  # how Linux says that the other end is closed
        pass
    os.waitpid(pid, 0)
    os.close(end)
    assert b"maninegs" in printed or b"300 rows" in printed
    assert not COLOR.search(printed.decode())
    assert r"\x1b" not in printed.decode()
