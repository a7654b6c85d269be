"""Options of the batch sampler: presets, what is refused, what is shown."""

import numpy as np
import pytest
from torch.utils.data import BatchSampler, RandomSampler, SequentialSampler

from maninegs_sampling import (
    DistanceBucketIndex,
    LinearAnnealing,
    ManifestationStore,
    ManiNegBatchSampler,
    ManiNegError,
    StepwiseAnnealing,
)
from tests.conftest import random_store

DRAW = ("instance", "pattern")
STORE = random_store(20, 6)
NARROW = ManifestationStore.from_dense(np.eye(4, dtype=bool))


# Presets and description.


def test_the_paper_preset_is_algorithm_1(cbis):
    sampler = ManiNegBatchSampler.paper(cbis)
    assert len(sampler) == cbis.n_instances
    assert (sampler.mu(0), sampler.mu(150), sampler.sigma) == (11, 0, 3.0)
    batches = [sampler.batch(k) for k in range(0, 400, 8)]
    assert all(len(set(cbis.pattern_of[b])) == len(b) <= 64 for b in batches)
    assert min(map(len, batches)) < 64


def test_the_authors_preset_keeps_patterns_and_loses_instances(cbis):
    sampler = ManiNegBatchSampler.authors(cbis, mu=0.0, batches_per_epoch=500)
    batches = list(sampler)
    assert 45 < np.mean([len(b) for b in batches]) < 55
    assert 30 < np.mean([len(set(cbis.pattern_of[b])) for b in batches]) < 42
    default = ManiNegBatchSampler.authors(cbis)
    assert isinstance(default.mu, StepwiseAnnealing)
    assert len(default) == 30
    assert default.mu(29) == 11
    assert default.mu(4500) == 0


def test_presets_take_other_options(cbis):
    assert ManiNegBatchSampler.paper(cbis, batch_size=8, seed=5).batch_size == 8
    assert ManiNegBatchSampler.authors(cbis, draw="instance").draw == "instance"


def test_repr_shows_every_option():
    text = repr(ManiNegBatchSampler(random_store(20, 5), batch_size=2, mu=1.0, groups=range(20)))
    for name in ("batch_size=2", "mu=Constant(value=1.0)", "sigma=3.0", "low=1", "high=5",
                 "empty='renormalize'", "draw='instance'", "duplicates='refill'", "20 labels",
                 "seed=0", "batches_per_epoch=10", "num_replicas=1", "rank=0", "shard="):  # fmt: skip
        assert name in text


def test_a_ready_index_is_used_and_changes_nothing():
    store = random_store(64, 12)
    for draw in DRAW:
        index = DistanceBucketIndex(store, rows=f"{draw}s")
        options = {"batch_size": 4, "mu": 3.0, "draw": draw}
        sampler = ManiNegBatchSampler(store, index=index, **options)
        assert sampler.index is index
        assert list(sampler) == list(ManiNegBatchSampler(store, **options))
    part = store.subset(range(40))
    sampler = ManiNegBatchSampler(
        store, batch_size=4, mu=3.0, indices=range(40), index=DistanceBucketIndex(part)
    )
    assert list(sampler) == list(ManiNegBatchSampler(part, batch_size=4, mu=3.0))


def test_it_is_a_torch_batch_sampler():
    sampler = ManiNegBatchSampler(random_store(20, 5), batch_size=2, mu=1.0)
    assert isinstance(sampler, BatchSampler)
    assert (sampler.batch_size, sampler.drop_last, len(sampler.sampler)) == (2, True, 10)


