"""coverage="epoch": an epoch is a partition of the instances, on any number of ranks."""

import threading

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader, DistributedSampler, SubsetRandomSampler

from maninegs_sampling import (
    LinearAnnealing,
    ManifestationStore,
    ManiNegBatchSampler,
    ManiNegError,
    pairwise_hamming,
)
from tests.conftest import bit_matrices, random_store
from tests.laws import assert_resumes

STORE = random_store(100, 12)  # 99 patterns
COVERING = {
    "batch_size": 8, "mu": LinearAnnealing(5, 0, 20), "anchors_per_batch": 2, "coverage": "epoch",
}  # fmt: skip
CENTER = ("anchor", "cluster")


def sampler_of(store=STORE, **options):
    return ManiNegBatchSampler(store, **COVERING | options)


def ranks_of(store=STORE, *, number, **options):
    return [sampler_of(store, num_replicas=number, rank=rank, **options) for rank in range(number)]


# The partition.


@settings(max_examples=150)
@given(
    bits=bit_matrices(),
    size=st.integers(1, 4),
    anchors_per_batch=st.sampled_from([1, 2, 3]),
    center=st.sampled_from(CENTER),
    empty=st.sampled_from(["renormalize", "nearest"]),
    draw=st.sampled_from(["instance", "pattern"]),
    duplicates=st.sampled_from(["keep", "keep", "refill"]),
    n_groups=st.sampled_from([0, 0, 3, 100]),
    skip_nearest=st.sampled_from([0, 1]),
    mu=st.sampled_from([-3.0, 0.0, 4.5, 200.0]),
    sigma=st.sampled_from([0.01, 3.0]),
    number=st.integers(1, 3),
    shard=st.sampled_from(["batches", "within"]),
    batches_per_epoch=st.sampled_from([None, "ceil"]),
    part=st.booleans(),
    seed=st.integers(0, 2**64 - 1),
)
def test_an_epoch_is_a_partition(
    bits, size, anchors_per_batch, number, shard, batches_per_epoch, part, n_groups, duplicates,
    **options,
):  # fmt: skip
    store = ManifestationStore.from_dense(bits)
    groups = np.arange(len(bits)) % n_groups if n_groups else None
    indices = np.arange(0, len(bits), 2) if part else np.arange(len(bits))
    options |= {
        "batch_size": size * anchors_per_batch, "anchors_per_batch": anchors_per_batch,
        "shard": shard, "batches_per_epoch": batches_per_epoch, "groups": groups,
        "indices": indices, "duplicates": duplicates,
    }  # fmt: skip
    per_step = options["batch_size"] * number
    try:
        ranks = ranks_of(store, number=number, **options)
        epochs = [[list(rank) for rank in ranks] for _ in range(2)]
    except ManiNegError as error:
        needed = number if batches_per_epoch == "ceil" else per_step
        full = duplicates == "keep" and groups is None
        assert len(indices) < needed or not full or "skip_nearest" in str(error) or (
            "exceeds the largest distance" in str(error)
        )  # fmt: skip
        return
    whole, rest = divmod(len(indices), per_step)
    last = batches_per_epoch == "ceil" and rest >= number
    for epoch in epochs:
        assert {len(batches) for batches in epoch} == {whole + last} == {len(ranks[0])}
        for step in zip(*epoch, strict=True):
            batches = [sum(step, [])] if shard == "within" else step
            for batch in batches:
                if duplicates == "refill":
                    assert len(set(store.pattern_of[batch])) == len(batch)
                if groups is not None:
                    assert len(set(groups[batch])) == len(batch)
        for step in list(zip(*epoch, strict=True))[:whole]:
            assert [len(batch) for batch in step] == [options["batch_size"]] * number
        seen = [i for batches in epoch for batch in batches for i in batch]
        assert len(set(seen)) == len(seen)
        assert set(seen) <= set(indices.tolist())
        lost = rest % number if shard == "within" else 0  # equal parts of the last batch
        expected = whole * per_step + (rest - lost if last else 0)
        assert len(seen) == expected
        assert all(type(i) is int for i in seen)


