"""Passes and epochs: what counts as begun, what is forgotten, what a state says."""

import pytest
from torch.utils.data import DataLoader

from maninegs_sampling import LinearAnnealing, ManiNegBatchSampler
from maninegs_sampling.sampling.progress import Progress
from tests.conftest import random_store


def make():
    return ManiNegBatchSampler(random_store(64, 12), batch_size=4, mu=LinearAnnealing(9, 0, 60))


@pytest.fixture(scope="module")
def epochs():
    sampler = make()
    return [list(sampler) for _ in range(5)]


@pytest.mark.parametrize(
    ("workers", "settings"),
    [(0, {}), (2, {}), (2, {"persistent_workers": True}), (2, {"prefetch_factor": 8})],
)
def test_loops_that_leave_early_see_new_batches_each_time(epochs, workers, settings):
    loader = DataLoader(range(64), batch_sampler=make(), num_workers=workers,
                        multiprocessing_context="fork" if workers else None, **settings)  # fmt: skip
    for epoch in range(3):
        seen = [batch.tolist() for batch, _ in zip(loader, range(4), strict=False)]
        assert seen == epochs[epoch][:4]
    assert next(iter(loader)).tolist() == epochs[3][0]
    assert [batch.tolist() for batch in loader] == epochs[4]


def test_training_by_steps(epochs):
    sampler, steps = make(), []
    while len(steps) < 40:
        for batch in sampler:
            steps.append(batch)
            if len(steps) == 40:
                break
    assert steps == (epochs[0] + epochs[1] + epochs[2])[:40]


def test_an_iterator_that_is_never_read_uses_nothing_up(epochs):
    sampler = make()
    iter(sampler)
    iter(sampler)
    assert sampler.epoch == 0
    assert list(sampler) == epochs[0]
    sampler.load_state_dict(sampler.state_dict() | {"epoch": 1, "position": 5})
    iter(sampler)
    assert list(sampler) == epochs[1][5:]


def test_the_state_of_a_pass_that_was_left_lies_within_its_epoch(epochs):
    sampler = make()
    for _ in zip(range(5), sampler, strict=False):
        pass
    state = sampler.state_dict()
    assert (state["epoch"], state["position"], sampler.epoch) == (0, 5, 1)
    other = make()
    other.load_state_dict(state)
    assert list(other) == epochs[0][5:]
    other.load_state_dict(state | {"epoch": sampler.epoch, "position": 0})
    assert list(other) == list(sampler) == epochs[1]


def test_set_epoch_after_a_pass_has_begun_does_not_lose_it(epochs):
    """A trainer may name the epoch again while workers draw it already."""
    sampler = make()
    running = iter(sampler)
    assert [next(running) for _ in range(3)] == epochs[0][:3]
    sampler.set_epoch(0)
    assert sampler.state_dict()["position"] == 3
    assert list(running) == epochs[0][3:]
    assert sampler.state_dict()["epoch"] == 1
    assert list(sampler) == epochs[1]


def test_set_epoch_to_the_next_epoch_leaves_the_last_one_behind(epochs):
    sampler = make()
    running = iter(sampler)
    next(running)
    sampler.set_epoch(1)
    assert (sampler.state_dict()["epoch"], sampler.state_dict()["position"]) == (1, 0)
    assert list(running) == epochs[0][1:]
    assert sampler.state_dict()["epoch"] == 1
    assert list(sampler) == epochs[1]


def test_an_old_pass_that_begins_late_does_not_turn_the_clock_back():
    progress = Progress()
    old = progress.new_pass()
    for _ in range(3):
        this = progress.new_pass()
        progress.begin(this)
        this.position += 1
    progress.begin(old)
    old.position += 1
    assert (progress.next_epoch, progress.reached) == (3, (2, 1))


def test_two_passes_made_together_belong_to_one_epoch(epochs):
    sampler = make()
    first, second = iter(sampler), iter(sampler)
    assert next(first) == next(second) == epochs[0][0]
    assert next(second) == epochs[0][1]
    assert sampler.state_dict()["position"] == 2
    assert list(sampler) == epochs[1]


def test_set_epoch_after_a_finished_pass_is_what_the_state_says(epochs):
    sampler = make()
    list(sampler)
    sampler.set_epoch(0)
    assert (sampler.state_dict()["epoch"], sampler.state_dict()["position"]) == (0, 0)
    assert list(sampler) == epochs[0]


@pytest.mark.parametrize("workers", [0, 2])
def test_the_documented_loop_counts_right_after_passes_that_were_left(epochs, workers):
    sampler = make()
    loader = DataLoader(range(64), batch_sampler=sampler, num_workers=workers,
                        multiprocessing_context="fork" if workers else None)  # fmt: skip
    sampler.load_state_dict(sampler.state_dict() | {"position": 5})
    for epoch in range(sampler.epoch, 3):
        for k, batch in enumerate(loader, sampler.position):
            assert batch.tolist() == epochs[epoch][k]
            saved = sampler.state_dict() | {"epoch": epoch, "position": k + 1}
            if k == 8:
                break
    other = make()
    other.load_state_dict(saved)
    assert list(other) == epochs[2][9:]


@pytest.mark.filterwarnings("ignore:'set_vital' is deprecated")
@pytest.mark.parametrize(
    ("workers", "settings"), [(0, {}), (2, {}), (2, {"persistent_workers": True})]
)
@pytest.mark.parametrize("finished", [1, 2])
def test_a_stateful_loader_saved_between_epochs(epochs, workers, settings, finished):
    torchdata = pytest.importorskip("torchdata.stateful_dataloader")

    def new_loader():
        return torchdata.StatefulDataLoader(
            range(64), batch_sampler=make(), num_workers=workers, **settings
        )

    first = new_loader()
    for _ in range(finished):
        list(first)
    second = new_loader()
    second.load_state_dict(first.state_dict())
    assert [batch.tolist() for batch in second] == epochs[finished]
    assert [batch.tolist() for batch in second] == epochs[finished + 1]
