"""`maninegs compare`: uniform, mined and ManiNeg batches of the same data, side by side."""

import json
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain, starmap
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from maninegs_sampling import randomness
from maninegs_sampling.analysis.baselines import Epochs, nearest_only, uniform
from maninegs_sampling.analysis.hardness import (
    BatchesByNumber,
    check_mus,
    check_sampler,
    store_of_epochs,
)
from maninegs_sampling.analysis.neighborhood import find_shortage
from maninegs_sampling.data.storage import write_atomically
from maninegs_sampling.data.store import ManifestationStore, check_store
from maninegs_sampling.distances.index import DistanceBucketIndex
from maninegs_sampling.distances.metrics import METRICS, MetricName, metric_of
from maninegs_sampling.distances.pairs import distance_limit, mean_distance, pair_distances
from maninegs_sampling.errors import InvalidTypeError, InvalidValueError, check_count
from maninegs_sampling.reports.entries import (
    Candidate,
    Entry,
    LeftOut,
    default_epochs,
    epochs_of,
)
from maninegs_sampling.sampling.base import ReproducibleBatchSampler
from maninegs_sampling.sampling.distribution import log_masses
from maninegs_sampling.sampling.peers.graph_blocks import GraphBlockBatchSampler
from maninegs_sampling.sampling.peers.neighbor_groups import NeighborGroupBatchSampler
from maninegs_sampling.sampling.peers.random_walk import RandomWalkBatchSampler
from maninegs_sampling.sampling.peers.uniform import UniformDistinctBatchSampler
from maninegs_sampling.sampling.sampler import ManiNegBatchSampler

# The sampler that the others are measured against.
UNIFORM_DISTINCT = "uniform-distinct"

# Clusters of a batch, and instances of a group of neighbors, in the comparison.
EIGHT = 8


def default_mus(store: ManifestationStore, metric: MetricName = "hamming") -> tuple[float, ...]:
    """Return three values of mu for the data: the mean distance between instances, half of it, 0.

    Args:
        store: The manifestations.
        metric: "hamming" or "jaccard".
    """
    digits = METRICS[metric].digits
    mean = round(mean_distance(store, metric=metric), digits)
    return (mean, round(mean / 2, digits), 0.0)