@pytest.mark.parametrize("shard", ["batches", "within"])
def test_the_last_step_holds_what_is_left(shard):
    ranks = ranks_of(number=3, shard=shard, batches_per_epoch="ceil", anchors_per_batch=1)
    epochs = [list(rank) for rank in ranks]
    sizes = [[len(batch) for batch in batches] for batches in epochs]
    assert [size[:4] for size in sizes] == [[8] * 4] * 3
    last = sorted(size[4] for size in sizes)  # of the last 4 instances
    assert last == ([1, 1, 2] if shard == "batches" else [1, 1, 1])


def test_what_is_left_out_is_chosen_anew_each_epoch():
    sampler = sampler_of(batch_size=48, anchors_per_batch=6)
    left_out = [frozenset(range(100)) - set(sum(sampler, [])) for _ in range(6)]
    assert {len(instances) for instances in left_out} == {4}
    assert len(set(left_out)) == 6


@pytest.mark.parametrize("center", CENTER)
@pytest.mark.parametrize("duplicates", ["keep", "refill"])
@pytest.mark.parametrize("draw", ["instance", "pattern"])
@pytest.mark.parametrize("empty", ["renormalize", "nearest"])
def test_both_indices_plan_the_same_from_thousands_of_patterns(empty, draw, duplicates, center):
    bits = np.repeat(random_store(900, 35).to_dense(), 3, axis=0)
    store = ManifestationStore.from_dense(np.random.default_rng(1).permutation(bits)[:2400])
    options = {
        "batch_size": 64, "anchors_per_batch": 8, "mu": 12.0, "draw": draw, "empty": empty,
        "duplicates": duplicates, "center": center, "skip_nearest": 5,
        "groups": np.arange(2400) // 2, "batches_per_epoch": "ceil",
    }  # fmt: skip
    precomputed = sampler_of(store, **options)
    scanned = sampler_of(store, memory_limit=0, **options)
    assert precomputed.index.precomputed
    assert not scanned.index.precomputed
    assert list(precomputed) == list(scanned)


@pytest.mark.parametrize("n_bits", [1, 63, 64, 65, 312, 4096])
@pytest.mark.parametrize("center", CENTER)
def test_any_number_of_bits_is_planned(center, n_bits):
    sampler = sampler_of(random_store(40, n_bits), duplicates="keep", center=center)
    for _ in range(2):
        assert sorted(sum(sampler, [])) == list(range(40))


def test_a_giant_pattern_is_spread_or_refused():
    bits = random_store(60, 10).to_dense()
    bits[:40] = bits[0]
    store = ManifestationStore.from_dense(bits)
    kept = sampler_of(store, batch_size=6, duplicates="keep")
    assert sorted(sum(kept, [])) == list(range(60))
    with pytest.raises(ManiNegError, match="one pattern has 40 instances, and an epoch has 10"):
        sampler_of(store, batch_size=6)


def test_plans_are_hard():
    """Anchors stand nearer to their negatives than in the order of an unrelated plan."""
    distances = (STORE.to_dense()[:, None] != STORE.to_dense()[None]).sum(axis=2)
    means = []
    for mu in (0.0, 12.0):
        batches = np.array(list(sampler_of(mu=mu, sigma=1.0, anchors_per_batch=1)))
        means.append(distances[batches[:, :1], batches[:, 1:]].mean())
    assert means[0] < distances.mean() - 1
    assert means[1] > distances.mean() + 1


# Plans are functions of (seed, epoch).


@pytest.mark.parametrize("center", CENTER)
def test_batches_in_any_order_are_those_of_a_pass(center):
    passing = sampler_of(center=center)
    epochs = [list(passing) for _ in range(4)]
    assert len({str(epoch) for epoch in epochs}) == 4
    alone = sampler_of(center=center)
    places = [(epoch, k) for epoch in range(4) for k in range(len(alone))]
    for place in np.random.default_rng(0).permutation(len(places)):
        epoch, k = places[place]
        assert alone.batch(k, epoch=epoch) == epochs[epoch][k]
    assert sampler_of(center=center, seed=1).batch(0) != epochs[0][0]


