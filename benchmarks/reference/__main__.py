"""The paper's experiments: python -m benchmarks.reference COMMAND --help.

table     runs what is missing of a comparison of samplers, and prints Tables IV to VII
pretrain  one model, on as many devices as are given
sheet     draws contact sheets of each phantom's traits and a random choice of its cases
diagnose  measures what the models that `table` trained make of near and far negatives
speed     times the full step against one that is given its batch

Data are named as `phantom`, `phantom-film`, `phantom-dim`, `phantom-faint`, `cbis-ddsm=FOLDER` or
`mvkl=FOLDER`.

gain          trains what is missing of a comparison of batches and losses on real images
gain-tune     chooses settings for it, on uniform batches alone
gain-merge    writes its finished runs to one table
gain-split    writes the runs of a table back to files, from which `gain` goes on
gain-table    prints, from that table, differences from uniform batches
gain-sweeps   varies one setting after the other, and writes its runs to one table
gain-predict  writes what the library predicts for the data of the sweeps
gain-page     writes the page of results from the tables

Data of `gain` are `wbcatt=FOLDER`.
"""

import argparse
import io
import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

try:
    import numpy as np
    from lightning_fabric import Fabric

    from benchmarks.reference import cbis_ddsm, diagnosis, mvkl, speed, tables
    from benchmarks.reference.data import Cases
    from benchmarks.reference.gain import commands as gain
    from benchmarks.reference.phantom import PHANTOMS
    from benchmarks.reference.presets import PRESETS, Preset
    from benchmarks.reference.pretraining import MODES, SAMPLERS, pretrain
    from benchmarks.reference.rendering import contact_sheet
    from benchmarks.reference.runs import Run, perform
except ImportError as error:
    sys.exit(
        f"the reference training needs {error.name}: "
        "pip install -c constraints.txt -e '.[reference]'"
    )

from maninegs_sampling.data.storage import write_atomically
from maninegs_sampling.errors import InvalidValueError, ManiNegError
from maninegs_sampling.reports.drawing import as_png

Loader = Callable[[Path, int], Cases]
IN_FOLDERS = {"cbis-ddsm": cbis_ddsm.load, "mvkl": mvkl.load}


def loader(text: str) -> Loader:
    """Return a function that loads the named data, given a cache folder and an image size."""
    name, _, folder = text.partition("=")
    if text in PHANTOMS:
        return PHANTOMS[text].load
    if name in IN_FOLDERS and folder:
        return partial(IN_FOLDERS[name], Path(folder))
    known = [*PHANTOMS, *(f"{name}=FOLDER" for name in IN_FOLDERS)]
    raise InvalidValueError(f"data are one of {', '.join(known)}; got {text!r}")


def fabric_for(preset: Preset, devices: int) -> Fabric:
    """Return a launched Fabric on the best available accelerator."""
    fabric = Fabric(devices=devices, precision=preset.precision)
    fabric.launch()
    return fabric


def folder_of(options: argparse.Namespace) -> Path:
    """Return the folder of all runs with these data and this preset."""
    out: Path = options.out / f"{options.data.partition('=')[0]}-{options.preset}"
    return out


def run_table(options: argparse.Namespace) -> None:
    """Run what is missing and write table.md, table.json and alignment.png."""
    preset = PRESETS[options.preset]
    out = folder_of(options)
    out.mkdir(parents=True, exist_ok=True)
    cache = options.out / "images"
    datasets = [loader(text)(cache, preset.image_size) for text in (options.data, options.transfer)]
    fabric = fabric_for(preset, devices=1)
    seeds = range(options.seeds)
    runs = [Run("unimodal", "none", seed) for seed in seeds]
    # All runs of a seed in a row, so that an interrupted table can still compare samplers.
    runs += [Run(m, s, seed) for seed, m, s in product(seeds, options.modes, SAMPLERS)]
    results = []
    for number, run in enumerate(runs, 1):
        print(f"[{number}/{len(runs)}] {run.name}", file=sys.stderr)
        results.append(perform(run, fabric, datasets, preset, out, options.weights))
    names = [cases.name for cases in datasets]
    text = tables.report(results, names)
    print(text)
    save(out / "table.md", text.encode())
    record = {
        "preset": {"name": options.preset, **asdict(preset)},
        "data": names,
        "device": str(fabric.device),
        "hours": round(sum(sum(r["seconds"].values()) for r in results) / 3600, 2),
        "results": results,
    }
    save(out / "table.json", json.dumps(record).encode())
    save_figure(out / "alignment.png", tables.alignment_figure(results))


