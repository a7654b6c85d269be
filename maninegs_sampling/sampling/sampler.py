"""ManiNegBatchSampler: hard-negative minibatches drawn by distance (Algorithm 1)."""

from typing import Any, ClassVar, Literal, get_args

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch.utils.data import Sampler

from maninegs_sampling.data.store import ManifestationStore
from maninegs_sampling.distances.index import DistanceBucketIndex
from maninegs_sampling.distances.metrics import METRICS, MetricName, metric_of
from maninegs_sampling.errors import InvalidValueError, check_choice, check_count
from maninegs_sampling.sampling import state
from maninegs_sampling.sampling.base import INSTANCES_PER_CALL
from maninegs_sampling.sampling.correction import check_known, log_frequencies
from maninegs_sampling.sampling.description import BatchDescription, distances_from
from maninegs_sampling.sampling.drawer import BatchDrawer, Center, Draw, Duplicates, Empty
from maninegs_sampling.sampling.epoch_length import BatchesPerEpoch
from maninegs_sampling.sampling.groups import group_numbers, numbers_of_drawn
from maninegs_sampling.sampling.planned import PlannedBatchSampler
from maninegs_sampling.sampling.planner import EpochPlanner
from maninegs_sampling.sampling.presets import AUTHORS, PAPER, check_hamming
from maninegs_sampling.sampling.replicas import Shard
from maninegs_sampling.sampling.schedules import Schedule, as_schedule
from maninegs_sampling.sampling.search import Search, SearchPlan

# "free": each batch is drawn for itself. "epoch": an epoch is a partition of the instances.
Coverage = Literal["free", "epoch"]

# Probabilities evaluated for one call: with thousands of bits it draws fewer batches.
_PROBABILITIES_PER_CALL = 2**18
# Distances computed in one call, if they are scanned.
_DISTANCES_PER_CALL = 2**20
# Sums of distances brought up to date in one call, if center="cluster".
_SUMS_PER_CALL = 2**24


