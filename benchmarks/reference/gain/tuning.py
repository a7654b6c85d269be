"""Settings, chosen on uniform batches alone."""

from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars

from benchmarks.reference.gain.runs import Run, perform
from benchmarks.reference.gain.tasks import PRIMARY
from benchmarks.reference.gain.training import Settings
from benchmarks.reference.tables import markdown
from benchmarks.reference.wbcatt import Cells

# One setting after the other, each with the best values so far for the others.
CANDIDATES: Final[dict[str, tuple[str | float, ...]]] = {
    "network": ("small", "pooled"),
    "temperature": (0.1, 0.2, 0.5),
    "rate": (3e-4, 1e-3, 3e-3, 1e-2),
    "smallest_area": (0.1, 0.25, 0.5),
}


def tune(
    cells: Cells, mode: str, seeds: range, start: Settings, folder: Path
) -> tuple[Settings, str]:
    """Return the best settings and a table of what was tried.

    The criterion is the mean validation score of the primary tasks over the seeds.

    Args:
        cells: the data.
        mode: "unimodal" or "multimodal".
        seeds: used for nothing else.
        start: the first settings.
        folder: of the runs.
    """
    best, lines = start, []
    for name, values in CANDIDATES.items():
        tried: dict[Settings, float] = {}
        for value in values:
            changed: dict[str, Any] = {name: value}
            settings = replace(best, **changed)
            runs = [Run(mode, "uniform", seed, settings) for seed in seeds]
            rows = polars.concat([perform(run, cells, folder) for run in runs])
            means = [
                float(rows.filter(task=task)["validation"].to_numpy().mean()) for task in PRIMARY
            ]
            tried[settings] = float(np.mean(means))
            scores = [f"{100 * score:.2f}" for score in (*means, tried[settings])]
            fixed = [str(getattr(settings, candidate)) for candidate in CANDIDATES]
            lines.append([name, *fixed, *scores])
        best = max(tried, key=lambda settings: tried[settings])
    header = ["varied", *CANDIDATES, *(f"{task}, validation" for task in PRIMARY), "mean"]
    return best, markdown(header, lines)
