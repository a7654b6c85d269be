"""What a sampler does to a batch, measured without training (section IV-D of the paper)."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from maninegs_sampling.data.store import ManifestationStore, check_store
from maninegs_sampling.distances import _kernels
from maninegs_sampling.distances.hamming import distance_dtype, distance_histogram, transposed
from maninegs_sampling.errors import InvalidTypeError, InvalidValueError, check_count
from maninegs_sampling.sampling.distribution import check_mean
from maninegs_sampling.sampling.sampler import ManiNegBatchSampler


@dataclass(frozen=True)
class Hardness:
    """The distances in a set of batches; distances are Hamming distances between manifestations.

    Attributes:
        n_batches: batches measured.
        instances_mean, instances_min: instances a batch.
        patterns_mean, patterns_min: distinct patterns a batch.
        repeats: times that an instance stood in a batch that it was already in, over all batches.
        anchor_histogram: (B + 1,) int64, pairs of an anchor (a batch's first instance) and a
            negative at each distance: the paper's Figure 5 (a).
        pair_histogram: (B + 1,) int64, unordered pairs of a batch at each distance: Figure 5 (b).
        anchor_band, pair_band: (2, B + 1) float64, lower and upper end of a 95% interval for the
            share of pairs at each distance. The batch is the unit: pairs of one batch go together.
            nan for a single batch.
        seen_per_epoch: mean number of distinct instances in an epoch.
    """

    n_batches: int
    instances_mean: float
    instances_min: int
    patterns_mean: float
    patterns_min: int
    repeats: int
    anchor_histogram: NDArray[np.int64]
    pair_histogram: NDArray[np.int64]
    anchor_band: NDArray[np.float64]
    pair_band: NDArray[np.float64]
    seen_per_epoch: float

    @property
    def anchor_mean(self) -> float:
        """Mean distance between an anchor and a negative."""
        return histogram_mean(self.anchor_histogram)

    @property
    def pair_mean(self) -> float:
        """Mean distance over all pairs of a batch."""
        return histogram_mean(self.pair_histogram)

    def share_within(self, distance: int) -> float:
        """Share of the anchors' negatives at most `distance` away."""
        distance = check_count("distance", distance, at_least=0)
        total = self.anchor_histogram.sum()
        return float(self.anchor_histogram[: distance + 1].sum() / total) if total else float("nan")


def histogram_mean(histogram: NDArray[np.int64]) -> float:
    """Return the mean of the distances counted in `histogram`; nan if it is empty.

    Example:
        >>> histogram_mean(np.array([0, 2, 2]))
        1.5
    """
    total = histogram.sum()
    return float(histogram @ np.arange(len(histogram)) / total) if total else float("nan")


class _Shares:
    """Histograms of batches, added up, and how much their shares differ from batch to batch."""

    def __init__(self, n: int) -> None:
        self.histogram = np.zeros(n, np.int64)
        self._n_batches = 0
        self._sum = np.zeros(n)
        self._squares = np.zeros(n)

    def add(self, histogram: NDArray[np.int64]) -> None:
        self.histogram += histogram
        share = histogram / max(1, histogram.sum())
        self._n_batches += 1
        self._sum += share
        self._squares += share**2

    def band(self) -> NDArray[np.float64]:
        n = self._n_batches
        mean = self._sum / n
        if n < 2:
            return np.full((2, len(mean)), np.nan)
        variance = np.maximum(self._squares - n * mean**2, 0.0) / (n - 1)
        half = 1.96 * np.sqrt(variance / n)
        return np.clip(np.stack((mean - half, mean + half)), 0.0, 1.0)


def measure_hardness(
    store: ManifestationStore, epochs: Iterable[Iterable[Sequence[int]]]
) -> Hardness:
    """Return the hardness of the batches of some epochs.

    Args:
        store: whose instances the batches hold.
        epochs: the batches of each epoch, the anchor first in each batch.

    Raises:
        InvalidTypeError, InvalidValueError: no batches, an empty batch, or something else than
            numbers of the store's instances.

    Example:
        >>> store = ManifestationStore.from_dense([[0, 0], [0, 1], [1, 1]])
        >>> hardness = measure_hardness(store, [[[0, 1], [0, 2]]])
        >>> hardness.anchor_histogram.tolist(), hardness.seen_per_epoch
        ([0, 1, 1], 3.0)
    """
    words = transposed(check_store("store", store).words)
    dtype = distance_dtype(store.n_bits)
    anchors, pairs = _Shares(store.n_bits + 1), _Shares(store.n_bits + 1)
    sizes: list[int] = []
    patterns: list[int] = []
    seen: list[int] = []
    repeats = 0
    for epoch in epochs:
        seen_now = np.zeros(store.n_instances, np.bool_)
        for batch in epoch:
            instances = _check_batch(batch, store.n_instances)
            pattern_of = store.pattern_of[instances]
            seen_now[instances] = True
            sizes.append(len(batch))
            patterns.append(len(np.unique(pattern_of)))
            repeats += len(batch) - len(np.unique(instances))
            chosen = np.ascontiguousarray(words[:, pattern_of])
            distances = np.empty((len(batch), len(batch)), dtype)
            _kernels.pairwise_rows(chosen, chosen, 0, len(batch), distances)
            anchors.add(np.bincount(distances[0, 1:], minlength=store.n_bits + 1))
            upper = distances[np.triu_indices(len(batch), 1)]
            pairs.add(np.bincount(upper, minlength=store.n_bits + 1))
        seen.append(int(seen_now.sum()))
    if not sizes:
        raise InvalidValueError("epochs must hold at least one batch")
    return Hardness(
        n_batches=len(sizes),
        instances_mean=float(np.mean(sizes)),
        instances_min=min(sizes),
        patterns_mean=float(np.mean(patterns)),
        patterns_min=min(patterns),
        repeats=repeats,
        anchor_histogram=anchors.histogram,
        pair_histogram=pairs.histogram,
        anchor_band=anchors.band(),
        pair_band=pairs.band(),
        seen_per_epoch=float(np.mean(seen)),
    )


def _check_batch(batch: Sequence[int], n_instances: int) -> NDArray[np.int64]:
    instances = np.asarray(batch)
    if instances.ndim != 1 or len(instances) == 0:
        raise InvalidValueError(
            f"a batch must be a vector of at least one instance; got shape {instances.shape}"
        )
    if instances.dtype.kind not in "iu":
        raise InvalidTypeError(f"a batch must hold whole numbers; got dtype {instances.dtype}")
    outside = (instances < 0) | (instances >= n_instances)
    if outside.any():
        raise InvalidValueError(
            f"instances must lie in [0, {n_instances}); a batch holds {instances[outside][0]}"
        )
    return instances


def _check_sampler(sampler: object) -> ManiNegBatchSampler:
    if not isinstance(sampler, ManiNegBatchSampler):
        raise InvalidTypeError(
            f"sampler must be a ManiNegBatchSampler; got {type(sampler).__name__}. "
            "measure_hardness measures the batches of any other."
        )
    return sampler


def hardness(sampler: ManiNegBatchSampler, *, batches: int = 200, epoch: int = 0) -> Hardness:
    """Return the hardness of batches of a sampler, which is left where it stands.

    Args:
        sampler: whose batches to measure.
        batches: how many, going on into later epochs where one has fewer.
        epoch: where to begin; with an annealed mu this decides how hard they are.

    Example:
        >>> store = ManifestationStore.from_dense(np.eye(8, dtype=bool))
        >>> sampler = ManiNegBatchSampler(store, batch_size=4, mu=2.0)
        >>> hardness(sampler, batches=6).pair_mean
        2.0
    """
    _check_sampler(sampler)
    batches = check_count("batches", batches, at_least=1)
    epoch = check_count("epoch", epoch, at_least=0)
    return measure_hardness(sampler.store, _batches_by_epoch(sampler, batches, epoch))


def check_mus(mus: Sequence[float]) -> tuple[float, ...]:
    """Return `mus` as floats, or raise unless they are one or more finite numbers."""
    if isinstance(mus, str) or not isinstance(mus, Iterable):
        raise InvalidTypeError(f"mus must be a sequence of numbers; got {mus!r}")
    means = tuple(check_mean(f"mus[{i}]", mu) for i, mu in enumerate(mus))
    if not means:
        raise InvalidValueError(f"mus must be at least one number; got {mus!r}")
    return means


def hardness_at(
    store: ManifestationStore,
    mus: Sequence[float],
    *,
    sigma: float,
    batch_size: int = 64,
    batches: int = 200,
    groups: ArrayLike | None = None,
    seed: int = 0,
) -> tuple[Hardness, ...]:
    """Return the hardness of `batches` batches at each mean of the law: Figure 5 of the paper.

    Args:
        store: the manifestations.
        mus: (M,) means of the law.
        sigma: standard deviation of the law.
        batch_size: instances a batch.
        batches: batches to measure at each mu.
        groups: N labels; no two instances of a batch share one.
        seed: of the sampler.

    Example:
        >>> store = ManifestationStore.from_dense(np.random.default_rng(0).random((300, 20)) < 0.5)
        >>> far, near = hardness_at(store, [10, 0], sigma=3.0, batches=20)
        >>> near.pair_mean < far.pair_mean
        True
    """
    means = check_mus(mus)
    batches = check_count("batches", batches, at_least=1)
    # One sampler, and so one index, whose k-th epoch is drawn at the k-th mu.
    sampler = ManiNegBatchSampler(
        store,
        batch_size=batch_size,
        mu=lambda step: means[step // batches],
        sigma=sigma,
        groups=groups,
        seed=seed,
        batches_per_epoch=batches,
        num_replicas=1,
        rank=0,
    )
    return tuple(hardness(sampler, batches=batches, epoch=k) for k in range(len(means)))


def _batches_by_epoch(
    sampler: ManiNegBatchSampler, batches: int, epoch: int
) -> Iterator[Iterator[list[int]]]:
    length = len(sampler)
    for first in range(0, batches, length):
        now = epoch + first // length
        yield (sampler.batch(k, now) for k in range(min(length, batches - first)))


@dataclass(frozen=True)
class Coverage:
    """How often everything is seen.

    Attributes:
        n_batches: batches counted.
        instance_counts: (N,) int64, times that each instance stood in a batch.
        pattern_counts: (U,) int64, the same for each distinct pattern.
    """

    n_batches: int
    instance_counts: NDArray[np.int64]
    pattern_counts: NDArray[np.int64]

    @property
    def never_seen(self) -> float:
        """Share of the instances that stood in no batch."""
        return float((self.instance_counts == 0).mean())

    @property
    def patterns_never_seen(self) -> float:
        """Share of the patterns that stood in no batch."""
        return float((self.pattern_counts == 0).mean())

    @property
    def gini(self) -> float:
        """Gini coefficient of the instances' counts: 0 if all are seen alike, near 1 if one is."""
        return gini(self.instance_counts)


def _as_floats(name: str, values: ArrayLike) -> NDArray[np.float64]:
    try:
        array = np.asarray(values)
    except ValueError:  # ragged
        array = np.empty(0, object)
    if array.dtype.kind not in "iuf":
        raise InvalidTypeError(f"{name} must be numbers; got {values!r}")
    return array.astype(np.float64)


def gini(counts: ArrayLike) -> float:
    """Return the Gini coefficient of non-negative counts; nan if all are 0.

    Half the mean difference between two of them, over their mean.

    Raises:
        InvalidTypeError: not numbers.
        InvalidValueError: not a vector, empty, negative or not finite.

    Example:
        >>> gini([1, 1, 1, 1]), gini([0, 0, 0, 4])
        (0.0, 0.75)
    """
    ascending = np.sort(_as_floats("counts", counts), axis=None)
    if np.ndim(counts) != 1 or len(ascending) == 0:
        raise InvalidValueError(
            f"counts must be a vector of at least one number; got shape {np.shape(counts)}"
        )
    if not np.isfinite(ascending).all() or ascending[0] < 0:
        raise InvalidValueError(f"counts must be finite and not negative; got {counts!r}")
    n, total = len(ascending), ascending.sum()
    if total == 0:
        return float("nan")
    return float((2 * np.arange(1, n + 1) - n - 1) @ ascending / (n * total))


def coverage(sampler: ManiNegBatchSampler, *, epochs: int = 1, epoch: int = 0) -> Coverage:
    """Return how often each instance and each pattern is seen; the sampler is left as it is.

    Args:
        sampler: whose batches to count.
        epochs: how many epochs.
        epoch: the first of them.

    Example:
        >>> store = ManifestationStore.from_dense(np.eye(8, dtype=bool))
        >>> seen = coverage(ManiNegBatchSampler(store, batch_size=4, mu=2.0))
        >>> seen.n_batches, int(seen.instance_counts.sum())
        (2, 8)
    """
    store = _check_sampler(sampler).store
    epochs = check_count("epochs", epochs, at_least=1)
    epoch = check_count("epoch", epoch, at_least=0)
    counts = np.zeros(store.n_instances, np.int64)
    for now in range(epoch, epoch + epochs):
        for k in range(len(sampler)):
            np.add.at(counts, sampler.batch(k, now), 1)
    patterns = np.bincount(store.pattern_of, weights=counts, minlength=store.n_patterns)
    return Coverage(epochs * len(sampler), counts, patterns.astype(np.int64))


def lower_bound(n_bits: int, p: ArrayLike = 0.5) -> float:
    """Return mean - 3 standard deviations of the distance between two independent manifestations.

    Only 0.13% of a uniform batch's pairs lie below it: Figure 4 of the paper. Two instances differ
    in a trait of frequency p with probability 2 p (1 - p). (The paper writes the mean as n p, which
    is the same at its p = 0.5.) Negative where near negatives are no rarity.

    Args:
        n_bits: number of traits.
        p: frequency of each, in [0, 1]: one for all or (n_bits,).

    Raises:
        InvalidTypeError: n_bits is no whole number, or the frequencies are no numbers.
        InvalidValueError: n_bits below 1, frequencies outside [0, 1] or of another number.

    Example:
        >>> round(lower_bound(35), 2)  # 17.5 - 3 sqrt(8.75)
        8.63
    """
    n_bits = check_count("n_bits", n_bits, at_least=1)
    frequencies = _as_floats("p", p)
    if frequencies.shape not in ((), (n_bits,)) or not np.all(
        (frequencies >= 0) & (frequencies <= 1)
    ):
        raise InvalidValueError(
            f"p must be one frequency in [0, 1] or {n_bits} of them, one for each trait; got {p!r}"
        )
    differ = np.broadcast_to(2 * frequencies * (1 - frequencies), (n_bits,))
    return float(differ.sum() - 3 * np.sqrt((differ * (1 - differ)).sum()))


def data_lower_bound(store: ManifestationStore) -> int:
    """Return the smallest distance within which 0.13% of all pairs lie: Figure 4 for real data.

    Raises:
        InvalidValueError: a store of one instance, which has no pairs.

    Example:
        >>> data_lower_bound(ManifestationStore.from_dense([[0, 0], [0, 1], [1, 1]]))
        1
    """
    histogram = distance_histogram(check_store("store", store))
    if not histogram.any():
        raise InvalidValueError("a store of one instance has no pairs")
    return int(np.searchsorted(np.cumsum(histogram), 0.0013 * histogram.sum()))
