"""`maninegs suggest`: whether ManiNeg makes harder batches of a table, and with which settings."""

import argparse
from typing import Any

from maninegs_sampling.analysis.batch_hardness import N_NEAREST
from maninegs_sampling.analysis.settings import Settings, suggest
from maninegs_sampling.analysis.suitability import Suitability, suitability
from maninegs_sampling.cli_json import settings_record, suitability_record, table_record
from maninegs_sampling.cli_pairs import count_if_asked
from maninegs_sampling.cli_progress import progress
from maninegs_sampling.cli_tables import Rows, read_rows, repeated_options
from maninegs_sampling.distances.index import DistanceBucketIndex
from maninegs_sampling.reports.terminal import shell_word
from maninegs_sampling.reports.text_table import text_table

# What `suggest` makes settings for unless it is told otherwise.
PAPERS_BATCH = {"anchors_per_batch": 1, "center": "anchor", "coverage": None}


def run_suggest(options: argparse.Namespace) -> dict[str, Any]:
    """Print the verdict, its measurements, the settings with their reasons, and how to use them."""
    table = read_rows(options)
    store = table.store
    count_if_asked(store, options)
    with progress("measuring batches"):
        training: dict[str, Any] = {
            "batch_size": options.batch_size,
            "groups": table.groups,
            "steps": options.steps,
            "metric": options.metric,
            "index": DistanceBucketIndex(store, metric=options.metric),
            "exact": options.exact,
        }
        bit_names = table.schema.bit_names
        found = suitability(store, labels=table.labels(), bit_names=bit_names, **training)
    print(f"{store.n_instances} instances, {store.n_patterns} distinct patterns\n\n{found}\n")
    if found.mus:
        print(_hardness_table(found) + "\n")
    settings = found.settings
    asked_for: dict[str, Any] = {name: getattr(options, name) for name in PAPERS_BATCH}
    if asked_for != PAPERS_BATCH:
        print(
            "Settings for the batches asked for; the answer above is about batches of one anchor "
            "and distinct patterns."
        )
        with progress("measuring settings"):
            settings = suggest(store, **training, **asked_for)
    if settings is not None:
        for name, reason in settings.reasons.items():
            print(f"{name}: {reason}")
        _print_how_to_use(settings, table, options)
    return {
        **table_record(table),
        **suitability_record(found),
        "settings": settings_record(settings, groups_source=table.groups_source),
    }


def _hardness_table(found: Suitability) -> str:
    assert found.uniform_distinct is not None
    measured = [("uniform batches of distinct patterns", found.uniform_distinct)]
    names = (f"ManiNeg, mu = {mu:g}" for mu in found.mus)
    measured += zip(names, found.measured, strict=True)
    rows = [("uniform batches", "", f"{found.uniform_mean:.2f}", "")]
    rows += (
        (name, f"{h.anchor_mean:.2f}", f"{h.pair_mean:.2f}", f"{h.nearest_mean:.2f}")
        for name, h in measured
    )
    header = ("mean distance", "to the anchor", "all pairs", f"{N_NEAREST} nearest")
    return text_table(header, rows)


def _print_how_to_use(settings: Settings, table: Rows, options: argparse.Namespace) -> None:
    """Print the call with the settings, and the command that compares samplers at them."""
    call = settings.call(groups=table.groups_source)
    print(f"\nmn.ManiNegBatchSampler.wrap(loader, store, {call})")
    words = [*options.tables, *repeated_options(options)]
    words += ["--metric", options.metric] if options.metric != "hamming" else []
    schedule = settings["mu"]
    print(
        f"maninegs compare {' '.join(map(shell_word, words))} --batch-size {options.batch_size} "
        f"--mu {schedule.start:g} {schedule.end:g} --sigma {settings['sigma']:g}"
    )
