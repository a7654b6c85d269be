"""What `wrap` keeps of a loader, what it follows, and what it refuses."""

import functools

import numpy as np
import pytest
import torch
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    DistributedSampler,
    RandomSampler,
    Sampler,
    SequentialSampler,
    Subset,
    SubsetRandomSampler,
    WeightedRandomSampler,
    random_split,
)

from maninegs_sampling import LinearAnnealing, ManiNegBatchSampler, ManiNegError
from tests.conftest import random_store

STORE = random_store(300, 12)
DATA = range(300)


def wrap(loader, **options):
    return ManiNegBatchSampler.wrap(loader, STORE, **{"mu": 3.0, **options})


def drawn(loader, epochs=8):
    return {item for _ in range(epochs) for batch in loader for item in batch.tolist()}


# Which items may be drawn.


@pytest.mark.parametrize(
    "indices", [range(270), torch.randperm(300)[:120], [5, 3, 299] * 1 + list(range(40, 100))]
)
@pytest.mark.parametrize("inside", [False, True], ids=["sampler", "batch sampler"])
def test_a_subset_sampler_keeps_validation_items_out(indices, inside):
    sampler = SubsetRandomSampler(indices)
    loader = (
        DataLoader(DATA, batch_sampler=BatchSampler(sampler, 32, True))
        if inside
        else DataLoader(DATA, batch_size=32, sampler=sampler, drop_last=True)
    )
    hard = wrap(loader)
    allowed = set(torch.as_tensor(list(indices)).tolist())
    assert len(hard) == len(loader) == len(allowed) // 32
    seen = drawn(hard, epochs=40)
    assert seen <= allowed
    assert len(seen) > 0.9 * len(allowed)


def test_the_drawn_part_is_as_if_it_were_alone():
    """The batches of a part are those of its own store, with the dataset's numbers."""
    part = torch.randperm(300, generator=torch.manual_seed(0))[:100]
    groups = np.arange(300) // 2
    hard = wrap(DataLoader(DATA, 16, sampler=SubsetRandomSampler(part)), groups=groups, seed=5)
    alone = ManiNegBatchSampler(
        STORE.subset(part), batch_size=16, mu=3.0, groups=groups[part], seed=5, batches_per_epoch=7
    )
    assert list(hard.batch_sampler) == [part[batch].tolist() for batch in alone]
    assert hard.batch_sampler.batch(3, epoch=2) == part[alone.batch(3, epoch=2)].tolist()
    mine, its = hard.batch_sampler.describe(1, 2), alone.describe(1, 2)
    assert mine.distances.tolist() == its.distances.tolist()
    assert list(hard.batch_sampler.sampler) == part[list(alone.sampler)].tolist()


@pytest.mark.parametrize(
    "sampler",
    [
        RandomSampler(DATA), RandomSampler(DATA, replacement=True, num_samples=100),
        SequentialSampler(DATA), DistributedSampler(DATA, 2, 1), DistributedSampler(DATA, 1, 0),
        SubsetRandomSampler(DATA), range(300),
    ],
    ids=lambda sampler: type(sampler).__name__,
)  # fmt: skip
def test_samplers_over_all_items_are_taken(sampler):
    loader = DataLoader(DATA, batch_size=10, sampler=sampler)
    assert len(wrap(loader)) == len(loader)
    assert len(drawn(wrap(loader), epochs=20)) > 270


@pytest.mark.parametrize(
    "sampler",
    [
        RandomSampler(range(90)), SequentialSampler(range(90)), DistributedSampler(range(90), 2, 0),
        list(range(90)), tuple(range(90)),
    ],
    ids=lambda sampler: type(sampler).__name__,
)  # fmt: skip
def test_a_sampler_over_fewer_items_keeps_to_them(sampler):
    assert max(drawn(wrap(DataLoader(DATA, 10, sampler=sampler)))) < 90


class Mine(RandomSampler):
    def __iter__(self):
        return iter(range(10))


class Renamed(RandomSampler):
    """Of one's own in name only."""


class Batches(Sampler):
    batch_size = 4

    def __iter__(self):
        return iter([[0, 1, 2, 3]])

    def __len__(self):
        return 1


