"""torch's DataLoader: workers, start methods, pinned memory, wrapping."""

import warnings

import pytest
import torch
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    DistributedSampler,
    IterableDataset,
    RandomSampler,
    Subset,
    TensorDataset,
)

from maninegs_sampling import ManiNegBatchSampler, ManiNegError, pairwise_hamming
from tests.conftest import random_store
from tests.integrations.common import STORE, Indices, as_lists, epochs_of, make_sampler


class Stream(IterableDataset):
    def __iter__(self):
        return iter(range(60))


# Warnings of torch's about forking a process that runs threads are not ours.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:'pin_memory' argument is set as true but no accelerator"),
]


@pytest.mark.parametrize(
    ("workers", "settings"),
    [
        (0, {}),
        (2, {"multiprocessing_context": "fork"}),
        (2, {"multiprocessing_context": "fork", "persistent_workers": True, "prefetch_factor": 5}),
        (2, {"multiprocessing_context": "spawn", "persistent_workers": True}),
        (0, {"pin_memory": True}),
        (2, {"pin_memory": True, "multiprocessing_context": "fork"}),
    ],
)
def test_epochs_through_workers_equal_the_samplers_own(workers, settings):
    expected = epochs_of(make_sampler(), 3)
    assert expected[0] != expected[1] != expected[2]
    # Parallel kernels and draws come first: a forked worker must not inherit anything harmful.
    pairwise_hamming(random_store(500, 14))
    loader = DataLoader(Indices(), batch_sampler=make_sampler(), num_workers=workers, **settings)
    assert [as_lists(loader) for _ in range(3)] == expected


@pytest.mark.parametrize(
    ("workers", "settings"), [(0, {}), (2, {}), (2, {"persistent_workers": True})]
)
def test_what_is_left_of_an_epoch_comes_next(workers, settings):
    whole = epochs_of(make_sampler(), 3)
    sampler = make_sampler()
    loader = DataLoader(Indices(), batch_sampler=sampler, num_workers=workers, **settings)
    for epoch, position in ((1, 5), (0, 0), (0, 12), (1, 11)):
        sampler.load_state_dict(sampler.state_dict() | {"epoch": epoch, "position": position})
        if position < 12:
            assert as_lists(loader) == whole[epoch][position:]
        assert as_lists(loader) == whole[epoch + 1]


class BuildsInWorker(Indices):
    """Computes distances inside the worker."""

    def __getitem__(self, i):
        return int(pairwise_hamming(random_store(300, 14))[0, 1]) * 0 + i


def test_a_forked_worker_can_run_the_building_kernels():
    pairwise_hamming(random_store(500, 14))
    loader = DataLoader(
        BuildsInWorker(), batch_size=10, num_workers=2, multiprocessing_context="fork"
    )
    assert sum(as_lists(loader), []) == list(range(60))


def test_wrap_keeps_the_loader():
    data = TensorDataset(torch.arange(60))

    def collate(items):
        return torch.stack([item[0] for item in items]) * 2

    original = DataLoader(data, batch_size=7, shuffle=True, num_workers=2, collate_fn=collate,
                          prefetch_factor=3, timeout=60, persistent_workers=True)  # fmt: skip
    wrapped = ManiNegBatchSampler.wrap(original, STORE, mu=3.0, seed=4)
    assert type(wrapped) is DataLoader
    for name in ("dataset", "num_workers", "collate_fn", "prefetch_factor", "timeout",
                 "persistent_workers", "pin_memory", "worker_init_fn", "generator"):  # fmt: skip
        assert getattr(wrapped, name) == getattr(original, name)
    assert len(wrapped) == len(original) == 9
    expected = list(ManiNegBatchSampler(STORE, batch_size=7, mu=3.0, seed=4, batches_per_epoch=9))
    assert as_lists(wrapped) == [[2 * i for i in batch] for batch in expected]


@pytest.mark.parametrize("drop_last", [True, False])
def test_wrap_keeps_the_number_of_batches_a_schedule_was_written_for(drop_last):
    original = DataLoader(Indices(), batch_size=7, shuffle=True, drop_last=drop_last)
    assert len(ManiNegBatchSampler.wrap(original, STORE, mu=3.0)) == len(original)
    wrapped = ManiNegBatchSampler.wrap(original, STORE, mu=3.0, batch_size=10)
    assert len(wrapped) == 6
    wrapped = ManiNegBatchSampler.wrap(original, STORE, mu=3.0, batches_per_epoch="anchors")
    assert len(wrapped) == 60


