"""Items together with their patterns, from every kind of map-style dataset."""

import pickle

import numpy as np
import pytest
import torch
from torch.utils.data import ConcatDataset, DataLoader, IterableDataset, Subset, TensorDataset

import maninegs_sampling as mn
from tests.conftest import random_store

BITS = np.repeat(random_store(7, 6).to_dense(), 3, axis=0)
STORE = mn.ManifestationStore.from_dense(BITS)
N = len(BITS)


class Letters:
    """Item i is the i-th letter; that is all that torch asks of a dataset."""

    def __len__(self):
        return N

    def __getitem__(self, i):
        return "abcdefghijklmnopqrstu"[i]


class Batched(Letters):
    """Counts how items are asked for, and returns them as `kind` of a batch."""

    def __init__(self, kind=list):
        self.kind = kind
        self.calls = []

    def __getitem__(self, i):
        self.calls.append(i)
        return i

    def __getitems__(self, indices):
        self.calls.append(list(indices))
        return self.kind(indices)


def test_items_come_with_the_number_of_their_pattern():
    letters = Letters()
    dataset = mn.PatternDataset(letters, STORE)
    assert len(dataset) == N
    for i in (*range(N), -1, np.int64(4), torch.tensor(5)):
        item, pattern = dataset[i]
        assert item == Letters()[i]
        assert type(pattern) is int
        assert BITS[int(i)].tobytes() == BITS[STORE.pattern_of.tolist().index(pattern)].tobytes()
    assert dataset.dataset is letters


def test_several_items_are_fetched_as_the_dataset_fetches_them():
    batched = Batched()
    indices = [3, 0, 20]
    expected = [(i, int(STORE.pattern_of[i])) for i in indices]
    assert mn.PatternDataset(batched, STORE).__getitems__(indices) == expected
    assert batched.calls == [indices]
    batched.__getitems__ = None
    assert mn.PatternDataset(batched, STORE).__getitems__(indices) == expected
    assert batched.calls == [indices, 3, 0, 20]


@pytest.mark.parametrize(
    ("kind", "found"),
    [
        (torch.tensor, "Tensor"),
        (np.array, "ndarray"),
        (tuple, "tuple"),
        (lambda indices: {"item": indices}, "dict"),
        (lambda indices: indices[:-1], "a list of 2"),
    ],
)
def test_a_batch_that_is_collated_already_is_refused(kind, found):
    dataset = mn.PatternDataset(Batched(kind), STORE)
    with pytest.raises(mn.ManiNegError, match=f"list of 3 items, one for each index; got {found}"):
        dataset.__getitems__([1, 2, 3])


def test_a_loader_yields_batches_and_a_tensor_of_patterns():
    views = TensorDataset(torch.arange(N), torch.arange(N) * 2)
    loader = DataLoader(mn.PatternDataset(views, STORE), batch_size=7)
    for (first, second), patterns in loader:
        assert second.tolist() == [2 * i for i in first.tolist()]
        assert patterns.dtype == torch.int64
        assert patterns.tolist() == STORE.pattern_of[first.numpy()].tolist()


def test_the_loss_ignores_equal_patterns():
    z = torch.randn(N, 2, 5, generator=torch.Generator().manual_seed(0)).double()
    (z, patterns), = DataLoader(mn.PatternDataset(z, STORE), batch_size=N)  # fmt: skip
    z = z.requires_grad_()
    losses = mn.nt_xent(z[:, 0], z[:, 1], ids=patterns, reduction="none")
    (gradient,) = torch.autograd.grad(losses.flatten()[0], z)
    touched = gradient.abs().sum((1, 2)) > 0
    equal = patterns == patterns[0]
    assert equal.sum() == 3
    assert touched.tolist() == (~equal | (torch.arange(N) == 0)).tolist()


def test_subsets_and_unions_keep_the_patterns():
    dataset = mn.PatternDataset(Batched(), STORE)
    subset = Subset(dataset, [5, 9, 2])
    of = STORE.pattern_of.tolist()
    assert [subset[i] for i in range(3)] == [(5, of[5]), (9, of[9]), (2, of[2])]
    assert subset.__getitems__([2, 0]) == [(2, of[2]), (5, of[5])]
    both = ConcatDataset([dataset, dataset])
    assert both[N + 4] == (4, of[4])
    # the other way round: a subset of items, with the same subset of the store
    part = mn.PatternDataset(Subset(Batched(), [5, 9, 2]), STORE.subset([5, 9, 2]))
    assert [part[i][0] for i in range(3)] == [5, 9, 2]
    assert part.__getitems__([2])[0][0] == 2


def test_it_is_pickled_without_the_store():
    store = random_store(500, 3000)
    dataset = mn.PatternDataset(list(range(500)), store)
    pickled = pickle.dumps(dataset)
    assert len(pickled) < 10_000 < store.words.nbytes
    again = pickle.loads(pickled)
    assert [again[i] for i in range(500)] == [dataset[i] for i in range(500)]


def test_patterns_of_a_store_on_disk(tmp_path):
    STORE.save(tmp_path / "s.mns")
    stored = mn.ManifestationStore.load(tmp_path / "s.mns", mmap=True)
    dataset = pickle.loads(pickle.dumps(mn.PatternDataset(Letters(), stored)))
    assert [dataset[i] for i in range(N)] == [(Letters()[i], STORE.pattern_of[i]) for i in range(N)]


class Stream(IterableDataset):
    def __iter__(self):
        return iter(range(N))

    def __len__(self):
        return N


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        (Stream(), "dataset must be a map-style dataset .*; got Stream"),
        (iter(range(N)), "dataset must be a map-style dataset .*; got range_iterator"),
        (DataLoader(range(N)), "dataset must be a map-style dataset .*; got DataLoader"),
        (Letters, "dataset must be a map-style dataset .*; got type"),
        (None, "dataset must be a map-style dataset .*; got NoneType"),
        (range(N + 1), f"the dataset has {N + 1} items and the store {N} instances"),
        ([], f"the dataset has 0 items and the store {N} instances"),
    ],
)
def test_datasets_that_cannot_be_used(dataset, message):
    with pytest.raises(mn.ManiNegError, match=message):
        mn.PatternDataset(dataset, STORE)


def test_a_store_is_needed():
    with pytest.raises(mn.ManiNegError, match="store must be a ManifestationStore; got ndarray"):
        mn.PatternDataset(range(N), BITS)


@pytest.mark.parametrize("index", [slice(0, 1), "column", [0], True, 0.0, None])
def test_an_index_is_one_number(index):
    with pytest.raises(mn.ManiNegError, match="index must be a whole number; got "):
        mn.PatternDataset(list(range(N)), STORE)[index]


@pytest.mark.parametrize("index", [N, -N - 1])
def test_an_index_outside_is_an_index_error(index):
    class Endless(Letters):
        def __getitem__(self, i):
            return i

    with pytest.raises(IndexError):
        mn.PatternDataset(Endless(), STORE)[index]
