"""Pictures of differences from uniform batches."""

from collections.abc import Sequence
from itertools import product

import numpy as np
import polars
from matplotlib.figure import Figure

from benchmarks.reference.gain.arms import ARMS
from benchmarks.reference.gain.comparison import BASELINE, differences
from benchmarks.reference.gain.sweeps import LABELS, SWEEPS, rows_of, tasks_of
from benchmarks.reference.gain.tasks import PRIMARY
from benchmarks.reference.pretraining import MODES
from benchmarks.reference.tables import interval


def differences_figure(rows: polars.DataFrame, modes: Sequence[str] = MODES) -> Figure:
    """Return each arm's difference from uniform batches with its interval, a row for each mode."""
    present = set(rows["arm"])
    arms = [arm for arm in ARMS if arm in present - {BASELINE, "untrained"}]
    height = len(modes) * (0.6 + 0.25 * len(arms))
    figure = Figure(figsize=(9, height), layout="constrained")
    axes = figure.subplots(len(modes), len(PRIMARY), sharex="col", sharey=True, squeeze=False)
    for axis_row, mode in zip(axes, modes, strict=True):
        for axis, task in zip(axis_row, PRIMARY, strict=True):
            axis.axvline(0, color="gray", linewidth=0.8)
            for place, arm in enumerate(arms):
                d = differences(rows.filter(mode=mode), arm, task)
                if len(d) > 1:
                    mean, low, high = interval(list(d))
                    ends = np.array([[mean - low], [high - mean]])
                    axis.errorbar([mean], [place], xerr=ends, marker="o", capsize=3, color="C0")
            axis.set_title(f"{mode}, {task}")
            axis.set_yticks(range(len(arms)), arms)
    axes[0, 0].invert_yaxis()
    for axis in axes[-1]:
        axis.set_xlabel("points more than uniform")
    return figure


def sweep_figure(rows: polars.DataFrame, mode: str) -> Figure:
    """Return the gain against each setting that is varied, with intervals."""
    figure = Figure(figsize=(13, 5), layout="constrained")
    axes = figure.subplots(2, len(SWEEPS), sharey="row", squeeze=False)
    arms = sorted(set(rows["arm"]) - {BASELINE})
    for (row, labels), (column, name) in product(enumerate(LABELS), enumerate(SWEEPS)):
        axis, points = axes[row, column], SWEEPS[name]
        axis.axhline(0, color="gray", linewidth=0.8)
        for number, arm in enumerate(arms):
            found = [
                differences(rows_of(rows, point, mode), arm, tasks_of(point)[row])
                for point in points
            ]
            gains = np.array([interval(list(d)) for d in found if len(d) > 1]).reshape(-1, 3)
            aside = 0.12 * (number - (len(arms) - 1) / 2)
            places = [x + aside for x, d in enumerate(found) if len(d) > 1]
            ends = np.abs(gains[:, 1:] - gains[:, :1]).T
            axis.errorbar(places, gains[:, 0], ends, marker="o", capsize=3, label=arm)
        axis.set_xticks(range(len(points)), [p.value.replace(" from", "\nfrom") for p in points])
        axis.set_xlabel(name)
        if not column:
            axis.set_ylabel(f"points more than uniform,\n{labels}")
    figure.legend(
        *axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=len(arms)
    )
    return figure
