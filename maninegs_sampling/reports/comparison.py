"""`maninegs compare`: uniform, mined and ManiNeg batches of the same data, side by side."""

import json
import platform
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from maninegs_sampling import randomness
from maninegs_sampling.analysis import baselines
from maninegs_sampling.analysis.hardness import (
    Hardness,
    check_mus,
    histogram_mean,
    local_sampler,
    measure_hardness,
)
from maninegs_sampling.analysis.neighborhood import find_shortage
from maninegs_sampling.data.storage import write_atomically
from maninegs_sampling.data.store import ManifestationStore, check_store
from maninegs_sampling.distances.hamming import distance_histogram, max_distance
from maninegs_sampling.distances.index import DistanceBucketIndex
from maninegs_sampling.errors import InvalidValueError, check_count
from maninegs_sampling.sampling.distribution import check_sigma, log_weights
from maninegs_sampling.sampling.sampler import ManiNegBatchSampler

COLUMNS = (
    "sampler",
    "instances",
    "min",
    "patterns",
    "min",
    "d(anchor)",
    "d(pairs)",
    "<=1",
    "<=2",
    "<=3",
    "seen/epoch",
    "repeats",
    "us/batch",
)

LEGEND = """\
instances, patterns: instances and distinct patterns per batch, mean and minimum
d(anchor), d(pairs): mean distance of negatives from their anchor, and over all pairs of a batch
<=1, <=2, <=3:       share of the negatives at most 1, 2 and 3 bits from their anchor
seen/epoch:          distinct instances in an epoch, of {n}
repeats:             how often a batch holds an instance again, over all batches
us/batch:            microseconds to draw a batch, median over epochs"""


@dataclass(frozen=True)
class Entry:
    """One sampler's row.

    Attributes:
        name: Name of the sampler.
        hardness: What was measured.
        microseconds: Time to draw a batch, median over epochs.
        distribution: (D + 1,) the distance distribution, over the distances that occur in the
            data; None if the sampler has none.
    """

    name: str
    hardness: Hardness
    microseconds: float
    distribution: NDArray[np.float64] | None = None

    def row(self) -> tuple[str, ...]:
        """Return the cells under `COLUMNS`."""
        h = self.hardness
        return (
            self.name,
            f"{h.instances_mean:.1f}",
            str(h.instances_min),
            f"{h.patterns_mean:.1f}",
            str(h.patterns_min),
            f"{h.anchor_mean:.2f}",
            f"{h.pair_mean:.2f}",
            *(f"{100 * h.share_within(d):.1f}%" for d in (1, 2, 3)),
            f"{h.seen_per_epoch:.0f}",
            str(h.repeats),
            f"{self.microseconds:.1f}",
        )

    def as_json(self) -> dict[str, Any]:
        """Return the same numbers, not rounded, and the histograms."""
        h = self.hardness
        return {
            "name": self.name,
            "batches": h.n_batches,
            "instances_mean": h.instances_mean,
            "instances_min": h.instances_min,
            "patterns_mean": h.patterns_mean,
            "patterns_min": h.patterns_min,
            "anchor_distance_mean": h.anchor_mean,
            "pair_distance_mean": h.pair_mean,
            "share_within": {str(d): h.share_within(d) for d in (1, 2, 3)},
            "seen_per_epoch": h.seen_per_epoch,
            "repeats": h.repeats,
            "microseconds_per_batch": self.microseconds,
            "anchor_histogram": h.anchor_histogram.tolist(),
            "pair_histogram": h.pair_histogram.tolist(),
            "distribution": None if self.distribution is None else self.distribution.tolist(),
        }


def default_mus(store: ManifestationStore) -> tuple[float, ...]:
    """Return three values of mu for the data: the mean distance between instances, half of it, 0.

    Args:
        store: The manifestations.
    """
    mean = round(histogram_mean(distance_histogram(store)), 1)
    return (mean, round(mean / 2, 1), 0.0)


