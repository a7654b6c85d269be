"""Does ManiNeg help on this data, and with which settings? Answered without training (IV-D)."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from maninegs_sampling import randomness
from maninegs_sampling.diagnostics import hardness, histogram_mean
from maninegs_sampling.errors import InvalidValueError, check_count
from maninegs_sampling.hamming import distance_histogram, pattern_distances
from maninegs_sampling.sampler import ManiNegBatchSampler
from maninegs_sampling.schedules import LinearAnnealing
from maninegs_sampling.store import ManifestationStore, check_store

# A fall of the mean distance by less than this share of uniform's is not worth a sampler. Ours: the
# paper asks for "a decreasing trend" and gives no number.
WORTHWHILE_FALL = 0.05

# Anchors to look around from; all of them where there are fewer.
MOST_ANCHORS = 1_000


@dataclass(frozen=True)
class Neighbourhood:
    """What lies around an anchor, averaged over anchors.

    Attributes:
        n_anchors: anchors looked at.
        within: patterns other than the anchor's at most 1, 2 and 3 bits away.
        nearest: mean distance of the patterns that a batch takes when it takes the nearest.
    """

    n_anchors: int
    within: tuple[float, float, float]
    nearest: float


@dataclass(frozen=True)
class Settings(Mapping[str, Any]):
    """Arguments for `ManiNegBatchSampler` and its `.wrap`, each with its reason: `**settings`.

    Attributes:
        arguments: the arguments.
        reasons: for each of them, why.

    Example:
        >>> store = ManifestationStore.from_dense(np.random.default_rng(0).random((300, 20)) < 0.5)
        >>> settings = suggest(store, steps=1000)
        >>> sampler = ManiNegBatchSampler(store, batch_size=64, **settings)
        >>> print(settings["sigma"])
        2.3
    """

    arguments: dict[str, Any]
    reasons: dict[str, str]

    def __getitem__(self, name: str) -> Any:
        return self.arguments[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.arguments)

    def __len__(self) -> int:
        return len(self.arguments)

    def call(self) -> str:
        """Return the arguments as Python source, to be pasted into a call.

        Example:
            >>> Settings({"mu": LinearAnnealing(8.0, 0.0, steps=500), "sigma": 2.5}, {}).call()
            'mu=mn.LinearAnnealing(8, 0, steps=500), sigma=2.5'
        """
        parts = []
        for name, value in self.items():
            if isinstance(value, LinearAnnealing):
                text = f"mn.LinearAnnealing({value.start:g}, {value.end:g}, steps={value.steps})"
            else:
                text = f"{value:g}"
            parts.append(f"{name}={text}")
        return ", ".join(parts)


@dataclass(frozen=True)
class Suitability:
    """The answer and the figures that it rests on.

    Attributes:
        verdict: "suits", "suits with these settings" or "does not suit".
        reasons: sentences, the deciding one first.
        settings: what to use, None where the data does not suit.
        uniform_mean: mean distance over all pairs of instances, so of uniform batches.
        mus: (M,) means of the law that were tried, falling.
        pair_means: (M,) mean distance over all pairs of a batch at each mu: Figure 5 (b).
        anchor_means: (M,) mean distance between an anchor and its negatives: Figure 5 (a).
        neighbourhood: what lies around an anchor.
        trait_shares: (B,) each bit's share of the mean distance.
        label_traits: bits that equal the label, or its opposite.
        duplicates: expected instances of a uniform batch whose pattern is there already.
    """

    verdict: str
    reasons: tuple[str, ...]
    settings: Settings | None
    uniform_mean: float
    mus: tuple[float, ...]
    pair_means: tuple[float, ...]
    anchor_means: tuple[float, ...]
    neighbourhood: Neighbourhood | None
    trait_shares: NDArray[np.float64]
    label_traits: tuple[int, ...]
    duplicates: float

    def __str__(self) -> str:
        """Return the verdict and its reasons, a line each."""
        return "\n".join((f"{self.verdict}:", *(f"- {reason}" for reason in self.reasons)))


def neighbourhood(
    store: ManifestationStore, *, batch_size: int = 64, seed: int = 0
) -> Neighbourhood:
    """Return what lies around an anchor, from at most 1,000 instances drawn at random.

    Raises:
        InvalidValueError: fewer than batch_size distinct patterns.

    Example:
        >>> store = ManifestationStore.from_dense([[0, 0], [0, 1], [1, 1]])
        >>> neighbourhood(store, batch_size=3).within[0]
        1.3333333333333333
    """
    check_store("store", store)
    batch_size = check_count("batch_size", batch_size, at_least=2)
    if store.n_patterns < batch_size:
        raise InvalidValueError(
            f"batches of {batch_size} without duplicates need as many distinct patterns; the store "
            f"has {store.n_patterns}"
        )
    stream = randomness.generator_at(seed, randomness.DIAGNOSTICS)
    anchors = stream.permutation(store.n_instances)[:MOST_ANCHORS]
    within, nearest = np.zeros(3), 0.0
    for pattern, count in zip(
        *np.unique(store.pattern_of[anchors], return_counts=True), strict=True
    ):
        distances = np.sort(pattern_distances(store, int(pattern)))[1:]  # without itself
        within += count * np.searchsorted(distances, (1, 2, 3), side="right")
        nearest += count * float(distances[: batch_size - 1].mean())
    shares = (float(total) / len(anchors) for total in within)
    return Neighbourhood(len(anchors), tuple(shares), float(nearest) / len(anchors))  # type: ignore[arg-type]


def suggest(store: ManifestationStore, *, steps: int, batch_size: int = 64) -> Settings:
    """Return settings read off the data, for a training of `steps` steps.

    Parameters:
        store: the manifestations.
        steps: steps of the whole training.
        batch_size: instances a batch.

    Returns:
        `mu`, `sigma`, `low` and `high`, with their reasons: for `ManiNegBatchSampler(store,
        batch_size=64, **settings)` and `ManiNegBatchSampler.wrap(loader, store, **settings)`.

    Raises:
        InvalidValueError: fewer than batch_size distinct patterns, or all of them at one distance.

    Example:
        >>> store = ManifestationStore.from_dense(np.random.default_rng(0).random((300, 20)) < 0.5)
        >>> print(suggest(store, steps=9000).call())
        mu=mn.LinearAnnealing(10, 2.4, steps=4500), sigma=2.3, low=1, high=18
    """
    steps = check_count("steps", steps, at_least=1)
    around = neighbourhood(store, batch_size=batch_size)
    histogram = distance_histogram(store)
    distances = np.flatnonzero(histogram[1:]) + 1
    if len(distances) == 1:
        raise InvalidValueError(
            f"all patterns are {distances[0]} bits apart: there are no nearer negatives to choose"
        )
    mean = histogram_mean(histogram)
    spread = math.sqrt(_mean_square(histogram) - mean**2)
    sigma = max(0.5, round(spread, 1))
    start = round(mean, 1)
    end = max(0.0, round(min(around.nearest - 2 * sigma, start), 1))
    fall = max(1, steps // 2)
    return Settings(
        {
            "mu": LinearAnnealing(start, end, steps=fall),
            "sigma": sigma,
            "low": 1,
            "high": int(distances[-1]),
        },
        {
            "mu": f"from {start:g}, the mean distance between instances, so as hard as uniform; to "
            f"{end:g}, two sigma under the {around.nearest:.1f} bits of an anchor's nearest "
            f"{batch_size - 1} patterns (but not under 0), since lower ones draw almost the same "
            f"batches; over the first {fall:,} of {steps:,} steps, half of them as the paper's "
            "authors ran",
            "sigma": f"{sigma:g}, the spread of the distances in the data, as 3 is in the paper's",
            "low": "1: an anchor's own pattern is never a negative",
            "high": f"{distances[-1]}, the largest distance in the data",
        },
    )


def _mean_square(histogram: NDArray[np.int64]) -> float:
    return float(histogram @ np.arange(len(histogram)) ** 2 / histogram.sum())


def suitability(
    store: ManifestationStore,
    *,
    batch_size: int = 64,
    labels: ArrayLike | None = None,
    bit_names: Sequence[str] | None = None,
    steps: int = 9000,
    batches: int = 200,
    seed: int = 0,
) -> Suitability:
    """Return whether ManiNeg makes harder batches of this data, why, and with which settings.

    The paper's own test (section IV-D, Figure 5 (b)): sample at falling mu and see whether the mean
    distance over all pairs of a batch falls. It suits if that ends at least 5% below uniform's; it
    suits with these settings if the usual range of mu, from the mean distance down to the nearest
    negatives, had to be cut, or a trait should be left out.

    Parameters:
        store: the manifestations.
        batch_size: instances a batch.
        labels: (N,) the task's labels; a trait that equals them is called out (section VI).
        bit_names: (B,) the traits' names for the sentences, `schema.bit_names` say.
        steps: steps of the training, for the settings.
        batches: batches to measure at each mu.
        seed: of everything drawn.

    Raises:
        InvalidValueError: labels or names of another number.

    Example:
        >>> store = ManifestationStore.from_dense(np.random.default_rng(0).random((900, 12)) < 0.5)
        >>> suitability(store, batch_size=32).verdict
        'suits'
    """
    check_store("store", store)
    batch_size = check_count("batch_size", batch_size, at_least=2)
    names = [f"trait {b}" for b in range(store.n_bits)] if bit_names is None else list(bit_names)
    if len(names) != store.n_bits:
        raise InvalidValueError(f"bit_names must be {store.n_bits} names; got {len(names)}")
    histogram = distance_histogram(store)
    n = store.n_instances
    ones = store.to_dense().sum(axis=0).astype(np.float64)
    differ = ones * (n - ones)  # pairs of instances that differ in the trait
    found: dict[str, Any] = {
        "uniform_mean": histogram_mean(histogram),
        "trait_shares": differ / max(1.0, differ.sum()),
        "label_traits": _equal_to_label(store, labels),
        "duplicates": _expected_duplicates(store, batch_size),
    }
    remarks = _remarks(found, names, batch_size)
    nothing: dict[str, Any] = {
        "mus": (),
        "pair_means": (),
        "anchor_means": (),
        "neighbourhood": None,
    }

    if store.n_patterns < batch_size:
        reason = (
            f"there are {store.n_patterns} distinct patterns, too few for batches of {batch_size} "
            "without duplicates; take smaller batches or more traits"
        )
        return Suitability("does not suit", (reason, *remarks), None, **found, **nothing)
    distances = np.flatnonzero(histogram[1:]) + 1
    if len(distances) == 1:
        reason = f"all patterns are {distances[0]} bits apart: none is harder than another"
        return Suitability("does not suit", (reason, *remarks), None, **found, **nothing)

    settings = suggest(store, steps=steps, batch_size=batch_size)
    schedule = settings["mu"]
    around = neighbourhood(store, batch_size=batch_size, seed=seed)
    mus = tuple(round(float(mu), 2) for mu in np.linspace(schedule.start, schedule.end, 7))
    measured = [
        hardness(
            ManiNegBatchSampler(
                store, batch_size=batch_size, mu=mu, sigma=settings["sigma"], seed=seed
            ),
            batches=batches,
        )
        for mu in mus
    ]
    pair_means = tuple(h.pair_mean for h in measured)
    found |= {
        "mus": mus,
        "pair_means": pair_means,
        "anchor_means": tuple(h.anchor_mean for h in measured),
        "neighbourhood": around,
    }
    near = "{:.1f}, {:.1f} and {:.1f}".format(*around.within)
    remarks = (
        f"an anchor has {near} other patterns within 1, 2 and 3 bits, and its nearest "
        f"{batch_size - 1} are {around.nearest:.1f} bits away",
        *remarks,
    )
    verdict, reason, kept = _judge(settings, mus, pair_means, found)
    return Suitability(verdict, (reason, *remarks), kept, **found)


def _judge(
    settings: Settings,
    mus: Sequence[float],
    pair_means: Sequence[float],
    found: dict[str, Any],
) -> tuple[str, str, Settings | None]:
    """Return verdict, reason and settings from the mean distance of all pairs at each mu."""
    uniform = found["uniform_mean"]
    last = (
        f"at mu = {mus[-1]:g} all pairs of a batch are {pair_means[-1]:.2f} bits apart on average, "
        f"{pair_means[-1] / uniform - 1:+.0%} against uniform's {uniform:.2f}"
    )
    if pair_means[-1] > (1 - WORTHWHILE_FALL) * uniform:
        return "does not suit", f"a low mu makes batches hardly harder: {last}", None
    tried = zip(mus, pair_means, strict=True)
    easier = [mu for mu, mean in tried if mean > (1 + WORTHWHILE_FALL) * uniform]
    if not easier:
        verdict = "suits with these settings" if found["label_traits"] else "suits"
        return verdict, f"the lower mu, the harder the batches: {last}", settings
    # Begin where batches are as hard as uniform ones, not easier.
    schedule, easy = settings["mu"], easier[-1]
    start = next(mu for mu in mus if mu < easy)
    why = f"from {start:g}, since at {easy:g} batches are easier than uniform ones; "
    why += settings.reasons["mu"].split("; ", 1)[1]
    narrowed = Settings(
        settings.arguments | {"mu": LinearAnnealing(start, schedule.end, steps=schedule.steps)},
        settings.reasons | {"mu": why},
    )
    reason = f"{last}, but at mu = {easy:g} they are farther apart than in uniform ones"
    return "suits with these settings", reason, narrowed


def _equal_to_label(store: ManifestationStore, labels: ArrayLike | None) -> tuple[int, ...]:
    """Return the bits that equal one of the labels' values, or its opposite, in every instance."""
    if labels is None:
        return ()
    values = np.asarray(labels)
    if values.shape != (store.n_instances,):
        raise InvalidValueError(
            f"labels must have the shape ({store.n_instances},); got {values.shape}"
        )
    bits = store.to_dense()
    equal: set[int] = set()
    for value in np.unique(values):
        same = bits == (values == value)[:, None]
        equal |= set(np.flatnonzero(same.all(axis=0) | ~same.any(axis=0)).tolist())
    return tuple(sorted(bit for bit in equal if bits[:, bit].any() and not bits[:, bit].all()))