def compare(
    store: ManifestationStore,
    *,
    batch_size: int = 64,
    metric: MetricName = "hamming",
    mus: Sequence[float] | None = None,
    sigma: float | None = None,
    epochs: int | None = None,
    groups: ArrayLike | None = None,
    seed: int = 0,
    samplers: Mapping[str, BatchesByNumber] | None = None,
) -> Iterator[Entry | LeftOut]:
    """Return an iterator over the samplers' entries. Each is measured when it is asked for.

    The samplers are torch's uniform batches, `UniformDistinctBatchSampler`, the anchor's nearest
    patterns, `GraphBlockBatchSampler`, `NeighborGroupBatchSampler` with groups of 8,
    `RandomWalkBatchSampler`; at each mu, the authors' code (`ManiNegBatchSampler.authors`) and
    `ManiNegBatchSampler` with its defaults; and at the smallest mu, one cluster whose members are
    all near (`center="cluster"`), eight clusters (`anchors_per_batch=8`), and eight clusters that
    cover the data (also `duplicates="keep", coverage="epoch"`).

    Each epoch is a pass over the sampler. A sampler that cannot be made on the data gives a
    `LeftOut`, which says why. By "jaccard" so do those that know the Hamming distance alone.

    Args:
        store: The manifestations.
        batch_size: Instances per batch.
        metric: What distances are, as in `ManiNegBatchSampler`.
        mus: Means of the distance distribution. By default the mean distance between instances,
            half of it, and 0.
        sigma: Standard deviation of the distance distribution. Default: 3, or 0.1 by "jaccard".
        epochs: Number of epochs of N // batch_size batches to measure. By default as many as
            make up 2,000 batches, but at least 1 and at most 20.
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
    measure = metric_of(metric)
    means = default_mus(store, metric) if mus is None else check_mus(mus, metric)
    sigma = measure.sigma if sigma is None else measure.check_sigma(sigma)
    epochs = default_epochs(store, batch_size) if epochs is None else epochs
    n_epochs = check_count("epochs", epochs, at_least=1)
    options = {"batch_size": batch_size, "seed": randomness.check_seed(seed)}
    others = _check_samplers(store, samplers, n_epochs)
    shortage = find_shortage(store, batch_size, groups)
    if shortage is not None:
        raise InvalidValueError(str(shortage))
    ours = chain(
        _peers(store, groups, options, metric),
        _maninegs(store, means, groups, options | {"sigma": sigma, "metric": metric}),
    )
    theirs = starmap(_by_number, others.items())
    return chain(
        (replace(made, metric=metric).measured_if_possible(store, n_epochs) for made in ours),
        (replace(made, metric=metric).measured(store, n_epochs) for made in theirs),
    )


def _check_samplers(
    store: ManifestationStore, samplers: Mapping[str, BatchesByNumber] | None, n_epochs: int
) -> Mapping[str, BatchesByNumber]:
    samplers = {} if samplers is None else samplers
    if not isinstance(samplers, Mapping):
        raise InvalidTypeError(
            f"samplers must map names to samplers; got {type(samplers).__name__}"
        )
    for name, sampler in samplers.items():
        if store_of_epochs(check_sampler(sampler), range(n_epochs)).digest != store.digest:
            raise InvalidValueError(f"samplers[{name!r}] draws from another store")
    return samplers


def _by_number(name: str, sampler: BatchesByNumber) -> Candidate:
    def epoch_batches(epoch: int) -> Iterator[list[int]]:
        return (sampler.batch(k, epoch) for k in range(len(sampler)))

    # Its schedule may end with the training, so nothing is drawn beyond what is measured.
    return Candidate(name, lambda: epoch_batches, warm_up=0)


def _peers(
    store: ManifestationStore,
    groups: ArrayLike | None,
    options: dict[str, Any],
    metric: MetricName,
) -> Iterator[Candidate]:
    """Yield the samplers that know no mu."""
    size = options["batch_size"]

    def by_hamming(sampler: type[ReproducibleBatchSampler], **more: Any) -> Callable[[], Epochs]:
        return passes(sampler, **more) if metric == "hamming" else _refuse_metric

    def passes(sampler: type[ReproducibleBatchSampler], **more: Any) -> Callable[[], Epochs]:
        return partial(epochs_of, sampler, store, **options, **more)

    yield Candidate("uniform", partial(uniform, store, **options), "uniform")
    yield Candidate(UNIFORM_DISTINCT, passes(UniformDistinctBatchSampler, groups=groups), "uniform")
    yield Candidate(
        "nearest only", partial(nearest_only, store, metric=metric, **options), pictured=False
    )
    yield Candidate("graph blocks", by_hamming(GraphBlockBatchSampler, n_neighbors=size))
    yield Candidate("neighbor groups", by_hamming(NeighborGroupBatchSampler, group_size=EIGHT))
    yield Candidate("random walk", by_hamming(RandomWalkBatchSampler), pictured=False)


def _refuse_metric() -> Epochs:
    raise InvalidValueError("its neighbors are near by Hamming distance")


def _maninegs(
    store: ManifestationStore,
    means: Sequence[float],
    groups: ArrayLike | None,
    options: dict[str, Any],
) -> Iterator[Candidate]:
    """Yield the authors' code and the defaults at each mu, and other batches at the smallest."""
    sigma, lowest, metric = options["sigma"], min(means), options["metric"]
    per_epoch = max(1, store.n_instances // options["batch_size"])
    index = DistanceBucketIndex(store, rows="patterns", metric=metric)
    authors = partial(
        epochs_of, ManiNegBatchSampler.authors, store, high=distance_limit(store, metric=metric),
        batches_per_epoch=per_epoch, index=index, **options,
    )  # fmt: skip
    for mu in means:
        law = _distribution(store, mu, sigma, metric)
        made = partial(authors, mu=mu)
        yield Candidate(f"authors, mu={mu:g}", made, "authors", law, pictured=mu == lowest)
    index = DistanceBucketIndex(store, metric=metric)
    ours = partial(epochs_of, ManiNegBatchSampler, store, groups=groups, index=index, **options)
    for mu in means:
        law = _distribution(store, mu, sigma, metric)
        yield Candidate(f"ManiNeg, mu={mu:g}", partial(ours, mu=mu), "ManiNeg", law)
    eight = partial(ours, mu=lowest, anchors_per_batch=EIGHT)
    covering = partial(eight, duplicates="keep", coverage="epoch")
    yield Candidate("near cluster", partial(ours, mu=lowest, center="cluster"), "ManiNeg")
    yield Candidate("eight clusters", eight, "ManiNeg")
    yield Candidate("eight covering", covering, "ManiNeg")


def _distribution(
    store: ManifestationStore, mu: float, sigma: float, metric: MetricName
) -> NDArray[np.float64] | None:
    """Return the distance distribution, conditioned on the distances that occur in the data.

    With one-hot traits, for example, no odd distance occurs. None if the pairs are not counted:
    which of the rare small distances occur, random pairs cannot tell.
    """
    pairs = pair_distances(store, metric=metric)
    if pairs.n_drawn is not None:
        return None
    last = METRICS[metric].step(pairs.largest)
    weights = np.append(-np.inf, log_masses(mu, sigma, METRICS[metric].edges(1, last)))
    weights[pairs.shares[: last + 1] == 0] = -np.inf
    masses = np.exp(weights - weights.max())
    distribution: NDArray[np.float64] = masses / masses.sum()
    return distribution


def save_json(
    path: Path,
    store: ManifestationStore,
    measured: Sequence[Entry | LeftOut],
    settings: dict[str, Any],
) -> None:
    """Write settings, versions, all entries and what was left out to `path`.

    Args:
        path: The JSON file.
        store: The manifestations.
        measured: What `compare` yields.
        settings: The settings, to be written as they are.
    """
    entries = [row for row in measured if isinstance(row, Entry)]
    pairs = pair_distances(store, metric=entries[0].hardness.metric)
    content = {
        "data": {
            "instances": store.n_instances,
            "bits": store.n_bits,
            "patterns": store.n_patterns,
            "pair_shares": pairs.shares.tolist(),
            "pair_share_errors": pairs.errors.tolist(),
            "pairs_drawn": pairs.n_drawn,
        },
        "settings": settings,
        "versions": {
            "python": platform.python_version(),
            "numpy": np.__version__,
            "torch": torch.__version__,
        },
        "samplers": [entry.as_json() for entry in entries],
        "left_out": {row.name: row.reason for row in measured if isinstance(row, LeftOut)},
    }
    write_atomically(path, [json.dumps(content, indent=1).encode() + b"\n"])
