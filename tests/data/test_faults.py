"""A disk that fills up while a file is saved, and a folder that cannot be written."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.integrations.common import ROOT

KINDS = ("store", "schema", "state")
# In a process of its own, whose files may not grow beyond a limit, as on a full disk, or which is
# not root, whom no folder refuses.
PROGRAM = """
import os, resource, signal, sys
from pathlib import Path

import torch
from lightning_fabric import Fabric

from benchmarks.reference.checkpoints import Checkpoint
from maninegs_sampling import CBIS_DDSM
from tests.conftest import random_store
from tests.integrations.common import make_sampler

fault, folder = sys.argv[1], Path(sys.argv[2])
checkpoint = Checkpoint(Fabric(accelerator="cpu", devices=1), folder / "state", seconds=0)
state = {"settings": {}, "weights": torch.ones(999), "batches": make_sampler().state_dict()}
store = random_store(5000, 14)
if fault == "full":
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (256, 256))
elif os.geteuid() == 0:
    os.setuid(65534)
for save in (
    lambda: store.save(folder / "store"),
    lambda: CBIS_DDSM.save(folder / "schema"),
    lambda: checkpoint.save(state),
):
    try:
        save()
    except Exception as error:
        print("refused:", " ".join(str(error).split()))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="limits and permissions are POSIX's")
@pytest.mark.parametrize("fault", ["full", "read-only"])
def test_the_old_files_stay_good(fault):
    pytest.importorskip("lightning_fabric", reason="lightning_fabric comes with the extra dev-all")
    # Not pytest's folder, which is closed to all users but one.
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for kind in KINDS:
            (folder / kind).write_bytes(b"the old one")
        folder.chmod(0o555 if fault == "read-only" else 0o755)
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, fault, name],
            env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert done.stdout.count("refused: ") == 3, done.stdout
        for kind in KINDS:
            assert (folder / kind).read_bytes() == b"the old one"
        folder.chmod(0o755)
        # A store or a schema leaves nothing behind; a checkpoint is begun anew each time.
        assert {path.name for path in folder.iterdir()} <= {*KINDS, "state.unfinished"}
