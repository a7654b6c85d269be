"""Killed at random moments and resumed, a run over planned epochs trains on exactly its batches."""

import multiprocessing
import time
import warnings
from functools import partial

import numpy as np
from torch.utils.data import DataLoader

from maninegs_sampling import LinearAnnealing, ManiNegBatchSampler
from tests.conftest import random_store
from tests.integrations.common import kill_and_resume, load_checkpoint, save_checkpoint

KILLS, EPOCHS = 8, 20
PAUSE = 0.005  # seconds of a step, so that kills fall everywhere
context = multiprocessing.get_context("forkserver")
context.set_forkserver_preload(["tests.sampling.test_killed_plan"])


def make_sampler():
    """13 batches an epoch, the last of 4."""
    return ManiNegBatchSampler(
        random_store(100, 12), batch_size=8, mu=LinearAnnealing(5, 0, 150), anchors_per_batch=2,
        coverage="epoch", batches_per_epoch="ceil",
    )  # fmt: skip


def train(folder):
    """Train from the checkpoint on, note every batch, and save after each."""
    warnings.simplefilter("ignore")
    sampler, trained = make_sampler(), []
    if state := load_checkpoint(folder):
        sampler.load_state_dict(state["sampler"])
        trained = state["trained"]
    loader = DataLoader(range(100), batch_sampler=sampler)
    for epoch in range(sampler.epoch, EPOCHS):
        for k, batch in enumerate(loader, sampler.position):
            time.sleep(PAUSE)
            trained.append(batch.tolist())
            where = sampler.state_dict() | {"epoch": epoch, "position": k + 1}
            save_checkpoint({"sampler": where, "trained": trained}, folder)


def start(folder):
    process = context.Process(target=train, args=(folder,))
    process.start()
    return process


def test_no_batch_of_a_plan_is_lost_or_repeated(tmp_path):
    delays = np.random.default_rng(0).uniform(0, 0.1, KILLS)
    progress = kill_and_resume(partial(start, tmp_path), tmp_path, delays)
    assert progress == sorted(progress)
    assert progress[-1] < 13 * EPOCHS, "all kills are to fall within the run"
    assert any(p % 13 for p in progress), "some are to fall within an epoch"
    sampler = make_sampler()
    expected = [batch for _ in range(EPOCHS) for batch in sampler]
    trained = load_checkpoint(tmp_path)["trained"]
    assert trained == expected
    for epoch in range(EPOCHS):
        assert sorted(sum(trained[13 * epoch : 13 * epoch + 13], [])) == list(range(100))
