"""The command `maninegs`: compare samplers; inspect tables, suggest settings, write reports."""

import argparse
import os
import sys
import webbrowser
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from maninegs_sampling import __version__
from maninegs_sampling.analysis.batch_hardness import N_NEAREST, histogram_mean
from maninegs_sampling.analysis.settings import Settings, suggest
from maninegs_sampling.analysis.suitability import Suitability, suitability
from maninegs_sampling.cli_tables import Rows, add_table_options, read_rows, repeated_options
from maninegs_sampling.data.datasets import wisconsin
from maninegs_sampling.data.store import ManifestationStore
from maninegs_sampling.distances.hamming import distance_histogram, max_distance
from maninegs_sampling.distances.index import DistanceBucketIndex
from maninegs_sampling.errors import ManiNegError, MissingExtraError
from maninegs_sampling.quoting import escape_controls
from maninegs_sampling.reports import comparison
from maninegs_sampling.reports.comparison_picture import save_picture
from maninegs_sampling.reports.comparison_table import comparison_legend, comparison_table
from maninegs_sampling.reports.entries import Entry, LeftOut, default_epochs
from maninegs_sampling.reports.report import save_report
from maninegs_sampling.reports.terminal import escaped_output, shell_word
from maninegs_sampling.reports.text_table import text_table
from maninegs_sampling.sampling.drawer import Center
from maninegs_sampling.sampling.sampler import Coverage

# What `suggest` makes settings for unless it is told otherwise.
_PAPERS_BATCH = {"anchors_per_batch": 1, "center": "anchor", "coverage": None}

# Exit statuses after an interrupt and a closed pipe: 128 + the number of the signal.
INTERRUPTED, CLOSED_PIPE = 130, 141


def _add_training_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("tables", nargs="+", metavar="TABLE", help="CSV or Parquet")
    add_table_options(parser)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument(
        "--steps", type=int, default=9000, help="number of steps of the whole training"
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="maninegs", description="Hard-negative batches by Hamming distance (ManiNeg)."
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)

    compare = commands.add_parser("compare", help="measure uniform, mined and ManiNeg batches")
    compare.add_argument(
        "tables",
        nargs="*",
        metavar="TABLE",
        help="CSV or Parquet; without one, the Wisconsin breast cancer data of scikit-learn",
    )
    add_table_options(compare)
    compare.add_argument("--batch-size", type=int, default=64)
    compare.add_argument(
        "--mu",
        type=float,
        nargs="+",
        help="means of the distance distribution; by default the mean distance in the data, half "
        "of it, and 0",
    )
    compare.add_argument(
        "--sigma",
        type=float,
        default=3.0,
        help="standard deviation of the distance distribution; by default 3, as in the paper",
    )
    compare.add_argument(
        "--epochs",
        type=int,
        help="number of epochs to measure; by default as many as make up 2,000 batches, but at "
        "least 1 and at most 20",
    )
    compare.add_argument("--seed", type=int, default=0)
    compare.add_argument(
        "--out", type=Path, default=Path("comparison"), metavar="DIR", help="folder for the results"
    )
    compare.set_defaults(run=run_compare)

    inspect = commands.add_parser(
        "inspect", help="show a table's bits, patterns, missing cells and distances"
    )
    inspect.add_argument("tables", nargs="+", metavar="TABLE", help="CSV or Parquet")
    add_table_options(inspect)
    inspect.set_defaults(run=run_inspect)

    advise = commands.add_parser(
        "suggest",
        help="tell whether ManiNeg makes harder batches of a table, and with which settings",
    )
    _add_training_options(advise)
    advise.add_argument(
        "--anchors-per-batch",
        type=int,
        help="clusters of a batch, each an anchor and its negatives",
    )
    advise.add_argument(
        "--center",
        choices=get_args(Center),
        help="what distances are measured from: the anchor, or all members of its cluster",
    )
    advise.add_argument(
        "--coverage",
        choices=get_args(Coverage),
        help="epoch: each instance is in one batch of an epoch; by default only where batches of "
        "distinct patterns would show rare patterns far too often",
    )
    advise.set_defaults(run=run_suggest, **_PAPERS_BATCH)

    report = commands.add_parser(
        "report", help="write an HTML file with the answers of suggest, and figures"
    )
    _add_training_options(report)
    report.add_argument("--out", type=Path, default=Path("report.html"), metavar="FILE")
    report.add_argument("--open", action="store_true", help="open the file in the browser")
    report.set_defaults(run=run_report)
    return parser


