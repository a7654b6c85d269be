"""What `wrap` of a batch sampler reads off a loader, and what it refuses."""

import inspect
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import DataLoader, IterableDataset
from torch.utils.data.distributed import DistributedSampler

from maninegs_sampling.data.dense import as_array
from maninegs_sampling.data.store import ManifestationStore, check_store
from maninegs_sampling.errors import InvalidTypeError, InvalidValueError

if TYPE_CHECKING:
    from maninegs_sampling.sampling.base import ReproducibleBatchSampler

Loader = TypeVar("Loader", bound="DataLoader[Any]")

# The settings of a DataLoader that have nothing to do with which items a batch holds.
_SETTINGS = (
    "num_workers", "collate_fn", "pin_memory", "timeout", "worker_init_fn",
    "multiprocessing_context", "generator", "prefetch_factor", "persistent_workers",
    "pin_memory_device", "in_order",
)  # fmt: skip

# Samplers that draw from all items of a dataset, and their attribute that holds it.
_DATASET_OF = {
    "RandomSampler": "data_source",
    "SequentialSampler": "data_source",
    "DistributedSampler": "dataset",
    "StatefulDistributedSampler": "dataset",
}

_BUILD_IT_YOURSELF = (
    "Build the loader yourself, with batch_sampler= in place of batch_size, shuffle, sampler and "
    "drop_last."
)


def wrap(
    cls: "type[ReproducibleBatchSampler]",
    loader: Loader,
    store: ManifestationStore,
    options: dict[str, Any],
) -> Loader:
    """Return a loader like `loader` whose batches `cls` draws; see its `wrap`."""
    check_store("store", store)
    options = {name: value for name, value in options.items() if value is not None}
    n_items = _count_items(loader)
    if n_items != store.n_instances:
        raise InvalidValueError(
            f"the dataset has {n_items} items and the store {store.n_instances} instances; "
            "instance i of the store must be item i of the dataset"
        )
    settings = loader_settings(loader)  # refuses a loader before anything is built for it
    replaced: Any = _sampler_of(loader)
    followed = replaced if isinstance(replaced, DistributedSampler) else None
    if hasattr(replaced, "loader_options"):  # a batch sampler of this package
        kept = replaced.loader_options
        followed = replaced.followed
    else:
        kept = _kept_options(loader, replaced, n_items, options)
    if {"distributed", "num_replicas", "rank"} & set(options):
        kept = {k: v for k, v in kept.items() if k not in ("distributed", "num_replicas", "rank")}
    if options.get("batch_size", kept["batch_size"]) != kept["batch_size"]:
        kept.pop("batches_per_epoch", None)
    batch_sampler = cls(store, **(kept | options))
    if followed is not None:
        batch_sampler.follow_epochs(followed)
    return _rebuilt(loader, batch_sampler, settings)


def _rebuilt(
    loader: Loader, batch_sampler: "ReproducibleBatchSampler", settings: dict[str, Any]
) -> Loader:
    """Return a loader of the same class with another batch sampler."""
    try:
        wrapped = type(loader)(loader.dataset, batch_sampler=batch_sampler, **settings)
    except (TypeError, ValueError) as error:
        raise InvalidTypeError(
            f"{type(loader).__name__} cannot be made with a batch sampler ({error}). "
            f"{_BUILD_IT_YOURSELF}"
        ) from error
    if wrapped.dataset is not loader.dataset:
        raise InvalidTypeError(
            f"{type(loader).__name__} changes its dataset when it is made, which wrap would do a "
            f"second time. {_BUILD_IT_YOURSELF}"
        )
    # torch puts a SequentialSampler there; training loops call `loader.sampler.set_epoch`.
    object.__setattr__(wrapped, "sampler", batch_sampler.sampler)
    return wrapped


def _count_items(loader: Any) -> int:
    """Return the number of items of the dataset, or raise if no batch sampler can act on it."""
    if not isinstance(loader, DataLoader):
        raise InvalidTypeError(f"loader must be a DataLoader; got {type(loader).__name__}")
    if isinstance(loader.dataset, IterableDataset):
        raise InvalidTypeError(
            "an IterableDataset chooses its own order, so no batch sampler can act on it; wrap "
            "a loader over a map-style dataset (one with __getitem__ and __len__). The README "
            "says how, for webdataset and other streams."
        )
    if loader.batch_sampler is None:
        raise InvalidValueError(
            "loader has batch_size=None (automatic batching is off): it has no batches to draw"
        )
    if not hasattr(loader.dataset, "__len__"):
        raise InvalidTypeError(
            f"the dataset has no length; got {type(loader.dataset).__name__}. Instance i of the "
            "store must be item i of the dataset, so that both need the same length"
        )
    return len(loader.dataset)


