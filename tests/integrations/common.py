"""A dataset whose items say which they are, and two real processes over gloo."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NoReturn

import torch
import torch.distributed as dist
from torch.utils.data import Dataset

from maninegs_sampling import LinearAnnealing, ManiNegBatchSampler
from maninegs_sampling.sampling.progress import PassIterator
from tests.conftest import random_store

ROOT = Path(__file__).parents[2]
STORE = random_store(60, 14)
MU = LinearAnnealing(9, 0, 30)


class Indices(Dataset):
    """Item i is i."""

    def __len__(self):
        return 60

    def __getitem__(self, i):
        return i


def make_sampler(**options: Any) -> ManiNegBatchSampler:
    """12 batches of 5 an epoch."""
    return ManiNegBatchSampler(STORE, **({"batch_size": 5, "mu": MU, "seed": 3} | options))


def epochs_of(sampler: Any, n: int) -> list[list[list[int]]]:
    return [list(sampler) for _ in range(n)]


def as_lists(loader: Any) -> list[list[int]]:
    return [batch.tolist() for batch in loader]


def note_batches(replace: Callable[..., Any] = setattr) -> list[list[int]]:
    """Return a list that gets each batch that ManiNeg draws in this process from now on."""
    batches: list[list[int]] = []
    next_batch = PassIterator.__next__

    def noted(self):
        batch = next_batch(self)
        batches.append(batch)
        return batch

    replace(PassIterator, "__next__", noted)
    return batches


def save_checkpoint(state: Any, folder: str | Path) -> None:
    unfinished = Path(folder) / "unfinished"
    torch.save(state, unfinished)
    os.replace(unfinished, Path(folder) / "last.ckpt")


def load_checkpoint(folder: str | Path) -> Any:
    """Return the state saved last, Lightning's too; None before the first."""
    path = Path(folder) / "last.ckpt"
    return torch.load(path, weights_only=False) if path.exists() else None


def kill_and_resume(start: Callable[[], Any], folder: Path, delays: Iterable[float]) -> list[int]:
    """Kill a training after each delay and start it again; then let it end.

    Args:
        start: starts a process that goes on from the checkpoint in `folder`, and returns it.
        folder: where its state is saved, with the batches that it has trained on as "trained".
        delays: seconds from a process's first checkpoint to its end.

    Returns:
        The number of batches trained when each was killed.
    """
    checkpoint, progress = folder / "last.ckpt", []
    for delay in delays:
        before = checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0
        process = start()
        while not checkpoint.exists() or checkpoint.stat().st_mtime_ns == before:
            assert process.is_alive(), "it ended before it was killed"
            time.sleep(0.001)
        time.sleep(delay)
        process.kill()
        process.join()
        progress.append(len(load_checkpoint(folder)["trained"]))
    last = start()
    last.join()
    assert last.exitcode == 0
    return progress


def run_in_processes(
    module: str, *arguments: str, folder: Path, processes: int = 2, restarts: int = 0
) -> list[Any]:
    """Run `python -m module arguments` under torchrun and return what each rank wrote.

    The module finds the folder in FOLDER and writes <rank>.json there. When a rank dies, torchrun
    starts all of them again, `restarts` times at most.
    """
    environment = {
        **os.environ, "FOLDER": str(folder), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "",
        "PYTHONPATH": str(ROOT),
        # Ranks that are started again would else find the addresses of those that died.
        "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",
    }  # fmt: skip
    done = subprocess.run(
        [
            sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node",
            str(processes), "--max-restarts", str(restarts), "-m", module, *arguments,
        ],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(done.stdout[-3000:] + done.stderr[-6000:])
    found = [folder / f"{rank}.json" for rank in range(processes)]
    return [json.loads(path.read_text()) for path in found]


def finish(result: Any) -> NoReturn:
    """Leave this rank's result where `run_in_processes` looks for it, and end the process.

    At once: now and then torch's own threads abort an interpreter that takes itself apart.
    """
    path = Path(os.environ["FOLDER"]) / f"{os.environ['RANK']}.json"
    path.write_text(json.dumps(result))
    if dist.is_initialized():
        dist.barrier()  # neither leaves while the other still talks to it
    os._exit(0)
