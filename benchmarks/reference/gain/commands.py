"""The commands whose names begin with gain."""

import argparse
import sys
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

from benchmarks.reference import wbcatt
from benchmarks.reference.data import TRAINING
from benchmarks.reference.gain import sweeps
from benchmarks.reference.gain.arms import ARMS
from benchmarks.reference.gain.comparison import report
from benchmarks.reference.gain.page import write_page
from benchmarks.reference.gain.predictions import predictions
from benchmarks.reference.gain.runs import (
    SETTINGS,
    Run,
    merge,
    perform,
    read_runs,
    split,
    write_csv,
)
from benchmarks.reference.gain.sweeps import SWEEPS
from benchmarks.reference.gain.training import Settings
from benchmarks.reference.gain.tuning import tune
from benchmarks.reference.pretraining import MODES
from maninegs_sampling.errors import InvalidValueError


def folder_of(data: str) -> Path:
    """Return the folder in the name of the data."""
    name, _, folder = data.partition("=")
    if name != "wbcatt" or not folder:
        raise InvalidValueError(f"data of gain are wbcatt=FOLDER; got {data!r}")
    return Path(folder)


def load(options: argparse.Namespace) -> wbcatt.Cells:
    """Return the data that were named."""
    return wbcatt.load(folder_of(options.data), options.out / "images", options.settings.size)


def run_gain(options: argparse.Namespace) -> None:
    """Train and evaluate what is missing of a round."""
    cells = load(options)
    store = cells.store.subset(cells.rows(TRAINING))
    for arm in options.arms:  # fails here and not after hours
        ARMS[arm].draw(store, options.settings.batch_size, 0, options.settings.steps)
    folder = options.out / options.round
    # All arms of a seed in a row, so that an interrupted round can still be compared.
    runs = [
        Run(mode, arm, seed, options.settings)
        for seed in options.seeds
        for mode in options.modes
        for arm in options.arms
    ]
    for number, run in enumerate(runs, 1):
        rows = perform(run, cells, folder)
        seconds = rows["seconds"][0]
        print(f"[{number}/{len(runs)}] {run.path(folder).name} {seconds} s", file=sys.stderr)


def run_sweeps(options: argparse.Namespace) -> None:
    """Train what is missing where one setting after the other is varied, and write a table."""
    folder = options.out / "sweeps"
    cells = folder_of(options.data)
    if options.table.exists():
        sweeps.read_table(options.table, folder)
    for seed in options.seeds:  # all points of a seed, so that it can be stopped after any seed
        for point in sweeps.distinct_points(options.sweeps):
            data = sweeps.load(point, cells, options.out / "images")
            for mode, arm in product(options.modes, options.arms):
                run = Run(mode, arm, seed, point.settings)
                done = f"{point.folder} {run.path(folder).name}"
                try:
                    perform(run, data, folder / point.folder)
                except InvalidValueError as error:  # such as more distinct patterns than there are
                    done = f"left out {done}: {error}"
                print(done, file=sys.stderr)
        sweeps.write_table(folder, options.table)


def run_predict(options: argparse.Namespace) -> None:
    """Write what the library predicts from the tables of the sweeps alone."""
    found = predictions(folder_of(options.data), options.out / "images")
    write_csv(options.table, found)


def run_tune(options: argparse.Namespace) -> None:
    """Choose settings on uniform batches."""
    arguments = (load(options), options.mode, options.seeds, options.settings)
    best, text = tune(*arguments, options.out / "tuning")
    print(f"{text}\n\nbest: {best}")


def run_merge(options: argparse.Namespace) -> None:
    """Write the finished runs of a round to one table."""
    n = merge(options.out / options.round, options.table)
    print(f"wrote {n} runs to {options.table}", file=sys.stderr)


def run_split(options: argparse.Namespace) -> None:
    """Write the runs of a table back to the files of a round, which goes on from there."""
    n = split(options.table, options.out / options.round)
    print(f"wrote {n} files to {options.out / options.round}", file=sys.stderr)