def _kept_options(
    loader: "DataLoader[Any]", replaced: Any, n_items: int, options: dict[str, Any]
) -> dict[str, Any]:
    """Return batch size, items, ranks and epoch length of the loader as options of the sampler."""
    batch_size = getattr(loader.batch_sampler, "batch_size", None)
    if batch_size is None and "batch_size" not in options:
        raise InvalidValueError(
            f"{type(loader.batch_sampler).__name__} has no batch_size; give wrap batch_size="
        )
    kept: dict[str, Any] = {"batch_size": batch_size}
    n_drawn = n_items
    if "indices" in options:
        n_drawn = as_array("indices", options["indices"]).size
    else:
        indices = drawn_indices(replaced, n_items)
        if indices is not None:
            kept["indices"], n_drawn = indices, len(indices)
    sharded = isinstance(replaced, DistributedSampler)
    if sharded:
        kept |= {"num_replicas": replaced.num_replicas, "rank": replaced.rank}
    try:
        length = len(loader)
    except TypeError:  # a sampler of its own without a length
        return kept
    # Put in a way that holds for any number of ranks, should some start later.
    ways: dict[int, str | None] = {}
    if isinstance(batch_size, int):
        per_step = batch_size * (replaced.num_replicas if sharded else 1)
        ways = {-(-n_drawn // per_step): "ceil", n_drawn // per_step: None}
    kept["batches_per_epoch"] = ways.get(length, max(1, length))
    return kept


def _sampler_of(loader: "DataLoader[Any]") -> Any:
    """Return the sampler that decides which items the loader's batches hold."""
    batches: Any = loader.batch_sampler
    # Another class may hold any sampler, and do anything with what it yields.
    return batches.sampler if _torchs_class(batches) == "BatchSampler" else batches


def drawn_indices(sampler: Any, n_items: int) -> NDArray[Any] | None:
    """Return the items that `sampler` draws from, None for all of `n_items`.

    Raises:
        InvalidTypeError: If the choice of `sampler` would be lost, for instance its weights.
    """
    name = _torchs_class(sampler)
    if name == "SubsetRandomSampler":
        return as_array("indices", sampler.indices)
    if isinstance(sampler, (list, tuple, range)):
        return as_array("indices", sampler)
    if name in _DATASET_OF:
        n_drawn = len(getattr(sampler, _DATASET_OF[name]))
        return None if n_drawn == n_items else np.arange(n_drawn)
    raise InvalidTypeError(
        f"wrap cannot keep the choice that {type(sampler).__name__} makes: its batches are "
        "replaced. Give wrap indices=, the items that may be drawn (indices=range(len(dataset)) "
        "for all of them). Only RandomSampler, SequentialSampler, SubsetRandomSampler and "
        "DistributedSampler need no indices=."
    )


def _torchs_class(sampler: Any) -> str | None:
    """Return the name of the class that iterates, None unless torch or torchdata wrote it.

    By name, because torchdata's samplers are no subclasses of torch's.
    """
    owner = next((c for c in type(sampler).__mro__ if "__iter__" in vars(c)), None)
    if owner is None or owner.__module__.split(".")[0] not in ("torch", "torchdata"):
        return None
    return owner.__name__


def loader_settings(loader: "DataLoader[Any]") -> dict[str, Any]:
    """Return the arguments that make another loader with the settings of this one.

    A subclass's own settings are read from the attributes of the same name.

    Raises:
        InvalidTypeError: If a subclass has a setting that the loader does not keep.
    """
    accepted, own = _constructor(type(loader))
    missing = sorted(name for name in own if not hasattr(loader, name))
    if missing:
        raise InvalidTypeError(
            f"wrap cannot keep every setting of {type(loader).__name__}: the loader has no "
            f"attribute {', '.join(missing)} to read back. {_BUILD_IT_YOURSELF}"
        )
    kept = [name for name in _SETTINGS if hasattr(loader, name)]
    if accepted is not None:
        kept = [name for name in kept if name in accepted]
    return {name: getattr(loader, name) for name in (*kept, *sorted(own))}


def _constructor(cls: type) -> tuple[set[str] | None, set[str]]:
    """Return the parameters that `cls` accepts, None for any, and those that are its own."""
    if DataLoader not in cls.__mro__:
        raise InvalidTypeError(
            f"{cls.__name__} is a DataLoader that a trainer has prepared. Wrap the loader before "
            "the trainer prepares it."
        )
    torchs = set(inspect.signature(DataLoader.__init__).parameters)
    own: set[str] = set()
    for ancestor in cls.__mro__[: cls.__mro__.index(DataLoader)]:
        if "__init__" not in vars(ancestor):
            continue
        parameters = inspect.signature(vars(ancestor)["__init__"]).parameters
        named = {
            name
            for name, parameter in parameters.items()
            if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        }
        own |= named - torchs
        if not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
            return named, own
    return None, own
