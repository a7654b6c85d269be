"""DistanceBucketIndex: which instances lie at which distance from an anchor.

While it fits the memory limit, the row of every pattern is sorted by distance beforehand. This
takes two bytes a pair, and a draw takes constant time. Beyond the limit, the distances of an anchor
are computed from the packed words when they are needed. Both ways give the same buckets in the same
order, and so the same batches.
"""

import re
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from maninegs_sampling.data._pattern_kernels import group_instances
from maninegs_sampling.data.patterns import frozen
from maninegs_sampling.data.store import ManifestationStore
from maninegs_sampling.distances import _kernels
from maninegs_sampling.distances.metrics import (
    METRICS,
    MetricName,
    check_measurable,
    distance_dtype,
    metric_of,
    pattern_steps,
    transposed,
)
from maninegs_sampling.errors import InvalidTypeError, InvalidValueError, check_choice, check_whole
from maninegs_sampling.threads import run_on_threads

_UNITS = {"": 1, "K": 1000, "M": 1000**2, "G": 1000**3, "T": 1000**4}
_UNITS |= {"Ki": 1024, "Mi": 1024**2, "Gi": 1024**3, "Ti": 1024**4}

# Rows sorted by one thread before it takes the next slab.
_SLAB_ROWS = 64


def parse_size(limit: int | str) -> int:
    """Return a number of bytes from an int or a text such as "512MiB" or "2GB".

    Raises:
        InvalidValueError: If `limit` is another text, negative, or at least 2**63 bytes.
        InvalidTypeError: If `limit` is neither a whole number nor a text.

    Example:
        >>> parse_size("1GiB"), parse_size("1.5 kB"), parse_size(0)
        (1073741824, 1500, 0)
    """
    if isinstance(limit, str):
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGTk]?i?)B", limit.strip())
        unit = None if match is None else match[2].replace("k", "K")
        if match is None or unit not in _UNITS:
            raise InvalidValueError(
                f'memory_limit must be bytes or a size such as "512MiB" or "2GB"; got {limit!r}'
            )
        number = float(match[1]) * _UNITS[unit]
    else:
        try:
            number = check_whole("memory_limit", limit)
        except InvalidTypeError:
            raise InvalidTypeError(
                f"memory_limit must be a whole number or a text; got {limit!r}"
            ) from None
    if number < 0:
        raise InvalidValueError(f"memory_limit must not be negative; got {limit}")
    if number >= 2**63:
        raise InvalidValueError(f"memory_limit must be below 2**63 bytes; got {limit!r}")
    return int(number)


class Buckets(NamedTuple):
    """What the index knows. Without precomputed rows, `order` and `offsets` have no rows."""

    words: Any  # (W, U) uint64, or what the metric has in their place, see `_tiles`
    order: NDArray[Any]  # (U, N) instances, or (U, U) patterns, of each row by distance
    offsets: NDArray[np.int32]  # (U, D + 2) first place of each distance in a row of `order`


