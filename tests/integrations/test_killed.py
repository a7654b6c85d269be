"""Killed at 20 random moments and resumed, a run trains on exactly the batches of a whole one."""

import contextlib
import multiprocessing
import os
import signal
import time

import numpy as np
import pytest

from tests.integrations.common import epochs_of

pytest.importorskip("lightning")
pytest.importorskip("torchdata")

KILLS = 20
# Imported once, by the server that all the killed processes are forked from.
context = multiprocessing.get_context("forkserver")
context.set_forkserver_preload(["tests.integrations.killed"])


def start(kind, folder, workers, sampler):
    from tests.integrations import killed

    process = context.Process(target=killed.train, args=(kind, str(folder), workers, sampler))
    process.start()
    return process


def kill(process):
    process.kill()
    process.join()
    with contextlib.suppress(ProcessLookupError):
        # Workers end when they see that their parent is gone, but not those just starting.
        os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.filterwarnings("ignore:'set_vital' is deprecated")
@pytest.mark.parametrize(
    ("kind", "workers", "sampler"),
    [
        pytest.param("plain_loop", 0, "ManiNeg", marks=pytest.mark.slow),
        ("plain_loop", 2, "ManiNeg"),
        pytest.param("stateful_dataloader", 0, "ManiNeg", marks=pytest.mark.slow),
        ("stateful_dataloader", 2, "ManiNeg"),
        ("lightning_trainer", 0, "ManiNeg"),
        pytest.param("plain_loop", 2, "uniform", marks=pytest.mark.slow),
        pytest.param("plain_loop", 2, "blocks", marks=pytest.mark.slow),
        ("stateful_dataloader", 2, "groups"),
        pytest.param("stateful_dataloader", 2, "walks", marks=pytest.mark.slow),
    ],
)
def test_no_batch_is_lost_or_repeated(tmp_path, kind, workers, sampler):
    from tests.integrations.killed import BATCHES, EPOCHS, SAMPLERS, trained_in

    if sampler == "groups":
        pytest.importorskip("pymetis")

    checkpoint, progress = tmp_path / "last.ckpt", []
    for delay in np.random.default_rng(0).uniform(0, 0.15, KILLS):
        before = checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0
        process, deadline = start(kind, tmp_path, workers, sampler), time.monotonic() + 60
        while not checkpoint.exists() or checkpoint.stat().st_mtime_ns == before:
            assert process.is_alive(), "it ended before it was killed"
            assert time.monotonic() < deadline
            time.sleep(0.001)
        time.sleep(delay)
        kill(process)
        progress.append(len(trained_in(tmp_path)))
    assert progress == sorted(progress)
    assert progress[-1] < BATCHES, "all kills are to fall within the run"
    assert len({p // 12 for p in progress}) < KILLS, "some are to fall within one epoch"
    last = start(kind, tmp_path, workers, sampler)
    last.join()
    assert last.exitcode == 0
    assert trained_in(tmp_path) == sum(epochs_of(SAMPLERS[sampler](), EPOCHS), [])
