"""What reading, inferring and encoding tables costs.

    python -m benchmarks.encoding [ROWS]

Tables of ten columns of five options, as texts, integers and categories of each library, then a CSV
file of the shape of CelebA: 202,599 rows of 40 columns of -1 and 1, and one of file names. The
figures are of the fastest of three calls. CPU seconds count all threads. Last comes the memory that
`from_table` takes for files of the first table, in a process each.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars

from benchmarks.timing import describe_machine
from maninegs_sampling import ManifestationStore, Schema, Trait, read_table
from maninegs_sampling.reports.text_table import text_table

OPTIONS = ("round", "oval", "lobulated", "irregular", "distorted")
COLUMNS = 10
CELEBA = (202_599, 40)


def wall_and_cpu(call: Callable[[], Any]) -> tuple[float, float]:
    """Return the seconds of the fastest of three calls, and its seconds of CPU time."""
    seconds = []
    for _ in range(3):
        wall, cpu = time.perf_counter(), time.process_time()
        call()
        seconds.append((time.perf_counter() - wall, time.process_time() - cpu))
    return min(seconds)


def tables_of_options(rows: int) -> dict[str, tuple[Any, Schema]]:
    """Return equal tables of several types, each with its schema."""
    rng = np.random.default_rng(0)
    codes = {f"c{i}": rng.integers(0, len(OPTIONS), rows) for i in range(COLUMNS)}
    integers = polars.DataFrame(codes)
    options = polars.Series(OPTIONS)
    texts = polars.DataFrame({name: options.gather(column) for name, column in codes.items()})
    categories = texts.cast(polars.Enum(options))
    words = Schema("words", tuple(Trait(name, "one_of", OPTIONS) for name in codes))
    numbers = Schema("numbers", tuple(Trait(name, "one_of", tuple("01234")) for name in codes))
    return {
        "polars, categories": (categories, words),
        "pandas, categories": (categories.to_pandas(), words),
        "pyarrow, categories": (categories.to_arrow(), words),
        "polars, integers": (integers, numbers),
        "polars, texts": (texts, words),
    }


def measure_encoding(rows: int) -> None:
    """Print the rows a second of bits and of stores."""
    lines = []
    for name, (table, schema) in tables_of_options(rows).items():
        for what, call in (
            ("Schema.encode", lambda s=schema, t=table: s.encode(t)),
            ("from_table", lambda s=schema, t=table: ManifestationStore.from_table(t, s)),
        ):
            wall, cpu = wall_and_cpu(call)
            lines.append((name, what, f"{wall:.2f}", f"{cpu:.2f}", f"{rows / wall / 1e6:.2f}"))
    print(f"\n{rows:,} rows of {COLUMNS} columns of {len(OPTIONS)} options")
    print(text_table(("table", "call", "wall s", "CPU s", "million rows/s"), lines))


def measure_celeba(folder: Path) -> None:
    """Print the seconds of each step on a CSV file of the shape of CelebA."""
    rows, n_columns = CELEBA
    path = folder / "celeba.csv"
    signs = np.where(np.random.default_rng(0).random(CELEBA) < 0.2, 1, -1)
    names = polars.Series("image", [f"{row:06d}.jpg" for row in range(rows)])
    polars.DataFrame(
        [names, *(polars.Series(f"t{i}", signs[:, i]) for i in range(n_columns))]
    ).write_csv(path)
    schema, integers = Schema.infer(path), polars.read_csv(path)
    steps: dict[str, Callable[[], Any]] = {
        "read_table(path)": lambda: read_table(path),
        "Schema.infer(path)": lambda: Schema.infer(path),
        "Schema.infer(frame of integers)": lambda: Schema.infer(integers),
        "schema.encode(path)": lambda: schema.encode(path),
        "schema.encode(frame of integers)": lambda: schema.encode(integers),
        "from_table(path)": lambda: ManifestationStore.from_table(path, schema),
    }
    lines = []
    for name, call in steps.items():
        wall, cpu = wall_and_cpu(call)
        lines.append((name, f"{wall:.2f}", f"{cpu:.2f}"))
    print(f"\nCSV of {rows:,} rows and {n_columns + 1} columns, {path.stat().st_size / 1e6:.0f} MB")
    print(text_table(("call", "wall s", "CPU s"), lines))


# Prints the megabytes that the peak of a process grows by, and those of the store. Linux has the
# peak in this file; that of getrusage begins with the peak of the process that started this one.
_MEMORY = """
import re, sys
from pathlib import Path
from maninegs_sampling import ManifestationStore, Schema
schema = Schema.load(sys.argv[2])
small = Path(sys.argv[2] + Path(sys.argv[1]).suffix)
ManifestationStore.from_table(small, schema)  # compiles, and imports what reads the file
def peak():
    return int(re.search("VmHWM:[^0-9]*([0-9]+)", Path("/proc/self/status").read_text())[1]) / 1024
before = peak()
store = ManifestationStore.from_table(sys.argv[1], schema)
print(round(peak() - before), round((store.words.nbytes + store.pattern_of.nbytes) / 2**20))
"""


def measure_memory(folder: Path, rows: int) -> None:
    """Print the memory that a store of a CSV and of a Parquet file takes."""
    categories, schema = tables_of_options(rows)["polars, categories"]
    texts = categories.cast(polars.String)
    saved = folder / "schema.json"
    schema.save(saved)
    lines = []
    for kind in ("csv", "parquet"):
        path = folder / f"table.{kind}"
        for table, to in ((texts, path), (texts.head(1000), Path(f"{saved}.{kind}"))):
            getattr(table, f"write_{kind}")(to)
        found = subprocess.run(
            [sys.executable, "-c", _MEMORY, str(path), str(saved)],
            check=True,
            capture_output=True,
            text=True,
        )
        lines.append((kind, f"{path.stat().st_size / 2**20:.0f}", *found.stdout.split()))
    print(f"\nMemory of from_table, {rows:,} rows of {COLUMNS} columns of texts, MiB")
    print(text_table(("file", "size", "peak above before", "store"), lines))


if __name__ == "__main__":
    print(describe_machine())
    n_rows = int(sys.argv[1]) if sys.argv[1:] else 5_000_000
    measure_encoding(n_rows)
    with tempfile.TemporaryDirectory() as temporary:
        measure_celeba(Path(temporary))
        measure_memory(Path(temporary), n_rows)
