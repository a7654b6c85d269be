"""`maninegs report`: one HTML file on whether ManiNeg makes harder batches of a table, and why."""

import html
import io
import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from maninegs_sampling.analysis.advice import Settings
from maninegs_sampling.analysis.diagnostics import coverage
from maninegs_sampling.analysis.verdict import Suitability, suitability
from maninegs_sampling.data.schema import Schema
from maninegs_sampling.data.storage import write_atomically
from maninegs_sampling.data.store import ManifestationStore
from maninegs_sampling.distances.hamming import distance_histogram, max_distance, pattern_distances
from maninegs_sampling.quoting import escape_controls
from maninegs_sampling.reports import figures
from maninegs_sampling.sampling.sampler import ManiNegBatchSampler

# Traits shown in the table of frequencies; the rest are counted.
MOST_TRAITS = 60

STYLE = """
:root { color-scheme: light dark; --ink: #1b1b1b; --soft: #595959; --paper: #ffffff;
        --panel: #f3f4f6; --line: #d5d7db; --accent: #005f99; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #ececec; --soft: #b4b8bf; --paper: #15171a; --panel: #212429; --line: #3b4048;
          --accent: #6bb8ea; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem; max-width: 46rem; color: var(--ink);
       background: var(--paper); font: 1rem/1.55 system-ui, sans-serif; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: 0.5rem 0; }
h2 { font-size: 1.15rem; margin: 2.2rem 0 0.6rem; }
p.soft, figcaption, td.soft { color: var(--soft); }
.verdict { background: var(--panel); border-left: 0.35rem solid var(--accent);
           padding: 0.8rem 1rem; border-radius: 0.3rem; }
.verdict strong { font-size: 1.2rem; }
.verdict ul { margin: 0.5rem 0 0; padding-left: 1.2rem; }
pre { background: var(--panel); padding: 0.8rem 1rem; border-radius: 0.3rem; overflow-x: auto;
      white-space: pre-wrap; overflow-wrap: anywhere; font-size: 0.9rem; }
figure { margin: 0; }
figure svg { width: 100%; height: auto; max-width: 36rem; color: var(--ink); display: block; }
figcaption { font-size: 0.92rem; margin-top: 0.3rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: 0.3rem 0.6rem 0.3rem 0; border-bottom: 1px solid var(--line);
         vertical-align: top; font-weight: normal; }
thead th { color: var(--soft); }
td.number, th.number { text-align: right; }
td.bar { width: 40%; }
td.bar span { display: block; height: 0.8rem; background: var(--accent); border-radius: 0.15rem; }
"""


