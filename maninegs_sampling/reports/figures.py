"""The paper's Figures 2, 4 and 5 for any data: first the numbers, then the pictures of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from maninegs_sampling.analysis.advice import Settings, uniform_distinct_hardness
from maninegs_sampling.analysis.diagnostics import (
    Hardness,
    check_mus,
    data_lower_bound,
    hardness_at,
    histogram_mean,
    lower_bound,
)
from maninegs_sampling.data.store import ManifestationStore
from maninegs_sampling.distances.hamming import distance_histogram, max_distance
from maninegs_sampling.errors import MissingExtraError, check_count
from maninegs_sampling.sampling.distribution import TruncatedGaussian

# One meaning, one colour, in every figure: Okabe and Ito's colour-blind-safe palette, and grey. The
# ink and the faint lines are stand-ins that a page may replace by its own.
UNIFORM, MANINEG, LAW, INDEPENDENT = "#767676", "#0072B2", "#D55E00", "#009E73"
AUTHORS, MINED = "#E69F00", "#CC79A7"
INK, FAINT = "#010203", "#9a9a9a"


@dataclass(frozen=True)
class DistanceLaws:
    """Figure 2: how far negatives are, drawn uniformly and by the law.

    Attributes:
        uniform: (D + 1,) share of all pairs of the data at each distance.
        independent: (D + 1,) the paper's binomial: as many independent traits of frequency 0.5.
        laws: for each mu, (D + 1,) the truncated Gaussian.
    """

    uniform: NDArray[np.float64]
    independent: NDArray[np.float64]
    laws: dict[float, NDArray[np.float64]]


@dataclass(frozen=True)
class LowerBounds:
    """Figure 4: mean - 3 sigma of the distance, by the number of traits.

    Attributes:
        n_bits: (M,) numbers of traits.
        half: (M,) for independent traits of frequency 0.5, as in the paper.
        alike: (M,) for independent traits that are as frequent, on average, as the data's.
        data: (number of traits, bound) of the data itself, dependences and all.
    """

    n_bits: NDArray[np.int64]
    half: NDArray[np.float64]
    alike: NDArray[np.float64]
    data: tuple[int, int]


@dataclass(frozen=True)
class HardnessByMu:
    """Figure 5: (a) anchors and negatives, (b) all pairs of a batch, at falling mu.

    Attributes:
        mus: (M,) means of the law.
        measured: (M,) what was measured at each.
        uniform_mean: mean distance over all pairs of the data.
        uniform_distinct_mean: mean distance over the pairs of uniform batches of distinct patterns.
    """

    mus: tuple[float, ...]
    measured: tuple[Hardness, ...]
    uniform_mean: float
    uniform_distinct_mean: float


@dataclass(frozen=True)
class Annealing:
    """The distances between anchors and negatives as training goes on.

    Attributes:
        steps: (M,) steps of training.
        mus: (M,) the schedule's means there.
        shares: (M, D + 1) share of the negatives at each distance.
    """

    steps: NDArray[np.int64]
    mus: NDArray[np.float64]
    shares: NDArray[np.float64]


def largest_distance(store: ManifestationStore) -> int:
    """Return the largest distance between two instances, at least 1, to end an axis with."""
    return max(1, max_distance(store))


def distance_laws(store: ManifestationStore, settings: Settings) -> DistanceLaws:
    """Return Figure 2 for the data, with the law at the start and at the end of its schedule.

    Example:
        >>> store = ManifestationStore.from_dense(np.random.default_rng(0).random((300, 20)) < 0.5)
        >>> from maninegs_sampling.analysis.advice import suggest
        >>> list(distance_laws(store, suggest(store, steps=100)).laws)
        [10.0, 2.4]
    """
    histogram = distance_histogram(store)
    end = largest_distance(store)
    laws = {}
    for mu in (settings["mu"].start, settings["mu"].end):
        law = TruncatedGaussian(mu, settings["sigma"], low=settings["low"], high=settings["high"])
        laws[mu] = np.pad(law.pmf(), (0, end + 1))[: end + 1]
    binomial = stats.binom(store.n_bits, 0.5).pmf(np.arange(end + 1))
    return DistanceLaws(histogram[: end + 1] / histogram.sum(), binomial, laws)


def lower_bounds(store: ManifestationStore) -> LowerBounds:
    """Return Figure 4 with the data's place in it.

    Example:
        >>> store = ManifestationStore.from_dense(np.random.default_rng(0).random((300, 20)) < 0.5)
        >>> lower_bounds(store).data
        (20, 4)
    """
    n_bits = np.arange(10, max(50, store.n_bits) + 1)
    p = store.to_dense().mean(axis=0)
    differ = float((2 * p * (1 - p)).mean())
    frequency = (1 - np.sqrt(max(0.0, 1 - 2 * differ))) / 2  # 2 p (1 - p) = differ
    half, alike = (
        np.array([lower_bound(int(n), value) for n in n_bits]) for value in (0.5, frequency)
    )
    return LowerBounds(n_bits, half, alike, (store.n_bits, data_lower_bound(store)))


def hardness_by_mu(
    store: ManifestationStore,
    mus: Sequence[float],
    *,
    sigma: float,
    batch_size: int = 64,
    batches: int = 200,
    groups: ArrayLike | None = None,
    seed: int = 0,
) -> HardnessByMu:
    """Return Figure 5 for the data: `batches` batches measured at each mu.

    Example:
        >>> store = ManifestationStore.from_dense(np.random.default_rng(0).random((300, 20)) < 0.5)
        >>> found = hardness_by_mu(store, [10, 5, 0], sigma=3.0, batches=20)
        >>> found.measured[2].pair_mean < found.measured[0].pair_mean
        True
    """
    drawing: dict[str, Any] = {
        "batch_size": batch_size, "batches": batches, "groups": groups, "seed": seed
    }  # fmt: skip
    return HardnessByMu(
        check_mus(mus),
        hardness_at(store, mus, sigma=sigma, **drawing),
        histogram_mean(distance_histogram(store)),
        uniform_distinct_hardness(store, **drawing).pair_mean,
    )


def annealing(
    store: ManifestationStore,
    settings: Settings,
    *,
    steps: int,
    batch_size: int = 64,
    seed: int = 0,
    points: int = 40,
    batches: int = 20,
) -> Annealing:
    """Return the distances at `points` moments of a training, from `batches` batches at each.

    The batches are of one instance of each of the settings' groups, if they hold any.

    Example:
        >>> store = ManifestationStore.from_dense(np.random.default_rng(0).random((300, 20)) < 0.5)
        >>> from maninegs_sampling.analysis.advice import suggest
        >>> annealing(store, suggest(store, steps=100), steps=100, points=5).steps.tolist()
        [0, 25, 50, 74, 99]
    """
    steps = check_count("steps", steps, at_least=1)
    points = check_count("points", points, at_least=1)
    moments = np.unique(np.linspace(0, steps - 1, points).round().astype(np.int64))
    mus = np.array([settings["mu"](int(step)) for step in moments])
    measured = hardness_at(
        store,
        mus.tolist(),
        sigma=settings["sigma"],
        batch_size=batch_size,
        batches=batches,
        groups=settings.get("groups"),
        seed=seed,
    )
    histograms = np.stack([h.anchor_histogram for h in measured])
    histograms = histograms[:, : largest_distance(store) + 1]
    return Annealing(moments, mus, histograms / histograms.sum(axis=1, keepdims=True))


def new_figure(rows: int = 1, columns: int = 1, **options: Any) -> tuple[Any, Any]:
    """Return a figure and its (rows, columns) axes, in this package's looks.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtraError(
            "pictures need matplotlib: pip install 'maninegs-sampling[plot]'"
        ) from None
    size = options.pop("figsize", (5.2, 3.2))
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False, **options)
    for axis in axes.flat:
        axis.spines[["top", "right"]].set_visible(False)
        axis.spines[["left", "bottom"]].set_color(INK)
        axis.tick_params(colors=INK, labelsize=9)
        axis.xaxis.label.set(color=INK, fontsize=10)
        axis.yaxis.label.set(color=INK, fontsize=10)
        axis.set_facecolor("none")
    return figure, axes


