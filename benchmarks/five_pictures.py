"""The paper in five pictures: python -m benchmarks.five_pictures --out docs/images/concepts.

They are drawn for synthetic data with MVKL's traits and the settings of Table III. The
documentation shows them; the numbers of the last four come from maninegs_sampling.reports.figures.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.figures import TABLE_III, save
from maninegs_sampling import DistanceBucketIndex, ManifestationStore
from maninegs_sampling.data.datasets import synthetic_mvkl
from maninegs_sampling.reports import drawing, figures

STEPS = 9000
DISTANCES = (1, 3, 6, 9, 12)


def anchor_and_others(store: ManifestationStore) -> list[int]:
    """Return the first instance that has another one at each of `DISTANCES`, and these.

    Args:
        store: The manifestations, with such an instance.
    """
    index = DistanceBucketIndex(store)
    anchors = range(store.n_instances)
    anchor = next(i for i in anchors if index.counts(i)[list(DISTANCES)].all())
    return [anchor, *(int(index.bucket(anchor, distance)[0]) for distance in DISTANCES)]


def draw_manifestations(store: ManifestationStore) -> Any:
    """Return the bits of an anchor and of others at growing distances, as a matplotlib figure.

    Args:
        store: The manifestations.
    """
    rows = store.to_dense()[anchor_and_others(store)]
    figure, ((axis,),) = drawing.new_figure(figsize=(8, 2.4))
    for height, row in enumerate(rows):
        for bit, is_set in enumerate(row):
            color = drawing.DISTRIBUTION if is_set != rows[0, bit] else drawing.MANINEG
            box = {"facecolor": color if is_set else "none", "edgecolor": color, "linewidth": 0.8}
            axis.bar(bit, 0.7, 0.7, bottom=-height - 0.35, **box)
    names = ["anchor", *(f"{d} bit{'s' * (d > 1)} away" for d in DISTANCES)]
    axis.set_yticks(-np.arange(len(rows)), names)
    axis.set_xticks([])
    axis.spines[["left", "bottom"]].set_visible(False)
    axis.tick_params(length=0)
    axis.set_xlabel(
        f"the {store.n_bits} traits: filled if present, orange if different from the anchor's"
    )
    axis.margins(x=0.01)
    axis.set_ylim(0.5 - len(rows), 0.5)
    return figure


def pictures(store: ManifestationStore) -> dict[str, Any]:
    """Return the five matplotlib figures by name, in the order of the page.

    Args:
        store: The manifestations.
    """
    hardness = figures.hardness_by_mu(store, [11.0, 7.0, 3.0, 0.0], sigma=TABLE_III["sigma"])
    distributions = figures.distance_distributions(store, TABLE_III)
    annealing = figures.annealing(store, TABLE_III, steps=STEPS)
    return {
        "1-manifestations": draw_manifestations(store),
        "2-distances": drawing.draw_distance_distributions(distributions),
        "3-lower-bounds": drawing.draw_lower_bounds(figures.lower_bounds(store)),
        "4-annealing": drawing.draw_annealing(annealing),
        "5-hardness": drawing.draw_hardness(hardness, figures.largest_step(store)),
    }


def main() -> None:
    """Read the options and draw."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    for name, figure in pictures(synthetic_mvkl()[0]).items():
        save(figure, options.out / f"{name}.png")


if __name__ == "__main__":
    main()