class ManiNegBatchSampler(PlannedBatchSampler):
    """Draw batches of anchors and negatives at chosen distances (ManiNeg, Algorithm 1).

    The distances follow a truncated Gaussian. A batch is a list of instance numbers, the anchor
    first. Batch k of epoch e is a pure function of (store, options, seed, e, k): it can be drawn
    again with `batch`, early by prefetching workers, or after a restart, and is always the same.

    A pass over the sampler is one epoch. Each pass belongs to the epoch after that of the last
    pass that began, finished or not, unless `set_epoch` or `load_state_dict` says otherwise.
    Options cannot be changed after construction; `replace_store` sets the store of later epochs.

    Args:
        store: one manifestation for each item of the dataset, in the same order.
        batch_size: instances in a batch of each rank.
        metric: "hamming": the number of traits in which two manifestations differ, as in the
            paper. "jaccard": 1 - |a & b| / |a | b| for the sets of traits that they have, 0 for two
            empty sets: 1 minus the Tanimoto similarity, for fingerprints, tags and codes, of which
            most are absent. `mu`, `sigma`, `low` and `high` are then in its unit, from 0 to 1. Its
            distances are rounded up to hundredths, of which 0 holds equal patterns alone.
        mu: mean of the distance distribution before truncation. A number, or a function from the
            global step (epoch * batches per epoch + k) to a number, such as
            `LinearAnnealing(11, 0, steps=4500)`. The smaller, the harder the negatives. A function
            of your own is called only for steps whose batches are drawn. It must return the same
            number whenever it is called with the same step.
        sigma: standard deviation before truncation. Default: the paper's 3, or 0.1 with
            metric="jaccard".
        low: smallest distance of a negative. Default: 1, the smallest there can be; 0.01 with
            metric="jaccard", of which it must be a multiple, as must `high`.
        high: largest distance of a negative. Default: the largest distance in the data.
        empty: what happens to distances at which the anchor has no instance. "renormalize": the
            distribution is conditioned on the distances that the anchor has. "nearest": the draw
            moves to the nearest distance that the anchor has, the lower one on a tie, as in the
            authors' code.
        draw: "instance": all instances at the drawn distance are equally likely, as in the paper.
            "pattern": a pattern at that distance is drawn, then one of its instances, as in the
            authors' code.
        duplicates: "refill": no pattern appears twice in a batch, and drawing goes on until the
            batch is full. "keep": patterns may repeat, instances may not, and the batch is filled;
            tell the loss with `ids=`, see `PatternDataset`. "drop_patterns": batch_size - 1 draws
            with replacement, of which each pattern is kept once, as in Algorithm 1; the batch may
            be shorter. "drop_instances": the same, but each instance is kept once, as in the
            authors' code.
        anchors_per_batch: m, a divisor of the batch size. A batch consists of m clusters, one after
            the other, each of an anchor and its negatives. 1 is the paper; batch_size gives uniform
            batches of distinct patterns. Anchors after the first are drawn uniformly among the
            instances that may still be in the batch. With `shard="within"` the m clusters are those
            of the batch of all ranks.
        center: what the distance of a candidate is measured from. "anchor": the cluster's anchor,
            as in the paper. "cluster": its mean distance to the members of the cluster so far, in
            quarters of a bit, so that all pairs of a cluster are near, and not only those with the
            anchor. Members of the candidate's own pattern do not count.
        skip_nearest: the number of patterns nearest to an anchor that are not drawn for it, the
            likeliest false negatives: a floor by rank, beside `low`, the floor by distance. Of
            equally near patterns the first in `store.words` are skipped.
        coverage: "free": each batch is drawn for itself. "epoch": each instance is in exactly one
            batch of an epoch. The epoch is planned as a whole when its first batch is drawn: it is
            a draw from the distribution of "free", conditioned on each instance being used once;
            with center="cluster" all members of a cluster count alike. `duplicates` must be
            "refill" or "keep", and `batches_per_epoch` None or "ceil". `mu` is called for all steps
            of the epoch.
        groups: (N,) labels, such as patient ids. No two instances of a batch share one. No label
            may be missing.
        indices: (n,) the instances that may be drawn, as anchors and as negatives, such as the
            training part of the dataset. Default: all.
        seed: in [0, 2**64). It is the sampler's own: `torch.manual_seed` and a trainer's seed do
            not reach it.
        batches_per_epoch: a number, "ceil" or "anchors". Default: n // (W * batch_size) for n
            instances that may be drawn and W ranks, so that learning-rate schedules written for
            uniform batches keep their meaning. "ceil": the same rounded up, as in a DataLoader
            that keeps its last, smaller batch. "anchors": every instance is an anchor once an
            epoch, as in Algorithm 1.
        num_replicas: the number of ranks. Default: 1, because Accelerate and the trainers built on
            it shard any batch sampler themselves.
        rank: the number of this rank.
        distributed: "auto" takes both from torch.distributed or from torchrun's environment, when
            batches are first drawn if neither runs before.
        shard: "batches": each rank draws its own batches. "within": one batch of
            num_replicas * batch_size is split over the ranks, for losses that gather negatives.
        memory_limit: for lists of all pairs, see `DistanceBucketIndex`.
        index: how the instances around an anchor are found. "lists": sorted beforehand, by distance
            from each pattern. "scan": all distances are computed for each anchor. "near": patterns
            near to it are looked up, and farther ones come from a uniform sample: the distribution
            is approximate beyond a radius, see `plan`. A ready `DistanceBucketIndex` of the
            instances that may be drawn, with `rows=f"{draw}s"` and this `metric`. Default: lists
            that fit `memory_limit`; else, from 4,194,304 patterns on and with metric="hamming",
            "near" where its radius holds a cluster; else "scan". Lists and scan give the same
            batches, "near" gives others.
        sampler: the DistributedSampler that Lightning passes to a batch sampler that it rebuilds.
            Its ranks are taken if nothing else is said about ranks.

    Raises:
        InvalidTypeError, InvalidValueError: If an option cannot be used, or if there are too few
            instances, patterns or groups for a full batch, or for an epoch that covers them all.

    Warns:
        UserWarning: If several ranks run and nothing was said about them. Once, if an anchor
            reaches too few patterns between `low` and `high` to fill its batch.

    Example:
        >>> store = ManifestationStore.from_dense(np.eye(8, dtype=bool))
        >>> sampler = ManiNegBatchSampler(store, batch_size=4, mu=2.0, sigma=1.0)
        >>> len(sampler), [len(batch) for batch in sampler]
        (2, [4, 4])
        >>> sampler.batch(1, epoch=7) == sampler.batch(1, epoch=7)
        True
    """

    _fixed: ClassVar[frozenset[str]] = PlannedBatchSampler._fixed | {
        "metric", "mu", "sigma", "low", "high", "empty", "draw", "duplicates", "index",
        "anchors_per_batch", "center", "skip_nearest", "coverage",
    }  # fmt: skip

    def __init__(
        self,
        store: ManifestationStore,
        *,
        batch_size: int,
        mu: float | Schedule,
        metric: MetricName = "hamming",
        sigma: float | None = None,
        low: float | None = None,
        high: float | None = None,
        empty: Empty = "renormalize",
        draw: Draw = "instance",
        duplicates: Duplicates = "refill",
        anchors_per_batch: int = 1,
        center: Center = "anchor",
        skip_nearest: int = 0,
        coverage: Coverage = "free",
        groups: ArrayLike | None = None,
        indices: ArrayLike | torch.Tensor | None = None,
        seed: int = 0,
        batches_per_epoch: BatchesPerEpoch = None,
        num_replicas: int | None = None,
        rank: int | None = None,
        distributed: Literal["auto"] | None = None,
        shard: Shard = "batches",
        memory_limit: int | str = "1GiB",
        index: DistanceBucketIndex | Search | None = None,
        sampler: Sampler[Any] | None = None,
    ) -> None:
        self.coverage: Coverage = check_choice("coverage", coverage, get_args(Coverage))
        self.metric: MetricName = metric_of(metric).name
        self.mu = as_schedule(mu)
        self._mu_at(0)
        super().__init__(
            store, batch_size=batch_size, indices=indices, seed=seed,
            batches_per_epoch=batches_per_epoch, num_replicas=num_replicas, rank=rank,
            distributed=distributed, shard=shard, sampler=sampler,
        )  # fmt: skip
        numbers = None if groups is None else group_numbers(groups, store.n_instances)
        self._groups = numbers_of_drawn(numbers, self.indices)
        self._remember("groups", numbers)
        self._remember("index", index if isinstance(index, str) else None)
        self._drawer = BatchDrawer(
            self._drawn, metric=self.metric, sigma=sigma, low=low, high=high, empty=empty,
            draw=draw, duplicates=duplicates, anchors_per_batch=anchors_per_batch, center=center,
            skip_nearest=skip_nearest, groups=self._groups, memory_limit=memory_limit, index=index,
            batch_size=self.batch_size, plans_epochs=self.covers,
        )  # fmt: skip
        self.index = self._drawer.index
        self.sigma = self._drawer.sigma
        self.low = METRICS[self.metric].distance(self._drawer.low)
        self.high = METRICS[self.metric].distance(self._drawer.high)
        self.empty, self.duplicates = self._drawer.empty, self._drawer.duplicates
        self.draw = self._drawer.instances_or_patterns
        self.anchors_per_batch, self.center = self._drawer.anchors_per_batch, self._drawer.center
        self.skip_nearest = self._drawer.skip_nearest
        self._check_supply()
        self._drawn_steps = state.DrawnSteps()
        self._settle_replicas()

    @property
    def covers(self) -> bool:
        """Whether each instance is in exactly one batch of an epoch."""
        return self.coverage == "epoch"

    def _check_supply(self) -> None:
        if self._global_batch_size % self.anchors_per_batch:
            raise InvalidValueError(
                f"anchors_per_batch={self.anchors_per_batch} must divide the batch, of "
                f"{self._global_batch_size} instances"
            )
        if self.covers:
            super()._check_supply()
            self._planner.check_supply(self._count_batches() * self._n_parts)
        else:
            self._drawer.check_supply(self._global_batch_size)

    @property
    def _planner(self) -> EpochPlanner:
        return EpochPlanner(self._drawer, self._global_batch_size // self.anchors_per_batch)

    def _plan(self, epoch: int) -> NDArray[np.int64]:
        first = epoch * self._batches_per_epoch
        steps = range(first, first + self._batches_per_epoch)
        mus = np.array([self._mu_at(step) for step in steps])
        return self._planner.plan(
            self._edges(), np.repeat(mus, self._n_parts), seed=self.seed, epoch=epoch
        )

    def plan(self) -> SearchPlan:
        """Return how the instances around an anchor are found, and why.

        Example:
            >>> store = ManifestationStore.from_dense(np.eye(8, dtype=bool))
            >>> print(ManiNegBatchSampler(store, batch_size=4, mu=2.0).plan())
            lists: lists of all pairs fit the memory limit, '1GiB'
        """
        return self._drawer.search_plan

    def describe(self, epoch: int, k: int) -> BatchDescription:
        """Return mu, the distribution and the drawn distances of batch `k`, for logging.

        Cheap enough to call at every step. What was drawn before does not change the result.

        Raises:
            InvalidValueError: If `k` is outside [0, len(self)) or `epoch` is negative.

        Example:
            >>> from maninegs_sampling import LinearAnnealing
            >>> store = ManifestationStore.from_dense(np.eye(8, dtype=bool))
            >>> mu = LinearAnnealing(4, 0, steps=4)
            >>> sampler = ManiNegBatchSampler(store, batch_size=4, mu=mu)
            >>> seen = sampler.describe(epoch=1, k=0)
            >>> seen.step, seen.mu, seen.distances.tolist(), seen.mean_distance
            (2, 2.0, [2, 2, 2], 2.0)
        """
        epoch, k = self._check_epoch(epoch), self._check_number(k)
        drawing = self._drawing(epoch)
        instances, anchors = drawing._with_anchors(epoch, k)
        if self.shard == "within":
            mine = self._share(len(instances))
            instances, anchors = instances[mine], anchors[mine]
        negatives = instances != anchors
        distances = distances_from(
            drawing._drawn, anchors[negatives], instances[negatives], self.metric
        )
        step = epoch * len(self) + k
        mu = self._mu_at(step)
        return BatchDescription(step, mu, drawing._drawer.distribution(mu), distances)

    def log_q(self, epoch: int, k: int) -> NDArray[np.float64]:
        """Return how often batch `k` draws its instances relative to uniform sampling, for a loss.

        Pass it as `log_q=` to `nt_xent` or `inter_modal_nt_xent`. The sum over the negatives of the
        anchor then has the expectation that it has with as many negatives drawn uniformly among the
        instances at distances from `low` to `high`: exp(-log_q) are the weights of Des Raj's
        estimator ("Some Estimators in Sampling with Varying Probabilities without Replacement",
        JASA 1956), times the number of draws and divided by the number of these instances. The
        other rows of the batch get the same weights, which are only exact for the anchor. Use it to
        train uniform sampling's objective; leave it out where hard negatives are meant to weigh
        more, as in ManiNeg.

        Returns:
            (B,) float64, in the order of the batch, or of this rank's share. 0 for the anchor.

        Raises:
            InvalidValueError: If `k` is outside [0, len(self)) or `epoch` is negative, or the
                probabilities are not known: with `groups`, `skip_nearest`, `empty="nearest"`,
                several anchors, `center="cluster"`, `coverage="epoch"`, or `duplicates` that drop.

        Example:
            >>> store = ManifestationStore.from_dense(np.eye(8, dtype=bool))
            >>> sampler = ManiNegBatchSampler(store, batch_size=4, mu=2.0)
            >>> sampler.log_q(epoch=0, k=0).round(2)  # all others are at distance 2
            array([ 0.  , -0.25,  0.  ,  0.34])
        """
        check_known(self._drawer, covers=self.covers)
        epoch, k = self._check_epoch(epoch), self._check_number(k)
        drawing = self._drawing(epoch)
        instances, _ = drawing._with_anchors(epoch, k)
        log_weights = drawing._drawer.log_weights(np.array([self._mu_at(epoch * len(self) + k)]))[0]
        log_q = log_frequencies(drawing._drawer, instances, log_weights)
        return log_q[self._share(len(log_q))] if self.shard == "within" else log_q

    def _with_anchors(self, epoch: int, k: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the instances of a batch, of all ranks with shard="within", and their anchors."""
        if self.covers:
            (batch,), (size,) = self._draw_batches(epoch, k, 1)
            starts = np.arange(0, size, self._global_batch_size // self.anchors_per_batch)
        else:
            (batch,), (size,), (starts,) = self._draw_free(epoch, k, 1)
        cluster = np.searchsorted(starts, np.arange(size), side="right") - 1
        return batch[:size], batch[starts[cluster]]

    def anchors(self, epoch: int, first: int, count: int) -> NDArray[np.int64]:
        """Return (count,) the first anchors of batches `first`, `first` + 1, ... of `epoch`."""
        first = check_count("first", first, at_least=0, at_most=2**31)
        count = check_count("count", count, at_least=0, at_most=2**31)
        epoch = self._check_epoch(epoch)
        anchors = self._drawing(epoch)._anchors(epoch, first, count)
        return anchors if self.indices is None else self.indices[anchors]

    def _anchors(self, epoch: int, first: int, count: int) -> NDArray[np.int64]:
        if self.covers:
            return self._draw_batches(epoch, first, count)[0][:, 0]
        return super()._anchors(epoch, first, count)

    def _mu_at(self, step: int) -> float:
        """Return mu at a step, or raise if the schedule returns no number that can be used."""
        mu = self.mu(step)
        metric = METRICS[self.metric]
        if type(mu) is float and abs(mu) <= metric.farthest_mu:  # nan is not
            return mu
        return metric.check_mu(f"mu at step {step}", mu)

    def _batches_per_call(self) -> int:
        if self.covers:
            return super()._batches_per_call()
        if not state.is_built_in(self.mu):
            return 1
        most = min(
            INSTANCES_PER_CALL // self._global_batch_size,
            _PROBABILITIES_PER_CALL // self._drawer.n_distances,
        )
        if not self.index.precomputed:
            distances = self.anchors_per_batch * self._drawn.n_patterns
            most = min(most, _DISTANCES_PER_CALL // distances)
        if self.center == "cluster":  # each draw looks at all patterns
            most = min(most, _SUMS_PER_CALL // (self._global_batch_size * self._drawn.n_patterns))
        return max(1, most)

    def _draw_batches(
        self, epoch: int, first: int, count: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        if self.covers:
            return super()._draw_batches(epoch, first, count)
        batches, lengths, _ = self._draw_free(epoch, first, count)
        if lengths.min() < self._global_batch_size:
            self._warn_if_short(batches, lengths)
        return batches, lengths

    def _draw_free(
        self, epoch: int, first: int, count: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        before = epoch * self._batches_per_epoch + first
        return self._drawer.draw(
            self._anchors(epoch, first, count),
            np.array([self._mu_at(step) for step in range(before, before + count)]),
            batch_size=self._global_batch_size,
            seed=self.seed,
            position=self._stream_position(epoch, first),
        )

    def _draw_in_pass(self, epoch: int, first: int, count: int) -> list[list[int]]:
        batches = super()._draw_in_pass(epoch, first, count)
        self._drawn_steps.note(epoch * self._batches_per_epoch + first, count)
        return batches

    def _warn_if_short(self, batches: NDArray[np.int64], lengths: NDArray[np.int64]) -> None:
        if not self._drawer.fills_batches:
            return
        shortest = int(lengths.argmin())
        anchor = batches[shortest, 0]
        anchor = anchor if self.indices is None else self.indices[anchor]
        self._warn_once(
            f"a batch holds {lengths[shortest]} instead of {self._global_batch_size} instances: "
            f"anchor {anchor} reaches no more at distances {self.low} to {self.high}"
            + (", one of each group" if len(self._groups) else "")
            + "."
        )

    def _check_schedule(self, theirs: dict[str, Any]) -> None:
        state.check_schedule(theirs["mu"], self.mu, self._mu_at)

    def _resume_schedule(self, theirs: dict[str, Any]) -> None:
        self._drawn_steps.add(theirs["mu"]["steps"])

    def _fingerprint(self) -> dict[str, Any]:
        options = (
            "metric", "sigma", "low", "empty", "draw", "duplicates", "anchors_per_batch", "center",
            "skip_nearest", "coverage",
        )  # fmt: skip
        return {
            **super()._fingerprint(),
            "groups": state.digest_of(self._groups),
            "mu": state.schedule_fingerprint(self.mu, self._mu_at, self._drawn_steps),
            **{name: getattr(self, name) for name in options},
        }

    def _fingerprint_of_store(self) -> dict[str, Any]:
        near = self._drawer.near
        return {
            **super()._fingerprint_of_store(),
            "high": self.high,
            "near": None if near is None else repr(near.plan),
        }

    def __repr__(self) -> str:
        groups = f"{self._drawer.n_groups} labels" if len(self._groups) else None
        return (
            f"ManiNegBatchSampler({self.store!r}, metric={self.metric!r}, mu={self.mu!r}, "
            f"sigma={self.sigma}, low={self.low}, high={self.high}, empty={self.empty!r}, "
            f"draw={self.draw!r}, duplicates={self.duplicates!r}, "
            f"anchors_per_batch={self.anchors_per_batch}, "
            f"center={self.center!r}, skip_nearest={self.skip_nearest}, "
            f"coverage={self.coverage!r}, groups={groups}, {self._options_text()})"
        )

    # Settings of the paper, and the drop-in.

    @classmethod
    def paper(cls, store: ManifestationStore, **options: Any) -> "ManiNegBatchSampler":
        """Return a sampler that follows the paper to the letter: Algorithm 1 and Table III.

        Every instance is an anchor once an epoch. Of batch_size - 1 = 63 distances drawn with
        replacement each pattern is kept once, so batches are shorter than 64. mu falls from 11 to
        0 by step 150; see `maninegs_sampling.sampling.presets` for the other reading.

        Args:
            store: the manifestations.
            options: replace any of these settings, or set any other option of the sampler.

        Example:
            >>> store = ManifestationStore.from_dense(np.eye(8, dtype=bool))
            >>> sampler = ManiNegBatchSampler.paper(store, seed=1)
            >>> sampler.duplicates, len(sampler)
            ('drop_patterns', 8)
        """
        return cls(store, **(PAPER | check_hamming(options)))

    @classmethod
    def authors(cls, store: ManifestationStore, **options: Any) -> "ManiNegBatchSampler":
        """Return a sampler that draws as the authors' code does, with the numbers of Table III.

        A distance moves to the nearest one that the anchor has, a pattern is drawn before an
        instance, only repeated instances are dropped, and mu changes once an epoch.
        `maninegs_sampling.sampling.presets` names the source of each number.

        Args:
            store: the manifestations.
            options: replace any of these settings, or set any other option of the sampler.

        Example:
            >>> store = ManifestationStore.from_dense(np.eye(8, dtype=bool))
            >>> ManiNegBatchSampler.authors(store).empty
            'nearest'
        """
        return cls(store, **(AUTHORS | check_hamming(options)))