def _expected_duplicates(store: ManifestationStore, batch_size: int) -> float:
    """Return batch_size less the expected number of patterns in a uniform batch."""
    n = store.n_instances
    size = min(batch_size, n)
    # P(no instance of a pattern in the batch) = C(n - count, size) / C(n, size)
    absent = np.array(
        [
            math.exp(
                math.lgamma(n - c + 1) - math.lgamma(n - c - size + 1)
                - math.lgamma(n + 1) + math.lgamma(n - size + 1)
            )
            if n - c >= size
            else 0.0
            for c in store.counts.tolist()
        ]
    )  # fmt: skip
    return float(size - (1 - absent).sum())


def _remarks(found: dict[str, Any], names: Sequence[str], batch_size: int) -> tuple[str, ...]:
    remarks = []
    for bit in found["label_traits"]:
        remarks.append(
            f"{names[bit]!r} equals the label, and so puts the negatives of the other class, which "
            "the task may want near, far away: leave it out, or take a supervised contrastive loss "
            "(section VI)"
        )
    order = np.argsort(-found["trait_shares"], kind="stable")[:3]
    shares = ", ".join(f"{names[b]} {found['trait_shares'][b]:.0%}" for b in order)
    remarks.append(f"the traits that decide the distance most: {shares}")
    if found["duplicates"] >= 0.5:
        remarks.append(
            f"of a uniform batch of {batch_size}, {found['duplicates']:.1f} instances repeat a "
            "pattern and would be pushed from one that looks the same; ManiNeg's hold none"
        )
    return tuple(remarks)
