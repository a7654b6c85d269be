"""How the command tells of the distances between rows: the option --exact and the histogram."""

import argparse

from maninegs_sampling.data.store import ManifestationStore
from maninegs_sampling.distances.histogram import distance_histogram
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


def print_distances(store: ManifestationStore) -> None:
    """Print the numbers of pairs at each distance, or their estimated shares if they are many.

    Args:
        store: The manifestations.
    """
    pairs = pair_distances(store)
    print(f"\npairs of rows by Hamming distance (mean {mean_distance(store):.2f})")
    if pairs.n_drawn is None:
        shown = [f"{n:12d}" for n in distance_histogram(store)]
    else:
        print(f"{estimate_note(store)}; share and standard error")
        shown = [
            f"{share:10.4%} +- {error:7.4%}"
            for share, error in zip(pairs.shares, pairs.errors, strict=True)
        ]
    most = pairs.shares.max() or 1
    for distance in range(pairs.largest + 1):
        bar = "#" * round(50 * pairs.shares[distance] / most)
        print(f"{distance:4d} {shown[distance]}  {bar}".rstrip())


def estimate_note(store: ManifestationStore) -> str:
    """Return that distances are estimated, from what, and how to have them counted.

    Args:
        store: The manifestations.
    """
    return (
        f"estimated from {pair_distances(store).source}, because there are more than "
        f"{MOST_COUNTED_PATTERNS:,} patterns; --exact counts all pairs"
    )


def count_if_asked(store: ManifestationStore, options: argparse.Namespace) -> None:
    """Count all pairs, so that whatever is told about them is exact, if --exact is given.

    Args:
        store: The manifestations.
        options: Options of the command.
    """
    if options.exact:
        distance_histogram(store, progress=True)