@pytest.mark.parametrize(
    ("loader", "named"),
    [
        (lambda: DataLoader(DATA, 10, sampler=WeightedRandomSampler([1.0] * 300, 300)), "Weighted"),
        (lambda: DataLoader(DATA, 10, sampler=Mine(DATA)), "Mine"),
        (lambda: DataLoader(DATA, batch_sampler=BatchSampler(Mine(DATA), 10, False)), "Mine"),
        (lambda: DataLoader(DATA, batch_sampler=Batches()), "Batches"),
        (lambda: DataLoader(DATA, 10, sampler=iter(range(300))), "range_iterator"),
    ],
)
def test_a_choice_that_cannot_be_kept_is_refused(loader, named):
    with pytest.raises(ManiNegError, match=rf"the choice that {named}.* Give wrap indices="):
        wrap(loader())
    told = wrap(loader(), indices=range(100), batch_size=10)
    assert max(drawn(told)) == 99


def test_a_loader_may_be_wrapped_again():
    """As when a notebook's cell runs twice."""
    part = SubsetRandomSampler(range(200))
    once = wrap(DataLoader(DATA, 10, sampler=part, num_workers=0))
    twice = wrap(once, seed=7)
    assert list(twice.batch_sampler.indices) == list(range(200))
    assert len(twice) == len(once) == 20
    expected = ManiNegBatchSampler(
        STORE, batch_size=10, mu=3.0, seed=7, indices=range(200), batches_per_epoch=20
    )
    assert list(twice.batch_sampler) == list(expected)
    replaced = DistributedSampler(DATA, 3, 2)
    ranked = wrap(DataLoader(DATA, 10, sampler=replaced), batches_per_epoch=30)
    again = wrap(ranked)
    assert again.batch_sampler.replicas == ranked.batch_sampler.replicas
    assert len(again) == 30
    replaced.set_epoch(5)
    assert again.batch_sampler.epoch == 5


def test_options_that_are_none_count_as_not_given():
    loader = DataLoader(DATA, 10, sampler=SubsetRandomSampler(range(90)))
    assert max(drawn(wrap(loader, indices=None, groups=None))) == 89
    ranked = DataLoader(DATA, 10, sampler=DistributedSampler(DATA, 3, 2))
    nothing = {"num_replicas": None, "rank": None, "distributed": None}
    assert wrap(ranked, **nothing).batch_sampler.replicas.count == 3
    short = DataLoader(DATA, 10, sampler=RandomSampler(DATA, num_samples=60))
    assert len(wrap(short, batches_per_epoch=None)) == len(wrap(short, batch_size=10)) == 6


def test_indices_cannot_be_changed_afterwards():
    given = np.arange(20)
    sampler = ManiNegBatchSampler(STORE, batch_size=4, mu=3.0, indices=given)
    given[:] = 7
    with pytest.raises(ValueError, match="read-only"):
        sampler.indices[:] = 7
    assert set(sum(sampler, [])) <= set(range(20))


@pytest.mark.filterwarnings("ignore:'set_vital' is deprecated")
def test_samplers_of_torchdata():
    torchdata = pytest.importorskip("torchdata.stateful_dataloader")
    from torchdata.stateful_dataloader.sampler import StatefulDistributedSampler

    for settings in ({"shuffle": True}, {}, {"sampler": SubsetRandomSampler(range(90))},
                     {"sampler": StatefulDistributedSampler(DATA, 2, 1)}):  # fmt: skip
        loader = torchdata.StatefulDataLoader(DATA, batch_size=10, **settings)
        hard = wrap(loader)
        assert type(hard) is type(loader)
        assert len(hard) == len(loader)
        assert max(drawn(hard)) == 89 or "Subset" not in repr(settings)


def test_a_subclass_that_iterates_as_torchs_does_is_taken():
    assert len(wrap(DataLoader(DATA, 10, sampler=Renamed(DATA)))) == 30


def test_repeated_items_are_refused():
    with pytest.raises(ManiNegError, match="must not repeat an instance; 0 appears 4 times"):
        wrap(DataLoader(DATA, 10, sampler=SubsetRandomSampler([0, 1] * 4)))


