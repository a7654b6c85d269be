"""`maninegs report`: one HTML file on whether ManiNeg makes harder batches of a table, and why."""

import html
import io
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from maninegs_sampling.analysis.batch_hardness import N_NEAREST, Hardness
from maninegs_sampling.analysis.coverage import coverage
from maninegs_sampling.analysis.hardness import local_sampler
from maninegs_sampling.analysis.settings import Settings
from maninegs_sampling.analysis.suitability import Suitability, suitability
from maninegs_sampling.data.repeated_bits import distinct_bits, first_bits
from maninegs_sampling.data.schema import Schema
from maninegs_sampling.data.storage import write_atomically
from maninegs_sampling.data.store import ManifestationStore
from maninegs_sampling.distances.index import DistanceBucketIndex
from maninegs_sampling.distances.metrics import METRICS, MetricName, pattern_steps
from maninegs_sampling.distances.pairs import pair_distances
from maninegs_sampling.optional import require
from maninegs_sampling.quoting import escape_controls
from maninegs_sampling.reports import drawing, figures
from maninegs_sampling.reports.batch_choices import measure_choices

# Number of traits in the table of frequencies; the others are counted.
MOST_TRAITS = 60
# The same for the traits of one row, and for those in which two rows differ.
MOST_LISTED = 40

_ANSWERS = {
    "harder batches, training gain not shown": "Yes, but a training gain is not shown.",
    "no harder batches": "No, not harder than uniform batches.",
}


@dataclass(frozen=True)
class _Figure:
    """A figure as the template shows it; `svg` is markup, the others are text."""

    title: str
    svg: Any
    caption: str


# Longer than 60 lines because of its docstring.
def save_report(
    path: Path,
    store: ManifestationStore,
    schema: Schema,
    *,
    source: str,
    labels: ArrayLike | None = None,
    groups: ArrayLike | None = None,
    groups_source: str = "groups",
    metric: MetricName = "hamming",
    batch_size: int = 64,
    steps: int = 9000,
    seed: int = 0,
    exact: bool = False,
) -> Suitability:
    """Write the report to `path` and return what was found.

    Args:
        path: The HTML file.
        store: The manifestations, one for each row.
        schema: The schema that made them.
        source: The name of the data, for the title.
        labels: (N,) labels of the task.
        groups: N labels, such as patient ids. No two instances of a batch share one.
        groups_source: Source code for the groups in the call to copy.
        metric: What distances are, as in `ManiNegBatchSampler`.
        batch_size: Instances per batch.
        steps: Number of steps of the training, for the settings.
        seed: Seed of everything that is drawn.
        exact: Whether to count the distances of all pairs even if there are more than 131,072
            patterns. By default they are estimated from random pairs then.

    Raises:
        MissingExtraError: If matplotlib or Jinja2 is not installed.
    """
    jinja2 = require("jinja2", extra="plot", what="the report")
    pair_distances(store, metric=metric, exact=exact)  # kept for the table and the figures
    index = DistanceBucketIndex(store, metric=metric)
    found = suitability(
        store,
        batch_size=batch_size,
        metric=metric,
        labels=labels,
        bit_names=schema.bit_names,
        groups=groups,
        steps=steps,
        index=index,
        seed=seed,
        exact=exact,
    )
    options: dict[str, Any] = {"batch_size": batch_size, "index": index, "seed": seed}
    choices = measure_choices(
        store, steps=steps, groups=groups, metric=metric, exact=exact, **options
    )
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        undefined=jinja2.StrictUndefined,
        finalize=_shown,
    )
    page = environment.get_template("report.html.jinja").render(
        source=source,
        answer=_ANSWERS[found.verdict],
        found=found,
        groups_source=groups_source,
        glance=_glance(store, found, metric),
        choices=list(choices),
        in_bits=metric == "hamming",
        n_nearest=N_NEAREST,
        figures=_figures(store, found, metric, steps, options),
        example=_example(store, schema, metric),
        traits=_traits(store, schema, found),
        hidden_traits=max(0, len(distinct_bits(schema.bit_names)) - MOST_TRAITS),
    )
    write_atomically(path, [page.encode()])
    return found


def _shown(value: Any) -> Any:
    """Return `value` with control characters escaped, because they would act on a terminal."""
    is_markup = hasattr(value, "__html__")
    return escape_controls(value) if isinstance(value, str) and not is_markup else value


