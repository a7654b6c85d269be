"""The command `maninegs`: compare samplers; inspect tables; suggest, report, write orders."""

import argparse
import json
import os
import sys
import webbrowser
from collections.abc import Sequence
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from maninegs_sampling import __version__
from maninegs_sampling.cli_json import (
    json_text,
    settings_record,
    suitability_record,
    table_record,
)
from maninegs_sampling.cli_order import add_order_command
from maninegs_sampling.cli_pairs import (
    add_exact_option,
    add_metric_option,
    count_if_asked,
    estimate_note,
    print_distances,
)
from maninegs_sampling.cli_parser import CommandParser, add_completion_option, complete_commands
from maninegs_sampling.cli_progress import progress, with_progress
from maninegs_sampling.cli_suggest import PAPERS_BATCH, run_suggest
from maninegs_sampling.cli_tables import add_table_options, read_rows
from maninegs_sampling.data.datasets import wisconsin
from maninegs_sampling.distances.metrics import METRICS
from maninegs_sampling.distances.pairs import mean_distance, pair_distances
from maninegs_sampling.errors import ManiNegError
from maninegs_sampling.quoting import escape_controls
from maninegs_sampling.reports import comparison
from maninegs_sampling.reports.comparison_picture import save_picture
from maninegs_sampling.reports.comparison_table import comparison_legend, comparison_table
from maninegs_sampling.reports.entries import Entry, default_epochs
from maninegs_sampling.reports.report import save_report
from maninegs_sampling.reports.terminal import escaped_output
from maninegs_sampling.reports.text_table import text_table
from maninegs_sampling.sampling.drawer import Center
from maninegs_sampling.sampling.sampler import Coverage

# Exit statuses after an interrupt and a closed pipe: 128 + the number of the signal.
INTERRUPTED, CLOSED_PIPE = 130, 141


def _add_training_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("tables", nargs="+", metavar="TABLE", help="CSV or Parquet")
    add_table_options(parser)
    parser.add_argument(
        "--batch-size", type=int, default=64, help="instances of a batch; by default 64"
    )
    parser.add_argument(
        "--steps", type=int, default=9000, help="steps of the whole training; by default 9000"
    )


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(
        prog="maninegs",
        description="Hard-negative batches by distance between manifestations (ManiNeg).",
        epilog="example:\n  maninegs suggest cases.csv --label outcome\n\n"
        "maninegs COMMAND --help shows the options of a command.",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    add_completion_option(parser)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    compare = commands.add_parser("compare", help="measure uniform, mined and ManiNeg batches")
    compare.add_argument(
        "tables",
        nargs="*",
        metavar="TABLE",
        help="CSV or Parquet; without one, the Wisconsin breast cancer data of scikit-learn",
    )
    add_table_options(compare)
    compare.add_argument(
        "--batch-size", type=int, default=64, help="instances of a batch; by default 64"
    )
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
        help="standard deviation of the distance distribution; by default 3, as in the paper, or "
        "0.1 with --metric jaccard",
    )
    compare.add_argument(
        "--epochs",
        type=int,
        help="number of epochs to measure; by default as many as make up 2,000 batches, but at "
        "least 1 and at most 20",
    )
    compare.add_argument("--seed", type=int, default=0, help="seed of all samplers; by default 0")
    compare.add_argument(
        "--out",
        type=Path,
        default=Path("comparison"),
        metavar="DIR",
        help="folder for the results; by default comparison",
    )
    add_metric_option(compare)
    add_exact_option(compare)
    compare.set_defaults(run=run_compare)

    inspect = commands.add_parser(
        "inspect", help="show a table's bits, patterns, missing cells and distances"
    )
    inspect.add_argument("tables", nargs="+", metavar="TABLE", help="CSV or Parquet")
    add_table_options(inspect)
    add_metric_option(inspect)
    add_exact_option(inspect)
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
    add_metric_option(advise)
    add_exact_option(advise)
    advise.set_defaults(run=run_suggest, **PAPERS_BATCH)

    report = commands.add_parser(
        "report", help="write an HTML file with the answers of suggest, and figures"
    )
    _add_training_options(report)
    report.add_argument(
        "--out",
        type=Path,
        default=Path("report.html"),
        metavar="FILE",
        help="the HTML file; by default report.html",
    )
    report.add_argument("--open", action="store_true", help="open the file in the browser")
    add_metric_option(report)
    add_exact_option(report)
    report.set_defaults(run=run_report)
    add_order_command(commands)
    complete_commands(commands.choices)
    return parser