# Errors.


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"store": [[0, 1]]}, "store must be a ManifestationStore; got list"),
        ({"store": RandomSampler(range(4))}, "not a sampler; got RandomSampler"),
        ({"batch_size": 0}, "batch_size must be at least 1; got 0"),
        ({"batch_size": 2.0}, "batch_size must be a whole number; got 2.0"),
        ({"batch_size": 17}, "16 distinct patterns, too few for batches of 17"),
        ({"batch_size": 21}, "there are 20 instances, too few for batches of 21; make batch_size"),
        ({"batch_size": 21, "duplicates": "keep"}, "there are 20 instances, too few"),
        ({"batch_size": 11, "num_replicas": 2, "rank": 0, "shard": "within"}, "batches of 22"),
        ({"mu": "hard"}, "mu must be a number or a callable"),
        ({"mu": float("nan")}, "mu must be finite"),
        ({"mu": lambda step: float("inf")}, "mu at step 0 must be finite"),
        ({"mu": lambda step: [1.0]}, r"mu at step 0 must be a number; got \[1.0\]"),
        ({"mu": lambda step: None}, "mu at step 0 must be a number; got None"),
        ({"mu": lambda step: "3"}, "mu at step 0 must be a number; got '3'"),
        ({"mu": lambda step: np.ones(2)}, "mu at step 0 must be a number"),
        ({"sigma": 0.0}, "sigma must be positive"),
        ({"low": 0}, "low must be at least 1"),
        ({"low": 3, "high": 2}, "low must not exceed high; got low=3, high=2"),
        ({"low": 7}, "low=7 exceeds the 6 bits of the store"),
        ({"low": 7, "high": 9, "empty": "nearest"}, "low=7 exceeds the 6 bits of the store"),
        (
            {"store": NARROW, "batch_size": 2, "low": 3, "empty": "nearest"},
            "low=3 exceeds the largest distance in the data, 2",
        ),
        ({"empty": "skip"}, "empty must be one of 'renormalize', 'nearest'; got 'skip'"),
        ({"draw": "any"}, "draw must be one of 'instance', 'pattern'"),
        (
            {"duplicates": "allow"},
            "duplicates must be one of 'refill', 'keep', 'drop_patterns', 'drop_instances'",
        ),
        ({"shard": "all"}, "shard must be one of 'batches', 'within'"),
        ({"groups": [1, 2]}, "one label for each of the 20 instances; got 2"),
        ({"groups": "patients"}, "groups must hold a label for each instance; got 'patients'"),
        ({"groups": np.zeros((20, 1))}, r"one label for each instance; groups\[0\] is \[0.0\]"),
        ({"groups": ["a"] * 19 + [float("nan")]}, r"groups\[19\] is missing"),
        ({"groups": [0.0] * 19 + [float("nan")]}, r"groups\[19\] is missing"),
        ({"groups": [None] * 20}, r"groups\[0\] is missing"),
        ({"groups": [0, 1] * 10}, "groups has 2 distinct labels, too few for batches of 4"),
        ({"indices": [0, 0, 1]}, "indices must not repeat an instance; 0 appears 2 times"),
        ({"indices": [20]}, r"indices must lie in \[0, 20\)"),
        ({"indices": [0, 1, 2]}, "there are 3 instances, too few for batches of 4"),
        ({"seed": -1}, "seed must be at least 0"),
        ({"batches_per_epoch": 0}, "batches_per_epoch must be at least 1"),
        ({"batches_per_epoch": "all"}, 'a number, "ceil" or "anchors"; got \'all\''),
        ({"num_replicas": 2}, "num_replicas and rank go together"),
        ({"num_replicas": 2, "rank": 2}, "rank must be below num_replicas=2; got 2"),
        ({"distributed": "yes"}, "distributed must be one of 'auto'"),
        ({"distributed": "auto", "rank": 0, "num_replicas": 1}, "give only one"),
        ({"memory_limit": "big"}, "memory_limit must be bytes or a size"),
        ({"batches_per_epoch": np.array([1, 2])}, "batches_per_epoch must be a whole number"),
        ({"batches_per_epoch": 2**64}, "batches_per_epoch must be at most"),
        ({"num_replicas": 10**30, "rank": 0}, "num_replicas must be at most"),
        ({"high": 10**400, "empty": "nearest"}, "high must be at most"),
        ({"batch_size": 10**30, "duplicates": "drop_patterns"}, "batch_size must be at most"),
        ({"mu": StepwiseAnnealing(lambda step: None, every=2)}, "mu must be a number; got None"),
        ({"mu": StepwiseAnnealing(lambda step: "3", every=2)}, "mu must be a number; got '3'"),
        (
            {"index": 3},
            "index must be a DistanceBucketIndex, or one of 'lists', 'scan', 'near'; got int",
        ),
        ({"index": "pairs"}, "index must be one of 'lists', 'scan', 'near'; got 'pairs'"),
        ({"index": "near", "center": "cluster"}, 'index="near" does not go with center="cluster"'),
        ({"index": "near", "skip_nearest": 2}, 'does not go with skip_nearest=2; use "scan"'),
        ({"index": "near", "coverage": "epoch"}, 'index="near" does not go with coverage="epoch"'),
        (
            {"index": DistanceBucketIndex(NARROW)},
            "index must be of the instances that may be drawn",
        ),
        (
            {"index": DistanceBucketIndex(STORE, rows="patterns")},
            "rows='instances' .draw='instance'",
        ),
        (
            {"index": DistanceBucketIndex(STORE), "indices": range(9)},
            "index must be of the instances",
        ),
    ],
)
def test_errors(options, message):
    arguments = {"store": STORE, "batch_size": 4, "mu": 2.0, **options}
    with pytest.raises(ManiNegError, match=message):
        ManiNegBatchSampler(arguments.pop("store"), **arguments)


