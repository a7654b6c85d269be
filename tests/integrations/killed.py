"""Training that goes on from its checkpoint, for test_killed, which kills it with SIGKILL.

Each function trains on BATCHES batches in all, notes every one, and saves after each.
"""

import logging
import os
import time
import warnings
from pathlib import Path

from torch.utils.data import DataLoader
from torchdata.stateful_dataloader import StatefulDataLoader

from maninegs_sampling import (
    GraphBlockBatchSampler,
    NeighborGroupBatchSampler,
    RandomWalkBatchSampler,
    UniformDistinctBatchSampler,
)
from tests.integrations.common import (
    STORE,
    Indices,
    load_checkpoint,
    make_sampler,
    save_checkpoint,
)
from tests.integrations.lightning_model import Notes, WithinEpochs, make_trainer

EPOCHS = 30
BATCHES = EPOCHS * 12
PAUSE = 0.005  # seconds of a step, so that kills fall everywhere

# Each makes 12 batches of 5 an epoch.
SAMPLERS = {
    "ManiNeg": make_sampler,
    "uniform": lambda: UniformDistinctBatchSampler(STORE, batch_size=5),
    "blocks": lambda: GraphBlockBatchSampler(STORE, batch_size=5),
    "groups": lambda: NeighborGroupBatchSampler(STORE, batch_size=5, group_size=5),
    "walks": lambda: RandomWalkBatchSampler(STORE, batch_size=5),
}


def workers_of(number):
    """Settings of a loader. Forked from the process, workers notice when it is killed."""
    return {"num_workers": number, "multiprocessing_context": "fork" if number else None}


def plain_loop(folder, workers, make):
    """A loop that says where it stands, as `ManiNegBatchSampler.state_dict` tells it to."""
    sampler, trained = make(), []
    if state := load_checkpoint(folder):
        sampler.load_state_dict(state["sampler"])
        trained = state["trained"]
    loader = DataLoader(Indices(), batch_sampler=sampler, **workers_of(workers))
    for epoch in range(sampler.epoch, EPOCHS):
        for k, batch in enumerate(loader, sampler.position):
            time.sleep(PAUSE)
            trained.append(batch.tolist())
            where = sampler.state_dict() | {"epoch": epoch, "position": k + 1}
            save_checkpoint({"sampler": where, "trained": trained}, folder)


def stateful_dataloader(folder, workers, make):
    warnings.simplefilter("ignore")
    loader = StatefulDataLoader(Indices(), batch_sampler=make(), **workers_of(workers))
    trained = []
    if state := load_checkpoint(folder):
        loader.load_state_dict(state["loader"])
        trained = state["trained"]
    while len(trained) < BATCHES:
        for batch in loader:
            time.sleep(PAUSE)
            trained.append(batch.tolist())
            save_checkpoint({"loader": loader.state_dict(), "trained": trained}, folder)


class SlowNotes(Notes):
    """Takes as long for a step as the loops."""

    def training_step(self, *batch):
        time.sleep(PAUSE)
        return super().training_step(*batch)


def lightning_trainer(folder, workers, make):
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    # One file, replaced by each step's.
    callback = WithinEpochs(folder, "last", every_n_train_steps=1, enable_version_counter=False)
    trainer = make_trainer(
        folder, max_epochs=EPOCHS, enable_checkpointing=True, callbacks=[callback]
    )
    loader = StatefulDataLoader(Indices(), batch_sampler=make(), **workers_of(workers))
    path = Path(folder) / "last.ckpt"
    trainer.fit(SlowNotes(), loader, ckpt_path=path if path.exists() else None)
    trainer.save_checkpoint(path)


def train(kind, folder, workers, sampler):
    """Train as the function `kind` does, in a process group of its own, with its workers."""
    os.setpgrp()
    globals()[kind](folder, workers, SAMPLERS[sampler])


def trained_in(folder):
    """Return the batches noted in the newest checkpoint."""
    state = load_checkpoint(folder)
    return [] if state is None else state.get("trained", state.get("seen"))
