"""What `replace_store` of a batch sampler checks, makes and keeps; which stores a state names."""

import copy
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeGuard

from maninegs_sampling.data.store import ManifestationStore, check_store
from maninegs_sampling.errors import InvalidValueError, StateError
from maninegs_sampling.quoting import quoted

if TYPE_CHECKING:
    from maninegs_sampling.sampling.base import ReproducibleBatchSampler

# Where the run stands: it goes on with another store.
_OF_THE_RUN = ("_progress", "_drawn_steps", "_warned")


def check_replacement(
    sampler: "ReproducibleBatchSampler", store: ManifestationStore, epoch: int, begun: int
) -> None:
    """Raise unless `store` can take the place of a sampler's store from `epoch` on.

    Args:
        sampler: the sampler.
        store: the new store.
        epoch: a whole number.
        begun: the last epoch that has begun; -1 for none.

    Raises:
        InvalidTypeError: If `store` is not a store.
        InvalidValueError: If it cannot.
    """
    n = sampler.store.n_instances
    if check_store("store", store).n_instances != n:
        raise InvalidValueError(
            f"the new store must have {n} instances, as the one it replaces: instance i stays item "
            f"i of the dataset; got {store.n_instances}"
        )
    if epoch <= begun:
        raise InvalidValueError(
            f"epoch {epoch} has begun with the store that it has; the first epoch that can have "
            f"another one is {begun + 1}, got epoch={epoch}"
        )
    if sampler._follows_lists:
        raise InvalidValueError(
            f"this {type(sampler).__name__} was given neighbors=, which say who is near: another "
            "store would not change its batches. Make another sampler with new lists."
        )


def made_for(
    sampler: "ReproducibleBatchSampler", store: ManifestationStore
) -> "ReproducibleBatchSampler":
    """Return a sampler with the options that `sampler` was made with, for another store.

    Raises:
        InvalidTypeError, InvalidValueError: If one of the options cannot be used with `store`, or
            has another value than when `sampler` was made.
    """
    args, options = sampler._given
    made = type(sampler)(store, *args, **options)
    theirs = made._fingerprint()
    for name, value in sampler._fingerprint().items():
        if name not in ("stores", "mu") and theirs[name] != value:
            raise InvalidValueError(
                f"{name} of this sampler was {quoted(value)}, and its options now give "
                f"{quoted(theirs[name])}: something that it was made with has changed since"
            )
    return made


def replaced(
    sampler: "ReproducibleBatchSampler", made: "ReproducibleBatchSampler", epoch: int
) -> dict[str, Any]:
    """Return the attributes of `sampler` that draws as before, and from `epoch` on as `made` does.

    They are those of `made`, so that nothing that was computed for the old store is left.
    """
    before = copy.copy(sampler)
    before._earlier = ()
    held = tuple(s for s in (*sampler._earlier, before) if s._since < epoch)
    kept = {name: value for name, value in vars(sampler).items() if name in _OF_THE_RUN}
    return {**vars(made), **kept, "_since": epoch, "_earlier": held}


def needed(sampler: "ReproducibleBatchSampler", epoch: int) -> tuple[Any, ...]:
    """Return those of a sampler's earlier selves that draw `epoch` or a later one."""
    ends = [later._since for later in sampler._selves[1:]]
    return tuple(s for s, end in zip(sampler._earlier, ends, strict=True) if end > epoch)


def check_stores(
    mine: Sequence[Mapping[str, Any]], theirs: object, epoch: int, position: int
) -> int:
    """Raise unless the epochs of a resumed run are drawn with the stores of its state.

    Stores that this sampler has for epochs after the last that the state knows of were set later.

    Args:
        mine: "from_epoch" of each store of this sampler, ascending, and what follows from it.
        theirs: the same of the state.
        epoch: of the next batch.
        position: of the next batch.

    Returns:
        The epoch from which on the store of `epoch` is known to be that of the run.

    Raises:
        StateError: If a store differs, or if `theirs` is no such list.
    """
    if not _is_list_of_stores(theirs):
        raise StateError(
            f"the state does not say what stores it was made with; got {quoted(theirs)}"
        )
    if theirs[0]["from_epoch"] > epoch:
        raise StateError(
            f"the state does not say with which store epoch {epoch} is drawn: it knows those from "
            f"epoch {theirs[0]['from_epoch']} on"
        )
    unknown = max(theirs[-1]["from_epoch"] + 1, epoch + (position > 0))
    known = [entry for entry in mine if entry["from_epoch"] < unknown]
    here, there = _from(known, epoch), _from(theirs, epoch)
    if here:
        _check_entry(here[0], there[0])
    for entry in there[1:]:
        found = [e for e in here[1:] if e["from_epoch"] == entry["from_epoch"]]
        if not found:
            raise StateError(
                f"the state was made with store={quoted(entry['store'])} from epoch "
                f"{entry['from_epoch']} on, which this sampler lacks; call replace_store(store, "
                f"epoch={entry['from_epoch']}) with that store before load_state_dict"
            )
        _check_entry(found[0], entry)
    named = {entry["from_epoch"] for entry in there}
    for entry in here[1:]:
        if entry["from_epoch"] not in named:
            raise StateError(
                f"this sampler has store={entry['store']!r} from epoch {entry['from_epoch']} on, "
                "and the run that the state is of did not; make the sampler without it"
            )
    since: int = there[0]["from_epoch"]
    return since


def _from(entries: Sequence[Mapping[str, Any]], epoch: int) -> list[Mapping[str, Any]]:
    """Return the store of `epoch` and those after it."""
    ends = [entry["from_epoch"] for entry in entries[1:]]
    return [e for e, end in zip(entries, [*ends, epoch + 1], strict=False) if end > epoch]


def _check_entry(mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> None:
    if set(theirs) != set(mine):
        raise StateError(f"the state does not say what it was made with; got {quoted(theirs)}")
    for name, value in mine.items():
        if name != "from_epoch" and theirs[name] != value:
            raise StateError(
                f"the state was made with {name}={quoted(theirs[name])} from epoch "
                f"{theirs['from_epoch']} on; this sampler has {name}={value!r}"
                + ("; make it with that store, or call replace_store" if name == "store" else "")
            )


def _is_list_of_stores(value: Any) -> TypeGuard[list[dict[str, Any]]]:
    if not isinstance(value, list) or not value:
        return False
    if not all(isinstance(entry, dict) for entry in value):
        return False
    firsts = [entry.get("from_epoch") for entry in value]
    plain = all(
        item is None or isinstance(item, (str, int, float))
        for entry in value
        for item in entry.values()
    )
    whole = all(type(first) is int and first >= 0 for first in firsts)
    return plain and whole and firsts == sorted(set(firsts))
