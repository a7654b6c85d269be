"""A script for torchrun that goes on from its checkpoint; ranks die on the way, for test_torchrun.

Rank 0 saves after each step. What each rank trained on is in a file of its own, in which a resumed
rank keeps as many batches as the checkpoint counts.
"""

import json
import os
import signal
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from torch.utils.data import DataLoader

from tests.integrations.common import (
    Indices,
    finish,
    load_checkpoint,
    make_sampler,
    save_checkpoint,
)

shard, attempt = sys.argv[1], int(os.environ["TORCHELASTIC_RESTART_COUNT"])
dist.init_process_group("gloo")
rank = dist.get_rank()
# Which rank dies, before it trains on which batch: twice in one epoch, then at its end.
dies, at = ((1, 7), (0, 9), (1, 12), (None, None))[attempt]
sampler = make_sampler(distributed="auto", shard=shard)
loader = DataLoader(Indices(), batch_sampler=sampler, num_workers=2)
folder = Path(os.environ["FOLDER"])
notes, seen = folder / f"seen-{rank}", []
if state := load_checkpoint(folder):
    sampler.load_state_dict(state["sampler"])
    seen = json.loads(notes.read_text())[: state["steps"]]
for epoch in range(sampler.epoch, 3):
    for k, batch in enumerate(loader, sampler.position):
        if (rank, len(seen)) == (dies, at):
            os.killpg(0, signal.SIGKILL)  # with its workers: torchrun gave it a group
        dist.all_reduce(torch.ones(1))  # a step: all ranks or none
        seen.append(batch.tolist())
        notes.write_text(json.dumps(seen))
        dist.barrier()
        if rank == 0:
            where = sampler.state_dict() | {"epoch": epoch, "position": k + 1}
            save_checkpoint({"sampler": where, "steps": len(seen)}, folder)
finish({"seen": seen, "attempts": attempt + 1})
