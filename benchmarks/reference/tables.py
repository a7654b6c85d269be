"""Tables IV to VII and Figure 6 from the results of runs."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from scipy import stats

PROTOCOLS: Final = ("LP", "LE", "FT")
NAMES: Final = {"none": "no pretraining", "uniform": "uniform", "vmf": "vMF", "manineg": "ManiNeg"}
# The paper's own tables: (mode, 0 for the dataset pretrained on and 1 for the other) to AUC in %.
PAPER: Final = {
    ("unimodal", 0): ("IV", "MVKL", {
        "uniform": (57.71, 72.47, 76.38), "vmf": (60.45, 71.72, 77.53),
        "manineg": (60.46, 72.73, 77.54)}),
    ("unimodal", 1): ("V", "CBIS-DDSM", {
        "uniform": (63.38, 67.06, 72.33), "vmf": (60.58, 65.46, 72.00),
        "manineg": (64.64, 67.44, 72.92)}),
    ("multimodal", 0): ("VI", "MVKL", {
        "uniform": (63.52, 73.78, 77.75), "vmf": (59.11, 72.01, 76.44),
        "manineg": (65.16, 74.36, 79.82)}),
    ("multimodal", 1): ("VII", "CBIS-DDSM", {
        "uniform": (60.88, 67.47, 70.51), "vmf": (63.78, 64.03, 70.60),
        "manineg": (64.71, 70.54, 74.55)}),
}  # fmt: skip

Results = Sequence[dict[str, Any]]


def values(results: Results, mode: str, sampler: str, key: str) -> dict[int, float]:
    """Return one measurement of one sampler's runs by seed. Without pretraining, modes are one."""
    wanted = {"mode": "unimodal" if sampler == "none" else mode, "sampler": sampler}
    return {
        result["run"]["seed"]: result[key]
        for result in results
        if wanted.items() <= result["run"].items() and key in result
    }


def spread(found: Sequence[float], scale: float = 100.0) -> str:
    """Return mean ± standard deviation, in % by default."""
    scaled = scale * np.asarray(found)
    deviation = f" ± {scaled.std(ddof=1):.2f}" if len(scaled) > 1 else ""
    return f"{scaled.mean():.2f}{deviation}"


def interval(differences: Sequence[float], confidence: float = 0.95) -> tuple[float, float, float]:
    """Return the mean of paired differences and the ends of Student's interval around it.

    The ends are nan where there are fewer than two differences.
    """
    d = np.asarray(differences, dtype=float)
    if len(d) < 2:
        return float(d.mean()), float("nan"), float("nan")
    half = stats.t.ppf((1 + confidence) / 2, len(d) - 1) * stats.sem(d)
    return float(d.mean()), float(d.mean() - half), float(d.mean() + half)


def with_interval(differences: Sequence[float]) -> str:
    """Return the mean of paired differences and its interval as text, empty if there are none."""
    if not len(differences):
        return ""
    mean, low, high = interval(differences)
    return f"{mean:+.2f}" if len(differences) < 2 else f"{mean:+.2f} [{low:+.2f}, {high:+.2f}]"