def run_gain_table(options: argparse.Namespace) -> None:
    """Print paired differences from uniform batches."""
    tables = [read_runs(file) for file in (options.table, options.pilot) if file]
    print(report(*tables), end="")


def run_page(options: argparse.Namespace) -> None:
    """Write the page of results and its pictures beside the tables."""
    write_page(options.folder)


def add_to(commands: Any) -> None:
    """Add the commands to a parser's."""

    def command(name: str, function: Callable[[argparse.Namespace], None]) -> Any:
        made = commands.add_parser(name, help=function.__doc__)
        made.set_defaults(function=function)
        return made

    def training(name: str, function: Callable[[argparse.Namespace], None]) -> Any:
        made = command(name, function)
        made.add_argument("--data", required=True, metavar="wbcatt=FOLDER")
        made.add_argument("--out", type=Path, required=True, metavar="DIR")
        made.add_argument("--seeds", type=seed_range, required=True, metavar="A-B")
        return made

    gain, tuning = training("gain", run_gain), training("gain-tune", run_tune)
    sweeping = training("gain-sweeps", run_sweeps)
    for made in (gain, tuning):
        made.add_argument(
            "--settings", nargs="+", default=Settings(), action=Changes, metavar="NAME=VALUE"
        )
    for made in (gain, sweeping):
        made.add_argument("--arms", nargs="+", choices=ARMS, required=True)
        made.add_argument("--modes", nargs="+", choices=MODES, default=MODES)
    gain.add_argument("--round", required=True, metavar="NAME")
    tuning.add_argument("--mode", choices=MODES, default="unimodal")
    sweeping.add_argument("--sweeps", nargs="+", choices=SWEEPS, default=tuple(SWEEPS))
    sweeping.add_argument(
        "--table", type=Path, required=True, metavar="FILE", help="read first, if it exists"
    )
    predicting = command("gain-predict", run_predict)
    predicting.add_argument("--data", required=True, metavar="wbcatt=FOLDER")
    predicting.add_argument("--out", type=Path, required=True, metavar="DIR")
    predicting.add_argument("--table", type=Path, required=True, metavar="FILE")
    for name, function in (("gain-merge", run_merge), ("gain-split", run_split)):
        moving = command(name, function)
        moving.add_argument("--out", type=Path, required=True, metavar="DIR")
        moving.add_argument("--round", required=True, metavar="NAME")
        moving.add_argument("--table", type=Path, required=True, metavar="FILE")
    comparing = command("gain-table", run_gain_table)
    comparing.add_argument("--table", type=Path, required=True, metavar="FILE")
    comparing.add_argument(
        "--pilot", type=Path, metavar="FILE", help="runs of uniform and uniform-again"
    )
    command("gain-page", run_page).add_argument("--folder", type=Path, required=True, metavar="DIR")


class Changes(argparse.Action):
    """Options such as `steps=100` as `Settings`."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        options: argparse.Namespace,
        texts: Any,
        _: Any = None,
    ) -> None:
        """Keep the changed settings, or end the program with an error."""
        settings = Settings()
        for text in texts:
            name, _, value = text.partition("=")
            if name not in SETTINGS:
                parser.error(f"settings are {', '.join(SETTINGS)}; got {text!r}")
            kind = type(getattr(settings, name))
            try:
                change = {name: kind(value)}
            except ValueError:
                parser.error(f"{name} must be of type {kind.__name__}; got {text!r}")
            settings = replace(settings, **change)
        options.settings = settings


def seed_range(text: str) -> range:
    """Return the seeds of "100-102", both ends included, or of "100"."""
    first, _, last = text.partition("-")
    try:
        seeds = range(int(first), int(last or first) + 1)
    except ValueError:
        seeds = range(0)
    if not seeds:
        raise argparse.ArgumentTypeError(f"seeds are A-B with A at most B; got {text!r}")
    return seeds