def _measure(
    name: str,
    store: ManifestationStore,
    epoch_batches: baselines.Epochs,
    epochs: int,
    distribution: NDArray[np.float64] | None = None,
) -> Entry:
    next(iter(epoch_batches(0)))  # compiles and builds, which is not measured
    drawn, seconds_per_batch = [], []
    for epoch in range(epochs):
        begin = time.perf_counter()
        drawn.append(list(epoch_batches(epoch)))
        seconds_per_batch.append((time.perf_counter() - begin) / len(drawn[-1]))
    microseconds = 1e6 * float(np.median(seconds_per_batch))
    return Entry(name, measure_hardness(store, drawn), microseconds, distribution)


def compare(
    store: ManifestationStore,
    *,
    batch_size: int = 64,
    mus: Sequence[float] | None = None,
    sigma: float = 3.0,
    epochs: int = 20,
    groups: ArrayLike | None = None,
    seed: int = 0,
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

    Raises:
        InvalidTypeError: If an argument has another type.
        InvalidValueError: If an argument is out of range, or there are fewer distinct patterns, or
            groups, than `batch_size`.
    """
    check_store("store", store)
    batch_size = check_count("batch_size", batch_size, at_least=2)
    means = default_mus(store) if mus is None else check_mus(mus)
    sigma = check_sigma(sigma)
    epochs = check_count("epochs", epochs, at_least=1)
    seed = randomness.check_seed(seed)
    shortage = find_shortage(store, batch_size, groups)
    if shortage is not None:
        raise InvalidValueError(str(shortage))

    def entries() -> Iterator[Entry]:
        for name, epoch_batches in _baselines(store, batch_size, groups, seed):
            yield _measure(name, store, epoch_batches, epochs)
        options: dict[str, Any] = {"batch_size": batch_size, "sigma": sigma, "seed": seed}
        for name, mu, sampler in _samplers(store, means, groups, options):
            distribution = _distribution(store, mu, sigma)
            yield _measure(name, store, _epochs_of(sampler), epochs, distribution)

    return entries()


def _samplers(
    store: ManifestationStore,
    means: Sequence[float],
    groups: ArrayLike | None,
    options: dict[str, Any],
) -> Iterator[tuple[str, float, ManiNegBatchSampler]]:
    """Yield the name, mu and sampler of the authors' code and of the defaults, at each mu."""
    per_epoch = max(1, store.n_instances // options["batch_size"])
    high = max_distance(store)
    index = DistanceBucketIndex(store, rows="patterns")
    for mu in means:
        sampler = ManiNegBatchSampler.authors(
            store, mu=mu, high=high, batches_per_epoch=per_epoch, index=index,
            num_replicas=1, rank=0, **options,
        )  # fmt: skip
        yield f"authors, mu={mu:g}", mu, sampler
    index = DistanceBucketIndex(store)
    for mu in means:
        sampler = local_sampler(store, mu=mu, groups=groups, index=index, **options)
        yield f"ManiNeg, mu={mu:g}", mu, sampler


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


def _baselines(
    store: ManifestationStore, batch_size: int, groups: ArrayLike | None, seed: int
) -> Iterator[tuple[str, baselines.Epochs]]:
    yield "uniform", baselines.uniform(store, batch_size, seed)
    distinct = baselines.uniform_distinct(store, batch_size, seed, groups)
    yield "uniform of distinct patterns", distinct
    yield "nearest only", baselines.nearest_only(store, batch_size, seed)
    if store.n_patterns <= baselines.MOST_GRAPH_PATTERNS:
        yield "graph blocks", baselines.graph_blocks(store, batch_size, seed)


def _epochs_of(sampler: ManiNegBatchSampler) -> baselines.Epochs:
    def epoch_batches(epoch: int) -> Iterable[list[int]]:
        sampler.set_epoch(epoch)
        return sampler

    return epoch_batches


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