def _legend(axis: Any, **options: Any) -> None:
    axis.legend(frameon=False, fontsize=9, labelcolor=INK, **options)


def draw_shares(axis: Any, shares: NDArray[Any], colour: str, **options: Any) -> None:
    """Draw a histogram over 0, 1, 2, ... as one shape, however many distances there are."""
    edges = np.arange(len(shares) + 1) - 0.5
    axis.stairs(shares, edges, fill=True, color=colour, **options)


def draw_distance_laws(data: DistanceLaws) -> Any:
    """Return Figure 2 as a matplotlib figure."""
    figure, ((axis,),) = new_figure()
    distances = np.arange(len(data.uniform))
    draw_shares(axis, data.uniform, UNIFORM, label="all pairs of the data")
    axis.plot(distances, data.independent, ":", color=INDEPENDENT, label="independent traits")
    for (mu, law), style in zip(data.laws.items(), ("--", "-"), strict=False):
        axis.plot(distances, law, style, color=LAW, label=f"law, mu = {mu:g}")
    axis.set_xlabel("Hamming distance (traits)")
    axis.set_ylabel("share of pairs")
    _legend(axis)
    return figure


def draw_lower_bounds(data: LowerBounds) -> Any:
    """Return Figure 4 as a matplotlib figure."""
    figure, ((axis,),) = new_figure()
    axis.plot(data.n_bits, data.half, color=INDEPENDENT, label="independent, p = 0.5 (paper)")
    axis.plot(data.n_bits, data.alike, "--", color=INDEPENDENT, label="independent, p of the data")
    axis.plot(*data.data, "o", color=MANINEG, label="the data itself")
    axis.axhline(0, color=FAINT, linewidth=0.8)
    axis.set_xlabel("number of traits")
    axis.set_ylabel("distance, mean - 3 sigma (traits)")
    _legend(axis)
    return figure