def _glance(
    store: ManifestationStore, found: Suitability, metric: MetricName
) -> list[tuple[str, str]]:
    """Return the rows of the table of numbers about the data."""
    pairs = pair_distances(store, metric=metric)
    among = "" if pairs.n_drawn is None else f" among {pairs.source}"
    rows = [
        ("rows", f"{store.n_instances:,}"),
        ("traits, as bits", f"{store.n_bits:,}"),
        ("distinct patterns", f"{store.n_patterns:,}"),
        ("rows with the most common pattern", f"{int(store.counts.max()):,}"),
        ("mean distance between two rows, and in uniform batches", f"{found.uniform_mean:.2f}"),
        (f"largest distance{among}", f"{pairs.largest}"),
        ("pairs of rows with equal patterns", f"{pairs.shares[0]:.1%}"),
    ]
    if found.uniform_distinct is not None:
        uniform = found.uniform_distinct
        rows += [
            ("mean distance in uniform batches of distinct patterns", f"{uniform.pair_mean:.2f}"),
            (f"the same to a row's {N_NEAREST} nearest", f"{uniform.nearest_mean:.2f}"),
        ]
    return rows


def _figures(
    store: ManifestationStore,
    found: Suitability,
    metric: MetricName,
    steps: int,
    options: dict[str, Any],
) -> list[_Figure]:
    shown = []
    pairs = pair_distances(store, metric=metric)
    estimated = "" if pairs.n_drawn is None else f", estimated from {pairs.source}"
    if found.settings is not None:
        start, end = found.settings["mu"].start, found.settings["mu"].end
        data = figures.distance_distributions(store, found.settings)
        independent = " Dotted: distances if the traits were independent (Figure 2 of the paper)."
        shown.append(
            _figure(
                "fig2",
                "How far away negatives are",
                drawing.draw_distance_distributions(data),
                "Bars: distances between all pairs of rows, as in uniform batches"
                f"{estimated}; their mean is {METRICS[metric].text(found.uniform_mean)}. Lines: "
                f"the distance distribution at the start of training, mu = {start:g}, and at the "
                f"end, mu = {end:g}.{independent if data.independent is not None else ''}",
            )
        )
    if metric == "hamming":
        shown.append(_bounds(store, estimated))
    if found.uniform_distinct is not None:
        shown.append(_hardness(store, found, found.uniform_distinct))
    if found.settings is not None:
        shown.append(_annealing(store, found.settings, steps, options))
        shown.append(_coverage(store, found.settings, options))
    return shown


def _bounds(store: ManifestationStore, estimated: str) -> _Figure:
    bounds = figures.lower_bounds(store)
    size, bound = bounds.data
    return _figure(
        "fig4",
        "How rare hard negatives are",
        drawing.draw_lower_bounds(bounds),
        "Only 0.13% of the pairs in uniform batches are nearer than these distances (Figure 4 "
        f"of the paper). For this data, with {size} traits, the distance is {bound}{estimated}.",
    )


def _hardness(store: ManifestationStore, found: Suitability, distinct: Hardness) -> _Figure:
    hard = figures.HardnessByMu(found.mus, found.measured, found.uniform_mean, distinct)
    first, last = found.measured[0], found.measured[-1]
    unit = METRICS[distinct.metric].unit
    return _figure(
        "fig5",
        "How batches change as mu falls",
        drawing.draw_hardness(hard, figures.largest_step(store, distinct.metric)),
        "Share of pairs at each distance, with 95% confidence intervals in (a) and (b). Solid "
        "line: mean. Dashed: mean of uniform batches of distinct patterns, "
        f"{distinct.pair_mean:.2f} in (b) and {distinct.nearest_mean:.2f} in (c). Dotted: mean of "
        f"uniform batches, {found.uniform_mean:.2f}. At mu = {found.mus[0]:g}, all pairs of a "
        f"batch are {first.pair_mean:.2f}{unit} apart and a row is {first.nearest_mean:.2f}{unit} "
        f"from its {N_NEAREST} nearest. At mu = {found.mus[-1]:g}, it is {last.pair_mean:.2f} and "
        f"{last.nearest_mean:.2f} (Figure 5 of the paper, which has no (c)).",
    )


def _annealing(
    store: ManifestationStore, settings: Settings, steps: int, options: dict[str, Any]
) -> _Figure:
    return _figure(
        "annealing",
        "Hardness over training",
        drawing.draw_annealing(figures.annealing(store, settings, steps=steps, **options)),
        f"Distances between an anchor and its negatives over {steps:,} steps with the settings "
        "above. Solid line: mean. Dashed: mu. Where the mean stops falling with mu, the anchors "
        "have no nearer patterns left.",
    )


