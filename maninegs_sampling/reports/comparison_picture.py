"""The picture of a comparison: the distances in the batches of each sampler."""

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from maninegs_sampling.analysis.batch_hardness import N_NEAREST
from maninegs_sampling.data.storage import write_atomically
from maninegs_sampling.data.store import ManifestationStore
from maninegs_sampling.distances.metrics import METRICS
from maninegs_sampling.reports import drawing
from maninegs_sampling.reports.comparison import UNIFORM_DISTINCT
from maninegs_sampling.reports.entries import Entry, Kind

# How the means of uniform batches are drawn, by the name of the sampler.
_UNIFORM_LINES = {"uniform": ":", UNIFORM_DISTINCT: "--"}
_COLORS: dict[Kind, str] = {
    "uniform": drawing.UNIFORM,
    "mined": drawing.MINED,
    "authors": drawing.AUTHORS,
    "ManiNeg": drawing.MANINEG,
}


def save_picture(path: Path, store: ManifestationStore, entries: Sequence[Entry]) -> None:
    """Draw Figure 5 of the paper for each entry that is to be pictured, as PNG.

    The columns show the distances between the first of a batch, its anchor, and the others, between
    all pairs of a batch, and between an instance and the nearest in its batch that have another
    pattern.

    The axes end where at most 0.1% of any sampler's pairs lie farther apart.

    Args:
        path: The PNG file.
        store: The manifestations.
        entries: What was measured.

    Raises:
        MissingExtraError: If matplotlib is not installed.
    """
    entries = [entry for entry in entries if entry.pictured]
    size = (11, 1.1 + 0.95 * len(entries))
    figure, axes = drawing.new_figure(len(entries), 3, figsize=size, sharex=True, sharey="col")
    metric = METRICS[entries[0].hardness.metric]
    end = _last_step(entries)
    for row, entry in zip(axes, entries, strict=True):
        _draw_entry(row, entry, end)
        for uniform in entries:
            if uniform.name in _UNIFORM_LINES:
                _draw_uniform_means(row, uniform)
    titles = (
        "(a) the first of a batch and the others",
        "(b) all pairs of a batch",
        f"(c) an instance and its {N_NEAREST} nearest",
    )
    for axis, title in zip(axes[0], titles, strict=True):
        axis.set_title(title, fontsize=10)
    figure.suptitle(
        f"Share of pairs at each {metric.name.capitalize()} distance: {store.n_instances:,} "
        f"instances, {store.n_patterns:,} patterns, {store.n_bits} bits",
        fontsize=11,
    )
    figure.supxlabel(
        f"{metric.label}.  Black: mean over pairs of different patterns, the only ones in "
        "(c).  Gray: the same of uniform batches\n(dotted) and of uniform batches of distinct "
        "patterns (dashed).  Red: the distance distribution.",
        fontsize=9,
    )
    write_atomically(path, [drawing.as_png(figure, dpi=130)])


def _last_step(entries: Sequence[Entry]) -> int:
    """Return the step within which at least 99.9% of each sampler's pairs lie."""
    pairs = [
        histogram
        for entry in entries
        for histogram in (entry.hardness.anchor_histogram, entry.hardness.pair_histogram)
    ]
    return max(int(np.searchsorted(np.cumsum(h), 0.999 * h.sum())) for h in pairs)


def _draw_entry(row: Any, entry: Entry, end: int) -> None:
    """Draw the three histograms of an entry, with steps from 0 to `end`."""
    h = entry.hardness
    panels = (
        (h.anchor_histogram, h.masked_anchor_mean),
        (h.pair_histogram, h.masked_pair_mean),
        (h.masked_nearest_histogram, h.masked_nearest_mean),
    )
    for axis, (histogram, mean) in zip(row, panels, strict=True):
        shares = histogram[: end + 1] / max(1, histogram.sum())
        drawing.draw_shares(axis, shares, _COLORS[entry.kind], h.metric)
        axis.axvline(mean, color=drawing.INK, linewidth=1)
        axis.tick_params(labelsize=8)
    if entry.distribution is not None:
        steps = np.flatnonzero(entry.distribution[: end + 1] > 0)
        distances, shares = METRICS[h.metric].distances(steps), entry.distribution[steps]
        style = {"color": drawing.DISTRIBUTION, "markersize": 2.5, "linewidth": 1}
        row[0].plot(distances, shares, "o-", **style)
    row[0].set_ylabel(textwrap.fill(entry.name, 10), fontsize=9)


def _draw_uniform_means(row: Any, uniform: Entry) -> None:
    """Draw the means of uniform batches into the panels of another entry."""
    means = (uniform.hardness.masked_pair_mean, uniform.hardness.masked_nearest_mean)
    for axis, mean in zip(row[1:], means, strict=True):
        style = _UNIFORM_LINES[uniform.name]
        axis.axvline(mean, color=drawing.UNIFORM, linewidth=1, linestyle=style)
