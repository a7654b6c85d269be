"""Replicas: how many processes train together, which one this is, and how that is known."""

import os
import warnings
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch.distributed
from torch.utils.data import Sampler
from torch.utils.data.distributed import DistributedSampler

from maninegs_sampling.errors import (
    InvalidTypeError,
    InvalidValueError,
    check_choice,
    check_count,
)

# "batches": each rank draws its own. "within": the ranks split one batch.
Shard = Literal["batches", "within"]


@dataclass(frozen=True)
class Replicas:
    """The processes that train together.

    Attributes:
        count: the number of processes.
        rank: the number of this process, in [0, count).
        source: "told": from the options. "default": nothing was said. "auto": to be read from
            torch.distributed as soon as it runs, because trainers start it late. "running": read
            from torch.distributed.
    """

    count: int = 1
    rank: int = 0
    source: Literal["told", "default", "auto", "running"] = "default"

    @classmethod
    def from_options(
        cls,
        num_replicas: int | None,
        rank: int | None,
        distributed: str | None,
        injected: Sampler[Any] | None,
    ) -> "Replicas":
        """Check the options of a batch sampler and return what they say."""
        if injected is not None and not isinstance(injected, DistributedSampler):
            raise InvalidTypeError(
                "sampler is for the DistributedSampler that a trainer gives; got "
                f"{type(injected).__name__}"
            )
        if distributed is not None:
            check_choice("distributed", distributed, ("auto",))
            if num_replicas is not None or rank is not None:
                raise InvalidValueError(
                    'distributed="auto" sets num_replicas and rank; give only one'
                )
        if (num_replicas is None) != (rank is None):
            raise InvalidValueError(
                f"num_replicas and rank go together; got num_replicas={num_replicas!r}, "
                f"rank={rank!r}"
            )
        if num_replicas is None or rank is None:
            if injected is not None:
                return cls(injected.num_replicas, injected.rank, "told")
            return cls(source="default" if distributed is None else "auto")
        count = check_count("num_replicas", num_replicas, at_least=1)
        number = check_count("rank", rank, at_least=0)
        if number >= count:
            raise InvalidValueError(f"rank must be below num_replicas={count}; got {number}")
        return cls(count, number, "told")

    def as_options(self) -> dict[str, Any]:
        """Return the options of a batch sampler that give these replicas."""
        if self.source == "told":
            return {"num_replicas": self.count, "rank": self.rank}
        return {} if self.source == "default" else {"distributed": "auto"}

    def settled(self) -> "Replicas":
        """Return these replicas, or with "auto" those of torch.distributed if it runs by now.

        Warns:
            UserWarning: If several ranks run and nothing was said about them. Shown once, since
                the returned replicas count as "told".
        """
        if self.source in ("told", "running"):
            return self
        running = _running()
        if running is None or self.source == "auto":
            return running or self
        if running.count > 1:
            warnings.warn(
                f"torch.distributed runs {running.count} ranks, and each of them will draw the "
                'same batches. Give the sampler distributed="auto", so that each rank draws its '
                "own; or num_replicas=1, rank=0 if your trainer shards batch samplers itself, as "
                "Accelerate does.",
                stacklevel=4,
            )
        return replace(self, source="told")


def _running() -> Replicas | None:
    """Return the replicas of torch.distributed, None if it does not run.

    torchrun announces them in the environment before torch.distributed is initialised.
    """
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        count, rank = torch.distributed.get_world_size(), torch.distributed.get_rank()
        return Replicas(count, rank, "running")
    if not {"WORLD_SIZE", "RANK"} <= os.environ.keys():
        return None
    count, rank = _from_environment("WORLD_SIZE"), _from_environment("RANK")
    if rank >= count:
        raise InvalidValueError(
            f"the environment says RANK={rank} and WORLD_SIZE={count}; a rank must be below the "
            "number of ranks"
        )
    return Replicas(count, rank, "running")


def _from_environment(name: str) -> int:
    text = os.environ[name]
    if not text.strip().isdecimal():
        raise InvalidValueError(
            f"the environment variable {name} must be a whole number, as torchrun sets it; "
            f"got {text!r}"
        )
    return int(text)
