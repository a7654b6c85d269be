"""A user's type checker sees the package's types once the package is installed."""

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

import maninegs_sampling as mn

SCRIPT = """\
import maninegs_sampling as mn

mu = mn.LinearAnnealing(11, 0, steps=4500)
reveal_type(mu)
reveal_type(mn.ManifestationStore.load("store"))
mn.LinearAnnealing("eleven", 0, steps=4500)
"""


@pytest.fixture
def consumer(tmp_path):
    """Install the package, and nothing else, in an environment; return what mypy says there."""
    pytest.importorskip("mypy", reason="mypy comes with the extra dev")
    venv.create(tmp_path / "env")
    paths = {"base": str(tmp_path / "env"), "platbase": str(tmp_path / "env")}
    installed = Path(sysconfig.get_path("purelib", "venv", paths)) / "maninegs_sampling"
    python = Path(sysconfig.get_path("scripts", "venv", paths)) / Path(sys.executable).name
    package = Path(mn.__file__).parent
    installed.mkdir()
    for entry in package.iterdir():
        (installed / entry.name).symlink_to(entry)

    def check():
        (tmp_path / "script.py").write_text(SCRIPT, encoding="utf-8")
        command = [sys.executable, "-m", "mypy", "--strict", "--python-executable", str(python)]
        environment = {**os.environ, "PYTHONPATH": "", "MYPYPATH": ""}
        return subprocess.run(
            [*command, "script.py"], cwd=tmp_path, capture_output=True, text=True, env=environment
        ).stdout

    return check, installed


def test_types_reach_a_user(consumer):
    check, _ = consumer
    lines = check().splitlines()
    assert "LinearAnnealing" in lines[0], lines
    assert "ManifestationStore" in lines[1], lines
    assert '"LinearAnnealing" has incompatible type "str"' in lines[2], lines
    assert lines[3] == "Found 1 error in 1 file (checked 1 source file)"


def test_without_the_marker_they_do_not(consumer):
    check, installed = consumer
    (installed / "py.typed").unlink()
    assert "missing library stubs or py.typed marker" in check()
