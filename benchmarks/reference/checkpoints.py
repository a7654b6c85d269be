"""Checkpoints, written atomically, and random numbers that need no checkpoint."""

import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric

from maninegs_sampling.errors import StateError


class Checkpoint:
    """A file from which training resumes.

    Args:
        fabric: whose first process writes.
        path: the file.
        seconds: between two saves.
    """

    def __init__(self, fabric: Fabric, path: Path, seconds: float) -> None:
        self.fabric, self.path, self.seconds = fabric, path, seconds
        self.saved_at = time.monotonic()

    def load(self, state: dict[str, Any]) -> None:
        """Fill `state`, modules and optimizers in place, if there is a checkpoint.

        Raises:
            StateError: its "settings" are others.
        """
        if not self.path.exists():
            return
        settings = state["settings"]
        self.fabric.load(self.path, state, weights_only=True)
        if state["settings"] != settings:
            raise StateError(
                f"{self.path} was made with other settings; remove it or name another folder\n"
                f"there: {state['settings']}\nhere:  {settings}"
            )

    def save(self, state: dict[str, Any], *, now: bool = False) -> None:
        """Write `state` on all processes if enough time has passed, or if `now`."""
        due = now or time.monotonic() - self.saved_at >= self.seconds
        if not self.fabric.broadcast(due):
            return
        unfinished = self.path.with_suffix(".unfinished")
        self.fabric.save(unfinished, state)
        if self.fabric.is_global_zero:
            os.replace(unfinished, self.path)
        self.fabric.barrier()
        self.saved_at = time.monotonic()


def seed_step(seed: int, step: int, rank: int = 0) -> None:
    """Seed the random numbers of a step from the arguments, so that none need saving."""
    state = np.random.SeedSequence([seed, step, rank]).generate_state(1, np.uint64)
    torch.manual_seed(int(state[0] >> np.uint64(1)))