def test_parts_of_a_dataset():
    part, _ = random_split(list(DATA), [200, 100])
    hard = ManiNegBatchSampler.wrap(DataLoader(part, 10), STORE.subset(part.indices), mu=3.0)
    assert drawn(hard) <= set(part.indices)
    with pytest.raises(ManiNegError, match="the dataset has 200 items and the store 300"):
        wrap(DataLoader(Subset(DATA, range(200)), 10))


# Epochs.


def loop_of(loader, set_epoch, epochs):
    seen = []
    for epoch in epochs:
        set_epoch(epoch)
        seen.append([batch.tolist() for batch in loader])
    return seen


def falling(loader, **options):
    return wrap(loader, mu=LinearAnnealing(9, 0, steps=200), **options)


@pytest.mark.parametrize("through", ["loader.sampler", "batch_sampler", "the replaced sampler"])
def test_a_run_resumed_at_an_epoch_draws_that_epoch(through):
    replaced = DistributedSampler(DATA, 2, 1)
    hard = falling(DataLoader(DATA, 10, sampler=replaced))
    set_epoch = {
        "loader.sampler": hard.sampler.set_epoch,
        "batch_sampler": hard.batch_sampler.set_epoch,
        "the replaced sampler": replaced.set_epoch,
    }[through]
    expected = [[hard.batch_sampler.batch(k, epoch=e) for k in range(15)] for e in (5, 6, 2)]
    assert loop_of(hard, set_epoch, (5, 6, 2)) == expected
    assert hard.batch_sampler.epoch == 3


def test_a_replaced_sampler_that_was_set_before():
    replaced = DistributedSampler(DATA, 2, 1)
    replaced.set_epoch(4)
    assert falling(DataLoader(DATA, 10, sampler=replaced)).batch_sampler.epoch == 4


def test_what_was_said_last_holds():
    replaced = DistributedSampler(DATA, 2, 1)
    hard = falling(DataLoader(DATA, 10, sampler=replaced)).batch_sampler
    replaced.set_epoch(7)
    hard.set_epoch(3)
    assert hard.epoch == 3
    replaced.set_epoch(8)
    hard.load_state_dict(hard.state_dict() | {"epoch": 2, "position": 5})
    assert next(iter(hard)) == hard.batch(5, epoch=2)
    replaced.set_epoch(1)
    assert hard.state_dict()["epoch"] == 1
    assert next(iter(hard)) == hard.batch(0, epoch=1)


def test_a_loaded_position_survives_set_epoch_on_the_replaced_sampler():
    replaced = DistributedSampler(DATA, 2, 1)
    hard = falling(DataLoader(DATA, 10, sampler=replaced)).batch_sampler
    hard.load_state_dict(hard.state_dict() | {"epoch": 5, "position": 3})
    replaced.set_epoch(5)
    assert next(iter(hard)) == hard.batch(3, epoch=5)


@pytest.mark.parametrize("epoch", [-1, 2.5, None, "x", 2**70])
def test_an_epoch_of_a_replaced_sampler_is_checked(epoch):
    replaced = DistributedSampler(DATA, 2, 1)
    hard = falling(DataLoader(DATA, 10, sampler=replaced))
    replaced.set_epoch(epoch)
    with pytest.raises(ManiNegError, match="epoch must be"):
        iter(hard)
    with pytest.raises(ManiNegError, match="sampler must be a DistributedSampler"):
        hard.batch_sampler.follow_epochs(SequentialSampler(DATA))


def test_epochs_counted_by_numpy_can_be_saved():
    replaced = DistributedSampler(DATA, 2, 1)
    hard = falling(DataLoader(DATA, 10, sampler=replaced))
    replaced.set_epoch(np.int64(3))
    next(iter(hard.batch_sampler))
    assert type(hard.batch_sampler.state_dict()["epoch"]) is int


def test_a_sampler_made_by_hand_follows_one_too():
    followed = DistributedSampler(DATA, 2, 1)
    hard = ManiNegBatchSampler(STORE, batch_size=10, mu=3.0)
    hard.follow_epochs(followed)
    followed.set_epoch(2)
    assert next(iter(hard)) == hard.batch(0, epoch=2)


# Classes of loaders.


class Buffered(DataLoader):
    """As MONAI's ThreadDataLoader, which keeps some of its settings."""

    def __init__(self, dataset, buffer_size=1, repeats=1, use_threads=False, **kwargs):
        super().__init__(dataset, **kwargs)
        self.buffer_size, self.repeats = buffer_size, repeats


