"""coverage="epoch": the exact distribution of an epoch's plan, given its anchors."""

from collections import Counter

import pytest

from maninegs_sampling import ManifestationStore, ManiNegBatchSampler, max_distance
from maninegs_sampling.sampling import planner
from tests import naive
from tests.laws import assert_follows_law
from tests.sampling.covering import covering

# Six patterns, two of them twice.
ROWS = (
    (0, 0, 0, 0, 0, 0),
    (0, 0, 0, 0, 0, 1),
    (0, 0, 0, 0, 0, 1),
    (0, 0, 1, 1, 0, 0),
    (1, 0, 0, 1, 0, 1),
    (1, 1, 1, 1, 1, 1),
    (1, 1, 0, 1, 0, 1),
    (0, 0, 1, 1, 0, 0),
)
GROUPS = (0, 1, 2, 2, 3, 4, 5, 0)
EPOCHS = 1000
# (instances, batch size, anchors of a batch): one left out; two batches; clusters of two and three.
SHAPES = ((7, 3, 1), (6, 3, 1), (6, 6, 2), (8, 4, 2))
OPTIONS = {
    "shape": SHAPES,
    "empty": ("renormalize", "nearest"),
    "draw": ("instance", "pattern"),
    "condition": (
        {},
        {"duplicates": "refill"},
        {"groups": GROUPS},
        {"skip_nearest": 1},
    ),
}
COMBINATIONS = [
    options
    for options in covering(OPTIONS, strength=2)
    # Instances 1 and 2 share a pattern, 2 and 3 a group: they cannot be in one batch.
    if options["shape"] != (6, 6, 2) or options["condition"].keys() <= {"skip_nearest"}
]


def plans_of(shape, mu, sigma, options):
    """The plans of many epochs, drawn by both indices."""
    n, batch_size, anchors_per_batch = shape
    options = {**options, "batch_size": batch_size, "anchors_per_batch": anchors_per_batch}
    if options.get("groups") is not None:
        options["groups"] = options["groups"][:n]
    store = ManifestationStore.from_dense(ROWS[:n])
    options |= {"mu": mu, "sigma": sigma, "coverage": "epoch", "seed": 2}
    sampler = ManiNegBatchSampler(store, **options)
    scanned = ManiNegBatchSampler(store, memory_limit=0, **options)
    plans = [tuple(sum(sampler, [])) for _ in range(EPOCHS)]
    for epoch in range(50):
        assert tuple(sum(scanned, [])) == plans[epoch]
    return plans


def check_plans(shape, options, mu=1.0, sigma=1.5, law_mu=None):
    n, batch_size, anchors_per_batch = shape
    rows, cluster_size = ROWS[:n], batch_size // anchors_per_batch
    plans = plans_of(shape, mu, sigma, options)
    metric = options.get("metric", "hamming")
    high = max_distance(ManifestationStore.from_dense(rows), metric=metric)
    if metric == "jaccard":
        weights = naive.jaccard_law(mu, sigma, 0.01, high)
    else:
        weights = naive.distance_law(mu if law_mu is None else law_mu, sigma, 1, high)
    given = {"empty": "renormalize", "draw": "instance", "duplicates": "keep", **options}

    def split(plan):
        anchors = plan[::cluster_size]
        return anchors, tuple(sorted(set(plan) - set(anchors)))

    by_anchors = Counter(map(split, plans))
    laws, fewest = {}, {}
    for anchors, others in by_anchors:
        laws[anchors, others], fewest[anchors, others] = naive.plan_law(
            rows, anchors, others, batch_size, cluster_size, weights, **given
        )
    # Where no plan avoids all pairs that cannot be drawn, the law says only how many there are.
    assert all(plan in laws[split(plan)] for plan in plans)
    kept = [plan for plan in plans if fewest[split(plan)] == 0]
    assert len(kept) > EPOCHS / 3

    def total(plan):
        """The sum of all distances from anchors."""
        anchor_at = [place - place % cluster_size for place in range(len(plan))]
        return sum(
            naive.hamming(rows[i], rows[plan[at]]) for i, at in zip(plan, anchor_at, strict=True)
        )

    def partners(plan):
        """The cluster of instance 1, in order, and the place of instance 3."""
        places = {i: place for place, i in enumerate(plan)}
        if 1 not in places:
            return None
        begin = places[1] - places[1] % cluster_size
        return plan[begin : begin + cluster_size], places.get(3)

    for feature in (lambda plan: plan, total, partners):
        law = Counter()
        for plan_anchors, count in by_anchors.items():
            if fewest[plan_anchors] == 0:
                for plan, chance in laws[plan_anchors].items():
                    law[feature(plan)] += chance * count / len(kept)
        assert_follows_law(map(feature, kept), law)


@pytest.fixture(autouse=True)
def many_visits(monkeypatch):
    monkeypatch.setattr(planner, "_VISITS", 300)


