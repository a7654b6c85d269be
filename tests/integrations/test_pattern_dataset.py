"""Items with their patterns, through wrapped loaders, their workers and frameworks' datasets."""

import numpy as np
import pytest
from torch.utils.data import DataLoader, Subset

from maninegs_sampling import ManifestationStore, ManiNegBatchSampler, PatternDataset
from tests.conftest import random_store
from tests.integrations.common import Indices

STORE = ManifestationStore.from_dense(np.repeat(random_store(12, 6).to_dense(), 5, axis=0))
OPTIONS = {"mu": 0.0, "sigma": 1.0, "duplicates": "keep", "seed": 3}

pytestmark = [
    pytest.mark.filterwarnings("ignore:'set_vital' is deprecated"),
    pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning"),
]


def epochs_of(loader, n):
    """The items of each batch of n epochs, after a look at their patterns."""
    epochs = []
    for _ in range(n):
        epochs.append([])
        for items, patterns in loader:
            assert patterns.tolist() == STORE.pattern_of[items.numpy()].tolist()
            epochs[-1].append(items.tolist())
    return epochs


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"num_workers": 2, "multiprocessing_context": "fork"},
        {"num_workers": 2, "persistent_workers": True},
        {"num_workers": 1, "multiprocessing_context": "spawn"},
    ],
    ids=["no workers", "forked", "persistent", "spawned"],
)
def test_a_wrapped_loader_yields_the_patterns(settings):
    loader = DataLoader(PatternDataset(Indices(), STORE), batch_size=6, shuffle=True, **settings)
    hard = ManiNegBatchSampler.wrap(loader, STORE, **OPTIONS)
    expected = ManiNegBatchSampler(STORE, batch_size=6, **OPTIONS)
    assert epochs_of(hard, 2) == [list(expected), list(expected)]


def test_a_subset_is_wrapped_with_the_subset_of_the_store():
    chosen = np.arange(0, 60, 2)
    loader = DataLoader(Subset(PatternDataset(Indices(), STORE), chosen.tolist()), batch_size=5)
    part = STORE.subset(chosen)
    hard = ManiNegBatchSampler.wrap(loader, part, **OPTIONS)
    expected = list(ManiNegBatchSampler(part, batch_size=5, **OPTIONS))
    assert epochs_of(hard, 1) == [[chosen[batch].tolist() for batch in expected]]


def test_with_a_stateful_loader():
    torchdata = pytest.importorskip("torchdata.stateful_dataloader")

    def make_loader():
        uniform = torchdata.StatefulDataLoader(
            PatternDataset(Indices(), STORE), batch_size=6, num_workers=2
        )
        return ManiNegBatchSampler.wrap(uniform, STORE, **OPTIONS)

    (expected,) = epochs_of(make_loader(), 1)
    stopped, resumed = make_loader(), make_loader()
    for k, _ in enumerate(stopped):
        if k == 3:
            resumed.load_state_dict(stopped.state_dict())
            break
    assert epochs_of(resumed, 1) == [expected[4:]]


def test_with_a_dataset_of_hugging_face(monkeypatch):
    datasets = pytest.importorskip("datasets")
    rows = datasets.Dataset.from_dict(
        {"number": list(range(60)), "text": [f"n{i}" for i in range(60)]}
    )
    fetches = []
    fetch = type(rows).__getitems__
    monkeypatch.setattr(
        type(rows), "__getitems__", lambda self, keys: fetches.append(keys) or fetch(self, keys)
    )
    loader = DataLoader(PatternDataset(rows, STORE), batch_size=6, shuffle=True)
    hard = ManiNegBatchSampler.wrap(loader, STORE, **OPTIONS)
    for batch, patterns in hard:
        numbers = batch["number"].tolist()
        assert batch["text"] == [f"n{i}" for i in numbers]
        assert patterns.tolist() == STORE.pattern_of[numbers].tolist()
    assert fetches == list(ManiNegBatchSampler(STORE, batch_size=6, **OPTIONS))


def test_streams_and_dictionaries_of_hugging_face_are_refused():
    datasets = pytest.importorskip("datasets")
    rows = datasets.Dataset.from_dict({"number": list(range(60))})
    with pytest.raises(TypeError, match=r"must be a map-style dataset .*; got IterableDataset"):
        PatternDataset(rows.to_iterable_dataset(), STORE)
    with pytest.raises(ValueError, match="the dataset has 1 items and the store 60 instances"):
        PatternDataset(datasets.DatasetDict({"train": rows}), STORE)
