"""How costs grow from a thousand to a hundred million rows: python -m benchmarks.scale --out FILE.

Rows of 64 random bits, all distinct or over 100,000 patterns, made in blocks. Each measurement is a
process of its own, after the same on a few rows that loads the kernels. Times are of the processor,
so that others at work on the machine change little; seconds for opening and for the DataLoader are
by the clock. Memory is the peak of the process. The picture is FILE with the ending .png.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri
from torch.utils.data import DataLoader, Dataset

from benchmarks.store import resident
from benchmarks.timing import describe_machine
from maninegs_sampling import ManifestationStore, ManiNegBatchSampler, concat_stores
from maninegs_sampling.data.storage import write_atomically
from maninegs_sampling.reports import drawing
from maninegs_sampling.reports.text_table import text_table
from maninegs_sampling.sampling.description import distances_from

BITS, BATCH = 64, 64
BLOCK_ROWS = 2_000_000
FEW = 100_000
SIZES = tuple(10**k for k in range(3, 9))
# The mean of the distance distribution: the nearest that there are, and half as far as the middle.
MUS = (0.0, 16.0)
LISTS_UP_TO, LAW_SIZES, LAW_BATCHES = 10**4, (10**6, 10**7), 400
UNEVEN_SIZE = 10**6
# Pairs of sigma and several mu at which batches are compared.
LAWS = ((3.0, (0.0, 8.0, 14.0, 18.0, 22.0, 32.0, 40.0, 45.0)), (0.3, (16.0, 18.0, 20.0, 24.0)))
UNEVEN_LAWS = ((3.0, (0.0, 2.0, 4.0, 8.0, 12.0)), (0.3, (2.0, 4.0, 6.0)))


def blocks_of(rows: int, patterns: int | None) -> Iterator[ManifestationStore]:
    """Yield stores of at most BLOCK_ROWS random rows, over at most `patterns` patterns."""
    rng = np.random.default_rng(0)
    some = rng.integers(0, 2, (patterns or 0, BITS), np.uint8)
    for begin in range(0, rows, BLOCK_ROWS):
        n = min(BLOCK_ROWS, rows - begin)
        bits = some[rng.integers(0, patterns, n)] if patterns else rng.bytes(8 * n)
        if isinstance(bits, bytes):
            bits = np.unpackbits(np.frombuffer(bits, np.uint8).reshape(n, 8), axis=1)
        yield ManifestationStore.from_dense(bits.view(np.bool_))


def build(file: str, rows: int, patterns: int | None) -> dict[str, float]:
    """Build a store of blocks, and save it."""
    seconds = 0.0
    parts = []
    stores = blocks_of(rows, patterns)
    while True:
        begin = time.process_time()
        store = next(stores, None)
        if store is None:
            break
        seconds += time.process_time() - begin
        parts.append(store)
    begin = time.process_time()
    store = concat_stores(parts)
    seconds += time.process_time() - begin
    del parts
    begin = time.process_time()
    store.save(file)
    saved = time.process_time() - begin
    return {"build": seconds, "save": saved, "bytes": resident("VmHWM"), "file": size_of(file)}


def size_of(file: str) -> int:
    """Return the bytes of a file."""
    return Path(file).stat().st_size


def opened(file: str, verify: bool) -> dict[str, float]:
    """Open a store as a memory map."""
    begin = time.perf_counter()
    ManifestationStore.load(file, mmap=True, verify=verify)
    return {"seconds": time.perf_counter() - begin}


def sampled(file: str, way: str) -> dict[str, Any]:
    """Make a sampler that searches in one way, and draw batches."""
    store = ManifestationStore.load(file, mmap=True, verify=False)
    begin = time.process_time()
    sampler = new_sampler(store, way, MUS[0])
    made = time.process_time() - begin
    begin = time.process_time()
    sampler.batch(0)  # with the order of anchors
    figures: dict[str, Any] = {"make": made, "first": time.process_time() - begin}
    for mu in MUS:
        number = 8 if way == "scan" and store.n_patterns > 10**7 else 60
        figures[f"mu={mu:g}"] = milliseconds_of(sampler, mu, number)
    plan = sampler.plan()
    return figures | {
        "bytes": resident("VmHWM"), "nbytes": plan.nbytes, "plan": str(plan),
        "radius": plan.radius, "reach": plan.reach,
    }  # fmt: skip


def new_sampler(
    store: ManifestationStore, way: Any, mu: float, sigma: float = 3.0
) -> ManiNegBatchSampler:
    """Return a sampler with an epoch of a fixed length."""
    return ManiNegBatchSampler(
        store, batch_size=BATCH, mu=mu, sigma=sigma, index=way, batches_per_epoch=LAW_BATCHES
    )


def milliseconds_of(sampler: ManiNegBatchSampler, mu: float, number: int) -> float:
    """Return the median time of the processor for one batch."""
    seconds = []
    for k in range(number):
        begin = time.thread_time()
        draw(sampler, mu, k, seed=0)
        seconds.append(time.thread_time() - begin)
    return 1e3 * float(np.median(seconds))


def draw(sampler: ManiNegBatchSampler, mu: float, k: int, seed: int) -> NDArray[np.int64]:
    """Return the instances of batch k, drawn around its anchor at any mu."""
    batches, _, _ = sampler._drawer.draw(
        sampler._anchors(0, k, 1), np.array([mu]), batch_size=BATCH, seed=seed,
        position=np.array([k, 0, 0], np.uint64),
    )  # fmt: skip
    return batches[0]


def law(file: str | None) -> dict[str, list[float]]:
    """Compare the distances in batches drawn near with those drawn by a scan, for equal anchors.

    The total-variation distance of their histograms; that of two scans is due to chance alone.
    Without a file the store is an uneven one.
    """
    store = ManifestationStore.load(file, mmap=True, verify=False) if file else uneven_store()
    figures = {}
    for sigma, mus in LAWS if file else UNEVEN_LAWS:
        near, scan = (new_sampler(store, way, 0.0, sigma) for way in ("near", "scan"))
        for mu in mus:
            seen = [
                histogram(store, sampler, mu, seed)
                for sampler, seed in ((scan, 0), (near, 1), (scan, 2))
            ]
            distances = [float(abs(seen[0] - other).sum() / 2) for other in seen[1:]]
            means = [float((h * np.arange(len(h))).sum()) for h in seen[:2]]
            figures[f"{mu:g}, {sigma:g}"] = [*distances, *means]
    return figures


def uneven_store() -> ManifestationStore:
    """Return rows of 64 traits that 2% to 50% of the rows have, correlated by eights."""
    rng = np.random.default_rng(0)
    shared = np.repeat(rng.standard_normal((UNEVEN_SIZE, 8)), 8, axis=1)
    own = rng.standard_normal((UNEVEN_SIZE, BITS))
    share = rng.permutation(np.geomspace(0.02, 0.5, BITS))
    return ManifestationStore.from_dense((shared + own) / np.sqrt(2) < ndtri(share))


def histogram(
    store: ManifestationStore, sampler: ManiNegBatchSampler, mu: float, seed: int
) -> NDArray[np.float64]:
    """Return the share of negatives at each distance from their anchors."""
    seen = np.zeros(BITS + 1)
    for k in range(LAW_BATCHES):
        batch = draw(sampler, mu, k, seed)
        anchors = np.full(BATCH - 1, batch[0])
        seen += np.bincount(distances_from(store, anchors, batch[1:]), minlength=BITS + 1)
    shares: NDArray[np.float64] = seen / seen.sum()
    return shares


class Items(Dataset[int]):
    """Items that cost nothing to read."""

    def __init__(self, n: int) -> None:
        self._n = n

    def __len__(self) -> int:
        return self._n

    def __getitem__(self, i: int) -> int:
        return i


def loaded(file: str, workers: int) -> dict[str, float]:
    """Open a store and draw its batches through a DataLoader."""
    begin = time.perf_counter()
    store = ManifestationStore.load(file, mmap=True)
    sampler = ManiNegBatchSampler(store, batch_size=BATCH, mu=8.0, batches_per_epoch=500)
    loader = DataLoader(Items(len(store)), batch_sampler=sampler, num_workers=workers)
    batches = iter(loader)
    assert len(next(batches)) == BATCH
    ready = time.perf_counter() - begin
    begin = time.perf_counter()
    number = sum(1 for _ in batches)
    each = 1e3 * (time.perf_counter() - begin) / number
    return {"ready": ready, "each": each, "bytes": resident("VmHWM")}


TASKS: dict[str, Callable[..., Any]] = {
    "build": build,
    "open": opened,
    "sample": sampled,
    "law": law,
    "load": loaded,
}


def run(name: str, *arguments: object) -> Any:
    """Return what a task returns in a new process."""
    command = [sys.executable, "-m", "benchmarks.scale", "--task", json.dumps([name, *arguments])]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


def do_task(name: str, *arguments: Any) -> Any:
    """Run one task in this process, after a small one that loads the kernels."""
    with tempfile.TemporaryDirectory() as folder:
        small = str(Path(folder) / "small")
        build(small, 4000, None)
        opened(small, verify=True)
        if name == "sample":
            sampled(small, arguments[1])
    return TASKS[name](*arguments)


def measure(rows: int, patterns: int | None, folder: str) -> dict[str, Any]:
    """Return all figures of a store of so many rows."""
    file = str(Path(folder) / "store")
    figures: dict[str, Any] = {"rows": rows, "patterns": min(rows, patterns or rows)}
    figures["build"] = run("build", file, rows, patterns)
    figures["verified"], figures["unverified"] = (run("open", file, v) for v in (True, False))
    ways = ["lists"] if rows <= LISTS_UP_TO else []
    ways += ["scan"] if patterns else ["scan", "near"]
    for way in ways:
        figures[way] = run("sample", file, way)
    if not patterns and rows in LAW_SIZES:
        figures["law"] = run("law", file)
    if not patterns and rows == UNEVEN_SIZE:
        figures["uneven law"] = run("law", None)
    if rows == max(SIZES):
        figures["load"] = [run("load", file, workers) for workers in (0, 2)]
    Path(file).unlink()
    return figures


KINDS: dict[str, int | None] = {"distinct": None, "few": FEW}


def measure_all(kept: Path, sizes: list[int]) -> dict[str, list[dict[str, Any]]]:
    """Measure all sizes. What `kept` holds is not measured again."""
    found: dict[str, Any] = json.loads(kept.read_text("utf-8")) if kept.exists() else {}
    for rows in sizes:
        for kind, patterns in KINDS.items():
            name = f"{kind} {rows}"
            if name not in found and (patterns is None or rows > patterns):
                with tempfile.TemporaryDirectory() as folder:
                    found[name] = measure(rows, patterns, folder)
                write_atomically(kept, [json.dumps(found, indent=1).encode()])
                print(f"{name}: measured", file=sys.stderr)
    names = {kind: [f"{kind} {rows}" for rows in sizes] for kind in KINDS}
    return {kind: [found[name] for name in names[kind] if name in found] for kind in KINDS}


def tables(found: dict[str, list[dict[str, Any]]]) -> str:
    """Return all figures as text."""
    stores, batches, laws, loads = [], [], [], []
    for figures in (f for kind in KINDS for f in found[kind]):
        rows, patterns = figures["rows"], figures["patterns"]
        sizes = (f"{rows:,}", f"{patterns:,}")
        made = figures["build"]
        stores.append(
            (
                *sizes, f"{made['build']:.3g}", f"{rows / made['build'] / 1e6:.2g}",
                f"{made['save']:.2g}", f"{made['file'] / rows:.1f}", f"{made['bytes'] / 1e9:.2f}",
                *(f"{1e3 * figures[how]['seconds']:.3g}" for how in ("verified", "unverified")),
            )
        )  # fmt: skip
        for way in ("lists", "scan", "near"):
            if way in figures:
                its = figures[way]
                shell = f"{its['radius']}, {its['reach']}" if way == "near" else ""
                batches.append(
                    (
                        *sizes, way, *(f"{its[f'mu={mu:g}']:.3g}" for mu in MUS),
                        f"{its['make']:.3g}", f"{its['first']:.3g}",
                        f"{its['nbytes'] / 1e9:.3f}", f"{its['bytes'] / 1e9:.2f}", shell,
                    )
                )  # fmt: skip
        for kind, name in (("random", "law"), ("uneven", "uneven law")):
            for at, (near, scan, mean_scan, mean_near) in figures.get(name, {}).items():
                means = (f"{mean_scan:.2f}", f"{mean_near:.2f}")
                laws.append((sizes[0], kind, at, f"{near:.4f}", f"{scan:.4f}", *means))
        for workers, load in zip((0, 2), figures.get("load", ()), strict=False):
            loads.append(
                (
                    *sizes, str(workers), f"{load['ready']:.3g}", f"{load['each']:.3g}",
                    f"{load['bytes'] / 1e9:.2f}",
                )
            )  # fmt: skip
    head = ("rows", "patterns")
    parts = (
        "Stores: building from bits and saving, in seconds of the processor; opening, in ms",
        text_table(
            (*head, "build s", "Mrows/s", "save s", "bytes/row", "peak GB", "checked", "unchecked"),
            stores,
        ),
        f"Batches of {BATCH}: ms of the processor; making the sampler and its first batch, in s",
        text_table(
            (*head, "way", *(f"mu={mu:g}" for mu in MUS), "make s", "first s", "index GB",
             "peak GB", "radius, reach"),
            batches,
        ),
        f"Distances in {LAW_BATCHES} batches around the same anchors: total variation from a scan",
        text_table(
            ("rows", "bits", "mu, sigma", "near", "another scan", "mean, scan", "mean, near"), laws
        ),
        f"DataLoader, batches of {BATCH}, mu = 8: seconds to the first batch, ms for each next one",
        text_table((*head, "workers", "ready s", "ms", "peak GB"), loads),
    )  # fmt: skip
    return "\n\n".join(parts)


def draw_curves(found: dict[str, list[dict[str, Any]]], file: Path) -> None:
    """Draw how the costs grow."""
    figure, ((batches, stores, memory),) = drawing.new_figure(1, 3, figsize=(13, 4))
    distinct, few = found["distinct"], found["few"]
    lines = [
        (batches, distinct, ("lists", "mu=0"), "lists"),
        (batches, distinct, ("scan", "mu=0"), "scan"),
        (batches, distinct, ("near", "mu=0"), "near"),
        (batches, few, ("scan", "mu=0"), f"scan, {FEW:,} patterns"),
        (stores, distinct, ("build", "build"), "build"),
        (stores, distinct, ("build", "save"), "save"),
        (stores, distinct, ("verified", "seconds"), "open, checked"),
        (stores, distinct, ("unverified", "seconds"), "open, unchecked"),
        (memory, distinct, ("build", "file"), "the file"),
        (memory, distinct, ("build", "bytes"), "building it"),
        (memory, distinct, ("scan", "bytes"), "drawing, scan"),
        (memory, distinct, ("near", "bytes"), "drawing, near"),
    ]
    for axis, measured, (part, name), label in lines:
        scale = 1e-9 if axis is memory else 1.0
        points = [(f["rows"], scale * f[part][name]) for f in measured if part in f]
        axis.plot(*zip(*points, strict=True), marker="o", markersize=3, label=label)
    titles = ("one batch of 64, mu = 0 (ms)", "a store (s)", "peak of the process (GB)")
    for axis, title in zip((batches, stores, memory), titles, strict=True):
        axis.set(xscale="log", yscale="log", xlabel="rows", title=title)
        axis.legend(frameon=False, fontsize=8)
    write_atomically(file, [drawing.as_png(figure, dpi=120)])


def main() -> None:
    """Measure, print, and write the results and the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/scale.md"))
    parser.add_argument("--sizes", type=float, nargs="*", default=SIZES)
    parser.add_argument("--task")
    options = parser.parse_args()
    if options.task:
        print(json.dumps(do_task(*json.loads(options.task))))
        return
    found = measure_all(options.out.with_suffix(".json"), [int(size) for size in options.sizes])
    text = tables(found)
    print(f"{describe_machine()}\n\n{text}")
    head = f"# Scale\n\n`python -m benchmarks.scale`, {describe_machine()}.\n\n"
    picture = options.out.with_suffix(".png")
    body = f"![Growth curves]({picture.name})\n\n```\n{text}\n```\n"
    write_atomically(options.out, [(head + body).encode()])
    draw_curves(found, picture)


if __name__ == "__main__":
    main()