def _coverage(store: ManifestationStore, settings: Settings, options: dict[str, Any]) -> _Figure:
    seen = coverage(local_sampler(store, **options, **settings))
    return _figure(
        "coverage",
        "How often each row is seen",
        drawing.draw_coverage(seen.instance_counts),
        f"In one epoch of {seen.n_batches:,} batches of {options['batch_size']}, "
        f"{seen.unseen_share:.0%} of the rows are not seen. The Gini coefficient of the counts is "
        f"{seen.gini:.2f}. Over as many batches as there are rows, each row is an anchor once.",
    )


def _figure(name: str, title: str, figure: Any, caption: str) -> _Figure:
    return _Figure(title, _svg(name, figure, caption), caption)


def _svg(name: str, figure: Any, description: str) -> Any:
    """Return a figure as inline SVG in the page's colors, with ids that no other figure has."""
    matplotlib = require("matplotlib", extra="plot", what="the report")
    file = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(file, format="svg", metadata=nothing, transparent=True, dpi=150)
    text = file.getvalue()
    text = text[text.index("<svg") :].strip()
    # Two decimals of a point are enough; matplotlib writes six.
    text = re.sub(r' d="[^"]*"', lambda path: re.sub(r"(\.\d\d)\d+", r"\1", path[0]), text)
    text = re.sub(r'(\bid="|url\(#|xlink:href="#)', rf"\g<1>{name}-", text)
    text = text.replace(drawing.INK, "currentColor")
    text = re.sub(r"font-family: [^\";]*", "font-family: system-ui, sans-serif", text)
    label = html.escape(escape_controls(description))
    text = text.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1)
    return require("markupsafe", extra="plot", what="the report").Markup(text)


def _traits_of(store: ManifestationStore, schema: Schema, instance: int) -> set[str]:
    words = store.words[store.pattern_of[instance]]
    bits = np.unpackbits(words.view(np.uint8), bitorder="little")[: store.n_bits]
    return {name for bit, name in distinct_bits(schema.bit_names).items() if bits[bit]}


def _example(
    store: ManifestationStore, schema: Schema, metric: MetricName
) -> dict[str, Any] | None:
    """Return an anchor and its nearest, middle and farthest neighbor, None if there is none."""
    if store.n_patterns < 2:
        return None
    # The anchor has the median number of traits, to be a typical row.
    counts = store.to_dense().sum(axis=1)
    anchor = int(np.argsort(counts, kind="stable")[len(counts) // 2])
    steps = pattern_steps(store, int(store.pattern_of[anchor]), metric)[store.pattern_of]
    others = np.flatnonzero(steps > 0)
    order = others[np.argsort(steps[others], kind="stable")]
    own = _traits_of(store, schema, anchor)
    neighbors = []
    chosen = (("nearest", order[0]), ("middle", order[len(order) // 2]), ("farthest", order[-1]))
    for name, other in chosen:
        row = int(other)
        theirs = _traits_of(store, schema, row)
        changes = [f"without {trait}" for trait in sorted(own - theirs)]
        changes += [f"with {trait}" for trait in sorted(theirs - own)]
        distance = METRICS[metric].distance(int(steps[row]))
        neighbors.append(
            {"name": name, "distance": distance, "row": row, "changes": _shortened(changes)}
        )
    return {"anchor": anchor, "traits": _shortened(sorted(own)), "neighbors": neighbors}


def _shortened(texts: list[str]) -> list[str]:
    """Return the first texts, and the number of the others if there are more."""
    hidden = len(texts) - MOST_LISTED
    return texts if hidden <= 0 else [*texts[:MOST_LISTED], f"and {hidden} more"]


def _traits(store: ManifestationStore, schema: Schema, found: Suitability) -> list[dict[str, Any]]:
    """Return the traits with the largest shares of all differences; `bar` is in percent."""
    frequencies = store.to_dense().mean(axis=0)
    names = distinct_bits(schema.bit_names)
    shares = np.bincount(first_bits(schema.bit_names), found.trait_shares)
    order = sorted(names, key=lambda bit: -shares[bit])
    largest = max(1e-12, float(shares.max()))
    return [
        {
            "name": names[bit],
            "frequency": frequencies[bit],
            "share": shares[bit],
            "bar": 100 * shares[bit] / largest,
        }
        for bit in order[:MOST_TRAITS]
    ]
