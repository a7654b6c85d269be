"""Where the passes over a batch sampler stand."""

from dataclasses import dataclass
from typing import Any

from torch.utils.data.distributed import DistributedSampler


@dataclass(frozen=True)
class Pass:
    """One pass over the batches of an epoch.

    Attributes:
        epoch: the epoch.
        start: number of its first batch; above 0 after a position was loaded.
        generation: how often the progress had been set by hand when the pass was made.
    """

    epoch: int
    start: int
    generation: int


class Progress:
    """The place of the next pass, and how far the latest one came.

    A pass counts from its first batch on: a DataLoader with workers makes two iterators and drops
    the first unused. From then on the next pass belongs to the next epoch, whether or not this one
    is finished. A pass that was made before the progress was set by hand leaves no trace.

    Attributes:
        next_epoch: the epoch of the next pass.
        next_start: the first batch of the next pass.
        epoch, position: the batches of `epoch` that the latest pass has handed out.
    """

    def __init__(self) -> None:
        self.next_epoch = self.next_start = self.epoch = self.position = 0
        self._generation = 0
        self._followed: DistributedSampler[Any] | None = None
        self._followed_epoch = 0
        self._latest: Pass | None = None

    def follow(self, sampler: "DistributedSampler[Any]") -> None:
        """Take over the epoch of `sampler`, now and whenever it is set there."""
        self._followed = sampler
        self.set_epoch(sampler.epoch)

    def catch_up(self) -> None:
        """Take over an epoch that was set at the followed sampler since the last look."""
        if self._followed is not None and self._followed.epoch != self._followed_epoch:
            self.set_epoch(self._followed.epoch)

    def _look(self) -> None:
        # Whatever is said here from now on is newer than what was said there.
        if self._followed is not None:
            self._followed_epoch = self._followed.epoch

    def move_to(self, epoch: int, position: int) -> None:
        """Let the next pass begin at batch `position` of `epoch`."""
        self._look()
        self.next_epoch = self.epoch = epoch
        self.next_start = self.position = position
        self._generation += 1
        self._latest = None

    def set_epoch(self, epoch: int) -> None:
        """Let the next pass be over `epoch`, from a position loaded for it or else from its start.

        A trainer may call this when it has begun to draw that epoch: the pass then still counts.
        """
        self._look()
        running = self._latest is not None and self._latest.epoch == epoch
        if epoch != self.next_epoch and running:
            self.next_epoch, self.next_start = epoch, 0
        elif epoch != self.next_epoch:
            self.move_to(epoch, 0)
        elif not running:
            self._latest = None
            self.epoch, self.position = epoch, self.next_start

    def new_pass(self) -> Pass:
        """Return a pass over the rest of the next epoch."""
        return Pass(self.next_epoch, self.next_start, self._generation)

    def begin(self, this: Pass) -> None:
        """Note that `this` draws its first batch."""
        # A pass of an epoch before the latest one's is an old iterator that somebody still reads.
        if this.generation == self._generation and this.epoch + 1 >= self.next_epoch:
            self.next_epoch, self.next_start = this.epoch + 1, 0
            self._latest = this

    def hand_out(self, this: Pass, position: int, length: int) -> None:
        """Note that `this` has handed out `position` of the `length` batches of its epoch."""
        if this is not self._latest:
            return
        if position < length:
            self.epoch, self.position = this.epoch, position
            return
        self.epoch, self.position = this.epoch + 1, 0
        if self.next_epoch == this.epoch:  # `set_epoch` was called while it ran
            self.next_epoch, self.next_start = this.epoch + 1, 0
