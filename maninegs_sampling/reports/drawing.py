"""Drawing the numbers in `figures` with matplotlib, in one style."""

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maninegs_sampling.analysis.batch_hardness import N_NEAREST
from maninegs_sampling.distances.metrics import METRICS, MetricName
from maninegs_sampling.optional import require
from maninegs_sampling.reports.figures import (
    Annealing,
    DistanceDistributions,
    HardnessByMu,
    LowerBounds,
)

# Each color has one meaning in all figures: Okabe and Ito's palette, which is safe for color-blind
# readers, and gray. A page may replace INK by its own text color.
UNIFORM, MANINEG, DISTRIBUTION, INDEPENDENT = "#767676", "#0072B2", "#D55E00", "#009E73"
AUTHORS, MINED = "#E69F00", "#CC79A7"
INK, FAINT = "#010203", "#9a9a9a"


def new_figure(rows: int = 1, columns: int = 1, **options: Any) -> tuple[Any, Any]:
    """Return a figure and its (rows, columns) axes, in this package's style.

    Args:
        rows: Number of rows.
        columns: Number of columns.
        options: `figsize`, and options of matplotlib's `Figure.subplots`.

    Raises:
        MissingExtraError: If matplotlib is not installed.
    """
    require("matplotlib", extra="plot", what="drawing figures")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

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


def as_png(figure: Any, *, dpi: int) -> bytes:
    """Return a matplotlib figure as the content of a PNG file.

    Args:
        figure: The figure.
        dpi: Pixels per inch.
    """
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=dpi)
    return png.getvalue()


def _legend(axis: Any, **options: Any) -> None:
    axis.legend(frameon=False, fontsize=9, labelcolor=INK, **options)


def draw_shares(
    axis: Any, shares: NDArray[Any], color: str, metric: MetricName = "hamming", **options: Any
) -> None:
    """Draw a histogram over distances from 0 on as a single shape.

    Args:
        axis: Where to draw.
        shares: (D + 1,) heights.
        color: Color of the shape.
        metric: What distances are; shares are those of its steps.
        options: Options of matplotlib's `Axes.stairs`.
    """
    edges = METRICS[metric].edges(0, len(shares) - 1)
    axis.stairs(shares, edges, fill=True, color=color, **options)


def draw_distance_distributions(data: DistanceDistributions) -> Any:
    """Return Figure 2 as a matplotlib figure."""
    figure, ((axis,),) = new_figure()
    metric = METRICS[data.metric]
    distances = metric.distances(np.arange(len(data.uniform)))
    draw_shares(axis, data.uniform, UNIFORM, data.metric, label="all pairs of the data")
    if data.independent is not None:
        axis.plot(distances, data.independent, ":", color=INDEPENDENT, label="independent traits")
    for (mu, pmf), style in zip(data.gaussians.items(), ("--", "-"), strict=False):
        axis.plot(distances, pmf, style, color=DISTRIBUTION, label=f"distribution, mu = {mu:g}")
    axis.set_xlabel(metric.label)
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
    axis.set_ylabel("mean - 3 sigma of the distance (bits)")
    _legend(axis)
    return figure


def draw_hardness(data: HardnessByMu, end: int) -> Any:
    """Return Figure 5 as a matplotlib figure, with one row for each mu.

    Args:
        data: The numbers.
        end: The last step to draw.
    """
    rows = len(data.mus)
    size = (7, 1.0 + 0.72 * rows)
    figure, axes = new_figure(rows, 3, figsize=size, sharex=True, sharey="col")
    no_band = np.full((2, end + 1), np.nan)
    uniform = data.uniform_distinct
    metric = METRICS[uniform.metric]
    edges = metric.edges(0, end)
    for row, mu, found in zip(axes, data.mus, data.measured, strict=True):
        panels = (
            (found.anchor_histogram, found.anchor_band, found.anchor_mean),
            (found.pair_histogram, found.pair_band, found.pair_mean),
            (found.masked_nearest_histogram, no_band, found.masked_nearest_mean),
        )
        for axis, (histogram, band, mean) in zip(row, panels, strict=True):
            shares = histogram[: end + 1] / max(1, histogram.sum())
            low, high = np.nan_to_num(band[:, : end + 1])
            draw_shares(axis, shares, MANINEG, uniform.metric)
            axis.stairs(high, edges, baseline=low, fill=True, color=INK, alpha=0.4)
            axis.axvline(mean, color=INK, linewidth=1.2)
            axis.tick_params(labelsize=8)
        row[1].axvline(data.uniform_mean, color=UNIFORM, linewidth=1.2, linestyle=":")
        dashed = {"color": UNIFORM, "linewidth": 1.2, "linestyle": "--"}
        row[1].axvline(uniform.pair_mean, **dashed)
        row[2].axvline(uniform.masked_nearest_mean, **dashed)
        row[0].set_ylabel(f"mu = {mu:g}", fontsize=8, rotation=0, ha="right", va="center")
    axes[0, 0].set_title("(a) anchor and negatives", fontsize=9, color=INK)
    axes[0, 1].set_title("(b) all pairs of a batch", fontsize=9, color=INK)
    axes[0, 2].set_title(f"(c) {N_NEAREST} nearest of a row", fontsize=9, color=INK)
    for axis in axes[-1]:
        axis.set_xlabel(metric.label, fontsize=9)
    return figure


def draw_annealing(data: Annealing) -> Any:
    """Return the distances over a training as a heat map, a matplotlib figure."""
    figure, ((axis,),) = new_figure()
    edges = np.append(data.steps, data.steps[-1] + 1)
    metric, n_steps = METRICS[data.metric], data.shares.shape[1]
    distances = metric.edges(0, n_steps - 1)
    mesh = axis.pcolormesh(
        edges, distances, data.shares.T, cmap="cividis", rasterized=True, vmin=0.0
    )
    means = data.shares @ metric.distances(np.arange(n_steps))
    for line, style, color in ((means, "-", MANINEG), (data.mus, "--", DISTRIBUTION)):
        axis.plot(data.steps, line, color="white", linewidth=2.5)
        axis.plot(data.steps, line, style, color=color, linewidth=1.5)
    axis.set_ylim(distances[0], distances[-1])
    axis.set_xlabel("step of training")
    axis.set_ylabel(f"{metric.label} of negatives")
    bar = figure.colorbar(mesh, ax=axis)
    bar.ax.tick_params(colors=INK, labelsize=8)
    bar.set_label("share of negatives", color=INK, fontsize=9)
    bar.outline.set_visible(False)
    return figure


def draw_coverage(counts: NDArray[np.int64]) -> Any:
    """Return the numbers of instances that are seen 0, 1, 2, ... times, as a matplotlib figure."""
    figure, ((axis,),) = new_figure(figsize=(5.2, 2.6))
    times = np.bincount(counts)
    draw_shares(axis, times, MANINEG)
    axis.set_xlabel("times seen")
    axis.set_ylabel("instances")
    return figure
