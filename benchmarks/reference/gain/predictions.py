"""What the library predicts from a table alone, for the data of each sweep."""

import math
from pathlib import Path
from typing import Final

import polars

from benchmarks.reference.data import TRAINING
from benchmarks.reference.gain.comparison import differences
from benchmarks.reference.gain.sweeps import SWEEPS, Point, distinct_points, load, rows_of, tasks_of
from benchmarks.reference.tables import markdown, with_interval
from maninegs_sampling import suitability
from maninegs_sampling.analysis.frequencies import frequency_shift

ARM: Final = "manineg-paper"


def points() -> list[Point]:
    """Return a point for each data set and batch size that is swept."""
    found: dict[tuple[str, int], Point] = {}
    for point in distinct_points(SWEEPS):
        found.setdefault((point.folder, point.settings.batch_size), point)
    return list(found.values())


def predictions(folder: Path, cache: Path) -> polars.DataFrame:
    """Return what is predicted for the training part of each data set and batch size.

    Args:
        folder: of WBCAtt.
        cache: where images are kept.
    """
    rows = []
    for point in points():
        data = load(point, folder, cache)
        store = data.store.subset(data.rows(TRAINING))
        size = point.settings.batch_size
        found = suitability(store, batch_size=size, steps=point.settings.steps)
        uniform = found.uniform_distinct_mean
        rows.append(
            {
                "data": point.folder,
                "batch_size": size,
                "answer": found.verdict,
                "change": found.pair_means[-1] / uniform - 1 if uniform else math.nan,
                "shift": frequency_shift(store, size).share
                if size <= store.n_patterns
                else math.nan,
            }
        )
    return polars.DataFrame(rows)


def prediction_table(predicted: polars.DataFrame, sweeps: polars.DataFrame) -> str:
    """Return each prediction beside what came out for ManiNeg as in the paper."""
    by_data = {(r["data"], r["batch_size"]): r for r in predicted.to_dicts()}
    lines = []
    for mode in sweeps["mode"].unique(maintain_order=True):
        for point in points():
            row = by_data[point.folder, point.settings.batch_size]
            found = rows_of(sweeps, point, mode)
            gains = [with_interval(list(differences(found, ARM, t))) for t in tasks_of(point)]
            change = "" if math.isnan(row["change"]) else f"{row['change']:+.0%}"
            shift = "" if math.isnan(row["shift"]) else f"{row['shift']:.2f}"
            size = str(row["batch_size"])
            lines.append([point.folder, size, row["answer"], change, shift, *gains])
    header = ["data", "batch", "answer of suitability", "mean distance", "frequency shift"]
    return markdown([*header, "gain, few labels", "gain, all labels"], lines)