def draw_hardness(data: HardnessByMu, end: int) -> Any:
    """Return Figure 5 as a matplotlib figure, one row for each mu, distances from 0 to `end`."""
    rows = len(data.mus)
    size = (5.2, 1.0 + 0.72 * rows)
    figure, axes = new_figure(rows, 2, figsize=size, sharex=True, sharey="col")
    edges = np.arange(end + 2) - 0.5
    for row, mu, found in zip(axes, data.mus, data.measured, strict=True):
        panels = (
            (found.anchor_histogram, found.anchor_band, found.anchor_mean),
            (found.pair_histogram, found.pair_band, found.pair_mean),
        )
        for axis, (histogram, band, mean) in zip(row, panels, strict=True):
            shares = histogram[: end + 1] / max(1, histogram.sum())
            low, high = np.nan_to_num(band[:, : end + 1])
            draw_shares(axis, shares, MANINEG)
            axis.stairs(high, edges, baseline=low, fill=True, color=INK, alpha=0.4)
            axis.axvline(mean, color=INK, linewidth=1.2)
            axis.tick_params(labelsize=8)
        row[1].axvline(data.uniform_mean, color=UNIFORM, linewidth=1.2, linestyle=":")
        row[1].axvline(data.uniform_distinct_mean, color=UNIFORM, linewidth=1.2, linestyle="--")
        row[0].set_ylabel(f"mu = {mu:g}", fontsize=8, rotation=0, ha="right", va="center")
    axes[0, 0].set_title("(a) anchor and negatives", fontsize=9, color=INK)
    axes[0, 1].set_title("(b) all pairs of a batch", fontsize=9, color=INK)
    for axis in axes[-1]:
        axis.set_xlabel("Hamming distance (traits)", fontsize=9)
    return figure


def draw_annealing(data: Annealing) -> Any:
    """Return the distances over training as a heat map."""
    figure, ((axis,),) = new_figure()
    edges = np.append(data.steps, data.steps[-1] + 1)
    distances = np.arange(data.shares.shape[1] + 1) - 0.5
    mesh = axis.pcolormesh(
        edges, distances, data.shares.T, cmap="cividis", rasterized=True, vmin=0.0
    )
    means = data.shares @ np.arange(data.shares.shape[1])
    for line, style, colour in ((means, "-", MANINEG), (data.mus, "--", LAW)):
        axis.plot(data.steps, line, color="white", linewidth=2.5)
        axis.plot(data.steps, line, style, color=colour, linewidth=1.5)
    axis.set_ylim(distances[0], distances[-1])
    axis.set_xlabel("step of training")
    axis.set_ylabel("distance of negatives (traits)")
    bar = figure.colorbar(mesh, ax=axis)
    bar.ax.tick_params(colors=INK, labelsize=8)
    bar.set_label("share of negatives", color=INK, fontsize=9)
    bar.outline.set_visible(False)
    return figure


def draw_coverage(counts: NDArray[np.int64]) -> Any:
    """Return how many instances are seen how often, as a matplotlib figure."""
    figure, ((axis,),) = new_figure(figsize=(5.2, 2.6))
    times = np.bincount(counts)
    draw_shares(axis, times, MANINEG)
    axis.set_xlabel("times seen")
    axis.set_ylabel("instances")
    return figure
