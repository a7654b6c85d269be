"""The batches that one can choose from, measured at the settings that `suggest` reads off."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from numpy.typing import ArrayLike

from maninegs_sampling.analysis.settings import suggest
from maninegs_sampling.data.store import ManifestationStore
from maninegs_sampling.distances.index import DistanceBucketIndex
from maninegs_sampling.distances.metrics import MetricName
from maninegs_sampling.errors import InvalidValueError
from maninegs_sampling.reports.entries import (
    Candidate,
    Entry,
    LeftOut,
    default_epochs,
    epochs_of,
)
from maninegs_sampling.sampling.peers.uniform import UniformDistinctBatchSampler
from maninegs_sampling.sampling.sampler import ManiNegBatchSampler


@dataclass(frozen=True)
class BatchChoice:
    """One kind of batch.

    Attributes:
        name: Its name.
        options: What is asked of `suggest`; None for uniform batches.
        when: When to choose it, and what it costs, in two sentences.
    """

    name: str
    options: dict[str, Any] | None
    when: str


CHOICES = (
    BatchChoice(
        "uniform, distinct patterns",
        None,
        "The yardstick for the others. Train with it to see what hardness itself changes.",
    ),
    BatchChoice(
        "ManiNeg as suggested",
        {},
        "The paper's batch: negatives near to one anchor. All pairs of a batch come only a little "
        "nearer.",
    ),
    BatchChoice(
        "near cluster",
        {"center": "cluster"},
        "All pairs of a batch are near, the hardest for a loss over all pairs. Each batch shows a "
        "narrow part of the data.",
    ),
    BatchChoice(
        "eight clusters",
        {"anchors_per_batch": 8},
        "Each row has some near negatives, and the batch stays as wide as a uniform one. A common "
        "pattern has no more room in a batch than a rare one.",
    ),
    BatchChoice(
        "eight clusters that cover the data",
        {"anchors_per_batch": 8, "coverage": "epoch"},
        "Every row once an epoch, for data of few patterns or with one giant pattern. Give the "
        "patterns to the loss as ids= where they may repeat.",
    ),
)


def measure_choices(
    store: ManifestationStore,
    *,
    batch_size: int,
    steps: int,
    groups: ArrayLike | None,
    metric: MetricName = "hamming",
    index: DistanceBucketIndex,
    seed: int,
    exact: bool,
) -> Iterator[tuple[BatchChoice, Entry | LeftOut]]:
    """Yield each choice with what was measured at its last mu, or why it cannot be made.

    Args:
        store: The manifestations.
        batch_size: Instances per batch.
        steps: Number of steps of the training.
        groups: N labels. No two instances of a batch share one.
        metric: "hamming" or "jaccard".
        index: An index of `store` to draw from.
        seed: Seed of everything that is drawn.
        exact: Whether to count the distances of all pairs for the settings, as in `suggest`.
    """
    drawing: dict[str, Any] = {"batch_size": batch_size, "seed": seed}
    distinct = partial(epochs_of, UniformDistinctBatchSampler, store, groups=groups, **drawing)
    ours = partial(epochs_of, ManiNegBatchSampler, store, index=index, **drawing)
    epochs = default_epochs(store, batch_size)
    for choice in CHOICES:
        if choice.options is None:
            yield (
                choice,
                Candidate(choice.name, distinct, metric=metric).measured_if_possible(store, epochs),
            )
            continue
        try:
            settings = suggest(
                store, steps=steps, groups=groups, metric=metric, index=index, exact=exact,
                **drawing, **choice.options,
            )  # fmt: skip
        except InvalidValueError as error:
            yield choice, LeftOut(choice.name, str(error))
            continue
        last = {**settings, "mu": settings["mu"].end}
        made = Candidate(choice.name, partial(ours, **last), metric=metric)
        yield choice, made.measured_if_possible(store, epochs)