def _with_progress(entries: Iterable[Entry | LeftOut]) -> Iterable[Entry | LeftOut]:
    """Return the same entries, with a progress bar on a terminal if tqdm is installed."""
    try:
        from tqdm import tqdm
    except ImportError:
        return entries
    progress: Iterable[Entry | LeftOut] = tqdm(
        entries,
        desc="measuring",
        unit=" samplers",
        leave=False,
        file=sys.__stderr__,  # sys.stderr would escape what moves the cursor
        disable=None,  # disabled if that is not a terminal
    )
    return progress


def run_compare(options: argparse.Namespace) -> None:
    """Measure the samplers, print the table, and write the picture and the JSON file."""
    groups = None
    if options.tables:
        rows = read_rows(options)
        store, groups = rows.store, rows.groups
        source = f"{', '.join(options.tables)} ({rows.schema.name})"
    else:
        store, _ = wisconsin()
        source = "Wisconsin breast cancer, 30 features cut into terciles"
    options.out.mkdir(parents=True, exist_ok=True)
    settings: dict[str, Any] = {
        "batch_size": options.batch_size,
        "mus": tuple(options.mu) if options.mu else comparison.default_mus(store),
        "sigma": options.sigma,
        "epochs": default_epochs(store, options.batch_size)
        if options.epochs is None
        else options.epochs,
        "seed": options.seed,
    }
    measured = list(_with_progress(comparison.compare(store, groups=groups, **settings)))
    print(
        f"{escape_controls(source)}\n"
        f"{store.n_instances} instances, {store.n_patterns} distinct patterns, "
        f"{store.n_bits} bits; batches of {options.batch_size}, {settings['epochs']} epochs\n"
    )
    print(comparison_table(measured))
    legend = comparison_legend(
        n_instances=store.n_instances, epochs=settings["epochs"], mu=min(settings["mus"])
    )
    print(f"\n{legend}\n")
    json_path = options.out / "comparison.json"
    used = {"source": source, "grouped": groups is not None, **settings}
    comparison.save_json(json_path, store, measured, used)
    print(f"wrote {_shown(json_path)}")
    picture_path = options.out / "comparison.png"
    save_picture(picture_path, store, [row for row in measured if isinstance(row, Entry)])
    print(f"wrote {_shown(picture_path)}")


def _shown(text: object) -> str:
    """Return `text` on one line, with control characters escaped."""
    return escape_controls(str(text))


def _duplicate_bits(bits: NDArray[np.bool_], names: Sequence[str]) -> list[str]:
    """Describe the bits that always equal, or always differ from, an earlier bit."""
    first: dict[bytes, str] = {}
    duplicates = []
    for column, name in zip(bits.T, names, strict=True):
        if column.all() or not column.any():
            continue
        same, opposite = column.tobytes(), (~column).tobytes()
        if same in first:
            duplicates.append(f"{name} always equals {first[same]}")
        elif opposite in first:
            duplicates.append(f"{name} is always the opposite of {first[opposite]}")
        else:
            first[same] = name
    return duplicates


def run_inspect(options: argparse.Namespace) -> None:
    """Print the rows, bits, patterns, frequencies, missing cells and distances of a table."""
    table = read_rows(options)
    store = table.store
    bits = store.to_dense()
    names = [_shown(name) for name in table.schema.bit_names]
    print(f"{store.n_instances} rows, {store.n_bits} bits, {store.n_patterns} distinct patterns")
    print(f"{store.counts.max()} rows share the most common pattern\n")

    frequencies = bits.mean(axis=0)
    rows = [
        (name, str(int(n)), f"{100 * f:.1f}%")
        for name, n, f in zip(names, bits.sum(axis=0), frequencies, strict=True)
    ]
    print(text_table(("bit", "rows", "share"), rows))

    counts = table.schema.count_missing(table.tables).items()
    missing = [f"{_shown(name)} {n}" for name, n in counts if n]
    print("\nmissing cells: " + (", ".join(missing) or "none"))
    constant = [
        f"{name} (always {int(f)})"
        for name, f in zip(names, frequencies, strict=True)
        if f in (0, 1)
    ]
    print("constant bits: " + (", ".join(constant) or "none"))
    print("duplicate bits: " + (", ".join(_duplicate_bits(bits, names)) or "none"))
    _print_distances(store)


