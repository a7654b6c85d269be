"""Uniform, mined and ManiNeg batches of the same data, side by side: `maninegs compare`."""

import io
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
from maninegs_sampling.analysis.advice import supply_problem
from maninegs_sampling.analysis.diagnostics import (
    Hardness,
    check_mus,
    histogram_mean,
    measure_hardness,
)
from maninegs_sampling.data.storage import write_atomically
from maninegs_sampling.data.store import ManifestationStore, check_store
from maninegs_sampling.distances.hamming import distance_histogram
from maninegs_sampling.errors import InvalidValueError, check_count
from maninegs_sampling.quoting import escape_controls
from maninegs_sampling.reports import figures
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
    groups: ArrayLike | None = None,
    seed: int = 0,
) -> Iterator[Entry]:
    """Return an iterator that measures one sampler after the other, and yields its entry.

    These are torch's uniform batches, uniform batches of distinct patterns, the anchor's nearest
    patterns only, blocks of a bandwidth-minimising order of the Hamming graph, and at each mu the
    authors' reading of the paper and `ManiNegBatchSampler`'s defaults.

    Args:
        store: the manifestations.
        batch_size: instances a batch.
        mus: means of the law; by default the mean distance between instances, half of it, and 0.
        sigma: standard deviation of the law.
        epochs: epochs of N // batch_size batches to measure.
        groups: N labels; no two instances of a batch of ManiNeg's, or of distinct patterns, share
            one.
        seed: of every sampler.

    Raises:
        InvalidTypeError, InvalidValueError: an argument that cannot be used; fewer distinct
            patterns, or groups, than batch_size.
    """
    check_store("store", store)
    batch_size = check_count("batch_size", batch_size, at_least=2)
    means = default_mus(store) if mus is None else check_mus(mus)
    sigma = check_sigma(sigma)
    epochs = check_count("epochs", epochs, at_least=1)
    seed = randomness.check_seed(seed)
    problem = supply_problem(store, batch_size, groups)
    if problem is not None:
        raise InvalidValueError(problem)

    def entries() -> Iterator[Entry]:
        for name, epoch_batches in _baselines(store, batch_size, groups, seed):
            yield _measure(name, store, epoch_batches, epochs)
        pairs = distance_histogram(store)
        high = int(np.flatnonzero(pairs)[-1])
        for reading in ("authors", "ManiNeg"):
            for mu in means:
                options: dict[str, Any] = {
                    "batch_size": batch_size, "mu": mu, "sigma": sigma, "seed": seed,
                    "num_replicas": 1, "rank": 0,
                }  # fmt: skip
                if reading == "authors":
                    per_epoch = max(1, store.n_instances // batch_size)
                    options |= {"batches_per_epoch": per_epoch, "high": high}
                    sampler = ManiNegBatchSampler.authors(store, **options)
                else:
                    sampler = ManiNegBatchSampler(store, groups=groups, **options)
                # The law over the distances that occur; one-hot traits, say, leave the odd ones
                # empty.
                weights = np.append(-np.inf, log_weights(mu, sigma, 1, high))
                weights[pairs[: high + 1] == 0] = -np.inf
                law = np.exp(weights - weights.max())
                law /= law.sum()
                name = f"{reading}, mu={mu:g}"
                yield _measure(name, store, _epochs_of(sampler), epochs, law)

    return entries()


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


def text_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table as text: the first column aligned left, the others right.

    Control characters in a cell, tabs and newlines too, are escaped.

    Example:
        >>> print(text_table(("name", "n"), [("a", "10"), ("bc", "9")]))
        name   n
        a     10
        bc     9
    """
    cells = [tuple(map(escape_controls, row)) for row in (header, *rows)]
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


def save_picture(path: Path, store: ManifestationStore, entries: Sequence[Entry]) -> None:
    """Draw Figure 5 of the paper for every entry: distances of (a) anchors' negatives, (b) pairs.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    largest = figures.largest_distance(store)
    size = (9, 0.9 + 1.15 * len(entries))
    figure, axes = figures.new_figure(len(entries), 2, figsize=size, sharex=True, sharey="col")
    means = {entry.name: entry.hardness.pair_mean for entry in entries}
    styles = {"uniform": ":", "uniform of distinct patterns": "--"}
    for row, entry in zip(axes, entries, strict=True):
        histograms = (entry.hardness.anchor_histogram, entry.hardness.pair_histogram)
        for axis, histogram in zip(row, histograms, strict=True):
            shares = histogram[: largest + 1] / max(1, histogram.sum())
            figures.draw_shares(axis, shares, _colour(entry.name))
            axis.axvline(histogram_mean(histogram), color=figures.INK, linewidth=1)
            axis.tick_params(labelsize=8)
        for name in styles.keys() & means.keys():
            line = {"color": figures.UNIFORM, "linewidth": 1, "linestyle": styles[name]}
            row[1].axvline(means[name], **line)
        if entry.law is not None:
            distances = np.flatnonzero(entry.law > 0)
            law = entry.law[distances]
            row[0].plot(distances, law, "o-", color=figures.LAW, markersize=2.5, linewidth=1)
        row[0].set_ylabel(entry.name.replace(", ", "\n").replace(" of ", " of\n"), fontsize=9)
    axes[0, 0].set_title("(a) an anchor and its negatives", fontsize=10)
    axes[0, 1].set_title("(b) all pairs of a batch", fontsize=10)
    figure.suptitle(
        f"Share of pairs at each Hamming distance: {store.n_instances:,} instances, "
        f"{store.n_patterns:,} patterns, {store.n_bits} bits",
        fontsize=11,
    )
    figure.supxlabel(
        "Hamming distance.  Black: mean.  Grey: mean over all pairs of uniform batches, dotted, "
        "and of distinct patterns, dashed.\nRed: the sampling law, over the distances that occur.",
        fontsize=9,
    )
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=130)
    write_atomically(path, [png.getvalue()])


def _colour(name: str) -> str:
    if name.startswith("uniform"):
        return figures.UNIFORM
    readings = {"authors": figures.AUTHORS, "ManiNeg": figures.MANINEG}
    return readings.get(name.split(",")[0], figures.MINED)