def run_compare(options: argparse.Namespace) -> dict[str, Any]:
    """Measure the samplers, print the table, and write the picture and the JSON file."""
    groups = None
    notes: Sequence[str] = ()
    if options.tables:
        rows = read_rows(options)
        store, groups, notes = rows.store, rows.groups, rows.schema.notes
        source = f"{', '.join(options.tables)} ({rows.schema.name})"
    else:
        store, _ = wisconsin()
        source = "Wisconsin breast cancer, 30 features cut into terciles"
    options.out.mkdir(parents=True, exist_ok=True)
    count_if_asked(store, options)
    with progress("measuring distances"):
        mus = tuple(options.mu) if options.mu else comparison.default_mus(store, options.metric)
    sigma = METRICS[options.metric].sigma if options.sigma is None else options.sigma
    settings: dict[str, Any] = {
        "batch_size": options.batch_size,
        "metric": options.metric,
        "mus": mus,
        "sigma": sigma,
        "epochs": default_epochs(store, options.batch_size)
        if options.epochs is None
        else options.epochs,
        "seed": options.seed,
    }
    measured = list(with_progress(comparison.compare(store, groups=groups, **settings)))
    print(
        f"{escape_controls(source)}\n"
        f"{store.n_instances} instances, {store.n_patterns} distinct patterns, "
        f"{store.n_bits} bits; batches of {options.batch_size}, {settings['epochs']} epochs\n"
    )
    print(comparison_table(measured))
    legend = comparison_legend(
        n_instances=store.n_instances, epochs=settings["epochs"], mu=min(settings["mus"]),
        metric=options.metric,
    )  # fmt: skip
    print(f"\n{legend}\n")
    if pair_distances(store, metric=options.metric).n_drawn is not None:
        note = estimate_note(store, options.metric)
        print(f"distances of the data in comparison.json: {note}\n")
    json_path = options.out / "comparison.json"
    used = {"source": source, "grouped": groups is not None, **settings}
    comparison.save_json(json_path, store, measured, used)
    print(f"wrote {_shown(json_path)}")
    picture_path = options.out / "comparison.png"
    save_picture(picture_path, store, [row for row in measured if isinstance(row, Entry)])
    print(f"wrote {_shown(picture_path)}")
    record: dict[str, Any] = json.loads(json_path.read_text(encoding="utf-8"))
    return record | {"schema_notes": list(notes), "wrote": [str(json_path), str(picture_path)]}


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


def run_inspect(options: argparse.Namespace) -> dict[str, Any]:
    """Print the rows, bits, patterns, frequencies, missing cells and distances of a table."""
    table = read_rows(options)
    store = table.store
    count_if_asked(store, options)
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

    missing = {name: n for name, n in table.schema.count_missing(table.tables).items() if n}
    cells = ", ".join(f"{_shown(name)} {n}" for name, n in missing.items())
    print(f"\nmissing cells: {cells or 'none'}")
    constant = [
        f"{name} (always {int(f)})"
        for name, f in zip(names, frequencies, strict=True)
        if f in (0, 1)
    ]
    print("constant bits: " + (", ".join(constant) or "none"))
    print("duplicate bits: " + (", ".join(_duplicate_bits(bits, names)) or "none"))
    with progress("measuring distances"):
        pairs = pair_distances(store, metric=options.metric)
    print_distances(store, options.metric)
    return table_record(table) | {
        "most_common_pattern_rows": int(store.counts.max()),
        "bit_rows": dict(zip(table.schema.bit_names, bits.sum(axis=0).tolist(), strict=True)),
        "missing_cells": missing,
        "duplicate_bits": _duplicate_bits(bits, table.schema.bit_names),
        "metric": options.metric,
        "mean_distance": mean_distance(store, metric=options.metric),
        "pair_shares": pairs.shares.tolist(),
        "pair_share_errors": pairs.errors.tolist(),
        "pairs_drawn": pairs.n_drawn,
    }


def run_report(options: argparse.Namespace) -> dict[str, Any]:
    """Write the report and print the verdict."""
    table = read_rows(options)
    count_if_asked(table.store, options)
    source = Path(options.tables[0]).name if len(options.tables) == 1 else table.schema.name
    with progress("measuring batches and drawing figures"):
        found = save_report(
            options.out,
            table.store,
            table.schema,
            source=source,
            labels=table.labels(),
            groups=table.groups,
            groups_source=table.groups_source,
            metric=options.metric,
            batch_size=options.batch_size,
            steps=options.steps,
            exact=options.exact,
        )
    print(f"{found}\n\nwrote {_shown(options.out)}")
    if pair_distances(table.store, metric=options.metric).n_drawn is not None:
        print(f"distances between rows: {estimate_note(table.store, options.metric)}")
    if options.open:
        webbrowser.open(options.out.resolve().as_uri())
    return {
        **table_record(table),
        **suitability_record(found),
        "settings": settings_record(found.settings, groups_source=table.groups_source),
        "wrote": [str(options.out)],
    }


def _run(options: argparse.Namespace) -> None:
    """Run a command, and print its text, or what it returns as JSON."""
    if not options.json:
        options.run(options)
        return
    with redirect_stdout(StringIO()):
        record = options.run(options)
    print(json_text(record))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status.

    Args:
        arguments: The words after `maninegs`; by default those of this process.
    """
    with escaped_output():
        try:
            try:
                options = _parser().parse_args(arguments)
                _run(options)
            finally:
                print(end="", flush=True)  # so that a closed pipe raises here
        except BrokenPipeError:
            # The reader has gone. Send what is flushed at exit to nowhere.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return CLOSED_PIPE
        except KeyboardInterrupt:
            print("maninegs: interrupted", file=sys.stderr)
            return INTERRUPTED
        except (ManiNegError, OSError) as error:
            print(f"maninegs: {_shown(error)}", file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
