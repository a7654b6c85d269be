"""Runs: one file each, made once, merged into a table and split again."""

import io
import time
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Final

import polars
from threadpoolctl import threadpool_limits

from benchmarks.reference.data import Cases, digest
from benchmarks.reference.gain.arms import ARMS
from benchmarks.reference.gain.lesions import LESION_TASKS, lesion_scores
from benchmarks.reference.gain.tasks import TASKS, scores
from benchmarks.reference.gain.training import Settings, features_of, pretrain
from benchmarks.reference.wbcatt import Cells
from maninegs_sampling.data.storage import write_atomically
from maninegs_sampling.errors import InvalidValueError

PACKAGES: Final = ("maninegs-sampling", "torch", "numpy", "monai", "kornia", "scikit-learn")
SETTINGS: Final = tuple(asdict(Settings()))


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


def perform(run: Run, data: Cells | Cases, folder: Path) -> polars.DataFrame:
    """Return a row for each task, and write them to the run's file; made only if it is missing.

    One thread computes, so that runs beside each other do not slow each other down and the results
    do not depend on the number of cores.

    Args:
        run: which run.
        data: what to train on.
        folder: gets the file, which appears only when it is complete.
    """
    path = run.path(folder)
    if path.exists():
        return read_runs(path)
    begin = time.process_time()
    with threadpool_limits(1):
        encoder, batches = pretrain(data, ARMS[run.arm], run.mode, run.seed, run.settings)
        features = features_of(encoder, data)
        found = lesion_scores(features, data) if isinstance(data, Cases) else scores(features, data)
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
        InvalidValueError: If the folder holds no finished run, or one twice.
    """
    files = sorted(folder.glob("*.csv"))
    if not files:
        raise InvalidValueError(f"{folder} holds no finished run")
    rows = polars.concat([read_runs(file) for file in files])
    twice = rows.filter(rows.select("mode", "arm", "seed", *SETTINGS, "task").is_duplicated())
    if len(twice):
        mode, arm, seed = twice.select("mode", "arm", "seed").row(0)
        raise InvalidValueError(f"{folder} must hold each run once; got {mode} {arm} {seed} twice")
    write_csv(table, rows.sort("mode", *SETTINGS, "arm", "seed", maintain_order=True))
    return len(files)


def split(table: Path, folder: Path) -> int:
    """Write the rows of each run of a table to the run's own file, and return the number of files.

    `perform` finds them there, so that a round goes on from a table. Files that exist are kept.

    Raises:
        InvalidValueError: If a run of the table lacks a task or has one twice.
    """
    written = 0
    folder.mkdir(parents=True, exist_ok=True)
    rows = read_runs(table)
    for key, of_run in rows.group_by("mode", "arm", "seed", *SETTINGS, maintain_order=True):
        mode, arm, seed, *values = key
        run = Run(mode, arm, seed, Settings(*values))
        tasks = of_run["task"].to_list()
        if sorted(tasks) not in (sorted(TASKS), sorted(LESION_TASKS)):
            raise InvalidValueError(
                f"{table}: {mode} {arm} {seed} must have the tasks {', '.join(TASKS)}, or "
                f"{', '.join(LESION_TASKS)}; got {', '.join(tasks)}"
            )
        if not run.path(folder).exists():
            write_csv(run.path(folder), of_run)
            written += 1
    return written


def read_runs(file: Path) -> polars.DataFrame:
    """Return the rows of a file of runs.

    A setting that the file does not have was added after its runs; they had its default.
    """
    # A digest that happens to hold decimal digits only would be read as a number.
    rows = polars.read_csv(file, schema_overrides={"batches": polars.String})
    added = {name: value for name, value in asdict(Settings()).items() if name not in rows.columns}
    before = rows.columns.index("batches")
    columns = [*rows.columns[:before], *added, *rows.columns[before:]]
    return rows.with_columns(**{n: polars.lit(v) for n, v in added.items()}).select(columns)


def write_csv(path: Path, rows: polars.DataFrame) -> None:
    """Write a table atomically."""
    content = io.BytesIO()
    rows.write_csv(content)
    write_atomically(path, [content.getbuffer()])
