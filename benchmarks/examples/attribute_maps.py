"""Where does a frozen encoder see a trait? Maps, and the pointing test that checks them.

    python -m benchmarks.examples.attribute_maps --out DIR [--data wbcatt=FOLDER]

On rendered lesions, whose traits have known places, a map *points* to a trait if its highest place
lies on it. Beside the share of such hits stand those of two controls: the map of another lesion
with the same trait, which only knows where that trait usually is, and a place drawn at random. On
real cells (WBCAtt) nobody marked places, so that there are only pictures to look at.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import max_pool2d

from benchmarks.examples.attribution import (
    CELL,
    SpatialEncoder,
    TraitMaps,
    train_encoder,
    train_maps,
)
from benchmarks.examples.traced_lesions import TRAITS, TracedLesions, traced_lesions
from benchmarks.figures import save
from benchmarks.reference import wbcatt
from benchmarks.reference.data import TEST, TRAINING
from maninegs_sampling import ManifestationStore
from maninegs_sampling.reports import drawing

SIZE: Final = 64  # pixels a side


@dataclass(frozen=True)
class Pointing:
    """Shares of the test images with a trait in which a place lies on it.

    Attributes:
        trait: its name.
        n: test images that have it.
        hits: the map's highest place.
        of_another: that of the map of another image with the trait.
        at_random: a place drawn at random.
    """

    trait: str
    n: int
    hits: float
    of_another: float
    at_random: float


def pointing(maps: Tensor, marks: NDArray[np.bool_], names: tuple[str, ...]) -> list[Pointing]:
    """Return how well maps point to traits, one result for each trait.

    Args:
        maps: (N, T, h, w).
        marks: (N, T, s, s), where the traits are; none in an image without the trait.
        names: T names.
    """
    cells = max_pool2d(torch.from_numpy(marks).float(), CELL).flatten(2) > 0
    highest = maps.flatten(2).argmax(2)
    found = []
    for t, name in enumerate(names):
        rows = cells[:, t].any(1).nonzero()[:, 0]
        own, place = cells[rows, t], highest[rows, t]
        hit = own.gather(1, place[:, None])
        other = own.gather(1, place.roll(1)[:, None])
        shares = (float(x.float().mean()) for x in (hit, other, own))
        found.append(Pointing(name, len(rows), *shares))
    return found


def learned_maps(
    images: Tensor, store: ManifestationStore, present: Tensor, *, steps: int
) -> tuple[SpatialEncoder, TraitMaps]:
    """Return an encoder trained with `steps` batches and frozen, and the maps of its features."""
    encoder = train_encoder(images, store, steps)
    return encoder, train_maps(features_of(encoder, images), present, steps)


def features_of(encoder: SpatialEncoder, images: Tensor) -> Tensor:
    """Return the feature maps of many images."""
    return torch.cat([encoder.features(part) for part in images.split(256)])


def draw_maps(rows: list[tuple[str, list[tuple[Any, Any, Any]]]]) -> Any:
    """Return a figure: for each trait, images with the map over them and the trait's outline.

    Args:
        rows: a title and its panels, each an image (s, s), a map (h, w), and marks (s, s) or None.
    """
    n_columns = max(len(panels) for _, panels in rows)
    figure, axes = drawing.new_figure(
        len(rows), 2 * n_columns, figsize=(1.9 * n_columns, 1.1 * len(rows))
    )
    for axis in axes.flat:
        axis.axis("off")
    for line, (title, panels) in zip(axes, rows, strict=True):
        line[0].set_title(title, fontsize=8, loc="left")
        for i, (image, heat, marks) in enumerate(panels):
            size = len(image)
            for axis in line[2 * i : 2 * i + 2]:
                axis.imshow(np.asarray(image), cmap="gray", vmin=0, vmax=1)
            if marks is not None:
                line[2 * i].contour(marks, [0.5], colors=drawing.AUTHORS, linewidths=0.8)
            line[2 * i + 1].imshow(
                np.asarray(heat), cmap="inferno", alpha=0.6, interpolation="bilinear",
                extent=(-0.5, size - 0.5, size - 0.5, -0.5), vmin=0,
            )  # fmt: skip
    return figure


def on_lesions(n: int, steps: int, seed: int = 0) -> tuple[list[Pointing], Any]:
    """Return the pointing test on the last third of `n` made-up lesions, and a figure of maps."""
    torch.manual_seed(seed)
    cases: TracedLesions = traced_lesions(n, SIZE, seed)
    images, present = torch.from_numpy(cases.images)[:, None], torch.from_numpy(cases.present)
    n_training = 2 * n // 3
    encoder, maps = learned_maps(
        images[:n_training],
        cases.store.subset(range(n_training)),
        present[:n_training],
        steps=steps,
    )
    heat = maps(features_of(encoder, images[n_training:]))
    marks = cases.marks[n_training:]
    rows = []
    for t, trait in enumerate(TRAITS):
        chosen = np.flatnonzero(marks[:, t].any((1, 2)))[:3]
        rows.append(
            (trait, [(cases.images[n_training + i], heat[i, t], marks[i, t]) for i in chosen])
        )
    return pointing(heat, marks, TRAITS), draw_maps(rows)


def on_cells(folder: Path, cache: Path, steps: int, seed: int = 0) -> Any:
    """Return a figure of the maps of WBCAtt's attributes on cells of the test part."""
    torch.manual_seed(seed)
    cells = wbcatt.load(folder, cache, SIZE)
    images = torch.from_numpy(cells.images.astype(np.float32) / 255)
    present = torch.from_numpy(cells.store.to_dense())
    training, test = cells.rows(TRAINING), cells.rows(TEST)
    encoder, maps = learned_maps(
        images[training], cells.store.subset(training), present[training], steps=steps
    )
    test = test[:1000]
    heat = maps(features_of(encoder, images[test]))
    assert cells.store.bit_names is not None
    rows = []
    for t, trait in enumerate(cells.store.bit_names):
        chosen = np.flatnonzero(present[test, t])[:4]
        rows.append((trait, [(images[test[i], 0], heat[i, t], None) for i in chosen]))
    return draw_maps(rows)


def main() -> None:
    """Print the pointing test and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, required=True, help="folder for the figures")
    parser.add_argument("--data", help="wbcatt=FOLDER, to draw real cells, too")
    parser.add_argument("--lesions", type=int, default=3000, help="default: %(default)s")
    parser.add_argument("--steps", type=int, default=1000, help="default: %(default)s")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    results, figure = on_lesions(args.lesions, args.steps)
    print(f"{'trait':36}{'n':>5}{'hits':>7}{'of another':>12}{'at random':>11}")
    for r in results:
        print(f"{r.trait:36}{r.n:5}{r.hits:7.0%}{r.of_another:12.0%}{r.at_random:11.0%}")
    save(figure, args.out / "lesions.png")
    if args.data:
        folder = Path(args.data.removeprefix("wbcatt="))
        save(on_cells(folder, args.out / "cache", args.steps), args.out / "cells.png")


if __name__ == "__main__":
    main()