@pytest.mark.parametrize(
    "options",
    COMBINATIONS,
    ids=lambda options: "-".join(
        "+".join(value) if name == "condition" else str(value) for name, value in options.items()
    ),
)
def test_plans_follow_the_exact_law(options):
    shape, empty, draw, condition = options.values()
    check_plans(shape, {"empty": empty, "draw": draw, "duplicates": "keep", **condition})


def test_plans_by_jaccard_follow_the_exact_law():
    options = {"metric": "jaccard", "duplicates": "refill", "skip_nearest": 1}
    check_plans((8, 4, 2), options, mu=0.5, sigma=0.2)


def test_plans_follow_the_exact_law_where_patterns_differ_and_are_skipped():
    check_plans((8, 4, 2), {"duplicates": "refill", "skip_nearest": 1})


@pytest.mark.parametrize(
    ("shape", "options"),
    [
        ((6, 3, 1), {"duplicates": "refill", "groups": GROUPS}),
        (
            (6, 3, 1),
            {"duplicates": "keep", "groups": GROUPS, "skip_nearest": 1, "empty": "nearest"},
        ),
        ((8, 4, 2), {"duplicates": "keep", "groups": GROUPS, "skip_nearest": 1}),
    ],
)
@pytest.mark.xfail(
    strict=True,
    reason="exchanging two places at a time does not lead from every plan to every other",
)
def test_plans_follow_the_exact_law_where_two_conditions_meet(shape, options):
    check_plans(shape, options)


def test_every_epoch_is_planned_where_a_plan_exists():
    plans_of((8, 4, 2), 1.0, 1.5, {"duplicates": "refill", "groups": GROUPS})


def all_may_meet(batch):
    return True


def patterns_differ(batch):
    return len({ROWS[i] for i in batch}) == len(batch)


def groups_differ(batch):
    return len({GROUPS[i] for i in batch}) == len(batch)


@pytest.mark.parametrize(
    ("shape", "options", "may_meet"),
    [
        ((6, 3, 1), {"duplicates": "keep"}, all_may_meet),
        ((8, 4, 1), {"duplicates": "keep"}, all_may_meet),
        ((6, 3, 1), {"duplicates": "keep", "draw": "pattern", "empty": "nearest"}, all_may_meet),
        ((8, 4, 1), {"duplicates": "refill"}, patterns_differ),
        ((6, 3, 1), {"duplicates": "keep", "groups": GROUPS}, groups_differ),
    ],
)
@pytest.mark.parametrize("sigma", [0.7, 1.5])
def test_plans_of_near_clusters_follow_the_exact_law(shape, options, may_meet, sigma, monkeypatch):
    monkeypatch.setattr(planner, "_OFFERS_IN_CLUSTERS", 20)
    monkeypatch.setattr(planner, "_VISITS", 60)
    n, cluster_size, _ = shape
    rows = ROWS[:n]
    plans = plans_of(shape, 2.0, sigma, {**options, "center": "cluster"})
    high = max_distance(ManifestationStore.from_dense(rows))
    weights = naive.distance_law(2.0, sigma, 1, high, center="cluster")
    by_anchors = Counter(plan[::cluster_size] for plan in plans)
    law, kept = Counter(), 0
    possible = {}
    for anchors, count in by_anchors.items():
        others = sorted(set(range(n)) - set(anchors))
        chances, fewest = naive.plan_law_of_clusters(
            rows, anchors, others, cluster_size, weights, may_meet=may_meet
        )
        possible[anchors] = fewest == 0
        if fewest == 0:
            kept += count
            law.update({plan: chance * count for plan, chance in chances.items()})
    drawn = [plan for plan in plans if possible[plan[::cluster_size]]]
    assert len(drawn) == kept > EPOCHS / 2
    law = {plan: chance / kept for plan, chance in law.items()}
    assert_follows_law(drawn, law)

    def spread(plan):
        return sum(
            naive.hamming(rows[i], rows[j])
            for begin in range(0, n, cluster_size)
            for i in plan[begin : begin + cluster_size]
            for j in plan[begin : begin + cluster_size]
        )

    by_spread = Counter()
    for plan, chance in law.items():
        by_spread[spread(plan)] += chance
    assert_follows_law(map(spread, drawn), by_spread)


@pytest.mark.parametrize("shape", SHAPES)
def test_anchors_are_uniform_without_replacement(shape):
    n, batch_size, anchors_per_batch = shape
    plans = plans_of(shape, 1.0, 1.5, {"duplicates": "keep"})
    first = [(plan[0], plan[batch_size // anchors_per_batch]) for plan in plans]
    pairs = [(i, j) for i in range(n) for j in range(n) if i != j]
    assert_follows_law(first, dict.fromkeys(pairs, 1 / len(pairs)))


def test_all_instances_are_left_out_equally_often():
    plans = plans_of((7, 3, 1), 0.0, 0.5, {"duplicates": "keep"})
    assert_follows_law([21 - sum(plan) for plan in plans], dict.fromkeys(range(7), 1 / 7))


def test_the_law_test_notices_a_wrong_law():
    with pytest.raises(AssertionError, match="p ="):
        check_plans((6, 3, 1), {"duplicates": "keep"}, law_mu=2.0)
