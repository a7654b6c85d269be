"""Does ManiNeg make harder batches of this data? Answered without training (section IV-D)."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from maninegs_sampling.analysis.advice import (
    Neighbourhood,
    Settings,
    neighbourhood,
    settings_from,
    supply_problem,
    uniform_distinct_hardness,
)
from maninegs_sampling.analysis.diagnostics import Hardness, hardness_at, histogram_mean
from maninegs_sampling.data.store import ManifestationStore, check_store
from maninegs_sampling.distances.hamming import distance_histogram
from maninegs_sampling.errors import InvalidTypeError, InvalidValueError, check_count
from maninegs_sampling.quoting import escape_controls
from maninegs_sampling.sampling.schedules import LinearAnnealing

# A fall of the mean distance by less than this share of uniform's is not worth a sampler. Ours: the
# paper asks for "a decreasing trend" and gives no number.
WORTHWHILE_FALL = 0.05

# What is known beyond batches.
TRAINING = (
    "harder batches do not promise better representations: this project's reference trainings "
    "have not shown a gain from them (benchmarks/results)"
)


@dataclass(frozen=True)
class Suitability:
    """The answer and the figures that it rests on.

    Attributes:
        verdict: "harder batches"; "harder batches with these settings", where the usual range of
            mu had to be cut; or "no harder batches".
        reasons: sentences, the deciding one first.
        settings: what to use, None where batches become no harder.
        uniform_mean: mean distance over all pairs of instances, so of uniform batches.
        uniform_distinct_mean: mean distance over the pairs of uniform batches of distinct patterns,
            which the verdict compares with; None where such batches cannot be full.
        mus: (M,) means of the law that were tried, falling.
        measured: (M,) what was measured at each mu: Figure 5.
        neighbourhood: what lies around an anchor.
        trait_shares: (B,) each bit's share of the mean distance.
        label_traits: bits that equal the label, or its opposite.
        duplicates: expected instances of a uniform batch whose pattern is there already.
    """

    verdict: str
    reasons: tuple[str, ...]
    settings: Settings | None
    uniform_mean: float
    uniform_distinct_mean: float | None
    mus: tuple[float, ...]
    measured: tuple[Hardness, ...]
    neighbourhood: Neighbourhood | None
    trait_shares: NDArray[np.float64]
    label_traits: tuple[int, ...]
    duplicates: float

    @property
    def pair_means(self) -> tuple[float, ...]:
        """(M,) mean distance over all pairs of a batch at each mu: Figure 5 (b)."""
        return tuple(h.pair_mean for h in self.measured)

    @property
    def anchor_means(self) -> tuple[float, ...]:
        """(M,) mean distance between an anchor and its negatives at each mu: Figure 5 (a)."""
        return tuple(h.anchor_mean for h in self.measured)

    def __str__(self) -> str:
        """Return the verdict and its reasons, a line each."""
        return "\n".join((f"{self.verdict}:", *(f"- {reason}" for reason in self.reasons)))


def suitability(
    store: ManifestationStore,
    *,
    batch_size: int = 64,
    labels: ArrayLike | None = None,
    bit_names: Sequence[str] | None = None,
    groups: ArrayLike | None = None,
    steps: int = 9000,
    batches: int = 200,
    seed: int = 0,
) -> Suitability:
    """Return whether ManiNeg makes harder batches of this data, why, and with which settings.

    The paper's own test (section IV-D, Figure 5 (b)): sample at falling mu and see whether the mean
    distance over all pairs of a batch falls. Batches are harder if that ends at least 5% below the
    mean of uniform batches of distinct patterns. Leaving duplicates out raises the mean distance by
    itself, so plain uniform batches are no fair yardstick.

    That batches are harder is no promise of better representations.

    Args:
        store: the manifestations.
        batch_size: instances a batch.
        labels: (N,) the task's labels; a trait that equals them is called out (section VI).
        bit_names: (B,) the traits' names for the sentences; by default the store's.
        groups: N labels, such as a patient id; no two instances of a batch share one.
        steps: steps of the training, for the settings.
        batches: batches to measure at each mu.
        seed: of everything drawn.

    Raises:
        InvalidValueError: labels, groups or names that are missing or of another number.
        InvalidTypeError: an argument of another type.

    Example:
        >>> store = ManifestationStore.from_dense(np.random.default_rng(0).random((900, 12)) < 0.5)
        >>> suitability(store, batch_size=32).verdict
        'harder batches'
    """
    check_store("store", store)
    batch_size = check_count("batch_size", batch_size, at_least=2)
    steps = check_count("steps", steps, at_least=1)
    batches = check_count("batches", batches, at_least=1)
    names = _names(store, bit_names)
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
    problem = supply_problem(store, batch_size, groups)
    distances = np.flatnonzero(histogram[1:]) + 1
    if problem is None and len(distances) == 1:
        problem = f"all patterns are {distances[0]} bits apart: none is harder than another"
    if problem is not None:
        return Suitability(
            "no harder batches",
            (problem, *remarks),
            settings=None,
            uniform_distinct_mean=None,
            mus=(),
            measured=(),
            neighbourhood=None,
            **found,
        )

    drawing: dict[str, Any] = {"batch_size": batch_size, "groups": groups, "seed": seed}
    around = neighbourhood(store, **drawing)
    uniform = uniform_distinct_hardness(store, batches=batches, **drawing).pair_mean
    settings = settings_from(histogram, around, uniform, steps, batch_size, groups)
    schedule = settings["mu"]
    mus = tuple(round(float(mu), 2) for mu in np.linspace(schedule.start, schedule.end, 7))
    measured = hardness_at(store, mus, sigma=settings["sigma"], batches=batches, **drawing)
    near = "{:.1f}, {:.1f} and {:.1f}".format(*around.within)
    shortest = min(h.instances_min for h in measured)
    verdict, reason, kept = _judge(settings, mus, [h.pair_mean for h in measured], uniform)
    reasons = [
        reason,
        f"an anchor has {near} other patterns within 1, 2 and 3 bits, and its nearest "
        f"{batch_size - 1} are {around.nearest:.1f} bits away",
        *remarks,
    ]
    if shortest < batch_size:
        reasons.append(
            f"some anchors reach too few instances of other patterns and groups: the smallest "
            f"batch holds {shortest} instead of {batch_size}"
        )
    if kept is not None:
        reasons.append(TRAINING)
    return Suitability(
        verdict,
        tuple(reasons),
        settings=kept,
        uniform_distinct_mean=uniform,
        mus=mus,
        measured=measured,
        neighbourhood=around,
        **found,
    )


def _judge(
    settings: Settings, mus: Sequence[float], pair_means: Sequence[float], uniform: float
) -> tuple[str, str, Settings | None]:
    """Return verdict, reason and settings from the mean distance of all pairs at each mu."""
    last = (
        f"at mu = {mus[-1]:g} all pairs of a batch are {pair_means[-1]:.2f} bits apart on average, "
        f"{pair_means[-1] / uniform - 1:+.0%} against the {uniform:.2f} of uniform batches of "
        "distinct patterns"
    )
    if pair_means[-1] > (1 - WORTHWHILE_FALL) * uniform:
        return "no harder batches", f"a low mu makes batches hardly harder: {last}", None
    tried = zip(mus, pair_means, strict=True)
    easier = [mu for mu, mean in tried if mean > (1 + WORTHWHILE_FALL) * uniform]
    if not easier:
        return "harder batches", f"the lower mu, the harder the batches: {last}", settings
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
    return "harder batches with these settings", reason, narrowed


def _names(store: ManifestationStore, bit_names: Sequence[str] | None) -> list[str]:
    """Return a name for each bit, fit to be shown."""
    given = store.bit_names if bit_names is None else bit_names
    if given is None:
        return [f"trait {b}" for b in range(store.n_bits)]
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise InvalidTypeError(f"bit_names must be a sequence of names; got {given!r}")
    names = list(given)
    if len(names) != store.n_bits:
        raise InvalidValueError(f"bit_names must be {store.n_bits} names; got {len(names)}")
    wrong = next((name for name in names if not isinstance(name, str)), None)
    if not all(isinstance(name, str) for name in names):
        raise InvalidTypeError(f"bit_names must be texts; got {wrong!r}")
    return [escape_controls(name) for name in names]


def _equal_to_label(store: ManifestationStore, labels: ArrayLike | None) -> tuple[int, ...]:
    """Return the bits that equal one of the labels' values, or its opposite, in every instance."""
    if labels is None:
        return ()
    codes = _label_codes(labels, store.n_instances)
    bits = store.to_dense()
    equal: set[int] = set()
    for code in np.unique(codes):
        same = bits == (codes == code)[:, None]
        equal |= set(np.flatnonzero(same.all(axis=0) | ~same.any(axis=0)).tolist())
    return tuple(sorted(bit for bit in equal if bits[:, bit].any() and not bits[:, bit].all()))


def _label_codes(labels: ArrayLike, n_instances: int) -> NDArray[np.int64]:
    """Number the distinct labels from 0."""
    # A list as objects: numpy would make one text of None and of NaN among texts.
    as_list = isinstance(labels, (list, tuple))
    values = np.array(labels, dtype=object) if as_list else np.asarray(labels)
    if values.shape != (n_instances,):
        raise InvalidValueError(f"labels must have the shape ({n_instances},); got {values.shape}")
    numbers: dict[Any, int] = {}
    codes = np.empty(n_instances, np.int64)
    for i, label in enumerate(values.tolist()):
        try:
            missing = label is None or bool(label != label)
        except (TypeError, ValueError):  # pandas.NA, which says neither yes nor no
            missing = True
        if missing:
            raise InvalidValueError(f"labels[{i}] is missing; got {label!r}")
        try:
            codes[i] = numbers.setdefault(label, len(numbers))
        except TypeError:
            raise InvalidTypeError(
                f"labels must be numbers or texts; labels[{i}] is {label!r}"
            ) from None
    return codes


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