def difference(first: dict[int, float], second: dict[int, float]) -> str:
    """Return the mean difference first - second over common seeds, in %, with its interval."""
    seeds = sorted(first.keys() & second.keys())
    return with_interval([100 * (first[s] - second[s]) for s in seeds])


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table with aligned columns."""
    table = [list(header), *map(list, rows)]
    widths = [max(len(row[c]) for row in table) for c in range(len(header))]
    lines = [
        "| " + " | ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) + " |"
        for row in table
    ]
    rule = "| " + " | ".join("-" * w for w in widths) + " |"
    return "\n".join([lines[0], rule, *lines[1:]])


def auc_table(results: Results, mode: str, place: int, dataset: str) -> str:
    """Return one of Tables IV to VII, with the paper's own numbers beside ours."""
    number, theirs, paper = PAPER[mode, place]
    found = {
        (sampler, protocol): values(results, mode, sampler, f"{dataset} {protocol}")
        for sampler in NAMES
        for protocol in PROTOCOLS
    }
    rows = []
    for sampler, name in NAMES.items():
        ours = [found[sampler, protocol] for protocol in PROTOCOLS]
        if all(ours):
            cited = [f"{auc:.2f}" for auc in paper.get(sampler, ())] or ["", "", ""]
            rows.append([name, *(spread(list(auc.values())) for auc in ours), *cited])
    for sampler in ("vmf", "manineg"):
        if found[sampler, "FT"] and found["uniform", "FT"]:
            ours_less = [
                difference(found[sampler, protocol], found["uniform", protocol])
                for protocol in PROTOCOLS
            ]
            cited = [f"{a - b:+.2f}" for a, b in zip(paper[sampler], paper["uniform"], strict=True)]
            rows.append([f"{NAMES[sampler]} - uniform", *ours_less, *cited])
    seeds = len(found["uniform", "FT"])
    title = (
        f"Table {number}: {mode} pretraining, tested on {dataset} "
        f"(AUC in %, mean ± standard deviation of {seeds} seeds; paired differences with 95% "
        f"intervals; the paper's are on {theirs})"
    )
    header = ["", *PROTOCOLS, *(f"paper {protocol}" for protocol in PROTOCOLS)]
    return f"{title}\n\n{markdown(header, rows)}"


def diagnosis(results: Results, dataset: str) -> str:
    """Return measurements of batches and features for each sampler, which explain the tables."""
    rows = []
    for mode in ("unimodal", "multimodal"):
        for sampler, name in NAMES.items():
            runs = [
                r for r in results if r["run"]["mode"] == mode and r["run"]["sampler"] == sampler
            ]
            if not runs:
                continue
            late = [run.get("last tenth of the steps", {}) for run in runs]
            cells = [
                spread([part[key] for part in late], 1.0) if late[0] else ""
                for key in ("distance between pairs", "negative cosine", "positive cosine")
            ]
            distances = [
                float(np.mean(r["cosine distances"])) for r in runs if "cosine distances" in r
            ]
            cells.append(spread(distances, 1.0) if distances else "")
            cells.append(spread([run[f"{dataset} traits"] for run in runs]))
            rows.append([mode, name, *cells])
    header = [
        "", "", "bits between pairs", "cosine of negatives", "cosine of positives",
        "image to manifestation", "AUC of traits",
    ]  # fmt: skip
    title = (
        "Batches and losses in the last tenth of the steps; the mean cosine distance from test "
        "images to their manifestations (Figure 6); how well features tell the traits"
    )
    return f"{title}\n\n{markdown(header, rows)}"


def report(results: Results, datasets: Sequence[str]) -> str:
    """Return all tables."""
    parts = [
        auc_table(results, mode, place, dataset)
        for mode in ("unimodal", "multimodal")
        for place, dataset in enumerate(datasets)
        if values(results, mode, "uniform", f"{dataset} FT")
    ]
    return "\n\n".join([*parts, diagnosis(results, datasets[0])]) + "\n"


def alignment_figure(results: Results) -> Any:
    """Return Figure 6 as a matplotlib Figure: how far test images are from their manifestations."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 2.8), layout="constrained")
    axes = figure.subplots(1, 3, sharey=True)
    for axis, sampler in zip(axes, ("manineg", "uniform", "vmf"), strict=True):
        found = values(results, "multimodal", sampler, "cosine distances")
        distances = np.concatenate([np.asarray(d) for d in found.values()] or [np.zeros(0)])
        if len(distances):
            weights = np.full(len(distances), 1 / len(distances))
            axis.hist(distances, bins=np.linspace(0, 2, 61), weights=weights, color="tab:blue")
            axis.set_title(f"{NAMES[sampler]}, mean {distances.mean():.3f}")
        axis.set_xlabel("cosine distance")
    axes[0].set_ylabel("share of test views")
    return figure