def test_iterators_and_threads_do_not_disturb_each_other():
    sampler = sampler_of()
    epochs = [[sampler.batch(k, epoch=e) for k in range(len(sampler))] for e in range(6)]
    sampler.set_epoch(0)
    a, b = iter(sampler), iter(sampler)
    assert list(zip(a, b, strict=True)) == list(zip(epochs[0], epochs[0], strict=True))
    seen = {}

    def read(thread):
        rng = np.random.default_rng(thread)
        for _ in range(60):
            epoch, k = int(rng.integers(6)), int(rng.integers(len(sampler)))
            seen.setdefault((epoch, k), []).append(sampler.batch(k, epoch=epoch))

    threads = [threading.Thread(target=read, args=(thread,)) for thread in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(map(len, seen.values())) == 240
    assert all(batch == epochs[e][k] for (e, k), batches in seen.items() for batch in batches)


@pytest.mark.parametrize("batches_per_epoch", [None, "ceil"])
@pytest.mark.parametrize("center", CENTER)
def test_stopped_and_resumed_equals_never_stopped(center, batches_per_epoch):
    assert_resumes(lambda: sampler_of(center=center, batches_per_epoch=batches_per_epoch))


def test_a_state_of_other_ranks_starts_at_the_same_part_of_the_epoch():
    state = ranks_of(number=2)[0].state_dict() | {"epoch": 3, "position": 3}  # of 6
    one = sampler_of()
    with pytest.warns(UserWarning, match="of 2 ranks with 6 batches an epoch, and now 1 have 12"):
        one.load_state_dict(state)
    assert next(iter(one)) == one.batch(6, epoch=3)


# Schedules.


def test_a_schedule_is_asked_for_the_steps_of_the_planned_epoch_only():
    asked = []

    def schedule(step):
        asked.append(step)
        return 5.0 if step < 24 else 0.0

    sampler = sampler_of(mu=schedule)
    assert set(asked) <= {0}
    asked.clear()
    sampler.batch(5, epoch=2)
    assert set(asked) == set(range(24, 36))
    asked.clear()
    sampler.batch(6, epoch=2)
    assert set(asked) <= set(range(24, 36))
    table = dict.fromkeys(range(24), 3.0)
    ends = sampler_of(mu=table.__getitem__)
    assert sorted(sum((sum(ends, []) for _ in range(2)), [])) != []
    with pytest.raises(KeyError):
        next(iter(ends))


def test_each_batch_is_planned_with_its_own_mu():
    distances = (STORE.to_dense()[:, None] != STORE.to_dense()[None]).sum(axis=2)
    sampler = sampler_of(
        mu=lambda step: 2.0 if step % 12 < 6 else 9.0, sigma=0.5, anchors_per_batch=1
    )
    near, far = [], []
    for _ in range(5):
        batches = np.array(list(sampler))
        means = distances[batches[:, :1], batches[:, 1:]].mean(axis=1)
        near.append(means[:6].mean())
        far.append(means[6:].mean())
    assert max(near) + 2 < min(far)


@pytest.mark.parametrize("center", CENTER)
def test_ranks_that_share_a_batch_share_the_plan(center):
    options = {"center": center, "batches_per_epoch": "ceil"}
    whole = list(sampler_of(**options, batch_size=12, anchors_per_batch=3))
    parts = [
        list(rank)
        for rank in ranks_of(number=3, shard="within", batch_size=4, anchors_per_batch=3, **options)
    ]
    joined = [sum(batches, []) for batches in zip(*parts, strict=True)]
    assert joined[:-1] == whole[:-1]
    assert joined[-1] == whole[-1][: len(joined[-1])]


# What is refused.


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"duplicates": "drop_patterns"}, 'duplicates="drop_patterns" leaves instances out; use'),
        ({"duplicates": "drop_instances"}, 'duplicates="drop_instances" leaves instances out'),
        ({"batches_per_epoch": 12}, 'batches_per_epoch must be None or "ceil"; got 12'),
        ({"batches_per_epoch": "anchors"}, "batches_per_epoch must be .*; got 'anchors'"),
        ({"batches_per_epoch": 1.5}, "batches_per_epoch must be .*; got 1.5"),
        ({"batch_size": 101, "anchors_per_batch": 1}, "100 instances, too few for batches of 101"),
        ({"batch_size": 60, "num_replicas": 2, "rank": 0}, "100 instances, too few .* 2 ranks"),
        ({"groups": np.zeros(100)}, "one group has 100 instances, and an epoch has 12 batches"),
        ({"anchors_per_batch": 3}, "anchors_per_batch=3 must divide the batch, of 8"),
        ({"skip_nearest": 99}, "skip_nearest=99 leaves none of 99 patterns"),
    ],
)
def test_errors(options, message):
    with pytest.raises(ManiNegError, match=message):
        sampler_of(**options)


