"""The first batch on a machine compiles; that is said, once."""

import os
import subprocess
import sys

SCRIPT = """
import numpy as np
from maninegs_sampling import DistanceBucketIndex, ManifestationStore, ManiNegBatchSampler
store = ManifestationStore.from_dense(np.eye(8, dtype=bool))
print(list(ManiNegBatchSampler(store, batch_size=4, mu=2.0))[0])
"""


def run(cache, script=SCRIPT):
    return subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "NUMBA_CACHE_DIR": str(cache)},
        capture_output=True,
        text=True,
        check=True,
    )


def test_compiling_is_announced_once_and_only_when_it_happens(tmp_path):
    first = run(tmp_path)
    assert first.stderr.count("maninegs_sampling: compiling its kernels") == 1
    assert len(first.stderr.splitlines()) == 1
    second = run(tmp_path)
    assert (second.stderr, second.stdout) == ("", first.stdout)


def test_other_peoples_kernels_are_theirs_to_announce(tmp_path):
    script = """
import time, numba
import maninegs_sampling
from numba.core import event
from maninegs_sampling import compiling
compiling._PATIENCE = 0.0
numba.njit(lambda x: x + 1)(3)
time.sleep(0.2)
"""
    assert run(tmp_path, script).stderr == ""
