"""Figures 2, 4 and 5 of the paper: python -m benchmarks.figures --out DIR [CBIS-DDSM CSV ...].

They are drawn for synthetic data with MVKL's traits and the settings of Table III and, if its four
CSV files are given, for CBIS-DDSM and the settings that `suggest` reads off it, together with the
README's picture, batches.png. The numbers come from maninegs_sampling.reports.figures.
"""

import argparse
from pathlib import Path
from typing import Any

from maninegs_sampling import CBIS_DDSM, LinearAnnealing, ManifestationStore, suggest
from maninegs_sampling.analysis import baselines
from maninegs_sampling.analysis.batch_hardness import measure_hardness
from maninegs_sampling.analysis.hardness import hardness_at
from maninegs_sampling.analysis.settings import Settings
from maninegs_sampling.data.datasets import synthetic_mvkl
from maninegs_sampling.data.storage import write_atomically
from maninegs_sampling.reports import drawing, figures

TABLE_III = Settings(
    {"mu": LinearAnnealing(11, 0, steps=4500), "sigma": 3.0, "low": 1, "high": 18}, {}
)
MUS = 7


def save(figure: Any, path: Path) -> None:
    """Write a figure as PNG."""
    write_atomically(path, [drawing.as_png(figure, dpi=160)])
    print(f"wrote {path}")


def draw(name: str, store: ManifestationStore, settings: Settings, folder: Path) -> None:
    """Write the three figures for one store."""
    schedule = settings["mu"]
    step = (schedule.start - schedule.end) / (MUS - 1)
    mus = [round(schedule.start - k * step, 2) for k in range(MUS)]
    hard = figures.hardness_by_mu(store, mus, sigma=settings["sigma"])
    print(
        f"{name}: {store}; mean distance over all pairs of a batch, uniform {hard.uniform_mean:.2f}"
    )
    for mu, found in zip(hard.mus, hard.measured, strict=True):
        print(f"  mu = {mu:5.2f}: {found.pair_mean:.2f}")
    distributions = figures.distance_distributions(store, settings)
    save(drawing.draw_distance_distributions(distributions), folder / f"{name}-2.png")
    save(drawing.draw_lower_bounds(figures.lower_bounds(store)), folder / f"{name}-4.png")
    end = figures.largest_step(store)
    save(drawing.draw_hardness(hard, end), folder / f"{name}-5.png")


def draw_batches(files: list[str], folder: Path) -> None:
    """Write the README's picture: distances in uniform batches and at mu = 0, on CBIS-DDSM."""
    store = ManifestationStore.from_table(files, CBIS_DDSM)
    groups = CBIS_DDSM.group_ids(files)
    sigma = suggest(store, steps=9000, groups=groups)["sigma"]
    (at_zero,) = hardness_at(store, [0.0], sigma=sigma, groups=groups, batches=1000)
    uniform = measure_hardness(store, [baselines.uniform(store, 64, 0)(e) for e in range(20)])
    figure, (axes,) = drawing.new_figure(1, 2, figsize=(8, 2.7), sharey=True)
    end = 10  # 0.01% of the pairs are farther apart
    titles = {"anchor": "an anchor and its negatives", "pair": "all pairs of a batch"}
    for axis, (pairs, title) in zip(axes, titles.items(), strict=True):
        for name, found, color in (
            ("uniform", uniform, drawing.UNIFORM),
            ("ManiNeg, mu = 0", at_zero, drawing.MANINEG),
        ):
            histogram = getattr(found, f"{pairs}_histogram")[: end + 1]
            mean = getattr(found, f"{pairs}_mean")
            shares = histogram / histogram.sum()
            label = f"{name}: mean {mean:.2f}"
            drawing.draw_shares(axis, shares, color, alpha=0.6, label=label)
            axis.axvline(mean, ymax=0.74, color=color, linewidth=1.5)
        axis.set_title(title, fontsize=10)
        axis.set_xlabel("Hamming distance (bits)")
        axis.margins(x=0, y=0.4)  # room for the legend
        axis.legend(frameon=False, fontsize=9, loc="upper left")
    axes[0].set_ylabel("share of pairs")
    save(figure, folder / "batches.png")


def main() -> None:
    """Read the options and draw."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("tables", nargs="*", metavar="CSV", help="the four tables of CBIS-DDSM")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    draw("mvkl-like", synthetic_mvkl()[0], TABLE_III, options.out)
    if options.tables:
        store = ManifestationStore.from_table(options.tables, CBIS_DDSM)
        draw("cbis-ddsm", store, suggest(store, steps=9000), options.out)
        draw_batches(options.tables, options.out)


if __name__ == "__main__":
    main()