def test_a_rebuilding_trainer_is_told_what_to_change():
    with pytest.raises(TypeError, match="use_distributed_sampler=False"):
        ManiNegBatchSampler(SequentialSampler(range(4)), batch_size=4, drop_last=False)  # type: ignore[call-arg]


def test_a_schedule_that_turns_bad_is_named_when_it_does():
    sampler = ManiNegBatchSampler(STORE, batch_size=4, mu=lambda step: 1.0 if step < 3 else np.nan)
    with pytest.raises(ManiNegError, match="mu at step 3 must be finite"):
        list(sampler)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda s: s.batch(5), "an epoch has 5 batches; got k=5"),
        (lambda s: s.batch(-1), "k must be at least 0"),
        (lambda s: s.batch(0, epoch=-1), "epoch must be at least 0"),
        (lambda s: s.set_epoch(-1), "epoch must be at least 0"),
        (lambda s: s.set_epoch("1"), "epoch must be a whole number"),
        (lambda s: s.set_epoch(2**62), f"epoch must be below {2**62 // 5}; got {2**62}"),
        (lambda s: s.batch(0, epoch=2**62), "epoch must be below"),
        (lambda s: s.describe(2**62, 0), "epoch must be below"),
        (lambda s: s.load_state_dict({**s.state_dict(), "epoch": 2**62}), "epoch must be below"),
        (lambda s: s.load_state_dict({**s.state_dict(), "epoch": np.arange(2)}), "epoch must be a"),
        (lambda s: s.load_state_dict({**s.state_dict(), "version": np.ones(2)}), "has version"),
        (lambda s: s.load_state_dict({}), "a sampler state has the keys"),
        (lambda s: s.load_state_dict(None), "a sampler state has the keys"),
        (lambda s: s.load_state_dict({**s.state_dict(), "version": 9}), "the state has version 9"),
        (lambda s: s.load_state_dict({**s.state_dict(), "position": 6}), "lies beyond the 5"),
        (lambda s: s.load_state_dict({**s.state_dict(), "position": -1}), "position must be"),
        (
            lambda s: s.load_state_dict({**s.state_dict(), "fingerprint": 3}),
            "no fingerprint; got 3",
        ),
    ],
)
def test_errors_of_calls(call, message):
    with pytest.raises(ManiNegError, match=message):
        call(ManiNegBatchSampler(STORE, batch_size=4, mu=2.0))


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"seed": 1}, "seed=1; this sampler has seed=0"),
        ({"sigma": 2.0}, "sigma=2.0"),
        ({"mu": LinearAnnealing(4, 0, 3)}, "mu="),
        ({"mu": lambda step: 2.5}, "mu="),
        ({"batch_size": 5}, "batch_size=5"),
        ({"draw": "pattern"}, "draw='pattern'"),
        ({"duplicates": "keep"}, "duplicates='keep'"),
        ({"empty": "nearest"}, "empty='nearest'"),
        ({"groups": range(20)}, "groups="),
        ({"batches_per_epoch": 4}, "batches_per_epoch=4"),
        ({"num_replicas": 2, "rank": 0, "shard": "within"}, "batch_size=8"),
    ],
)
def test_a_state_of_other_options_is_refused_by_name(change, name):
    state = ManiNegBatchSampler(STORE, **{"batch_size": 4, "mu": 2.0, **change}).state_dict()
    with pytest.raises(ManiNegError, match=f"the state was made with .*{name}"):
        ManiNegBatchSampler(STORE, batch_size=4, mu=2.0).load_state_dict(state)


def test_a_state_of_other_data_is_refused():
    state = ManiNegBatchSampler(random_store(20, 6, seed=9), batch_size=4, mu=2.0).state_dict()
    with pytest.raises(ManiNegError, match="the state was made with store="):
        ManiNegBatchSampler(STORE, batch_size=4, mu=2.0).load_state_dict(state)
