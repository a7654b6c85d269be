"""Where the passes over a batch sampler stand."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from torch.utils.data.distributed import DistributedSampler


@dataclass(eq=False)
class Pass:
    """One pass over the batches of an epoch.

    Attributes:
        epoch: the epoch.
        position: the batches of the epoch that were handed out, by this pass or before it.
        generation: how often the progress had been set by hand when the pass was made.
        tentative: whether the pass uses up its epoch only once it has handed out every batch.
    """

    epoch: int
    position: int
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
        begun: the last epoch of which a batch was drawn in a pass, or that a loaded state lies in;
            -1 for none.
        followed: a sampler whose `set_epoch` sets the epoch here too.
    """

    def __init__(self) -> None:
        self.next_epoch = self.next_start = 0
        self.begun = -1
        self._reached = (0, 0)
        self._generation = 0
        self.followed: DistributedSampler[Any] | None = None
        self._followed_epoch: object = None
        self._latest: Pass | None = None

    @property
    def reached(self) -> tuple[int, int]:
        """An epoch, and how many of its batches the latest pass has handed out."""
        if self._latest is None:
            return self._reached
        return self._latest.epoch, self._latest.position

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
        self.next_epoch, self.next_start = self._reached = epoch, position
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
            self._reached = epoch, self.next_start

    def new_pass(self) -> Pass:
        """Return a pass over the rest of the next epoch."""
        return Pass(self.next_epoch, self.next_start, self._generation)

    def begin(self, this: Pass) -> None:
        """Note that `this` draws its first batch."""
        self.begun = max(self.begun, this.epoch)
        # A pass of an epoch before the latest one's is an old iterator that somebody still reads.
        if this.generation == self._generation and this.epoch + 1 >= self.next_epoch:
            self.next_epoch = this.epoch if this.tentative else this.epoch + 1
            self.next_start = 0
            self._latest = this

    def finish(self, this: Pass) -> None:
        """Note that `this` has handed out the last batch of its epoch."""
        if this is not self._latest:
            return
        self._reached = this.epoch + 1, 0
        self._latest = None
        if self.next_epoch == this.epoch:  # tentative, or `set_epoch` was called while it ran
            self.next_epoch, self.next_start = this.epoch + 1, 0


class PassIterator:
    """Iterates over the batches of a pass. Loaders may save and restore its state.

    torchdata's StatefulDataLoader restores the iterator of a finished pass, lets its workers draw,
    and drops it for the iterator of the next pass. A restored iterator whose batches had all been
    handed out is therefore tentative.

    Args:
        progress: of the batch sampler; the pass is over what is left of its next epoch.
        draw: from epoch, first batch and number of batches to the batches.
        length: batches of an epoch.
        chunk: batches to draw in one call.
    """

    def __init__(
        self,
        progress: Progress,
        draw: Callable[[int, int, int], list[list[int]]],
        length: int,
        chunk: int,
    ) -> None:
        self._progress, self._draw, self._length, self._chunk = progress, draw, length, chunk
        self._pass = progress.new_pass()
        self._begun = False
        self._drawn: Iterator[list[int]] = iter(())

    def __iter__(self) -> "PassIterator":
        return self

    def __next__(self) -> list[int]:
        this = self._pass
        batch = next(self._drawn, None)
        if batch is None:
            batch = self._draw_chunk()
        this.position += 1
        if this.position == self._length:
            self._progress.finish(this)
        return batch

    def _draw_chunk(self) -> list[int]:
        """Draw the next batches, and return the first of them."""
        this = self._pass
        count = min(self._chunk, self._length - this.position)
        if count <= 0:
            raise StopIteration
        drawn = self._draw(this.epoch, this.position, count)
        if not self._begun:
            self._progress.begin(this)
            self._begun = True
        self._drawn = iter(drawn)
        return next(self._drawn)

    def state_dict(self) -> dict[str, bool]:
        """Return whether all batches were handed out."""
        return {"finished": self._pass.position >= self._length}

    def load_state_dict(self, state: dict[str, bool]) -> None:
        """Make the pass tentative if all batches had been handed out."""
        self._pass.tentative = state["finished"]