# Loaders.


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("items", [100, 90])
def test_wrap_keeps_the_last_batch_and_the_items(items, drop_last):
    sampler = SubsetRandomSampler(range(items))
    uniform = DataLoader(range(100), 8, sampler=sampler, drop_last=drop_last)
    hard = ManiNegBatchSampler.wrap(uniform, STORE, mu=0.0, coverage="epoch")
    batches = [batch.tolist() for batch in hard]
    assert [len(batch) for batch in batches] == [len(batch) for batch in uniform]
    assert set(sum(batches, [])) <= set(range(items))
    assert len(set(sum(batches, []))) == (items if not drop_last else items - items % 8)
    assert hard.batch_sampler.drop_last == drop_last


@pytest.mark.parametrize("drop_last", [False, True])
def test_wrap_keeps_the_ranks_of_a_distributed_sampler(drop_last):
    loaders, replaced = [], []
    for rank in range(3):
        sampler = DistributedSampler(range(100), 3, rank)
        replaced.append(sampler)
        uniform = DataLoader(range(100), 8, sampler=sampler, drop_last=drop_last)
        loaders.append(ManiNegBatchSampler.wrap(uniform, STORE, mu=0.0, coverage="epoch"))
        assert len(loaders[-1]) == len(uniform)
    for epoch in (4, 1):
        for sampler in replaced:
            sampler.set_epoch(epoch)
        seen = torch.cat([batch for loader in loaders for batch in loader]).tolist()
        assert len(set(seen)) == len(seen) == (96 if drop_last else 100)
        expected = [loader.batch_sampler.batch(0, epoch=epoch) for loader in loaders]
        assert seen[:8] == expected[0]


@pytest.mark.filterwarnings("ignore:'set_vital' is deprecated")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("stop", [0, 5, 15])
def test_a_stateful_dataloader_goes_on_with_what_is_left(workers, stop):
    torchdata = pytest.importorskip("torchdata.stateful_dataloader")

    def loader():
        return torchdata.StatefulDataLoader(
            range(100), batch_sampler=sampler_of(batches_per_epoch="ceil"), num_workers=workers
        )

    whole = sampler_of(batches_per_epoch="ceil")
    expected = [batch for _ in range(3) for batch in whole]
    first, left, state = loader(), stop, None
    while left:
        for _ in first:
            left -= 1
            if left == 0:
                state = first.state_dict()
                break
    resumed, rest = loader(), []
    resumed.load_state_dict(first.state_dict() if state is None else state)
    while len(rest) < len(expected) - stop:
        rest += [batch.tolist() for batch in resumed]
    assert rest == expected[stop:]


def test_skipped_patterns_stay_skipped_where_every_instance_has_its_own_pattern():
    """Instances are not numbered as their patterns are."""
    store = random_store(60, 30)
    order = np.random.default_rng(0).permutation(60)
    store = ManifestationStore.from_dense(store.to_dense()[order])
    assert store.n_patterns == 60
    options = {"batch_size": 6, "mu": 0.0, "sigma": 2.0, "skip_nearest": 8, "coverage": "epoch",
               "duplicates": "keep"}  # fmt: skip
    sampler, scanned = (
        ManiNegBatchSampler(store, memory_limit=limit, **options) for limit in ("1GiB", 0)
    )
    epochs = [list(sampler) for _ in range(10)]
    assert [list(scanned) for _ in range(10)] == epochs
    distances, skipped = pairwise_hamming(store), 0
    for anchor, *others in sum(epochs, []):
        by_rank = sorted(
            set(range(60)) - {anchor}, key=lambda i: (distances[anchor, i], store.pattern_of[i])
        )
        skipped += len(set(others) & set(by_rank[:8]))
    assert skipped <= 10  # of 500; without `skip_nearest` 320
