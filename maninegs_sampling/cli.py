"""The command `maninegs`: samplers compared, and tables inspected, advised on, reported."""

import argparse
import os
import sys
import webbrowser
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from maninegs_sampling import __version__
from maninegs_sampling.analysis.diagnostics import histogram_mean
from maninegs_sampling.analysis.verdict import suitability
from maninegs_sampling.cli_tables import add_table_options, read_rows, repeated_options
from maninegs_sampling.data.datasets import wisconsin
from maninegs_sampling.distances.hamming import distance_histogram
from maninegs_sampling.errors import (
    ManiNegError,
    MissingExtraError,
)
from maninegs_sampling.quoting import escape_controls
from maninegs_sampling.reports import comparison
from maninegs_sampling.reports.report import save_report
from maninegs_sampling.reports.terminal import escaped_output, shell_word

# Exit statuses of a command that an interrupt or a closed pipe ended: 128 + the signal's number.
INTERRUPTED, CLOSED_PIPE = 130, 141


def _add_advice_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("tables", nargs="+", metavar="TABLE", help="CSV or Parquet")
    add_table_options(parser)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--steps", type=int, default=9000, help="steps of the whole training")


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
        help="means of the law; by default the mean distance in the data, half of it, and 0",
    )
    compare.add_argument("--sigma", type=float, default=3.0)
    compare.add_argument("--epochs", type=int, default=20, help="epochs to measure")
    compare.add_argument("--seed", type=int, default=0)
    compare.add_argument("--out", type=Path, default=Path("comparison"), metavar="DIR")
    compare.set_defaults(run=run_compare)

    inspect = commands.add_parser("inspect", help="say what a table's manifestations are like")
    inspect.add_argument("tables", nargs="+", metavar="TABLE", help="CSV or Parquet")
    add_table_options(inspect)
    inspect.set_defaults(run=run_inspect)

    suggest = commands.add_parser(
        "suggest",
        help="say whether ManiNeg makes harder batches of a table, and with which settings",
    )
    _add_advice_options(suggest)
    suggest.set_defaults(run=run_suggest)

    report = commands.add_parser(
        "report", help="write one HTML file that says the same as suggest, and shows why"
    )
    _add_advice_options(report)
    report.add_argument("--out", type=Path, default=Path("report.html"), metavar="FILE")
    report.add_argument("--open", action="store_true", help="show it in the browser")
    report.set_defaults(run=run_report)
    return parser


def _with_progress(entries: Iterable[comparison.Entry]) -> Iterable[comparison.Entry]:
    """The same entries, counted on a terminal as they come."""
    try:
        from tqdm import tqdm
    except ImportError:
        raise MissingExtraError(
            "the progress bar needs tqdm: pip install 'maninegs-sampling[table]'"
        ) from None
    progress: Iterable[comparison.Entry] = tqdm(
        entries,
        desc="measuring",
        unit=" samplers",
        leave=False,
        file=sys.__stderr__,  # sys.stderr would escape what moves the cursor
        disable=None,  # where that is no terminal
    )
    return progress


def run_compare(options: argparse.Namespace) -> None:
    """Measure the samplers and print their table; write the picture and the JSON."""
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
        "epochs": options.epochs,
        "seed": options.seed,
    }
    entries = list(_with_progress(comparison.compare(store, groups=groups, **settings)))
    print(
        f"{escape_controls(source)}\n"
        f"{store.n_instances} instances, {store.n_patterns} distinct patterns, "
        f"{store.n_bits} bits; batches of {options.batch_size}, {options.epochs} epochs\n"
    )
    print(comparison.text_table(comparison.COLUMNS, [entry.row() for entry in entries]))
    print("\n" + comparison.LEGEND.format(n=store.n_instances) + "\n")
    json_path = options.out / "comparison.json"
    used = {"source": source, "grouped": groups is not None, **settings}
    comparison.save_json(json_path, store, entries, used)
    print(f"wrote {json_path}")
    picture_path = options.out / "comparison.png"
    comparison.save_picture(picture_path, store, entries)
    print(f"wrote {picture_path}")


def _twins(bits: np.ndarray[Any, np.dtype[np.bool_]], names: Sequence[str]) -> list[str]:
    """Pairs of bits that always agree, or always differ, with the earlier one named first."""
    first: dict[bytes, str] = {}
    twins = []
    for column, name in zip(bits.T, names, strict=True):
        if column.all() or not column.any():
            continue
        same, opposite = column.tobytes(), (~column).tobytes()
        if same in first:
            twins.append(f"{name} always equals {first[same]}")
        elif opposite in first:
            twins.append(f"{name} is always the opposite of {first[opposite]}")
        else:
            first[same] = name
    return twins


