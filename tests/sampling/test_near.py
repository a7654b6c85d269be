"""Batches from a near shell and a pool: what is found, with which frequency, and the batches' law."""

import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maninegs_sampling import (
    DistanceBucketIndex,
    LinearAnnealing,
    ManifestationStore,
    ManiNegBatchSampler,
    ManiNegError,
)
from maninegs_sampling.randomness import BATCHES
from maninegs_sampling.sampling import _near, search
from maninegs_sampling.sampling._stream import STREAM_WORDS, start_stream
from maninegs_sampling.sampling.near import NearIndex, plan_near
from maninegs_sampling.sampling.near_plan import Effort, Level, NearPlan, cut_into_blocks
from tests import naive
from tests.conftest import bit_matrices, random_store
from tests.laws import assert_follows_law, assert_resumes
from tests.sampling.covering import covering

EMPTY = ("renormalize", "nearest")
DRAW = ("instance", "pattern")
DUPLICATES = ("refill", "drop_patterns", "keep", "drop_instances")


def plan_of(blocks, radius, reach=None, samples=(), pool=1024, shares=None):
    """A plan of one level."""
    reach = radius if reach is None else reach
    samples = samples or (0,) * (reach // blocks + 1)
    level = Level(radius, reach, samples, shares or (1.0,) * (reach + 1))
    return NearPlan(blocks, (level,), needed=2, low=1, pool=pool, filled=1.0)


# What is found.


@given(bits=bit_matrices(), data=st.data())
def test_the_shell_holds_all_patterns_within_its_radius(bits, data):
    store = ManifestationStore.from_dense(bits)
    fewest = -(-store.n_bits // 10)
    blocks = data.draw(st.integers(fewest, min(store.n_bits, 3 * fewest)))
    radius = data.draw(st.integers(0, store.n_bits))
    index = NearIndex(store, plan_of(blocks, radius))
    for i in range(0, len(bits), 7):
        patterns, distances = index.within(int(store.pattern_of[i]), radius)
        found = dict(zip(patterns.tolist(), distances.tolist(), strict=True))
        assert len(found) == len(patterns)
        assert found == naive.patterns_within(bits, i, radius)


def searched(index, pattern, number, room=2**16):
    """What the search of a batch of this number finds for a pattern, and how far it goes."""
    found, stream = _near.new_found(room), np.empty(STREAM_WORDS, np.uint64)
    start_stream(stream, 0, BATCHES, number, 0, 0)
    radius, reach = _near.search_near(index.tables, index.rings, found, stream, pattern)
    n = int(found.number[0])
    return found.patterns[:n].copy(), found.distances[:n].copy(), radius, reach


def test_beyond_the_radius_patterns_of_one_distance_are_found_equally_often():
    store = random_store(1500, 12)
    index = NearIndex(store, plan_of(3, 2, reach=7, samples=(0, 1, 1)))
    kept = np.minimum(1, naive.least_rates(index.rings.rates[0, :, :5].tolist(), 7))
    assert kept.tolist()[2:] == pytest.approx([1, 3 / 4, 2 / 3, 1 / 2, 5 / 12, 1 / 4])
    np.testing.assert_allclose(index.rings.kept[0], kept, rtol=1e-12)
    pattern, searches = 700, 4000
    times = np.zeros(store.n_patterns)
    for number in range(searches):
        np.add.at(times, searched(index, pattern, number)[0], 1)
    rows = store.to_dense()
    own = int(np.flatnonzero(store.pattern_of == pattern)[0])
    distances = naive.patterns_within(rows, own, 12)
    assert {p for p in distances if times[p]} <= {p for p, d in distances.items() if d <= 7}
    for d in range(1, 8):
        seen = times[[p for p, other in distances.items() if other == d]]
        expected = searches * (1.0 if d <= 2 else kept[d])
        assert len(seen) > 0
        if d <= 2:
            assert (seen == expected).all()
        # A share of few values is drawn: the counts are less scattered than Poisson's.
        assert (abs(seen - expected) < 5.5 * np.sqrt(expected)).all(), d


def test_a_sample_keeps_no_more_than_its_share():
    store = random_store(1500, 12)
    shares = (1.0, 1.0, 1.0, 1.0, 0.5, 0.1, 0.05, 0.01)
    index = NearIndex(store, plan_of(3, 2, reach=7, samples=(0, 4, 6), shares=shares))
    rates = naive.least_rates(index.rings.rates[0, :, :5].tolist(), 7)
    assert index.rings.kept[0].tolist() == [min(a, b) for a, b in zip(rates, shares, strict=True)]
    there = sum(d == 6 for d in naive.patterns_within(store.to_dense(), 0, 6).values())
    found = [(searched(index, int(store.pattern_of[0]), n)[1] == 6).sum() for n in range(2000)]
    expected = 2000 * there * index.rings.kept[0, 6]
    assert abs(sum(found) - expected) < 5 * np.sqrt(5 * expected)  # several at once in one bucket


def test_a_shell_without_room_shrinks():
    store = random_store(900, 12)
    index = NearIndex(store, plan_of(3, 6, reach=9, samples=(0, 0, 0, 2)))
    rows = store.to_dense()
    for room, expected in ((2**12, (6, 9)), (550, (6, 6)), (100, None), (0, None)):
        patterns, distances, radius, reach = searched(index, int(store.pattern_of[5]), 0, room)
        assert (radius, reach) == (expected or (radius, radius))
        inside = distances <= radius
        found = dict(zip(patterns[inside].tolist(), distances[inside].tolist(), strict=True))
        assert found == naive.patterns_within(rows, 5, radius)
        assert len(naive.patterns_within(rows, 5, radius)) <= room
        if expected is None:
            assert len(naive.patterns_within(rows, 5, radius + 1)) > room


@pytest.mark.parametrize("n_bits", [1, 63, 64, 65, 312])
def test_blocks_hold_each_bit_once(n_bits):
    for m in {1, 2, 5, n_bits} & set(range(1, n_bits + 1)):
        first, size = cut_into_blocks(n_bits, m)
        bits = [
            b for a, n in zip(first.tolist(), size.tolist(), strict=True) for b in range(a, a + n)
        ]
        assert sorted(bits) == list(range(n_bits))
        assert first[0] + size[0] == n_bits


# The batches. Distances leave gaps; patterns are shared by one, two and three instances.

ROWS = (
    (0, 0, 0, 0, 0, 0),
    (0, 0, 0, 0, 0, 1),
    (0, 0, 0, 0, 0, 1),
    (0, 0, 1, 1, 0, 0),
    (0, 0, 1, 1, 0, 0),
    (0, 0, 1, 1, 0, 0),
    (1, 0, 0, 1, 0, 0),
    (1, 1, 1, 1, 1, 0),
    (1, 1, 1, 1, 1, 1),
)
GROUPS = (0, 1, 2, 2, 1, 3, 3, 4, 0)
PLANS = {"pool": plan_of(2, 0), "both": plan_of(2, 2), "shell": plan_of(2, 6, pool=0)}
OPTIONS = {
    "plan": tuple(PLANS),
    "empty": EMPTY,
    "draw": DRAW,
    "duplicates": DUPLICATES,
    "groups": (None, GROUPS),
    "anchors_per_batch": (1, 2),
}


def near_sampler(monkeypatch, store, plan, **options):
    monkeypatch.setattr(search, "plan_near", lambda store, **kwargs: NearIndex(store, plan))
    return ManiNegBatchSampler(store, index="near", **{"mu": 2.0, "seed": 3, **options})


def drawn(sampler, anchor, n):
    """Batches that begin with the anchor."""
    drawer = sampler._drawer
    batches, lengths, _ = drawer.draw(
        np.full(n, anchor), np.full(n, 2.0), batch_size=sampler.batch_size, seed=5,
        position=np.zeros(3, np.uint64),
    )  # fmt: skip
    return [tuple(b[:k]) for b, k in zip(batches.tolist(), lengths.tolist(), strict=True)]


@pytest.mark.parametrize(
    "options", covering(OPTIONS, strength=2), ids=lambda o: "-".join(map(str, o.values()))[:60]
)
def test_batches_follow_the_exact_law(monkeypatch, options):
    options = dict(options)
    plan = PLANS[options.pop("plan")]
    store = ManifestationStore.from_dense(ROWS)
    sampler = near_sampler(monkeypatch, store, plan, batch_size=4, sigma=1.5, **options)
    weights = naive.distance_law(2.0, 1.5, 1, 6)
    for anchor in (0, 3, 7):
        law = naive.batch_law(ROWS, anchor, 4, weights, **options)
        assert_follows_law(drawn(sampler, anchor, 3000), law)


def test_the_law_test_notices_a_pool_of_the_wrong_kind(monkeypatch):
    store = ManifestationStore.from_dense(ROWS)
    sampler = near_sampler(
        monkeypatch, store, PLANS["pool"], batch_size=4, sigma=1.5, draw="pattern"
    )
    options = {"empty": "renormalize", "draw": "instance", "duplicates": "refill"}
    law = naive.batch_law(ROWS, 0, 4, naive.distance_law(2.0, 1.5, 1, 6), **options)
    with pytest.raises(AssertionError, match="p ="):
        assert_follows_law(drawn(sampler, 0, 3000), law)


@pytest.mark.parametrize("radius", [0, 3, 5])
@pytest.mark.parametrize("draw", DRAW)
def test_a_pattern_with_most_instances_is_drawn_as_often_as_it_should(monkeypatch, draw, radius):
    rng = np.random.default_rng(0)
    bits = rng.random((60, 10)) < 0.4
    rows = np.concatenate([bits, np.repeat(bits[:1], 140, axis=0)])
    anchor = 7
    plan = plan_of(2, radius, pool=2**13)
    sampler = near_sampler(
        monkeypatch, ManifestationStore.from_dense(rows), plan, batch_size=2, draw=draw
    )
    rows = tuple(tuple(map(int, row)) for row in rows)
    options = {"empty": "renormalize", "draw": draw, "duplicates": "refill"}
    law = naive.batch_law(rows, anchor, 2, naive.distance_law(2.0, 3.0, 1, 10), **options)
    assert_follows_law(drawn(sampler, anchor, 4000), law)


@pytest.mark.parametrize(
    ("n_bits", "density", "plan"),
    [
        (14, 0.5, plan_of(2, 2, reach=5, samples=(0, 5, 14), pool=2**14)),
        (130, 0.02, plan_of(13, 2, reach=3, samples=(2,), pool=2**14)),
        (130, 0.02, plan_of(13, 0, pool=2**14)),
    ],
)
def test_distances_follow_the_law_at_the_hand_over_points(monkeypatch, n_bits, density, plan):
    store = random_store(3000, n_bits, density=density)
    sampler = near_sampler(monkeypatch, store, plan, batch_size=2)
    rows = store.to_dense()
    anchor = int(rows.sum(axis=1).argmin())
    distances = (rows != rows[anchor]).sum(axis=1)
    weights = naive.distance_law(2.0, 3.0, 1, n_bits)
    law = {d: w for d, w in weights.items() if (distances == d).any()}
    assert {2, 3, 4, 5, 6} <= set(law)
    seen = [int(distances[b[1]]) for b in drawn(sampler, anchor, 4000)]
    total = sum(law.values())
    assert_follows_law(seen, {d: w / total for d, w in law.items()})


# The sampler.


def test_a_batch_depends_on_its_number_alone(monkeypatch):
    store = random_store(3000, 20)
    plan = plan_of(2, 3, reach=5, samples=(0, 0, 4), pool=512)

    def make():
        return near_sampler(
            monkeypatch, store, plan, batch_size=16, mu=LinearAnnealing(8, 0, steps=10),
            batches_per_epoch=8,
        )  # fmt: skip

    sampler = make()
    batches = [sampler.batch(k, epoch=1) for k in range(8)]
    assert all(len(set(store.pattern_of[b])) == 16 for b in batches)
    assert [sampler.batch(k, epoch=1) for k in reversed(range(8))] == batches[::-1]
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(lambda k: sampler.batch(k, epoch=1), range(8))) == batches
    assert_resumes(make, epochs=2)


def test_a_pickled_index_is_made_again():
    index = NearIndex(random_store(500, 70), plan_of(8, 9, reach=17, samples=(0, 3, 5)))
    twin = pickle.loads(pickle.dumps(index))
    assert len(pickle.dumps(index)) < index.nbytes
    for mine, other in zip((*index.tables, *index.rings), (*twin.tables, *twin.rings), strict=True):
        assert np.array_equal(mine, other)
        # Numba compiles kernels anew for writable arrays.
        assert not isinstance(other, np.ndarray) or not other.flags.writeable


def test_a_state_of_another_search_is_refused(monkeypatch):
    store = random_store(300, 12)
    near = near_sampler(monkeypatch, store, plan_of(2, 2), batch_size=4)
    lists = ManiNegBatchSampler(store, batch_size=4, mu=2.0, seed=3)
    for mine, other in ((near, lists), (lists, near)):
        with pytest.raises(ManiNegError, match="the state was made with near="):
            mine.load_state_dict(other.state_dict())


def test_indices_and_ranks(monkeypatch):
    store = random_store(400, 12)
    options = {
        "batch_size": 4,
        "batches_per_epoch": 5,
        "indices": range(100, 400),
        "num_replicas": 2,
    }
    for shard in ("batches", "within"):
        ranks = [
            near_sampler(monkeypatch, store, plan_of(2, 2), rank=r, shard=shard, **options)
            for r in (0, 1)
        ]
        for batches in zip(*ranks, strict=True):
            assert all(len(b) == 4 and min(b) >= 100 for b in batches)
            if shard == "within":
                assert len(set(store.pattern_of[batches[0] + batches[1]])) == 8


def test_the_plan_says_how_and_why(monkeypatch):
    store = random_store(400, 12)
    options = {"batch_size": 4, "mu": 2.0}

    def plan(**more):
        return ManiNegBatchSampler(store, **options, **more).plan()

    assert (plan().search, plan().pool) == ("lists", 0)
    assert plan().radius == plan().reach == 12
    assert "fit the memory limit, '1GiB'" in plan().reason
    assert str(plan(memory_limit=0)) == "scan: lists exceed the memory limit, 0"
    assert str(plan(index="scan")) == "scan: it was asked for"
    assert plan(index="lists", memory_limit=0).search == "lists"
    assert plan(index=DistanceBucketIndex(store)).reason == "the index was given"
    monkeypatch.setattr(search, "NEAR_FROM", 300)
    near = plan(memory_limit=0)
    assert near.search == "near"
    assert near.reason == (
        f"there are {store.n_patterns} patterns; 100% of a sample of anchors have 4 patterns "
        f"within distance {near.radius + 1}"
    )
    assert near.nbytes > 0
    assert plan(memory_limit=0, skip_nearest=2).search == "scan"
    for name, value in (("skip_nearest", 2), ("center", "cluster"), ("coverage", "epoch")):
        more = {name: value, "duplicates": "keep"}
        assert name in plan(memory_limit=0, **more).reason
    monkeypatch.setattr(Effort, "of", lambda size: Effort(search=1, supply=16, pool=64))
    assert plan(memory_limit=0).search == "scan"
    assert "costs too much without a scan" in plan(memory_limit=0).reason
    with pytest.raises(ManiNegError, match='index="near" cannot be used: to find 4 patterns'):
        plan(index="near")


def test_each_anchor_is_searched_for_until_there_are_enough(monkeypatch):
    store = random_store(3000, 14)
    levels = [Level(r, reach, (0, 3, 9), (1.0,) * (reach + 1)) for r, reach in ((1, 4), (3, 5))]
    plan = NearPlan(2, tuple(levels), needed=3, low=1, pool=64, filled=1.0)
    index = NearIndex(store, plan)
    rows = store.to_dense()
    seen = set()
    for i in range(0, 300, 20):
        patterns, distances, radius, reach = searched(index, int(store.pattern_of[i]), i)
        near = naive.patterns_within(rows, i, 1)
        assert (radius, reach) == ((1, 4) if len(near) >= 3 else (3, 5))
        inside = distances <= radius
        found = dict(zip(patterns[inside].tolist(), distances[inside].tolist(), strict=True))
        assert found == naive.patterns_within(rows, i, radius)
        assert distances.max() <= reach
        seen.add(radius)
    assert seen == {1, 3}


@settings(max_examples=20)
@given(bits=bit_matrices(), size=st.sampled_from([2, 5, 64]))
def test_plans_of_small_stores(bits, size):
    """What is planned is what anchors have: there are no more than are looked at."""
    store = ManifestationStore.from_dense(bits)
    index = plan_near(
        store, low=1, high=store.n_bits, needed=size, per_instance=True, effort=Effort.of(size)
    )
    if index is None:  # many bits: far patterns cannot be looked up
        return
    last = index.plan.levels[-1].radius
    there = [len(naive.patterns_within(bits, i, last)) for i in range(len(bits))]
    assert all(n >= size for n in there) or last == store.n_bits
    assert index.plan.filled == 1.0


def test_a_plan_of_patterns_of_unequal_density():
    """In sparse regions the radius is larger, and everywhere a distance has a sample or a pool."""
    rng = np.random.default_rng(0)
    share = np.where(rng.random((100_000, 1)) < 0.5, 0.1, 0.4)
    store = ManifestationStore.from_dense(rng.random((100_000, 40)) < share)
    index = plan_near(store, low=1, high=40, needed=32, per_instance=True, effort=Effort.of(32))
    levels = index.plan.levels
    assert len(levels) >= 3
    assert levels[0].radius < levels[-1].radius
    assert index.plan.filled > 0.9
    enough, found_enough = 0, 0
    for p in rng.integers(0, store.n_patterns, 100).tolist():
        distances = naive.count_ones(store.words[:, 0] ^ store.words[p, 0])
        counts = np.bincount(distances, minlength=41)
        _, found, radius, reach = searched(index, p, p)
        sampled = np.bincount(found, minlength=41)
        assert (sampled[1 : radius + 1] == counts[1 : radius + 1]).all()
        pooled = index.plan.pool * counts / store.n_instances
        usual = range(radius + 1, int(distances.mean()))
        enough += len(usual)
        found_enough += sum((sampled[d] if d <= reach else pooled[d]) >= 6 for d in usual)
    assert found_enough > 0.95 * enough