def _print_distances(store: ManifestationStore) -> None:
    """Print the histogram of the distances between rows."""
    histogram = distance_histogram(store)
    print(f"\npairs of rows by Hamming distance (mean {histogram_mean(histogram):.2f})")
    most = max(1, histogram.max())
    for distance in range(max_distance(store) + 1):
        n = int(histogram[distance])
        print(f"{distance:4d} {n:12d}  {'#' * round(50 * n / most)}".rstrip())


def run_suggest(options: argparse.Namespace) -> None:
    """Print the verdict, its measurements, the settings with their reasons, and how to use them."""
    table = read_rows(options)
    store = table.store
    training: dict[str, Any] = {
        "batch_size": options.batch_size,
        "groups": table.groups,
        "steps": options.steps,
        "index": DistanceBucketIndex(store),
    }
    found = suitability(store, labels=table.labels(), bit_names=table.schema.bit_names, **training)
    print(f"{store.n_instances} instances, {store.n_patterns} distinct patterns\n\n{found}\n")
    if found.mus:
        print(_hardness_table(found) + "\n")
    settings = found.settings
    asked_for: dict[str, Any] = {name: getattr(options, name) for name in _PAPERS_BATCH}
    if asked_for != _PAPERS_BATCH:
        print(
            "Settings for the batches asked for; the answer above is about batches of one anchor "
            "and distinct patterns."
        )
        settings = suggest(store, **training, **asked_for)
    if settings is not None:
        for name, reason in settings.reasons.items():
            print(f"{name}: {reason}")
        _print_how_to_use(settings, table, options)


def _hardness_table(found: Suitability) -> str:
    assert found.uniform_distinct is not None
    measured = [("uniform batches of distinct patterns", found.uniform_distinct)]
    names = (f"ManiNeg, mu = {mu:g}" for mu in found.mus)
    measured += zip(names, found.measured, strict=True)
    rows = [("uniform batches", "", f"{found.uniform_mean:.2f}", "")]
    rows += (
        (name, f"{h.anchor_mean:.2f}", f"{h.pair_mean:.2f}", f"{h.nearest_mean:.2f}")
        for name, h in measured
    )
    header = ("mean distance", "to the anchor", "all pairs", f"{N_NEAREST} nearest")
    return text_table(header, rows)


def _print_how_to_use(settings: Settings, table: Rows, options: argparse.Namespace) -> None:
    """Print the call with the settings, and the command that compares samplers at them."""
    call = settings.call(groups=table.groups_source)
    print(f"\nmn.ManiNegBatchSampler.wrap(loader, store, {call})")
    words = [*options.tables, *repeated_options(options)]
    schedule = settings["mu"]
    print(
        f"maninegs compare {' '.join(map(shell_word, words))} --batch-size {options.batch_size} "
        f"--mu {schedule.start:g} {schedule.end:g} --sigma {settings['sigma']:g}"
    )


def run_report(options: argparse.Namespace) -> None:
    """Write the report and print the verdict."""
    table = read_rows(options)
    found = save_report(
        options.out,
        table.store,
        table.schema,
        source=Path(options.tables[0]).name if len(options.tables) == 1 else table.schema.name,
        labels=table.labels(),
        groups=table.groups,
        groups_source=table.groups_source,
        batch_size=options.batch_size,
        steps=options.steps,
    )
    print(f"{found}\n\nwrote {_shown(options.out)}")
    if options.open:
        webbrowser.open(options.out.resolve().as_uri())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status.

    Args:
        arguments: The words after `maninegs`; by default those of this process.
    """
    with escaped_output():
        try:
            try:
                options = _parser().parse_args(arguments)
                options.run(options)
            finally:
                print(end="", flush=True)  # so that a closed pipe raises here
        except BrokenPipeError:
            # The reader has gone. Send what is flushed at exit to nowhere.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return CLOSED_PIPE
        except KeyboardInterrupt:
            print("maninegs: interrupted", file=sys.stderr)
            return INTERRUPTED
        except MissingExtraError as error:
            print(f"maninegs: {_shown(error)}", file=sys.stderr)
            return 3
        except (ManiNegError, OSError) as error:
            print(f"maninegs: {_shown(error)}", file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