def run_inspect(options: argparse.Namespace) -> None:
    """Print rows, bits, patterns, frequencies, missing cells and distances of a table."""
    table = read_rows(options)
    store = table.store
    bits = store.to_dense()
    names = [escape_controls(name) for name in table.schema.bit_names]
    print(f"{store.n_instances} rows, {store.n_bits} bits, {store.n_patterns} distinct patterns")
    print(f"the most common pattern is shared by {store.counts.max()} rows\n")

    frequencies = bits.mean(axis=0)
    rows = [
        (name, str(int(n)), f"{100 * f:.1f}%")
        for name, n, f in zip(names, bits.sum(axis=0), frequencies, strict=True)
    ]
    print(comparison.text_table(("bit", "rows", "share"), rows))

    missing = [
        f"{escape_controls(name)} {n}"
        for name, n in table.schema.count_missing(table.tables).items()
        if n
    ]
    print("\nmissing cells: " + (", ".join(missing) or "none"))
    constant = [
        f"{name} (always {int(f)})"
        for name, f in zip(names, frequencies, strict=True)
        if f in (0, 1)
    ]
    print("constant bits: " + (", ".join(constant) or "none"))
    print("duplicate bits: " + (", ".join(_twins(bits, names)) or "none"))

    histogram = distance_histogram(store)
    largest = int(np.flatnonzero(np.append(1, histogram[1:]))[-1])
    print(f"\npairs of rows by Hamming distance (mean {histogram_mean(histogram):.2f})")
    longest = max(1, histogram.max())
    for distance in range(largest + 1):
        n = int(histogram[distance])
        print(f"{distance:4d} {n:12d}  {'#' * round(50 * n / longest)}".rstrip())


def run_suggest(options: argparse.Namespace) -> None:
    """Print the verdict with its figures, the settings with their reasons, and how to use them."""
    table = read_rows(options)
    store = table.store
    found = suitability(
        store,
        batch_size=options.batch_size,
        labels=table.labels(),
        bit_names=table.schema.bit_names,
        groups=table.groups,
        steps=options.steps,
    )
    print(f"{store.n_instances} instances, {store.n_patterns} distinct patterns\n\n{found}\n")
    if found.mus:
        print("mean distance between the manifestations of")
        rows = [
            ("uniform batches", "", f"{found.uniform_mean:.2f}"),
            ("uniform batches of distinct patterns", "", f"{found.uniform_distinct_mean:.2f}"),
        ]
        for mu, anchor, pair in zip(found.mus, found.anchor_means, found.pair_means, strict=True):
            rows.append((f"mu = {mu:g}", f"{anchor:.2f}", f"{pair:.2f}"))
        print(comparison.text_table(("", "anchor, negatives", "all pairs"), rows) + "\n")
    if found.settings is None:
        return
    for name, reason in found.settings.reasons.items():
        print(f"{name}: {reason}")
    schedule = found.settings["mu"]
    mus = f"{schedule.start:g} {schedule.end:g}"
    call = found.settings.call(groups=table.groups_source)
    print(f"\nmn.ManiNegBatchSampler.wrap(loader, store, {call})")
    words = [*options.tables, *repeated_options(options)]
    print(
        f"maninegs compare {' '.join(map(shell_word, words))} --batch-size {options.batch_size} "
        f"--mu {mus} --sigma {found.settings['sigma']:g}"
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
    print(f"{found}\n\nwrote {options.out}")
    if options.open:
        webbrowser.open(options.out.resolve().as_uri())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    with escaped_output():
        try:
            try:
                options = _parser().parse_args(arguments)
                options.run(options)
            finally:
                print(end="", flush=True)  # here a closed pipe can still be answered
        except BrokenPipeError:
            # Whoever read has gone. What is left is flushed at exit, to nowhere.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return CLOSED_PIPE
        except KeyboardInterrupt:
            print("maninegs: interrupted", file=sys.stderr)
            return INTERRUPTED
        except MissingExtraError as error:
            print(f"maninegs: {error}", file=sys.stderr)
            return 3
        except (ManiNegError, OSError) as error:
            print(f"maninegs: {error}", file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
