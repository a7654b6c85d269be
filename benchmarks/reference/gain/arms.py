"""The arms that are compared: how batches are drawn, and which loss is computed on them."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import chain, count, islice, repeat
from typing import Any, Final

import numpy as np
from torch import Tensor

from benchmarks.reference.gain.weighting import weighted_inter_modal_nt_xent, weighted_nt_xent
from maninegs_sampling import (
    GraphBlockBatchSampler,
    LinearAnnealing,
    ManifestationStore,
    ManiNegBatchSampler,
    NeighborGroupBatchSampler,
    RandomWalkBatchSampler,
    hard_negative_inter_modal_nt_xent,
    hard_negative_nt_xent,
    inter_modal_nt_xent,
    nt_xent,
    suggest,
)
from maninegs_sampling.analysis.baselines import Epochs, uniform, uniform_distinct

# From the store, the batch size, the seed and the number of steps to the batches.
Draw = Callable[[ManifestationStore, int, int, int], Iterable[list[int]]]
Options = Callable[[ManifestationStore, int, int], dict[str, Any]]

# Far from the seeds of any run.
OTHER_SEED: Final = 2**32
DEALING: Final = 1  # the stream of a seed from which instances are dealt


@dataclass(frozen=True)
class Arm:
    """A batch and a loss.

    Attributes:
        draw: the batches.
        masks: whether instances of one pattern are left out of each other's negatives between
            views. Between an image and the manifestations they always are.
        views: the loss between the two views of the images.
        modal: the loss between images and manifestations, in multimodal training.
    """

    draw: Draw
    masks: bool = False
    views: Callable[..., Tensor] = nt_xent
    modal: Callable[..., Tensor] = inter_modal_nt_xent


def epochs(make: Callable[[ManifestationStore, int, int], Epochs]) -> Draw:
    """Return a `Draw` of one of the package's baselines."""

    def draw(
        store: ManifestationStore, batch_size: int, seed: int, steps: int
    ) -> Iterable[list[int]]:
        of_epoch = make(store, batch_size, seed)
        return islice(chain.from_iterable(map(of_epoch, count())), steps)

    return draw


def sampled(make: Callable[..., Iterable[list[int]]], options: Options) -> Draw:
    """Return a `Draw` of a sampler, with options from the store, the batch size and the steps."""

    def draw(
        store: ManifestationStore, batch_size: int, seed: int, steps: int
    ) -> Iterable[list[int]]:
        chosen = options(store, batch_size, steps)
        sampler = make(store, batch_size=batch_size, seed=seed, **chosen)
        return islice(chain.from_iterable(repeat(sampler)), steps)

    return draw


def manineg(options: Options) -> Draw:
    """Return a `Draw` of ManiNeg."""
    return sampled(ManiNegBatchSampler, options)


def dealt(draw: Draw) -> Draw:
    """Return a `Draw` of the same instances, as often, dealt to batches at random."""

    def shuffled(
        store: ManifestationStore, batch_size: int, seed: int, steps: int
    ) -> Iterable[list[int]]:
        places = np.concatenate(list(draw(store, batch_size, seed, steps)))
        rng = np.random.default_rng((seed, DEALING))
        batches: list[list[int]] = rng.permutation(places).reshape(steps, batch_size).tolist()
        return batches

    return shuffled


def with_other_seed(store: ManifestationStore, batch_size: int, seed: int) -> Epochs:
    """Return the uniform batches of another seed."""
    return uniform(store, batch_size, seed + OTHER_SEED)


def paper(store: ManifestationStore, batch_size: int, steps: int) -> dict[str, Any]:
    """Return Table III's mu and sigma, with mu at its end after half of the steps."""
    return {"mu": LinearAnnealing(11, 0, steps=max(1, steps // 2)), "sigma": 3.0}


def suggested(store: ManifestationStore, batch_size: int, steps: int) -> dict[str, Any]:
    """Return what `suggest` proposes."""
    return dict(suggest(store, steps=steps, batch_size=batch_size))


def masked(store: ManifestationStore, batch_size: int, steps: int) -> dict[str, Any]:
    """Return the paper's numbers, with instances of one pattern in a batch."""
    return {**paper(store, batch_size, steps), "duplicates": "keep"}


def covering(store: ManifestationStore, batch_size: int, steps: int) -> dict[str, Any]:
    """Return the paper's numbers, with each instance once an epoch."""
    return {**masked(store, batch_size, steps), "coverage": "epoch"}


def as_many_neighbors(store: ManifestationStore, batch_size: int, steps: int) -> dict[str, Any]:
    """Return options that give an instance as many neighbors as a batch has instances."""
    return {"n_neighbors": batch_size}


def constant(**options: Any) -> Options:
    """Return the same options for any data."""
    return lambda store, batch_size, steps: options


HARD: Final = {"mu": 0, "sigma": 1}
CLUSTERS: Final = {**HARD, "anchors_per_batch": 8}  # of batch_size / 8 instances each
ARMS: Final[dict[str, Arm]] = {
    # What the others are compared with, and what bounds the comparison from both sides.
    "uniform": Arm(epochs(uniform)),
    "uniform-again": Arm(epochs(with_other_seed)),
    "untrained": Arm(lambda *arguments: []),
    # Batches
    "uniform-distinct": Arm(epochs(uniform_distinct)),
    "uniform-masked": Arm(epochs(uniform), masks=True),
    "manineg-paper": Arm(manineg(paper)),
    "manineg-suggested": Arm(manineg(suggested)),
    "manineg-masked": Arm(manineg(masked), masks=True),
    "graph-blocks": Arm(sampled(GraphBlockBatchSampler, as_many_neighbors)),
    "clusters-epoch-masked": Arm(
        manineg(constant(**CLUSTERS, duplicates="keep", coverage="epoch")), masks=True
    ),
    "clusters-epoch": Arm(manineg(constant(**CLUSTERS, duplicates="keep", coverage="epoch"))),
    "clusters-distinct": Arm(manineg(constant(**CLUSTERS, duplicates="refill", coverage="free"))),
    "cluster-hard": Arm(manineg(constant(**HARD, anchors_per_batch=1, center="cluster"))),
    "neighbor-groups": Arm(sampled(NeighborGroupBatchSampler, constant(group_size=8))),
    "random-walk": Arm(sampled(RandomWalkBatchSampler, constant())),
    # Losses
    "vmf": Arm(
        epochs(uniform), views=hard_negative_nt_xent, modal=hard_negative_inter_modal_nt_xent
    ),
    "weighted": Arm(epochs(uniform), views=weighted_nt_xent, modal=weighted_inter_modal_nt_xent),
    # Of round 4
    "uniform-distinct-dealt": Arm(dealt(epochs(uniform_distinct))),
    "manineg-paper-dealt": Arm(dealt(manineg(paper))),
    "manineg-epoch-masked": Arm(manineg(covering), masks=True),
}
FIRST_ARMS: Final = tuple(ARMS)[:-3]  # of round 1
# They are not hypotheses, so that no family counts them.
CONTROLS: Final = ("uniform", "uniform-again", "untrained")
