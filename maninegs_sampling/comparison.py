"""Uniform, mined and ManiNeg batches of the same data, side by side: `maninegs compare`."""

import io
import json
import platform
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from maninegs_sampling import baselines
from maninegs_sampling.diagnostics import Hardness, histogram_mean, measure_hardness
from maninegs_sampling.distribution import TruncatedGaussian
from maninegs_sampling.errors import InvalidValueError, MissingExtraError
from maninegs_sampling.hamming import distance_histogram
from maninegs_sampling.sampler import ManiNegBatchSampler
from maninegs_sampling.storage import write_atomically
from maninegs_sampling.store import ManifestationStore

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
instances, patterns: instances and distinct patterns a batch, mean and minimum
d(anchor), d(pairs): mean distance of an anchor from its negatives, and over all pairs of a batch
<=1, <=2, <=3:       share of the negatives at most that far from their anchor
seen/epoch:          distinct instances in an epoch, of {n}
repeats:             times an instance stood twice in one batch, over all batches
us/batch:            microseconds to draw a batch, the median over epochs"""


@dataclass(frozen=True)
class Entry:
    """One sampler's row: its name, what was measured, and its sampling law if it has one."""

    name: str
    hardness: Hardness
    microseconds: float
    law: NDArray[np.float64] | None = None

    def row(self) -> tuple[str, ...]:
        """The texts under `COLUMNS`."""
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
        """The same numbers, unrounded, and the histograms."""
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
            "law": None if self.law is None else self.law.tolist(),
        }


def default_mus(store: ManifestationStore) -> tuple[float, ...]:
    """Return three means read off the data: the mean distance between instances, half of it, 0."""
    mean = round(histogram_mean(distance_histogram(store)), 1)
    return (mean, round(mean / 2, 1), 0.0)


def _measure(
    name: str,
    store: ManifestationStore,
    epoch_batches: baselines.Epochs,
    epochs: int,
    law: NDArray[np.float64] | None = None,
) -> Entry:
    next(iter(epoch_batches(0)))  # whatever happens only once: compiling, building
    drawn, seconds_per_batch = [], []
    for epoch in range(epochs):
        begin = time.perf_counter()
        drawn.append(list(epoch_batches(epoch)))
        seconds_per_batch.append((time.perf_counter() - begin) / len(drawn[-1]))
    microseconds = 1e6 * float(np.median(seconds_per_batch))
    return Entry(name, measure_hardness(store, drawn), microseconds, law)


