"""Reading sets: the tags or codes of each instance."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import scipy.sparse
import torch

from maninegs_sampling.data.dense import as_array
from maninegs_sampling.data.patterns import LARGEST_BITS
from maninegs_sampling.errors import InvalidTypeError, InvalidValueError
from maninegs_sampling.quoting import listed, quoted

Tag = str | int


def sets_as_matrix(
    sets: Iterable[Iterable[Tag]], vocabulary: Iterable[Tag] | None
) -> tuple[scipy.sparse.csr_array, list[Tag]]:
    """Return which tags each instance has, (N, B) bool, and the tag of each column."""
    _check_collection("sets", sets, "one list of tags for each instance")
    _check_no_matrix(sets)
    places: dict[Tag, int] = {} if vocabulary is None else _places(vocabulary)
    columns: list[int] = []
    ends = [0]
    for i, tags in enumerate(sets):
        name = f"sets[{i}]"
        _check_collection(name, tags, "a list of tags; one without tags is []")
        found = {_checked_tag(name, tag) for tag in tags}
        if vocabulary is None:
            columns.extend(places.setdefault(tag, len(places)) for tag in found)
        else:
            unknown = sorted(map(repr, found - places.keys()))
            if unknown:
                raise InvalidValueError(f"{name} has {unknown[0]}, which is not in vocabulary")
            columns.extend(map(places.__getitem__, found))
        ends.append(len(columns))
    names = list(places)
    _check_names(names, len(ends) - 1)
    if vocabulary is None:
        names = sorted(names)  # all texts or all integers
        rank = {name: b for b, name in enumerate(names)}
        new_column = np.array([rank[tag] for tag in places], np.int64)
    else:
        new_column = np.arange(len(names))
    indices = new_column[np.array(columns, np.int64)]
    ones = np.ones(len(indices), np.bool_)
    shape = (len(ends) - 1, len(names))
    return scipy.sparse.csr_array((ones, indices, ends), shape=shape), names


def _check_collection(name: str, values: Any, expected: str) -> None:
    """Raise unless `values` is a collection, and neither one text nor a mapping."""
    if isinstance(values, (str, bytes)):
        raise InvalidTypeError(
            f"{name} must be {expected}; got the text {quoted(values)}, whose letters would be "
            "taken for tags. Split it, or put it into a list."
        )
    if isinstance(values, Mapping) or not isinstance(values, Iterable):
        raise InvalidTypeError(f"{name} must be {expected}; got {quoted(values)}")


def _check_no_matrix(sets: Any) -> None:
    """Raise if `sets` is a matrix of numbers, whose zeros and ones would be taken for tags."""
    if isinstance(sets, torch.Tensor):
        sets = as_array("sets", sets)
    if isinstance(sets, np.ndarray) and sets.ndim == 2 and sets.dtype.kind in "biuf":
        raise InvalidTypeError(
            "sets must be one list of tags for each instance; got a matrix of shape "
            f"{sets.shape} and dtype {sets.dtype}. ManifestationStore.from_dense takes a matrix "
            "with one column for each tag; sets.tolist() passes lists of integer tags."
        )


def _checked_tag(name: str, tag: Any) -> Tag:
    """Return a tag as a text or an integer, or raise."""
    if isinstance(tag, str):
        return str(tag)
    if isinstance(tag, (int, np.integer)) and not isinstance(tag, bool):
        return int(tag)
    # pandas is not a dependency, so its missing values are recognized by their text.
    if tag is None or str(tag) in ("nan", "<NA>", "NaT"):
        raise InvalidValueError(f"{quoted(tag)} in {name} is missing; leave missing tags out")
    raise InvalidTypeError(f"{quoted(tag)} in {name} is neither a text nor an integer")


def _places(vocabulary: Iterable[Tag]) -> dict[Tag, int]:
    """Return the place of each tag of a vocabulary, or raise if one appears twice."""
    _check_collection("vocabulary", vocabulary, "a list of tags")
    if isinstance(vocabulary, (set, frozenset)):
        raise InvalidTypeError("vocabulary must be a list of tags in order; got a set")
    tags = [_checked_tag("vocabulary", tag) for tag in vocabulary]
    places = {tag: b for b, tag in enumerate(tags)}
    if len(places) < len(tags):
        twice = next(tag for b, tag in enumerate(tags) if places[tag] != b)
        raise InvalidValueError(f"vocabulary has {quoted(twice)} twice")
    return places


def _check_names(names: list[Tag], n: int) -> None:
    """Raise unless these tags can be the bits of a store of `n` instances."""
    if n == 0 or not names:
        raise InvalidValueError(
            f"a store needs at least one instance and one tag; got {n} sets of {len(names)} tags"
        )
    if len(names) > LARGEST_BITS:
        raise InvalidValueError(
            f"a store has at most {LARGEST_BITS} bits; the sets have {len(names)} different tags. "
            "Keep the most frequent ones."
        )
    texts = [name for name in names if isinstance(name, str)]
    if 0 < len(texts) < len(names):
        codes = [name for name in names if not isinstance(name, str)]
        raise InvalidTypeError(
            "tags must be all texts or all integers; got the texts "
            f"{listed(texts[:3])} and the integers {listed(codes[:3])}"
        )
