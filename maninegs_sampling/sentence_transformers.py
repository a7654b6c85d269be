"""ManiNeg batches for the trainers of sentence-transformers, by their argument `batch_sampler`."""

import warnings
from collections.abc import Callable, Collection
from typing import Any

import numpy as np
import scipy.sparse.csgraph
import torch
from numpy.typing import NDArray

from maninegs_sampling.data.store import ManifestationStore, check_store
from maninegs_sampling.errors import InvalidTypeError, InvalidValueError
from maninegs_sampling.quoting import quoted
from maninegs_sampling.sampling.sampler import ManiNegBatchSampler
from maninegs_sampling.sampling.schedules import Schedule

# A column that the trainer adds to say where a row comes from; it is no text of the row.
_DATASET_NAME = "dataset_name"
# Other columns are not read: an image would be decoded.
_TEXT_TYPES = ("string", "large_string")


def manineg_batch_sampler(
    dataset: Any,
    batch_size: int,
    drop_last: bool,
    valid_label_columns: Collection[str] | None = None,
    generator: torch.Generator | None = None,
    seed: int = 0,
    *,
    store: ManifestationStore | Callable[[Any], ManifestationStore],
    mu: float | Schedule,
    no_duplicates: bool = True,
    **options: Any,
) -> ManiNegBatchSampler:
    """Return the batch sampler of a dataset, called as sentence-transformers calls it.

    The trainer passes what comes before `store`; bind the rest with `functools.partial`, and pass
    the result as `batch_sampler`. Unlike those of `NoDuplicatesBatchSampler`, all batches are full
    and their number is known: they are not what is left of one pass over the rows.

    Args:
        dataset: A dataset of `datasets`, with N rows.
        batch_size: Rows in a batch of each rank.
        drop_last: Whether an epoch has N // batch_size batches, as with torch; else it has one
            more if there is a rest. All are full. `batches_per_epoch` in `options` replaces both.
        valid_label_columns: Columns that hold labels, not texts.
        generator: Not used: batches follow from the seed, the epoch and their number alone.
        seed: The trainer's seed.
        store: N manifestations, or a function from a dataset to its store. The trainer calls this
            for every dataset it reads, so training with an evaluation set takes a function.
        mu: See `ManiNegBatchSampler`. Its steps are batches: those of all ranks, and also those
            whose gradients are accumulated.
        no_duplicates: Whether rows that share a text, in any column, never meet in a batch: they
            would be negatives of each other. Rows that share texts with a third are kept apart too.
        options: Other options of `ManiNegBatchSampler`. `groups` replaces `no_duplicates`.

    Raises:
        InvalidTypeError, InvalidValueError: If the store has not one instance for each row, or an
            option cannot be used, or too few rows may meet in a batch.

    Warns:
        UserWarning: If so many rows are linked by texts they share that an epoch cannot show all.

    Example:
        >>> from functools import partial
        >>> store = ManifestationStore.from_dense(np.eye(8, dtype=bool))
        >>> batch_sampler = partial(manineg_batch_sampler, store=store, mu=2.0)
    """
    if callable(store):
        store = store(dataset)
    n = check_store("store", store).n_instances
    if len(dataset) != n:
        raise InvalidValueError(
            f"the dataset has {len(dataset)} rows and the store {n} instances; instance i of the "
            "store must be row i. With an evaluation set, or several datasets, let store be a "
            "function from a dataset to its store."
        )
    if not isinstance(no_duplicates, bool):
        raise InvalidTypeError(f"no_duplicates must be True or False; got {quoted(no_duplicates)}")
    if no_duplicates and options.get("groups") is None:
        options["groups"] = _rows_that_share_texts(dataset, valid_label_columns or ())
        _check_groups(options["groups"], batch_size)
    # One rank, because Accelerate deals the batches out to the ranks.
    usual = {
        "num_replicas": 1,
        "rank": 0,
        "batches_per_epoch": None if drop_last else "ceil",
    }
    return ManiNegBatchSampler(store, batch_size=batch_size, mu=mu, seed=seed, **(usual | options))


def _check_groups(groups: NDArray[np.int32], batch_size: int) -> None:
    """Raise if there are too few groups for a batch; warn if one cannot be seen in an epoch."""
    n, sizes = len(groups), np.bincount(groups)
    if len(sizes) < batch_size:
        raise InvalidValueError(
            f"only {len(sizes)} of {n} rows share no text, directly or through others: "
            f"too few for batches of {batch_size}. no_duplicates=False lets such rows meet."
        )
    if sizes.max() > -(-n // batch_size):
        warnings.warn(
            f"{sizes.max()} of {n} rows are linked by texts that they share, directly or through "
            f"others. A batch of {batch_size} holds one of them at most, so they are seen less "
            "often than other rows. no_duplicates=False lets such rows meet, and groups= takes "
            "other groups.",
            stacklevel=3,
        )


def _rows_that_share_texts(dataset: Any, label_columns: Collection[str]) -> NDArray[np.int32]:
    """Return (N,) a number for each row, equal for rows that are linked by texts they share."""
    number_of_text: dict[str, int] = {}
    rows: list[int] = []
    texts: list[int] = []
    for column, feature in dataset.features.items():
        of_cells = getattr(getattr(feature, "feature", feature), "dtype", None)  # also in lists
        if of_cells not in _TEXT_TYPES or column in label_columns or column == _DATASET_NAME:
            continue
        for row, value in enumerate(dataset[column]):
            for text in value if isinstance(value, list) else [value]:
                if isinstance(text, str):
                    rows.append(row)
                    texts.append(number_of_text.setdefault(text, len(number_of_text)))
    n = len(dataset)
    n_nodes = n + len(number_of_text)
    edges = (np.ones(len(rows), np.bool_), (rows, np.add(texts, n, dtype=np.int64)))
    graph = scipy.sparse.coo_array(edges, shape=(n_nodes, n_nodes))
    _, labels = scipy.sparse.csgraph.connected_components(graph, directed=False)
    numbers: NDArray[np.int32] = np.unique(labels[:n], return_inverse=True)[1].astype(np.int32)
    return numbers
