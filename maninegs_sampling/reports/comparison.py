"""`maninegs compare`: uniform, mined and ManiNeg batches of the same data, side by side."""

import json
import platform
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from maninegs_sampling import randomness
from maninegs_sampling.analysis import baselines
from maninegs_sampling.analysis.batch_hardness import (
    Hardness,
    histogram_mean,
    measure_hardness,
)
from maninegs_sampling.analysis.coverage import Coverage, measure_coverage
from maninegs_sampling.analysis.hardness import (
    BatchesByNumber,
    check_mus,
    check_sampler,
    local_sampler,
)
from maninegs_sampling.analysis.neighborhood import find_shortage
from maninegs_sampling.data.storage import write_atomically
from maninegs_sampling.data.store import ManifestationStore, check_store
from maninegs_sampling.distances.hamming import distance_histogram, max_distance
from maninegs_sampling.distances.index import DistanceBucketIndex
from maninegs_sampling.errors import InvalidTypeError, InvalidValueError, check_count
from maninegs_sampling.sampling.distribution import check_sigma, log_weights
from maninegs_sampling.sampling.sampler import ManiNegBatchSampler

# The sampler that the others are measured against.
UNIFORM_DISTINCT = "uniform-distinct"


@dataclass(frozen=True)
class Entry:
    """One sampler's row.

    Attributes:
        name: Name of the sampler.
        hardness: The distances in its batches.
        coverage: How often it drew each instance, over all epochs.
        microseconds: Time to draw a batch, median over epochs.
        distribution: (D + 1,) the distance distribution, over the distances that occur in the
            data; None if the sampler has none.
    """

    name: str
    hardness: Hardness
    coverage: Coverage
    microseconds: float
    distribution: NDArray[np.float64] | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the numbers, not rounded, and the histograms."""
        h = self.hardness
        return {
            "name": self.name,
            "batches": h.n_batches,
            "instances_mean": h.instances_mean,
            "instances_min": h.instances_min,
            "patterns_mean": h.patterns_mean,
            "patterns_min": h.patterns_min,
            "anchor_distance_mean": h.anchor_mean,
            "masked_anchor_distance_mean": h.masked_anchor_mean,
            "pair_distance_mean": h.pair_mean,
            "masked_pair_distance_mean": h.masked_pair_mean,
            "nearest_distance_mean": h.nearest_mean,
            "masked_nearest_distance_mean": h.masked_nearest_mean,
            "share_within": {str(d): h.share_within(d) for d in (1, 2, 3)},
            "seen_share": self.coverage.seen_share,
            "gini": self.coverage.gini,
            "repeats": h.repeats,
            "microseconds_per_batch": self.microseconds,
            "anchor_histogram": h.anchor_histogram.tolist(),
            "pair_histogram": h.pair_histogram.tolist(),
            "masked_nearest_histogram": h.masked_nearest_histogram.tolist(),
            "distribution": None if self.distribution is None else self.distribution.tolist(),
        }


def default_mus(store: ManifestationStore) -> tuple[float, ...]:
    """Return three values of mu for the data: the mean distance between instances, half of it, 0.

    Args:
        store: The manifestations.
    """
    mean = round(histogram_mean(distance_histogram(store)), 1)
    return (mean, round(mean / 2, 1), 0.0)


@dataclass(frozen=True)
class _Candidate:
    """A sampler to measure; the attributes are those of `Entry`."""

    name: str
    epoch_batches: baselines.Epochs
    distribution: NDArray[np.float64] | None = None

    def measured(self, store: ManifestationStore, epochs: int) -> Entry:
        next(iter(self.epoch_batches(0)))  # compiles and builds, which is not measured
        drawn, seconds_per_batch = [], []
        for epoch in range(epochs):
            begin = time.perf_counter()
            drawn.append(list(self.epoch_batches(epoch)))
            seconds_per_batch.append((time.perf_counter() - begin) / len(drawn[-1]))
        return Entry(
            self.name,
            measure_hardness(store, drawn),
            measure_coverage(store, drawn),
            1e6 * float(np.median(seconds_per_batch)),
            self.distribution,
        )


def compare(
    store: ManifestationStore,
    *,
    batch_size: int = 64,
    mus: Sequence[float] | None = None,
    sigma: float = 3.0,
    epochs: int = 20,
    groups: ArrayLike | None = None,
    seed: int = 0,
    samplers: Mapping[str, BatchesByNumber] | None = None,
) -> Iterator[Entry]:
    """Return an iterator over the samplers' entries. Each is measured when it is asked for.

    The samplers are torch's uniform batches, uniform batches of distinct patterns, the anchor's
    nearest patterns, blocks of a bandwidth-minimizing order of the Hamming graph, and, at each mu,
    the authors' code (`ManiNegBatchSampler.authors`) and `ManiNegBatchSampler` with its defaults.

    Args:
        store: The manifestations.
        batch_size: Instances per batch.
        mus: Means of the distance distribution. By default the mean distance between instances,
            half of it, and 0.
        sigma: Standard deviation of the distance distribution.
        epochs: Number of epochs of N // batch_size batches to measure.
        groups: N labels. No two instances of a ManiNeg batch, or of a uniform batch of distinct
            patterns, share one.
        seed: Seed of all samplers.
        samplers: More samplers by name, each with `batch(k, epoch)`, a length and the same
            `store`. They are drawn one batch at a time and do not change.

    Raises:
        InvalidTypeError: If an argument has another type.
        InvalidValueError: If an argument is out of range, there are fewer distinct patterns, or
            groups, than `batch_size`, or one of `samplers` draws from other data.
    """
    check_store("store", store)
    batch_size = check_count("batch_size", batch_size, at_least=2)
    means = default_mus(store) if mus is None else check_mus(mus)
    sigma = check_sigma(sigma)
    epochs = check_count("epochs", epochs, at_least=1)
    seed = randomness.check_seed(seed)
    others = _check_samplers(store, samplers)
    shortage = find_shortage(store, batch_size, groups)
    if shortage is not None:
        raise InvalidValueError(str(shortage))
    candidates = chain(
        _baselines(store, batch_size, groups, seed),
        _maninegs(store, means, groups, {"batch_size": batch_size, "sigma": sigma, "seed": seed}),
        (_Candidate(name, _drawn_by_number(sampler)) for name, sampler in others.items()),
    )
    return (candidate.measured(store, epochs) for candidate in candidates)


def _check_samplers(
    store: ManifestationStore, samplers: Mapping[str, BatchesByNumber] | None
) -> Mapping[str, BatchesByNumber]:
    samplers = {} if samplers is None else samplers
    if not isinstance(samplers, Mapping):
        raise InvalidTypeError(
            f"samplers must map names to samplers; got {type(samplers).__name__}"
        )
    for name, sampler in samplers.items():
        if check_sampler(sampler).store.digest != store.digest:
            raise InvalidValueError(f"samplers[{name!r}] draws from another store")
    return samplers


def _baselines(
    store: ManifestationStore, batch_size: int, groups: ArrayLike | None, seed: int
) -> Iterator[_Candidate]:
    """Yield one candidate for each sampler to compare with."""
    yield _Candidate("uniform", baselines.uniform(store, batch_size, seed))
    distinct = baselines.uniform_distinct(store, batch_size, seed, groups)
    yield _Candidate(UNIFORM_DISTINCT, distinct)
    yield _Candidate("nearest only", baselines.nearest_only(store, batch_size, seed))
    if store.n_patterns <= baselines.MOST_GRAPH_PATTERNS:
        yield _Candidate("graph blocks", baselines.graph_blocks(store, batch_size, seed))


def _maninegs(
    store: ManifestationStore,
    means: Sequence[float],
    groups: ArrayLike | None,
    options: dict[str, Any],
) -> Iterator[_Candidate]:
    """Yield the authors' code and the defaults at each mu."""
    per_epoch = max(1, store.n_instances // options["batch_size"])
    high = max_distance(store)
    index = DistanceBucketIndex(store, rows="patterns")
    for mu in means:
        sampler = ManiNegBatchSampler.authors(
            store, mu=mu, high=high, batches_per_epoch=per_epoch, index=index,
            num_replicas=1, rank=0, **options,
        )  # fmt: skip
        law = _distribution(store, mu, options["sigma"])
        yield _Candidate(f"authors, mu={mu:g}", _epochs_of(sampler), law)
    index = DistanceBucketIndex(store)
    for mu in means:
        sampler = local_sampler(store, mu=mu, groups=groups, index=index, **options)
        law = _distribution(store, mu, options["sigma"])
        yield _Candidate(f"ManiNeg, mu={mu:g}", _epochs_of(sampler), law)


def _epochs_of(sampler: ManiNegBatchSampler) -> baselines.Epochs:
    def epoch_batches(epoch: int) -> Iterable[list[int]]:
        sampler.set_epoch(epoch)
        return sampler

    return epoch_batches


def _drawn_by_number(sampler: BatchesByNumber) -> baselines.Epochs:
    return lambda epoch: (sampler.batch(k, epoch) for k in range(len(sampler)))


def _distribution(store: ManifestationStore, mu: float, sigma: float) -> NDArray[np.float64]:
    """Return the distance distribution, conditioned on the distances that occur in the data.

    With one-hot traits, for example, no odd distance occurs.
    """
    pairs = distance_histogram(store)
    high = max_distance(store)
    weights = np.append(-np.inf, log_weights(mu, sigma, 1, high))
    weights[pairs[: high + 1] == 0] = -np.inf
    masses = np.exp(weights - weights.max())
    distribution: NDArray[np.float64] = masses / masses.sum()
    return distribution


def save_json(
    path: Path, store: ManifestationStore, entries: Sequence[Entry], settings: dict[str, Any]
) -> None:
    """Write settings, versions and all entries to `path`.

    Args:
        path: The JSON file.
        store: The manifestations.
        entries: What was measured.
        settings: The settings, to be written as they are.
    """
    content = {
        "data": {
            "instances": store.n_instances,
            "bits": store.n_bits,
            "patterns": store.n_patterns,
            "pair_histogram": distance_histogram(store).tolist(),
        },
        "settings": settings,
        "versions": {
            "python": platform.python_version(),
            "numpy": np.__version__,
            "torch": torch.__version__,
        },
        "samplers": [entry.as_json() for entry in entries],
    }
    write_atomically(path, [json.dumps(content, indent=1).encode() + b"\n"])