class Collating(DataLoader):
    """As torch_geometric's, which makes its own collate_fn."""

    def __init__(self, dataset, batch_size=1, shuffle=False, follow_batch=None, **kwargs):
        kwargs.pop("collate_fn", None)
        self.follow_batch = follow_batch
        collate = functools.partial(self.collate, follow_batch)
        super().__init__(dataset, batch_size, shuffle, collate_fn=collate, **kwargs)

    @staticmethod
    def collate(follow_batch, items):
        return follow_batch, torch.tensor(items)


class Narrow(DataLoader):
    def __init__(self, items):
        self.items = items
        super().__init__(items, batch_size=10)


class Sized(DataLoader):
    def __init__(self, dataset, batch_size=8, **kwargs):
        super().__init__(dataset, batch_size=batch_size, **kwargs)


class Augmenting(DataLoader):
    def __init__(self, dataset, **kwargs):
        super().__init__(Subset(dataset, range(len(dataset))), **kwargs)


class Fixed(DataLoader):
    def __init__(self, dataset, batch_size):
        super().__init__(dataset, batch_size, shuffle=True)


class Keeping(Buffered):
    """A subclass of a subclass."""

    def __init__(self, *args, label="x", **kwargs):
        super().__init__(*args, **kwargs)
        self.label, self.use_threads = label, kwargs.get("use_threads", False)


def test_settings_of_subclasses_are_kept():
    made = Keeping(DATA, buffer_size=7, repeats=3, use_threads=True, label="y", batch_size=10)
    hard = wrap(made)
    assert type(hard) is Keeping
    assert (hard.buffer_size, hard.repeats, hard.use_threads, hard.label) == (7, 3, True, "y")
    hard = wrap(Collating(DATA, 10, follow_batch=["edges"]))
    follow_batch, items = next(iter(hard))
    assert follow_batch == ["edges"]
    assert items.tolist() == hard.batch_sampler.batch(0)


@pytest.mark.parametrize(
    ("loader", "message"),
    [
        (
            lambda: Buffered(DATA, batch_size=10),
            "every setting of Buffered.* no attribute use_threads",
        ),
        (lambda: Narrow(DATA), "Narrow cannot be made with a batch sampler"),
        (lambda: Fixed(DATA, 10), "Fixed cannot be made with a batch sampler"),
        (lambda: Sized(DATA), "Sized cannot be made with a batch sampler"),
        (lambda: Augmenting(DATA, batch_size=10), "Augmenting changes its dataset when it is made"),
    ],
)
def test_a_subclass_that_cannot_be_made_again_is_refused_with_the_way_out(loader, message):
    with pytest.raises(
        ManiNegError, match=message + r".*Build the loader yourself, with batch_sampler="
    ):
        wrap(loader())


def test_settings_of_monais_threaded_loader():
    monai = pytest.importorskip("monai.data")
    loader = monai.ThreadDataLoader(list(DATA), batch_size=10, buffer_size=3, repeats=2)
    with pytest.raises(ManiNegError, match=r"ThreadDataLoader.*use_thread_workers"):
        wrap(loader)
    hard = monai.ThreadDataLoader(
        list(DATA), batch_sampler=ManiNegBatchSampler(STORE, batch_size=10, mu=3.0), repeats=2
    )
    batches = [batch.tolist() for batch in hard]
    assert batches[0] == batches[1]
    assert len(batches) == 60


class NoLength:
    def __getitem__(self, i):
        return i


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: wrap(DataLoader(NoLength(), 4, sampler=range(4))), "the dataset has no length"),
        (
            lambda: wrap(DataLoader(DATA, 301)),
            "there are 300 instances, too few for batches of 301",
        ),
        (lambda: wrap(DataLoader(DATA, 4), indices=[300]), r"indices must lie in \[0, 300\)"),
        (
            lambda: ManiNegBatchSampler.wrap(DataLoader(DATA, 4), [[0, 1]], mu=1.0),
            "store must be a",
        ),
    ],
)
def test_errors(call, message):
    with pytest.raises(ManiNegError, match=message):
        call()