def run_pretrain(options: argparse.Namespace) -> None:
    """Pretrain one model in the folder where `table` looks for it."""
    preset = PRESETS[options.preset]
    fabric = fabric_for(preset, options.devices)
    # The first process renders the images; the others read them.
    with fabric.rank_zero_first():
        cases = loader(options.data)(options.out / "images", preset.image_size)
    run = Run(options.mode, options.sampler, options.seed)
    folder = folder_of(options) / run.name
    folder.mkdir(parents=True, exist_ok=True)
    arguments = (run.mode, run.sampler, run.seed, folder, options.weights)
    _, history = pretrain(fabric, cases, preset, *arguments)
    fabric.print(f"loss {history[-1, 0]:.4f} after {len(history)} steps, in {folder}")


def run_diagnose(options: argparse.Namespace) -> None:
    """Write diagnosis.md beside the runs of a table."""
    preset = PRESETS[options.preset]
    cases = loader(options.data)(options.out / "images", preset.image_size)
    folder = folder_of(options)
    text = diagnosis.report(fabric_for(preset, devices=1), cases, preset, folder)
    print(text)
    save(folder / "diagnosis.md", text.encode())


def run_sheet(options: argparse.Namespace) -> None:
    """Draw the phantom."""
    options.out.mkdir(parents=True, exist_ok=True)
    import matplotlib.pyplot as plt

    for phantom in PHANTOMS.values():
        traits = contact_sheet(options.size, phantom.scanner, seed=0)
        save_figure(options.out / f"{phantom.name}-traits.png", traits)
        cases = phantom.load(options.out / "images", options.size)
        rows = np.random.default_rng(0).choice(phantom.n, (6, 8), replace=False)
        pairs = cases.images[rows]  # (6, 8, 2, size, size)
        grid = pairs.transpose(0, 3, 1, 2, 4).reshape(6 * options.size, 16 * options.size)
        png = io.BytesIO()
        plt.imsave(png, grid, cmap="gray", vmin=0, vmax=255)
        save(options.out / f"{phantom.name}.png", png.getvalue())


def run_speed(options: argparse.Namespace) -> None:
    """Print the time of a step."""
    preset = PRESETS[options.preset]
    cases = loader(options.data)(options.out / "images", preset.image_size)
    print(speed.report(fabric_for(preset, devices=1), cases, preset, options.mode, options.steps))


def save(path: Path, content: bytes) -> None:
    """Write a file atomically and print its path."""
    write_atomically(path, [content])
    print(f"wrote {path}", file=sys.stderr)


def save_figure(path: Path, figure: Any) -> None:
    """Write a figure as PNG."""
    save(path, as_png(figure, dpi=110))


def main(arguments: list[str] | None = None) -> None:
    """Parse the options and run the command."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.reference",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    commands = parser.add_subparsers(required=True)

    def command(name: str, function: Callable[[argparse.Namespace], None]) -> Any:
        made = commands.add_parser(name, help=function.__doc__)
        made.set_defaults(function=function)
        made.add_argument("--out", type=Path, required=True, metavar="DIR")
        if name != "sheet":
            made.add_argument("--data", default="phantom")
            made.add_argument("--preset", choices=PRESETS, default="cpu")
        return made

    table = command("table", run_table)
    table.add_argument("--transfer", default="phantom-film", help="the second dataset")
    table.add_argument("--seeds", type=int, default=3, metavar="N")
    table.add_argument("--modes", nargs="+", choices=MODES, default=MODES)
    pretraining = command("pretrain", run_pretrain)
    pretraining.add_argument("--sampler", choices=SAMPLERS, default="manineg")
    pretraining.add_argument("--mode", choices=MODES, default="multimodal")
    pretraining.add_argument("--seed", type=int, default=0)
    pretraining.add_argument("--devices", type=int, default=1)
    for with_weights in (table, pretraining):
        with_weights.add_argument(
            "--weights", type=Path, metavar="FILE", help="ImageNet weights to start from"
        )
    command("diagnose", run_diagnose)
    sheet = command("sheet", run_sheet)
    sheet.add_argument("--size", type=int, default=128, help="pixels a side")
    timing = command("speed", run_speed)
    timing.add_argument("--mode", choices=MODES, default="multimodal")
    timing.add_argument("--steps", type=int, default=50, help="steps of each kind")
    gain.add_to(commands)
    options = parser.parse_args(arguments)
    try:
        options.function(options)
    except ManiNegError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
