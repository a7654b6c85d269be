"""Runs: one file each, made once, and merged into a table."""

import io
import time
from dataclasses import asdict, dataclass, fields
from importlib.metadata import version
from pathlib import Path
from typing import Final

import polars
from threadpoolctl import threadpool_limits

from benchmarks.reference.data import digest
from benchmarks.reference.gain.arms import ARMS
from benchmarks.reference.gain.tasks import scores
from benchmarks.reference.gain.training import Settings, features_of, pretrain
from benchmarks.reference.wbcatt import Cells
from maninegs_sampling.data.storage import write_atomically
from maninegs_sampling.errors import InvalidValueError

PACKAGES: Final = ("maninegs-sampling", "torch", "numpy", "monai", "kornia", "scikit-learn")
SETTINGS: Final = tuple(field.name for field in fields(Settings))


@dataclass(frozen=True)
class Run:
    """What to train.

    Attributes:
        mode: "unimodal" or "multimodal".
        arm: a name of `ARMS`.
        seed: of the initial weights, the augmentation and the batches.
        settings: everything else.
    """

    mode: str
    arm: str
    seed: int
    settings: Settings

    def path(self, folder: Path) -> Path:
        """Return the file of the run's results in a folder."""
        return folder / f"{self.mode}-{self.arm}-{self.seed}-{digest(self.settings)}.csv"


def perform(run: Run, cells: Cells, folder: Path) -> polars.DataFrame:
    """Return a row for each task, and write them to the run's file; made only if it is missing.

    One thread computes, so that runs beside each other do not slow each other down and the results
    do not depend on the number of cores.

    Args:
        run: which run.
        cells: the data.
        folder: gets the file, which appears only when it is complete.
    """
    path = run.path(folder)
    if path.exists():
        return polars.read_csv(path)
    begin = time.process_time()
    with threadpool_limits(1):
        encoder, batches = pretrain(cells, ARMS[run.arm], run.mode, run.seed, run.settings)
        found = scores(features_of(encoder, cells), cells)
    same = {
        "mode": run.mode,
        "arm": run.arm,
        "seed": run.seed,
        **asdict(run.settings),
        "batches": batches,
        "seconds": round(time.process_time() - begin, 1),
        "versions": " ".join(f"{package}={version(package)}" for package in PACKAGES),
    }
    rows = polars.DataFrame(
        [
            {**same, "task": task, "score": score.test, "validation": score.validation}
            for task, score in found.items()
        ]
    )
    folder.mkdir(parents=True, exist_ok=True)
    write_csv(path, rows)
    return rows


def merge(folder: Path, table: Path) -> int:
    """Write the rows of all finished runs of a folder to one table, and return the number of runs.

    Raises:
        InvalidValueError: If the folder holds no finished run.
    """
    files = sorted(folder.glob("*.csv"))
    if not files:
        raise InvalidValueError(f"{folder} holds no finished run")
    rows = polars.concat([polars.read_csv(file) for file in files])
    write_csv(table, rows.sort("mode", *SETTINGS, "arm", "seed", maintain_order=True))
    return len(files)


def write_csv(path: Path, rows: polars.DataFrame) -> None:
    """Write a table atomically."""
    content = io.BytesIO()
    rows.write_csv(content)
    write_atomically(path, [content.getbuffer()])
