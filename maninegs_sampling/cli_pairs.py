"""How the command tells of the distances between rows: the option --exact and the histogram."""

import argparse
from typing import get_args

from maninegs_sampling.data.store import ManifestationStore
from maninegs_sampling.distances.histogram import distance_histogram
from maninegs_sampling.distances.metrics import METRICS, MetricName
from maninegs_sampling.distances.pairs import (
    MOST_COUNTED_PATTERNS,
    mean_distance,
    pair_distances,
)


def add_exact_option(parser: argparse.ArgumentParser) -> None:
    """Add --exact to a command.

    Args:
        parser: The command.
    """
    parser.add_argument(
        "--exact",
        action="store_true",
        help="count the distances of all pairs, which takes minutes for a million patterns; by "
        f"default they are estimated from random pairs above {MOST_COUNTED_PATTERNS:,} patterns",
    )


def add_metric_option(parser: argparse.ArgumentParser) -> None:
    """Add --metric to a command.

    Args:
        parser: The command.
    """
    parser.add_argument(
        "--metric",
        choices=get_args(MetricName),
        default="hamming",
        help="what distances are; by default hamming. jaccard: from 0 to 1, for tags, codes and "
        "fingerprints, of which most are absent",
    )


def print_distances(store: ManifestationStore, metric: MetricName) -> None:
    """Print the numbers of pairs at each distance, or their estimated shares if they are many.

    Args:
        store: The manifestations.
        metric: What distances are. Jaccard distances that no pair has are left out.
    """
    pairs = pair_distances(store, metric=metric)
    mean = mean_distance(store, metric=metric)
    print(f"\npairs of rows by {metric.capitalize()} distance (mean {mean:.2f})")
    if pairs.n_drawn is None:
        shown = [f"{n:12d}" for n in distance_histogram(store, metric=metric)]
    else:
        print(f"{estimate_note(store, metric)}; share and standard error")
        shown = [
            f"{share:10.4%} +- {error:7.4%}"
            for share, error in zip(pairs.shares, pairs.errors, strict=True)
        ]
    most = pairs.shares.max() or 1
    for step in range(METRICS[metric].step(pairs.largest) + 1):
        if metric == "hamming" or pairs.shares[step] > 0:
            bar = "#" * round(50 * pairs.shares[step] / most)
            distance = METRICS[metric].distance(step)
            print(f"{distance:>4} {shown[step]}  {bar}".rstrip())


def estimate_note(store: ManifestationStore, metric: MetricName) -> str:
    """Return that distances are estimated, from what, and how to have them counted.

    Args:
        store: The manifestations.
        metric: What distances are.
    """
    source = pair_distances(store, metric=metric).source
    return (
        f"estimated from {source}, because there are more than {MOST_COUNTED_PATTERNS:,} patterns; "
        "--exact counts all pairs"
    )


def count_if_asked(store: ManifestationStore, options: argparse.Namespace) -> None:
    """Count all pairs, so that whatever is told about them is exact, if --exact is given.

    Args:
        store: The manifestations.
        options: Options of the command.
    """
    if options.exact:
        distance_histogram(store, metric=options.metric, progress=True)