def save_report(
    path: Path,
    store: ManifestationStore,
    schema: Schema,
    *,
    source: str,
    labels: ArrayLike | None = None,
    groups: ArrayLike | None = None,
    groups_source: str = "groups",
    batch_size: int = 64,
    steps: int = 9000,
    seed: int = 0,
) -> Suitability:
    """Write the report to `path` and return the verdict.

    Args:
        path: the HTML file.
        store: the manifestations, one for each row.
        schema: the schema that made them.
        source: what the reader knows the data by.
        labels: (N,) the task's labels.
        groups: (N,) labels, such as a patient id; no two instances of a batch share one.
        groups_source: what stands for the groups in the call to copy.
        batch_size: instances a batch.
        steps: steps of the training, for the settings.
        seed: of everything drawn.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    found = suitability(
        store,
        batch_size=batch_size,
        labels=labels,
        bit_names=schema.bit_names,
        groups=groups,
        steps=steps,
        seed=seed,
    )
    sections = [
        _verdict(found),
        _settings(found, groups_source),
        _glance(store, found),
        *_figures(store, found, batch_size, steps, seed),
        _example(store, schema),
        _traits(store, schema, found),
    ]
    write_atomically(path, [_page(source, sections).encode()])
    return found


def _escape(text: str) -> str:
    """Return `text` for HTML, where a control character would act as on a terminal."""
    return html.escape(escape_controls(text))


def _page(source: str, sections: list[str]) -> str:
    title, body = _escape(source), "\n".join(section for section in sections if section)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>ManiNeg report: {title}</title>\n<style>{STYLE}</style>\n</head>\n"
        f"<body>\n<main>\n<h1>Does ManiNeg make harder batches of {title}?</h1>\n{body}\n"
        "</main>\n</body>\n</html>\n"
    )


def _verdict(found: Suitability) -> str:
    reasons = "".join(f"<li>{_escape(reason)}</li>" for reason in found.reasons)
    words = {
        "harder batches": "Yes, harder batches.",
        "harder batches with these settings": "Yes, with the settings below.",
        "no harder batches": "No, not harder than uniform ones.",
    }
    return f'<div class="verdict"><strong>{words[found.verdict]}</strong><ul>{reasons}</ul></div>'


def _settings(found: Suitability, groups_source: str) -> str:
    if found.settings is None:
        return ""
    rows = "".join(
        f"<tr><th scope=row>{_escape(name)}</th><td>{_escape(reason)}</td></tr>"
        for name, reason in found.settings.reasons.items()
    )
    arguments = found.settings.call(groups=groups_source)
    call = f"loader = mn.ManiNegBatchSampler.wrap(loader, store, {arguments})"
    return (
        "<h2>Settings to copy</h2>\n"
        f'<pre tabindex="0"><code>import maninegs_sampling as mn\n{_escape(call)}</code></pre>\n'
        "<table><thead><tr><th scope=col>setting</th><th scope=col>value and reason</th></tr>"
        f"</thead><tbody>{rows}</tbody></table>"
    )


def _glance(store: ManifestationStore, found: Suitability) -> str:
    histogram = distance_histogram(store)
    same = histogram[0] / max(1, histogram.sum())
    rows = [
        ("rows", f"{store.n_instances:,}"),
        ("traits, as bits", f"{store.n_bits:,}"),
        ("distinct patterns", f"{store.n_patterns:,}"),
        ("rows that share the most common pattern", f"{int(store.counts.max()):,}"),
        ("mean distance between two rows, as in uniform batches", f"{found.uniform_mean:.2f}"),
        ("largest distance", f"{max_distance(store)}"),
        ("pairs of rows with equal patterns", f"{same:.1%}"),
    ]
    if found.uniform_distinct_mean is not None:
        mean = f"{found.uniform_distinct_mean:.2f}"
        rows.append(("mean distance in uniform batches of distinct patterns", mean))
    cells = "".join(
        f'<tr><th scope=row>{name}</th><td class="number">{value}</td></tr>' for name, value in rows
    )
    return f"<h2>The data at a glance</h2>\n<table><tbody>{cells}</tbody></table>"


def _figures(
    store: ManifestationStore, found: Suitability, batch_size: int, steps: int, seed: int
) -> list[str]:
    bounds = figures.lower_bounds(store)
    parts = []
    if found.settings is not None:
        laws = figures.distance_laws(store, found.settings)
        start, end = found.settings["mu"].start, found.settings["mu"].end
        parts.append(
            _figure(
                "fig2",
                "How far negatives are",
                figures.draw_distance_laws(laws),
                f"Bars: distances between all pairs of rows, as uniform batches see them, "
                f"{found.uniform_mean:.1f} on average. Lines: the law at the start of training, "
                f"mu = {start:g}, and at the end, mu = {end:g}. Dotted: what independent traits "
                "would give (Figure 2 of the paper).",
            )
        )
    size, bound = bounds.data
    parts.append(
        _figure(
            "fig4",
            "How rare hard negatives are",
            figures.draw_lower_bounds(bounds),
            "Only 0.13% of uniform pairs lie below these distances (Figure 4 of the paper). "
            f"For this data, with {size} traits, the distance is {bound}.",
        )
    )
    if found.uniform_distinct_mean is not None:
        parts.append(_hardness(store, found, found.uniform_distinct_mean))
    if found.settings is not None:
        parts += _over_training(store, found.settings, batch_size, steps, seed)
    return parts


def _hardness(store: ManifestationStore, found: Suitability, distinct_mean: float) -> str:
    hard = figures.HardnessByMu(found.mus, found.measured, found.uniform_mean, distinct_mean)
    first, last = found.pair_means[0], found.pair_means[-1]
    return _figure(
        "fig5",
        "What falling mu does to a batch",
        figures.draw_hardness(hard, figures.largest_distance(store)),
        f"Share of pairs at each distance, with 95% intervals; line: mean; dashed: mean of uniform "
        f"batches of distinct patterns, {distinct_mean:.2f}; dotted: of uniform batches, "
        f"{found.uniform_mean:.2f}. All pairs of a batch are {first:.2f} apart at mu = "
        f"{found.mus[0]:g} and {last:.2f} at mu = {found.mus[-1]:g} (Figure 5 of the paper).",
    )


def _over_training(
    store: ManifestationStore, settings: Settings, batch_size: int, steps: int, seed: int
) -> list[str]:
    over_time = figures.annealing(store, settings, steps=steps, batch_size=batch_size, seed=seed)
    sampler = ManiNegBatchSampler(
        store, batch_size=batch_size, seed=seed, num_replicas=1, rank=0, **settings
    )
    seen = coverage(sampler)
    return [
        _figure(
            "annealing",
            "Hardness over training",
            figures.draw_annealing(over_time),
            f"Distances of an anchor's negatives over {steps:,} steps with the settings above; "
            "line: mean; dashed: mu. Where the mean stops falling with mu, the anchors have no "
            "nearer patterns left.",
        ),
        _figure(
            "coverage",
            "How often each row is seen",
            figures.draw_coverage(seen.instance_counts),
            f"In one epoch of {seen.n_batches:,} batches of {batch_size}: {seen.never_seen:.0%} of "
            f"the rows are not seen; the Gini coefficient of the counts is {seen.gini:.2f}. Every "
            "row is an anchor once in as many batches as there are rows.",
        ),
    ]


def _figure(name: str, title: str, figure: Any, caption: str) -> str:
    return (
        f"<h2>{_escape(title)}</h2>\n<figure>{_svg(name, figure, caption)}"
        f"<figcaption>{_escape(caption)}</figcaption></figure>"
    )


def _svg(name: str, figure: Any, description: str) -> str:
    """Return a figure as inline SVG in the page's own ink, its ids apart from other figures'."""
    import matplotlib  # there, or the figure would not be

    file = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(file, format="svg", metadata=nothing, transparent=True, dpi=150)
    text = file.getvalue()
    text = text[text.index("<svg") :].strip()
    # A hundredth of a point is as much as is seen; matplotlib writes millionths.
    text = re.sub(r' d="[^"]*"', lambda path: re.sub(r"(\.\d\d)\d+", r"\1", path[0]), text)
    text = re.sub(r'(\bid="|url\(#|xlink:href="#)', rf"\g<1>{name}-", text)
    text = text.replace(figures.INK, "currentColor")
    text = re.sub(r"font-family: [^\";]*", "font-family: system-ui, sans-serif", text)
    label = _escape(description)
    return text.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1)


def _words(store: ManifestationStore, schema: Schema, instance: int) -> set[str]:
    bits = np.unpackbits(store.words[store.pattern_of[instance]].view(np.uint8), bitorder="little")[
        : store.n_bits
    ]
    return {name for name, bit in zip(schema.bit_names, bits, strict=True) if bit}


def _example(store: ManifestationStore, schema: Schema) -> str:
    """Write out an anchor and rows at its nearest, middle and farthest distance."""
    if store.n_patterns < 2:
        return ""
    # The row with the middle number of traits: nothing special.
    counts = store.to_dense().sum(axis=1)
    anchor = int(np.argsort(counts, kind="stable")[len(counts) // 2])
    distances = pattern_distances(store, int(store.pattern_of[anchor]))[store.pattern_of]
    others = np.flatnonzero(distances > 0)
    order = others[np.argsort(distances[others], kind="stable")]
    own = _words(store, schema, anchor)
    rows = []
    chosen = (("nearest", order[0]), ("middle", order[len(order) // 2]), ("farthest", order[-1]))
    for name, other in chosen:
        theirs = _words(store, schema, int(other))
        changes = [f"without {word}" for word in sorted(own - theirs)]
        changes += [f"with {word}" for word in sorted(theirs - own)]
        rows.append(
            f"<tr><th scope=row>{name}</th><td class=number>{int(distances[other])}</td>"
            f"<td class=number>{int(other):,}</td><td>{_escape('; '.join(changes))}</td></tr>"
        )
    listed = _escape("; ".join(sorted(own)) or "no trait at all")
    return (
        f"<h2>An anchor and its neighbours</h2>\n<p>Row {anchor:,} has: {listed}.</p>\n"
        '<div class="scroll" tabindex="0" role="region" aria-label="Neighbours of the anchor">'
        "<table><thead><tr><th scope=col>neighbour</th><th scope=col class=number>distance</th>"
        "<th scope=col class=number>row</th><th scope=col>how it differs</th></tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _traits(store: ManifestationStore, schema: Schema, found: Suitability) -> str:
    shares = store.to_dense().mean(axis=0)
    order = np.argsort(-found.trait_shares, kind="stable")
    longest = max(1e-12, float(found.trait_shares.max()))
    rows = "".join(
        f"<tr><th scope=row>{_escape(schema.bit_names[b])}</th>"
        f'<td class="number">{shares[b]:.1%}</td>'
        f'<td class="number">{found.trait_shares[b]:.1%}</td>'
        f'<td class="bar"><span style="width:{100 * found.trait_shares[b] / longest:.1f}%">'
        "</span></td></tr>"
        for b in order[:MOST_TRAITS]
    )
    hidden = len(order) - MOST_TRAITS
    rest = f'<p class="soft">and {hidden} traits with smaller shares</p>' if hidden > 0 else ""
    return (
        "<h2>Which traits decide the distance</h2>\n"
        '<div class="scroll" tabindex="0" role="region" aria-label="Traits"><table><thead><tr>'
        "<th scope=col>trait</th><th scope=col class=number>rows that have it</th>"
        "<th scope=col class=number>share of the distance</th><td></td></tr></thead>"
        f"<tbody>{rows}</tbody></table></div>{rest}"
    )
