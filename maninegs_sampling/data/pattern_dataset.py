"""A dataset whose items come with their patterns, for losses that mask equal ones."""

from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset, IterableDataset

from maninegs_sampling.data.store import ManifestationStore, check_store
from maninegs_sampling.errors import InvalidTypeError, InvalidValueError, check_whole

Item = TypeVar("Item", covariant=True)


class MapStyleDataset(Protocol[Item]):
    """What torch asks of a map-style dataset."""

    def __len__(self) -> int:
        """Return the number of items."""

    def __getitem__(self, index: int, /) -> Item:
        """Return an item."""


class PatternDataset(Dataset[tuple[Item, int]]):
    """The items of a dataset, each with the number of its pattern: `(item, pattern)`.

    A batch of a DataLoader is then `(batch, patterns)` with `patterns` an int64 tensor. Given to a
    loss as `ids=`, it leaves pairs of equal patterns out of the negatives.

    Other attributes of the wrapped dataset are reached through `dataset`, as in torch's `Subset`.

    Args:
        dataset: A map-style dataset, one with `__getitem__` and `__len__`. If it has
            `__getitems__`, several items are fetched with one call, as a DataLoader does. It must
            return a list of items, which is not collated yet.
        store: One manifestation for each item of the dataset, in the same order.

    Attributes:
        dataset: The wrapped dataset.
        patterns: (N,) the number of each item's pattern.

    Raises:
        InvalidTypeError: If `dataset` is not a map-style dataset, or `store` not a store.
        InvalidValueError: If they differ in length.

    Example:
        >>> from torch.utils.data import DataLoader
        >>> store = ManifestationStore.from_dense([[0, 1], [1, 1], [0, 1], [0, 0]])
        >>> dataset = PatternDataset(["a", "b", "c", "d"], store)
        >>> dataset[2]
        ('c', 1)
        >>> next(iter(DataLoader(dataset, batch_size=4)))
        [('a', 'b', 'c', 'd'), tensor([1, 2, 1, 0])]
    """

    dataset: MapStyleDataset[Item]
    patterns: NDArray[np.integer[Any]]

    def __init__(self, dataset: MapStyleDataset[Item], store: ManifestationStore) -> None:
        check_store("store", store)
        is_stream = isinstance(dataset, (type, IterableDataset))
        if is_stream or not (hasattr(dataset, "__getitem__") and hasattr(dataset, "__len__")):
            raise InvalidTypeError(
                "dataset must be a map-style dataset (with __getitem__ and __len__), so that item "
                f"i has the pattern of instance i of the store; got {type(dataset).__name__}"
            )
        if len(dataset) != store.n_instances:
            raise InvalidValueError(
                f"the dataset has {len(dataset)} items and the store {store.n_instances} "
                "instances; instance i of the store must be item i of the dataset "
                "(store.subset(indices) makes the store of a subset)"
            )
        self.dataset = dataset
        self.patterns = store.pattern_of

    def __len__(self) -> int:
        """Return the number of items."""
        return len(self.patterns)

    def __getitem__(self, index: int) -> tuple[Item, int]:
        """Return an item and the number of its pattern.

        Raises:
            InvalidTypeError: If `index` is not a whole number.
            IndexError: If there is no such item.
        """
        number = check_whole("index", index)
        return self.dataset[index], int(self.patterns[number])

    def __getitems__(self, indices: list[int]) -> list[tuple[Item, int]]:
        """Return several items and the numbers of their patterns.

        Raises:
            InvalidTypeError: If the dataset's `__getitems__` does not return a list.
            InvalidValueError: If it does not return one item for each index.
        """
        fetch = getattr(self.dataset, "__getitems__", None)
        if not fetch:
            return [self[index] for index in indices]
        items = fetch(indices)
        expected = (
            f"{type(self.dataset).__name__}.__getitems__ must return a list of {len(indices)} "
            "items, one for each index; got"
        )
        if not isinstance(items, list):
            raise InvalidTypeError(f"{expected} {type(items).__name__}")
        if len(items) != len(indices):
            raise InvalidValueError(f"{expected} a list of {len(items)}")
        return list(zip(items, self.patterns[indices].tolist(), strict=True))