@pytest.mark.parametrize(("drop_last", "one", "two"), [(True, 8, 4), (False, 9, 5)])
def test_wrap_before_ranks_start(monkeypatch, drop_last, one, two):
    """As a uniform loader's would, the epoch of each rank is shorter."""
    original = DataLoader(Indices(), batch_size=7, shuffle=True, drop_last=drop_last)
    alone = ManiNegBatchSampler.wrap(original, STORE, mu=3.0, distributed="auto")
    assert len(alone) == len(original) == one
    wrapped = ManiNegBatchSampler.wrap(original, STORE, mu=3.0, distributed="auto")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    assert len(wrapped) == two
    sharded = DataLoader(
        Indices(), 7, sampler=DistributedSampler(Indices(), 2, 0), drop_last=drop_last
    )
    assert len(sharded) == two
    assert len(ManiNegBatchSampler.wrap(sharded, STORE, mu=3.0)) == two


def test_wrap_takes_the_ranks_of_a_distributed_sampler():
    anchors = []
    for rank in range(3):
        distributed = DistributedSampler(Indices(), num_replicas=3, rank=rank)
        original = DataLoader(Indices(), batch_size=5, sampler=distributed)
        wrapped = ManiNegBatchSampler.wrap(original, STORE, mu=3.0)
        assert len(wrapped) == len(original) == 4
        anchors += [batch[0] for batch in as_lists(wrapped)]
    assert len(set(anchors)) == 12


def test_wrap_asks_for_the_ranks_where_it_is_told_to(monkeypatch):
    original = DataLoader(Indices(), 5, sampler=DistributedSampler(Indices(), 3, 1))
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    sampler = ManiNegBatchSampler.wrap(original, STORE, mu=3.0, distributed="auto").batch_sampler
    assert (sampler.num_replicas, sampler.rank) == (2, 0)


def test_wrap_makes_a_batch_of_a_loader_that_had_none():
    distributed = DistributedSampler(Indices(), num_replicas=3, rank=0)
    original = DataLoader(Indices(), batch_size=21, sampler=distributed, drop_last=True)
    assert len(original) == 0
    assert [len(batch) for batch in ManiNegBatchSampler.wrap(original, STORE, mu=3.0)] == [21]


def test_wrap_takes_a_batch_sampler():
    original = DataLoader(Indices(), batch_sampler=BatchSampler(RandomSampler(range(60)), 6, True))
    assert len(as_lists(ManiNegBatchSampler.wrap(original, STORE, mu=3.0))[0]) == 6


class SeekableStream(Stream):
    """As MosaicML's and LitData's: a stream whose items have numbers all the same."""

    def __len__(self):
        return 60

    def __getitem__(self, i):
        return i


def test_a_seekable_stream_as_a_map_style_dataset():
    """As the README says."""
    stream = SeekableStream()
    with pytest.raises(ManiNegError, match="an IterableDataset chooses its own order"):
        ManiNegBatchSampler.wrap(DataLoader(stream, batch_size=5), STORE, mu=3.0)
    loader = DataLoader(Subset(stream, range(len(stream))), batch_size=5, shuffle=True)
    wrapped = ManiNegBatchSampler.wrap(loader, STORE, mu=3.0, seed=3)
    assert as_lists(wrapped) == list(make_sampler(mu=3.0))


class LoggingLoader(DataLoader):
    """A subclass, as other libraries have."""


def test_wrap_keeps_the_class():
    wrapped = ManiNegBatchSampler.wrap(LoggingLoader(Indices(), batch_size=5), STORE, mu=3.0)
    assert type(wrapped) is LoggingLoader


@pytest.mark.parametrize(
    ("loader", "message"),
    [
        (lambda: [1, 2], "loader must be a DataLoader; got list"),
        (lambda: DataLoader(Stream(), batch_size=4), "an IterableDataset chooses its own order"),
        (lambda: DataLoader(Indices(), batch_size=None), "batch_size=None"),
        (lambda: DataLoader(range(59), batch_size=4), "the dataset has 59 items and the store 60"),
        (lambda: DataLoader(range(61), batch_size=4), "the dataset has 61 items and the store 60"),
    ],
)
def test_wrap_errors(loader, message):
    with pytest.raises(ManiNegError, match=message):
        ManiNegBatchSampler.wrap(loader(), STORE, mu=3.0)


def test_no_warning_without_ranks():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        list(make_sampler())
