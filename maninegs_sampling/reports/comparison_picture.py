"""The picture of a comparison: the distances in the batches of each sampler."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from maninegs_sampling.analysis.batch_hardness import histogram_mean
from maninegs_sampling.data.storage import write_atomically
from maninegs_sampling.data.store import ManifestationStore
from maninegs_sampling.reports import drawing
from maninegs_sampling.reports.comparison import Entry
from maninegs_sampling.reports.figures import largest_distance

# How the means of uniform batches are drawn, by the name of the sampler.
_UNIFORM_LINES = {"uniform": ":", "uniform of distinct patterns": "--"}


def save_picture(path: Path, store: ManifestationStore, entries: Sequence[Entry]) -> None:
    """Draw Figure 5 of the paper for each entry, as PNG.

    The left column shows the distances between anchors and their negatives, the right column those
    between all pairs of a batch.

    Args:
        path: The PNG file.
        store: The manifestations.
        entries: What was measured.

    Raises:
        MissingExtraError: If matplotlib is not installed.
    """
    size = (9, 0.9 + 1.15 * len(entries))
    figure, axes = drawing.new_figure(len(entries), 2, figsize=size, sharex=True, sharey="col")
    means = {entry.name: entry.hardness.pair_mean for entry in entries}
    end = largest_distance(store)
    for row, entry in zip(axes, entries, strict=True):
        _draw_entry(row, entry, end)
        for name in _UNIFORM_LINES.keys() & means.keys():
            style = _UNIFORM_LINES[name]
            row[1].axvline(means[name], color=drawing.UNIFORM, linewidth=1, linestyle=style)
    axes[0, 0].set_title("(a) an anchor and its negatives", fontsize=10)
    axes[0, 1].set_title("(b) all pairs of a batch", fontsize=10)
    figure.suptitle(
        f"Share of pairs at each Hamming distance: {store.n_instances:,} instances, "
        f"{store.n_patterns:,} patterns, {store.n_bits} bits",
        fontsize=11,
    )
    figure.supxlabel(
        "Hamming distance (bits).  Black: mean.  Gray: mean over all pairs of uniform batches "
        "(dotted)\nand of uniform batches of distinct patterns (dashed).  Red: the distance "
        "distribution.",
        fontsize=9,
    )
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=130)
    write_atomically(path, [png.getvalue()])


def _draw_entry(row: Any, entry: Entry, end: int) -> None:
    """Draw the two histograms of an entry, with distances from 0 to `end`."""
    histograms = (entry.hardness.anchor_histogram, entry.hardness.pair_histogram)
    for axis, histogram in zip(row, histograms, strict=True):
        shares = histogram[: end + 1] / max(1, histogram.sum())
        drawing.draw_shares(axis, shares, _color(entry.name))
        axis.axvline(histogram_mean(histogram), color=drawing.INK, linewidth=1)
        axis.tick_params(labelsize=8)
    if entry.distribution is not None:
        distances = np.flatnonzero(entry.distribution > 0)
        shares = entry.distribution[distances]
        style = {"color": drawing.DISTRIBUTION, "markersize": 2.5, "linewidth": 1}
        row[0].plot(distances, shares, "o-", **style)
    row[0].set_ylabel(entry.name.replace(", ", "\n").replace(" of ", " of\n"), fontsize=9)


def _color(name: str) -> str:
    if name.startswith("uniform"):
        return drawing.UNIFORM
    readings = {"authors": drawing.AUTHORS, "ManiNeg": drawing.MANINEG}
    return readings.get(name.split(",")[0], drawing.MINED)