class DistanceBucketIndex:
    """For each instance, the other instances by distance (section IV-C, step 2).

    Args:
        store: the manifestations.
        memory_limit: bytes, or a text such as "1GiB", that precomputed buckets may take.
        rows: what a bucket is drawn from, "instances" or "patterns". Precomputed buckets take 2
            bytes for each pair of a pattern and an instance, or of two patterns; 4 where there
            are more than 65,536 of them.
        metric: "hamming", or "jaccard", whose distances are rounded up to hundredths.

    Attributes:
        precomputed: whether the buckets fitted and were precomputed.
        nbytes: bytes that the precomputed buckets take; 0 without.

    Example:
        >>> store = ManifestationStore.from_dense([[1, 1, 0], [0, 1, 1], [1, 1, 0], [0, 1, 0]])
        >>> index = DistanceBucketIndex(store)
        >>> index.counts(0).tolist()
        [1, 1, 1, 0]
        >>> index.bucket(0, 1).tolist()
        [3]
    """

    def __init__(
        self,
        store: ManifestationStore,
        *,
        memory_limit: int | str = "1GiB",
        rows: str = "instances",
        metric: MetricName = "hamming",
    ) -> None:
        check_measurable("store", store)
        check_choice("rows", rows, ("instances", "patterns"))
        self.store = store
        self.rows = rows
        self.metric: MetricName = metric_of(metric).name
        patterns, distances = store.n_patterns, METRICS[metric].last_step(store) + 1
        length = store.n_instances if rows == "instances" else patterns
        id_dtype = np.dtype(np.uint16 if length <= 2**16 else np.uint32)
        nbytes = patterns * (length * id_dtype.itemsize + (distances + 1) * 4)
        self.precomputed = nbytes <= parse_size(memory_limit)
        self.nbytes = nbytes if self.precomputed else 0

        n_rows = patterns if self.precomputed else 0
        words = METRICS[metric].patterns(transposed(store.words))
        order = np.empty((n_rows, length), id_dtype)
        offsets = np.empty((n_rows, distances + 1), np.int32)
        if rows == "instances":
            members, starts, counts = self.members, self.starts, store.counts
        else:
            members = starts = frozen(np.arange(patterns, dtype=np.int32))
            counts = frozen(np.ones(patterns, np.int32))

        def sort(begin: int, end: int) -> None:
            _kernels.sort_rows(
                words,
                members,
                starts,
                counts,
                begin,
                end,
                np.empty(patterns, distance_dtype(store.n_bits)),
                np.empty((4, distances), np.int64),
                order,
                offsets,
            )

        run_on_threads(sort, [*range(0, n_rows, _SLAB_ROWS), n_rows])
        self.buckets = Buckets(words, frozen(order), frozen(offsets))

    def __getstate__(self) -> dict[str, Any]:
        # Without what is quick to compute again. The words come from the store.
        made = self.buckets.order, self.buckets.offsets
        left_out = {"members", "starts"}
        return {k: v for k, v in vars(self).items() if k not in left_out} | {"buckets": made}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        order, offsets = state["buckets"]
        # Unpickled arrays are writable.
        words = METRICS[self.metric].patterns(transposed(self.store.words))
        self.buckets = Buckets(words, frozen(order), frozen(offsets))

    @cached_property
    def members(self) -> NDArray[np.int32]:
        """(N,) the instances grouped by pattern, ascending within one."""
        members = np.empty(self.store.n_instances, np.int32)
        pattern_of = frozen(np.asarray(self.store.pattern_of).view())
        group_instances(pattern_of, self.starts.copy(), members)
        return frozen(members)

    @cached_property
    def starts(self) -> NDArray[np.int32]:
        """(U,) the first place of each pattern in `members`."""
        ends = np.cumsum(self.store.counts, dtype=np.int32)
        return frozen(ends - self.store.counts)

    @property
    def largest_distance(self) -> float:
        """A distance that no two instances exceed: the largest if `precomputed`, else any can be.

        An int by "hamming", a float by "jaccard".
        """
        step = METRICS[self.metric].last_step(self.store)
        if self.precomputed:
            step = int(np.flatnonzero(np.diff(self.buckets.offsets).any(axis=0))[-1])
        return METRICS[self.metric].distance(step)

    def counts(self, instance: int) -> NDArray[np.int64]:
        """Return (B + 1,) how many other instances lie at each distance from `instance`.

        By "jaccard" it is (101,), as in `distance_histogram`.

        Raises:
            InvalidValueError: If there is no such instance.
            InvalidTypeError: If `instance` is not a whole number.
        """
        pattern = self.store.pattern_of[self._check_instance(instance)]
        steps = pattern_steps(self.store, int(pattern), self.metric)
        n_steps = METRICS[self.metric].last_step(self.store) + 1
        weights = np.bincount(steps, self.store.counts, minlength=n_steps)
        weights[0] -= 1
        return weights.astype(np.int64)

    def bucket(self, instance: int, distance: float) -> NDArray[np.int64]:
        """Return the other instances at `distance` from `instance`, ascending.

        By "jaccard" the distance is a multiple of 0.01, to which distances are rounded up.

        Raises:
            InvalidValueError: If there is no such instance, or `distance` is outside [0, B], or no
                multiple of 0.01 in [0, 1].
            InvalidTypeError: If `instance` is not a whole number, or `distance` is not.
        """
        instance = self._check_instance(instance)
        pattern = int(self.store.pattern_of[instance])
        metric = METRICS[self.metric]
        step = metric.check_distance("distance", distance, least_step=0)
        if step > metric.last_step(self.store):
            raise InvalidValueError(f"distance must be in [0, {self.store.n_bits}]; got {distance}")
        if self.precomputed:
            begin, end = self.buckets.offsets[pattern, step : step + 2]
            items = self.buckets.order[pattern, begin:end]
        else:
            items = np.flatnonzero(pattern_steps(self.store, pattern, self.metric) == step)
        if self.precomputed and self.rows == "instances":
            instances = np.sort(items).astype(np.int64)
        else:
            chosen = np.zeros(self.store.n_patterns, dtype=np.bool_)
            chosen[items] = True
            instances = np.flatnonzero(chosen[self.store.pattern_of])
        others: NDArray[np.int64] = instances[instances != instance]
        return others

    def _check_instance(self, instance: object) -> int:
        number = check_whole("instance", instance)
        if not 0 <= number < self.store.n_instances:
            raise InvalidValueError(
                f"instance must be in [0, {self.store.n_instances}); got {number}"
            )
        return number

    def __repr__(self) -> str:
        how = f"precomputed, {self.nbytes:,} bytes" if self.precomputed else "scanned"
        return f"DistanceBucketIndex({self.store.n_patterns} patterns, {self.metric}, {how})"
