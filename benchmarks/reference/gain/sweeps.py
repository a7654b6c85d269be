"""When does it help? One setting after the other is varied, and gains are compared."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import polars

from benchmarks.reference import wbcatt
from benchmarks.reference.data import Cases
from benchmarks.reference.gain.comparison import BASELINE, differences
from benchmarks.reference.gain.lesions import LESION_TASKS, with_traits
from benchmarks.reference.gain.runs import merge, read_runs, split, write_csv
from benchmarks.reference.gain.tasks import PRIMARY
from benchmarks.reference.gain.training import Settings
from benchmarks.reference.phantom import PHANTOMS
from benchmarks.reference.tables import interval, markdown, with_interval

CELLS: Final = "wbcatt"
LABELS: Final = ("few labels", "all labels")
LESIONS: Final = Settings(size=64)  # at 32 pixels small calcifications are lost


@dataclass(frozen=True)
class Point:
    """A value of a setting that is varied.

    Attributes:
        value: as tables show it.
        data: "wbcatt", or the name of a phantom.
        settings: of the training.
        traits: which bits a phantom's manifestations hold; see `lesions.with_traits`.
    """

    value: str
    data: str
    settings: Settings
    traits: str = "all"

    @property
    def folder(self) -> str:
        """The name of the data, for files and tables."""
        return self.data if self.traits == "all" else f"{self.data}-{self.traits}"


def on_cells(value: str, **changes: Any) -> Point:
    """Return a point on WBCAtt with changed settings."""
    return Point(value, CELLS, replace(Settings(), **changes))


# In each, one value is the one of the comparison itself, or the middle.
SWEEPS: Final[dict[str, tuple[Point, ...]]] = {
    "batch size": tuple(on_cells(str(n), batch_size=n) for n in (16, 64, 256)),
    "temperature": (
        *(on_cells(str(t), temperature=t) for t in (0.07, 0.2, 0.7)),
        on_cells("learned from 0.7", temperature=0.7, temperature_rate=1e-2),  # as in Table III
    ),
    "steps": tuple(on_cells(str(n), steps=n) for n in (250, 1000, 4000)),
    "visibility": tuple(
        Point(value, name, LESIONS)
        for value, name in (("1", "phantom"), ("1/2", "phantom-dim"), ("1/4", "phantom-faint"))
    ),
    "traits": tuple(
        Point(traits, "phantom-dim", LESIONS, traits) for traits in ("all", "telling", "others")
    ),
}


def distinct_points(names: Iterable[str]) -> list[Point]:
    """Return the points of these sweeps, one of those that differ only in what tables show."""
    found: dict[tuple[str, Settings], Point] = {}
    for point in (point for name in names for point in SWEEPS[name]):
        found.setdefault((point.folder, point.settings), point)
    return list(found.values())


def load(point: Point, folder: Path, cache: Path) -> wbcatt.Cells | Cases:
    """Return a point's data.

    Args:
        point: which.
        folder: of WBCAtt.
        cache: where images are kept.
    """
    if point.data == CELLS:
        return wbcatt.load(folder, cache, point.settings.size)
    return with_traits(PHANTOMS[point.data].load(cache, point.settings.size), point.traits)


def write_table(folder: Path, table: Path) -> None:
    """Write the finished runs of all points to one table, with a column `data` in front."""
    parts = []
    for name in sorted(path.name for path in folder.iterdir() if list(path.glob("*.csv"))):
        merge(folder / name, folder / f"{name}.csv")
        rows = read_runs(folder / f"{name}.csv")
        parts.append(rows.select(polars.lit(name).alias("data"), polars.all()))
    write_csv(table, polars.concat(parts))


def read_table(table: Path, folder: Path) -> None:
    """Write the runs of a table back to their files, from which the sweeps go on."""
    folder.mkdir(parents=True, exist_ok=True)
    for (name,), rows in read_runs(table).group_by("data"):
        write_csv(folder / f"{name}.csv", rows.drop("data"))
        split(folder / f"{name}.csv", folder / str(name))


def tasks_of(point: Point) -> Sequence[str]:
    """Return the task with few labels and the one with all."""
    return PRIMARY if point.data == CELLS else LESION_TASKS[:2]


def rows_of(rows: polars.DataFrame, point: Point, mode: str) -> polars.DataFrame:
    """Return the runs of a point."""
    return rows.filter(data=point.folder, mode=mode, **asdict(point.settings))


def sweep_findings(rows: polars.DataFrame) -> list[str]:
    """Return a line for each arm: at how many points it was better and worse with few labels."""
    lines = []
    for mode in rows["mode"].unique(maintain_order=True):
        for arm in sorted(set(rows["arm"]) - {BASELINE}):
            found = [
                list(differences(rows_of(rows, point, mode), arm, tasks_of(point)[0]))
                for point in distinct_points(SWEEPS)
            ]
            intervals = [interval(gains) for gains in found if len(gains) > 1]
            better = sum(low > 0 for _, low, _ in intervals)
            worse = sum(high < 0 for _, _, high in intervals)
            lines.append(
                f"- Sweeps, {mode}, few labels: `{arm}` better at {better} and worse at {worse} of "
                f"{len(intervals)} combinations of settings and data, by uncorrected 95% intervals."
            )
    return lines


def sweep_table(rows: polars.DataFrame) -> str:
    """Return the differences from uniform batches for each value of each setting."""
    lines = []
    for mode in rows["mode"].unique(maintain_order=True):
        for name, points in SWEEPS.items():
            for point in points:
                found = rows_of(rows, point, mode)
                arms = set(found["arm"]) - {BASELINE}
                for arm in sorted(arms):
                    few, every = (list(differences(found, arm, t)) for t in tasks_of(point))
                    cells = [with_interval(few), with_interval(every)]
                    lines.append([mode, name, point.value, arm, str(len(few)), *cells])
    return markdown(["mode", "varied", "value", "arm", "seeds", *LABELS], lines)