def compare(
    store: ManifestationStore,
    *,
    batch_size: int = 64,
    mus: Sequence[float] | None = None,
    sigma: float = 3.0,
    epochs: int = 20,
    seed: int = 0,
) -> Iterable[Entry]:
    """Yield one measured entry for each sampler.

    These are torch's uniform batches, the anchor's nearest patterns only, blocks of a
    bandwidth-minimising order of the Hamming graph, and at each mu the authors' reading of the
    paper and `ManiNegBatchSampler`'s defaults.

    Parameters:
        batch_size: instances a batch.
        mus: means of the law; by default the mean distance between instances, half of it, and 0.
        sigma: standard deviation of the law.
        epochs: epochs of N // batch_size batches to measure.
        seed: of every sampler.

    Raises:
        InvalidValueError: fewer distinct patterns than batch_size, or no epochs.
    """
    if epochs < 1:
        raise InvalidValueError(f"epochs must be at least 1; got {epochs}")
    if store.n_patterns < batch_size:
        raise InvalidValueError(
            f"the table has {store.n_patterns} distinct patterns, too few for batches of "
            f"{batch_size} without duplicates; give a smaller --batch-size"
        )
    mus = default_mus(store) if mus is None else mus
    pairs = distance_histogram(store)
    high = int(np.flatnonzero(pairs)[-1])
    yield _measure("uniform", store, baselines.uniform(store, batch_size, seed), epochs)
    yield _measure("nearest only", store, baselines.nearest_only(store, batch_size, seed), epochs)
    if store.n_patterns <= baselines.MOST_GRAPH_PATTERNS:
        blocks = baselines.graph_blocks(store, batch_size, seed)
        yield _measure("graph blocks", store, blocks, epochs)
    batches_per_epoch = max(1, store.n_instances // batch_size)
    for reading in ("authors", "ManiNeg"):
        for mu in mus:
            options: dict[str, Any] = {"mu": float(mu), "sigma": sigma, "seed": seed}
            if reading == "authors":
                sampler = ManiNegBatchSampler.authors(
                    store,
                    batch_size=batch_size,
                    batches_per_epoch=batches_per_epoch,
                    high=high,
                    **options,
                )
            else:
                sampler = ManiNegBatchSampler(store, batch_size=batch_size, **options)

            def epoch_batches(
                epoch: int, sampler: ManiNegBatchSampler = sampler
            ) -> Iterable[list[int]]:
                sampler.set_epoch(epoch)
                return sampler

            # The law over the distances that occur; one-hot traits, say, leave the odd ones empty.
            law = TruncatedGaussian(mu, sigma, low=1, high=high).pmf() * (pairs[: high + 1] > 0)
            law /= law.sum()
            yield _measure(f"{reading}, mu={mu:g}", store, epoch_batches, epochs, law)


def text_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table as text: the first column aligned left, the others right.

    Example:
        >>> print(text_table(("name", "n"), [("a", "10"), ("bc", "9")]))
        name   n
        a     10
        bc     9
    """
    cells = [tuple(header), *(tuple(row) for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    )


def save_json(
    path: Path, store: ManifestationStore, entries: Sequence[Entry], settings: dict[str, Any]
) -> None:
    """Write settings, versions and every entry to `path`."""
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


# One colour a family, from Okabe and Ito's colour-blind-safe palette.
_COLOURS = {"authors": "#E69F00", "ManiNeg": "#0072B2"}
_NEUTRAL, _LAW = "#666666", "#D55E00"


def save_picture(path: Path, store: ManifestationStore, entries: Sequence[Entry]) -> None:
    """Draw Figure 5 of the paper for every entry: distances of (a) anchors' negatives, (b) pairs.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtraError(
            "the picture needs matplotlib: pip install 'maninegs-sampling[plot]'"
        ) from None
    largest = int(np.flatnonzero(distance_histogram(store))[-1])
    distances = np.arange(largest + 1)
    figure = Figure(figsize=(9, 0.9 + 1.15 * len(entries)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(entries), 2, sharex=True, sharey="col", squeeze=False)
    uniform_mean = entries[0].hardness.pair_mean
    for row, entry in zip(axes, entries, strict=True):
        colour = _COLOURS.get(entry.name.split(",")[0], _NEUTRAL)
        histograms = (entry.hardness.anchor_histogram, entry.hardness.pair_histogram)
        for axis, histogram in zip(row, histograms, strict=True):
            shares = histogram[: largest + 1] / max(1, histogram.sum())
            axis.bar(distances, shares, width=0.8, color=colour)
            axis.axvline(histogram_mean(histogram), color="black", linewidth=1)
            axis.spines[["top", "right"]].set_visible(False)
            axis.tick_params(labelsize=8)
        row[1].axvline(uniform_mean, color="black", linewidth=1, linestyle=":")
        if entry.law is not None:
            drawn = entry.law > 0
            row[0].plot(
                distances[drawn], entry.law[drawn], "o-", color=_LAW, markersize=2.5, linewidth=1
            )
        row[0].set_ylabel(entry.name.replace(", ", "\n"), fontsize=9)
    axes[0, 0].set_title("(a) an anchor and its negatives", fontsize=10)
    axes[0, 1].set_title("(b) all pairs of a batch", fontsize=10)
    figure.suptitle(
        f"Share of pairs at each Hamming distance: {store.n_instances:,} instances, "
        f"{store.n_patterns:,} patterns, {store.n_bits} bits",
        fontsize=11,
    )
    figure.supxlabel(
        "Hamming distance.  Black: mean.  Dotted: mean over all pairs of uniform batches.  "
        "Red: the sampling law, over the distances that occur.",
        fontsize=9,
    )
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=130)
    write_atomically(path, [png.getvalue()])
