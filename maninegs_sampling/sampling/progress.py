"""Where the passes over a batch sampler stand."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch.utils.data.distributed import DistributedSampler


@dataclass(eq=False)
class Pass:
    """One pass over the batches of an epoch.

    Attributes:
        epoch: the epoch.
        start: number of its first batch; above 0 after a position was loaded.
        generation: how often the progress had been set by hand when the pass was made.
        tentative: whether the pass uses up its epoch only once it has handed out every batch.
    """

    epoch: int
    start: int
    generation: int
    tentative: bool = False


class Progress:
    """The place of the next pass, and how far the latest one came.

    A pass counts from its first batch on: a DataLoader with workers makes two iterators and drops
    the first unused. From then on the next pass belongs to the next epoch, whether or not this one
    is finished. A pass that was made before the progress was set by hand leaves no trace.

    Attributes:
        next_epoch: the epoch of the next pass.
        next_start: the first batch of the next pass.
        epoch, position: the batches of `epoch` that the latest pass has handed out.
        followed: a sampler whose `set_epoch` sets the epoch here too.
    """

    def __init__(self) -> None:
        self.next_epoch = self.next_start = self.epoch = self.position = 0
        self._generation = 0
        self.followed: DistributedSampler[Any] | None = None
        self._followed_epoch: object = None
        self._latest: Pass | None = None

    @property
    def followed_changed(self) -> bool:
        """Whether the epoch of the followed sampler was set since the last look."""
        return self.followed is not None and self.followed.epoch != self._followed_epoch

    def _look(self) -> None:
        # Whatever is set here from now on is newer than what was set there.
        if self.followed is not None:
            self._followed_epoch = self.followed.epoch

    def move_to(self, epoch: int, position: int) -> None:
        """Let the next pass begin at batch `position` of `epoch`."""
        self._look()
        self.next_epoch = self.epoch = epoch
        self.next_start = self.position = position
        self._generation += 1
        self._latest = None

    def set_epoch(self, epoch: int) -> None:
        """Let the next pass be over `epoch`, from a position loaded for it or else from its start.

        If a pass over `epoch` is running, it still counts, and the pass after it belongs to the
        next epoch; a new pass made before it ends starts `epoch` again.
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
            self.next_epoch = this.epoch if this.tentative else this.epoch + 1
            self.next_start = 0
            self._latest = this

    def hand_out(self, this: Pass, position: int, length: int) -> None:
        """Note that `this` has handed out `position` of the `length` batches of its epoch."""
        if this is not self._latest:
            return
        if position < length:
            self.epoch, self.position = this.epoch, position
            return
        self.epoch, self.position = this.epoch + 1, 0
        self._latest = None
        if self.next_epoch == this.epoch:  # tentative, or `set_epoch` was called while it ran
            self.next_epoch, self.next_start = this.epoch + 1, 0


class PassIterator:
    """Iterates over the batches of a pass, for loaders that save the state of their iterators.

    torchdata's StatefulDataLoader restores the iterator of a finished pass, lets its workers draw,
    and drops it for the iterator of the next pass. A restored iterator whose batches had all been
    handed out is therefore tentative.
    """

    def __init__(self, this: Pass, batches: Iterator[list[int]], n_batches: int) -> None:
        self._pass, self._batches, self._left = this, batches, n_batches

    def __iter__(self) -> "PassIterator":
        return self

    def __next__(self) -> list[int]:
        batch = next(self._batches)
        self._left -= 1
        return batch

    def state_dict(self) -> dict[str, bool]:
        """Return whether all batches were handed out."""
        return {"finished": self._left <= 0}

    def load_state_dict(self, state: dict[str, bool]) -> None:
        """Make the pass tentative if all batches had been handed out."""
        self._pass.tentative = state["finished"]
