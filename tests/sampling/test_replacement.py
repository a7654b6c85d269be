"""Stores that are replaced: each epoch is drawn as a sampler made with its store draws it."""

import gc
import itertools
import json
import multiprocessing
import pickle
import time
import warnings
import weakref
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader, DistributedSampler

from maninegs_sampling import (
    DistanceBucketIndex,
    GraphBlockBatchSampler,
    LinearAnnealing,
    ManifestationStore,
    ManiNegBatchSampler,
    RandomWalkBatchSampler,
    UniformDistinctBatchSampler,
    coverage,
    hardness,
    write_order,
)
from maninegs_sampling.errors import InvalidTypeError, InvalidValueError, StateError
from maninegs_sampling.reports.comparison import compare
from tests.conftest import random_store
from tests.integrations.common import kill_and_resume, load_checkpoint, save_checkpoint
from tests.laws import assert_resumes

N = 40
# Of different widths, and the last one of other patterns with the same width as the first.
STORES = [random_store(N, n_bits, seed=i) for i, n_bits in enumerate((10, 14, 64, 10))]
MU = LinearAnnealing(6, 1, 40)
OPTIONS = {
    "plain": {},
    "nearest": {"empty": "nearest"},  # for which `high` is computed from the store
    "epoch": {"coverage": "epoch", "batches_per_epoch": "ceil", "anchors_per_batch": 2},
    "groups": {"groups": [f"p{i // 2}" for i in range(N)], "indices": range(4, N)},
    "rank": {"num_replicas": 2, "rank": 1},
    "within": {"num_replicas": 2, "rank": 1, "shard": "within"},
    "scan": {"index": "scan", "center": "cluster"},
    "jaccard": {"metric": "jaccard", "mu": LinearAnnealing(0.6, 0.2, 40)},
}
every = pytest.mark.parametrize("name", OPTIONS)


def make(store=STORES[0], **options):
    return ManiNegBatchSampler(store, **{"batch_size": 4, "mu": MU, "seed": 5, **options})


def epoch_of(sampler, epoch):
    return [sampler.batch(k, epoch) for k in range(len(sampler))]


def as_json(state):
    return json.loads(json.dumps(state))


@every
def test_each_epoch_is_that_of_a_sampler_made_with_its_store(name):
    options = OPTIONS[name]
    sampler = make(**options)
    for epoch, store in enumerate(STORES):
        sampler.replace_store(store, 2 * epoch)
        fresh = make(store, **options)
        for number in (2 * epoch, 2 * epoch + 1):
            fresh.set_epoch(number)
            assert list(sampler) == list(fresh)
        assert sampler.store is sampler.store_at(2 * epoch) is store
        assert (sampler.high, sampler.index.store.digest) == (fresh.high, fresh.index.store.digest)
        assert repr(sampler) == repr(fresh)


def test_what_is_asked_by_number_is_of_the_store_of_its_epoch():
    sampler, old, new = make(), make(), make(STORES[1])
    sampler.replace_store(STORES[1], 3)
    for epoch, fresh in ((2, old), (3, new)):
        assert epoch_of(sampler, epoch) == epoch_of(fresh, epoch)
        assert sampler.anchors(epoch, 0, 9).tolist() == fresh.anchors(epoch, 0, 9).tolist()
        assert sampler.log_q(epoch, 4).tolist() == fresh.log_q(epoch, 4).tolist()
        seen, expected = sampler.describe(epoch, 4), fresh.describe(epoch, 4)
        assert seen.distances.tolist() == expected.distances.tolist()
        assert seen.distribution.tolist() == expected.distribution.tolist()
        assert sampler.store_at(epoch) is fresh.store


def test_a_pass_goes_on_with_its_store_while_the_next_epochs_is_set():
    sampler = make()
    iterator = iter(sampler)
    batches = [next(iterator)]
    planned = make(coverage="epoch")
    assert planned.batch(0, 1) != planned.batch(0, 2)  # epoch 1 is planned and kept
    for this in (sampler, planned):
        this.replace_store(STORES[1], 1)
    assert [*batches, *iterator] == epoch_of(make(), 0)
    assert list(sampler) == epoch_of(make(STORES[1]), 1)
    assert epoch_of(planned, 1) == epoch_of(make(STORES[1], coverage="epoch"), 1)


def test_an_iterator_made_before_its_epochs_store_draws_with_it():
    sampler = make()
    iterator = iter(sampler)
    sampler.replace_store(STORES[1], 0)
    assert list(iterator) == epoch_of(make(STORES[1]), 0)


def test_a_later_call_takes_the_place_of_stores_set_for_the_same_and_later_epochs():
    sampler = make()
    sampler.replace_store(STORES[1], 4)
    sampler.replace_store(STORES[2], 6)
    sampler.replace_store(STORES[3], 4)
    assert [sampler.store_at(e) for e in (0, 3, 4, 6)] == [STORES[i] for i in (0, 0, 3, 3)]
    sampler.replace_store(STORES[1], 0)
    assert sampler.store_at(0) is sampler.store_at(9) is STORES[1]


def test_stores_are_not_kept_for_ever():
    sampler = make()
    for epoch in range(6):
        sampler.replace_store(STORES[epoch % 4], epoch)
        list(DataLoader(range(N), batch_sampler=sampler))
    assert len(sampler._earlier) == 1
    assert epoch_of(sampler, 4) == epoch_of(make(STORES[0]), 4)
    for ask in (
        sampler.store_at, sampler.set_epoch, lambda e: sampler.batch(0, e),
        lambda e: sampler.describe(e, 0), lambda e: sampler.anchors(e, 0, 1),
    ):  # fmt: skip
        with pytest.raises(InvalidValueError, match=r"epoch 3 was drawn .* has those from epoch 4"):
            ask(3)


def test_a_store_that_is_kept_keeps_none_before_it():
    sampler = make()
    for epoch in (1, 2):
        sampler.replace_store(STORES[epoch], epoch)
    first = weakref.ref(sampler._earlier[0])
    for _ in range(2):
        list(sampler)
    sampler.replace_store(STORES[3], 3)
    assert [kept.store for kept in sampler._earlier] == STORES[1:3]
    gc.collect()
    assert first() is None


@pytest.mark.parametrize(
    ("store", "epoch", "error", "message"),
    [
        ("store", 3, InvalidTypeError, "store must be a ManifestationStore; got str"),
        (random_store(N + 1, 10), 3, InvalidValueError, "must have 40 instances.*got 41"),
        (STORES[1], 1.5, InvalidTypeError, "epoch must be a whole number; got 1.5"),
        (STORES[1], -1, InvalidValueError, "epoch must be at least 0; got -1"),
        (STORES[1], 2**62, InvalidValueError, "epoch must be below"),
        (STORES[1], 1, InvalidValueError, "epoch 1 has begun .* is 2, got epoch=1"),
        (STORES[1], 0, InvalidValueError, "epoch 0 has begun .* is 2, got epoch=0"),
        (random_store(N, 2), 3, InvalidValueError, "low=3 exceeds the 2 bits"),
        (random_store(N, 3, density=0.0), 3, InvalidValueError, "1 distinct patterns, too few"),
    ],
)
def test_what_cannot_replace_a_store_is_refused_and_changes_nothing(store, epoch, error, message):
    sampler = make(low=3)
    list(sampler)
    iterator = iter(sampler)
    first = next(iterator)
    before = sampler.state_dict()
    with pytest.raises(error, match=message):
        sampler.replace_store(store, epoch)
    assert sampler.state_dict() == before
    assert [first, *iterator] == epoch_of(make(low=3), 1)
    assert list(sampler) == epoch_of(make(low=3), 2)


def test_the_epoch_that_has_begun_is_also_that_of_a_loaded_position():
    state = make().state_dict()
    for position, begun in ((0, 2), (3, 3), (10, 3)):
        sampler = make()
        sampler.load_state_dict(state | {"epoch": 3, "position": position})
        with pytest.raises(InvalidValueError, match=f"epoch {begun} has begun"):
            sampler.replace_store(STORES[1], begun)
        sampler.replace_store(STORES[1], begun + 1)
    sampler = make()
    list(sampler)
    sampler.set_epoch(0)  # does not undo what was drawn
    with pytest.raises(InvalidValueError, match="epoch 0 has begun"):
        sampler.replace_store(STORES[1], 0)


def test_options_may_change_where_they_were_given_without_a_change_of_batches():
    groups, indices = [i // 2 for i in range(N)], np.arange(4, N)
    sampler = make(groups=groups, indices=indices)
    groups[:], indices[:] = [0] * N, np.arange(N - 4)
    sampler.replace_store(STORES[1], 1)
    fresh = make(STORES[1], groups=[i // 2 for i in range(N)], indices=range(4, N))
    assert epoch_of(sampler, 1) == epoch_of(fresh, 1)


def test_an_option_that_has_changed_is_refused():
    size = [4]

    class Sized(ManiNegBatchSampler):
        def __init__(self, store):
            super().__init__(store, batch_size=size[0], mu=2.0)

    sampler = Sized(STORES[0])
    sampler.replace_store(STORES[1], 0)
    size[0] = 5
    with pytest.raises(InvalidValueError, match=r"batch_size of this sampler was 4.* now give 5"):
        sampler.replace_store(STORES[2], 1)
    assert sampler.store is STORES[1]


def test_a_ready_index_is_not_kept():
    index = DistanceBucketIndex(STORES[0], memory_limit=0)
    sampler = make(index=index)
    sampler.replace_store(STORES[1], 1)
    assert str(sampler.plan()) == str(make(STORES[1]).plan())
    assert epoch_of(sampler, 0) + epoch_of(sampler, 1) == epoch_of(make(), 0) + epoch_of(
        make(STORES[1]), 1
    )


def test_short_batches_warn_once_over_all_stores():
    far = np.eye(N, dtype=bool)  # nobody is at distance 1
    sampler = make(ManifestationStore.from_dense(far), high=1)
    with pytest.warns(UserWarning, match="Shown once"):
        list(sampler)
    sampler.replace_store(ManifestationStore.from_dense(far[::-1]), 1)
    list(sampler)  # warnings are errors


@pytest.mark.parametrize(
    ("cls", "options"),
    [
        (UniformDistinctBatchSampler, {"groups": np.arange(N) // 2}),
        (GraphBlockBatchSampler, {"n_neighbors": 6}),
        (RandomWalkBatchSampler, {"n_neighbors": 6}),
    ],
)
def test_other_samplers_replace_their_store(cls, options):
    sampler = cls(STORES[0], batch_size=4, **options)
    sampler.batch(0, 2)  # plans epoch 2 with the first store
    for epoch in (1, 2):
        sampler.replace_store(STORES[epoch], epoch)
    for epoch in range(3):
        assert list(sampler) == epoch_of(cls(STORES[epoch], batch_size=4, **options), epoch)


@pytest.mark.parametrize("cls", [GraphBlockBatchSampler, RandomWalkBatchSampler])
def test_batches_by_given_neighbors_do_not_follow_a_store(cls):
    lists = np.arange(N)[:, None] + np.arange(1, 7)
    sampler = cls(STORES[0], batch_size=4, neighbors=lists % N)
    with pytest.raises(InvalidValueError, match=f"{cls.__name__} was given neighbors="):
        sampler.replace_store(STORES[1], 1)


def test_all_ranks_draw_as_ranks_made_with_the_new_store():
    for shard in ("batches", "within"):
        ranks = [make(num_replicas=3, rank=r, shard=shard) for r in range(3)]
        for rank in ranks:
            list(rank)
            rank.replace_store(STORES[1], 1)
        passes = [list(rank) for rank in ranks]
        if shard == "within":
            whole = make(STORES[1], batch_size=12, shard="within")
            assert [sum(parts, []) for parts in zip(*passes, strict=True)] == epoch_of(whole, 1)
        else:
            anchors = [batch[0] for batches in passes for batch in batches]
            assert len(set(anchors)) == len(anchors)


def test_ranks_that_start_later(monkeypatch):
    sampler = make(distributed="auto")
    sampler.replace_store(STORES[1], 1)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    for epoch in range(2):
        assert list(sampler) == epoch_of(make(STORES[epoch], num_replicas=2, rank=1), epoch)


# Loaders


@pytest.mark.parametrize(("workers", "start"), [(0, None), (2, "fork"), (1, "spawn")])
def test_a_wrapped_loader_with_workers_that_stay(workers, start):
    uniform = DataLoader(
        range(N), batch_size=4, shuffle=True, num_workers=workers,
        persistent_workers=workers > 0, multiprocessing_context=start,
    )  # fmt: skip
    loader = ManiNegBatchSampler.wrap(uniform, STORES[0], mu=MU)
    sampler = loader.batch_sampler
    for epoch in range(4):
        if epoch % 2 == 0 and epoch:
            sampler.replace_store(STORES[epoch], epoch)
        batches = [batch.tolist() for batch in loader]
        assert batches == epoch_of(make(sampler.store, seed=0), epoch)
        assert sampler.epoch == epoch + 1
    assert loader.batch_sampler is sampler
    assert sampler.sampler.set_epoch(7) is None
    assert sampler.epoch == 7


def test_a_store_set_while_workers_are_ahead_of_the_training():
    sampler = make()
    loader = DataLoader(range(N), batch_sampler=sampler, num_workers=2, prefetch_factor=20)
    iterator = iter(loader)
    seen = [next(iterator).tolist()]
    # The workers have the whole epoch by now; the training has seen one batch of it.
    sampler.replace_store(STORES[1], 1)
    state = as_json(sampler.state_dict() | {"epoch": 0, "position": 1})
    seen += [batch.tolist() for batch in iterator]
    assert seen == epoch_of(make(), 0)
    again = make()
    again.replace_store(STORES[1], 1)
    again.load_state_dict(state)
    assert list(again) == seen[1:]
    assert list(again) == epoch_of(make(STORES[1]), 1)


def test_epochs_that_a_distributed_sampler_sets():
    old = DistributedSampler(range(N), num_replicas=2, rank=1)
    loader = ManiNegBatchSampler.wrap(
        DataLoader(range(N), batch_size=4, sampler=old), STORES[0], mu=MU, seed=5
    )
    for epoch in range(3):
        old.set_epoch(epoch)
        if epoch == 1:
            loader.batch_sampler.replace_store(STORES[1], epoch)
        expected = make(STORES[min(epoch, 1)], num_replicas=2, rank=1)
        assert [batch.tolist() for batch in loader] == epoch_of(expected, epoch)


@pytest.mark.filterwarnings("ignore:'set_vital' is deprecated")
def test_a_stateful_dataloader_resumes_at_a_boundary_and_within_an_epoch():
    stateful = pytest.importorskip("torchdata.stateful_dataloader")

    def loader_of(sampler):
        return stateful.StatefulDataLoader(range(N), batch_sampler=sampler, num_workers=0)

    loader = loader_of(make())
    first = [batch.tolist() for batch in loader]
    at_boundary = loader.state_dict()
    loader.batch_sampler.replace_store(STORES[1], 1)
    within = []
    for batch in loader:
        within.append(batch.tolist())
        if len(within) == 3:
            state = loader.state_dict()
    assert first + within == epoch_of(make(), 0) + epoch_of(make(STORES[1]), 1)
    again = loader_of(make(STORES[1]))
    again.load_state_dict(state)
    assert [batch.tolist() for batch in again] == within[3:]
    again = loader_of(make())
    again.load_state_dict(at_boundary)
    again.batch_sampler.replace_store(STORES[1], 1)
    assert [batch.tolist() for batch in again] == within


# States


def with_history():
    """Stores from epochs 0, 2 and 5 on; the next pass is of epoch 3."""
    sampler = make()
    for _ in range(2):
        list(sampler)
    sampler.replace_store(STORES[1], 2)
    list(sampler)
    sampler.replace_store(STORES[2], 5)
    return sampler


def test_a_state_names_the_stores_of_its_epochs():
    state = with_history().state_dict()
    named = [(s["from_epoch"], s["store"]) for s in state["fingerprint"]["stores"]]
    assert named == [(2, STORES[1].digest), (5, STORES[2].digest)]
    assert as_json(state) == state


@pytest.mark.parametrize(
    "history", [[(0, 0), (2, 1), (5, 2)], [(0, 1), (5, 2)], [(0, 3), (2, 1), (5, 2)]]
)
def test_a_state_is_resumed_with_the_stores_that_are_still_to_be_drawn(history):
    whole = with_history()
    state = as_json(whole.state_dict())
    again = make(STORES[history[0][1]])
    for epoch, store in history[1:]:
        again.replace_store(STORES[store], epoch)
    again.load_state_dict(state)
    for _ in range(4):
        assert list(again) == list(whole)
    # Whatever was drawn before epoch 2, nothing is claimed of it.
    again = make(STORES[1])
    again.replace_store(STORES[2], 5)
    again.load_state_dict(state)
    assert again.store_at(2) is STORES[1]
    with pytest.raises(InvalidValueError, match="epoch 1 was drawn with a store that was replaced"):
        again.batch(0, 1)


@pytest.mark.parametrize(
    ("history", "message"),
    [
        (
            [(0, 0)],
            "made with store='.*' from epoch 2 on; this sampler has store='.*'; make it with",
        ),
        ([(0, 0), (2, 1)], "from epoch 5 on, which this sampler lacks; call replace_store"),
        ([(0, 0), (2, 2), (5, 2)], "made with store='.*' from epoch 2 on; this sampler has"),
        ([(0, 0), (2, 1), (5, 3)], "made with store='.*' from epoch 5 on; this sampler has"),
        ([(0, 0), (2, 1), (6, 2)], "from epoch 5 on, which this sampler lacks; call replace_store"),
        ([(0, 0), (2, 1), (4, 3), (5, 2)], "this sampler has store='.*' from epoch 4 on, and the"),
        ([(0, 1), (3, 2), (5, 2)], "made with store='.*' from epoch 2 on; this sampler has"),
    ],
)
def test_another_sequence_of_stores_is_refused(history, message):
    again = make(STORES[history[0][1]])
    for epoch, store in history[1:]:
        again.replace_store(STORES[store], epoch)
    before = again.state_dict()
    with pytest.raises(StateError, match=message):
        again.load_state_dict(with_history().state_dict())
    assert again.state_dict() == before


def test_options_that_follow_from_a_store_are_compared_store_by_store():
    sampler = make(empty="nearest")
    sampler.replace_store(STORES[2], 1)
    again = make(empty="nearest", high=sampler.store_at(0).n_bits)
    again.replace_store(STORES[2], 1)
    with pytest.raises(StateError, match="the state was made with high="):
        again.load_state_dict(sampler.state_dict())


def test_a_store_may_be_set_after_the_state_for_an_epoch_that_had_not_begun():
    state = make().state_dict()
    at_end, within = state | {"epoch": 3, "position": 10}, state | {"epoch": 4, "position": 2}
    for later in (4, 5):
        again = make()
        again.replace_store(STORES[1], later)
        again.load_state_dict(at_end)
        assert again.store_at(4) is STORES[later == 4]
    again = make()
    again.replace_store(STORES[1], 4)
    with pytest.raises(StateError, match="this sampler has store="):
        again.load_state_dict(within)


def test_a_state_of_another_epoch_than_its_stores_is_refused():
    sampler = with_history()
    sampler.load_state_dict(sampler.state_dict() | {"epoch": 7})
    with pytest.raises(StateError, match=r"which store epoch 1 is drawn: .* from epoch 2 on"):
        sampler.load_state_dict(sampler.state_dict() | {"epoch": 1})
    assert sampler.epoch == 7


@pytest.mark.parametrize(
    "stores",
    [
        None, 3, [], {}, "x", [3], [{}], [{"from_epoch": 0}], [{"from_epoch": -1, "store": "a"}],
        [{"from_epoch": "0", "store": "a"}], [{"from_epoch": True, "store": "a"}],
        [{"from_epoch": 0, "store": np.ones(2), "high": 3, "near": None}],
        [{"from_epoch": 0, "store": [1], "high": 3, "near": None}],
        [{"from_epoch": 0, "store": "a", "high": 3, "near": None}] * 2,
    ],
)  # fmt: skip
def test_what_is_no_list_of_stores_is_refused(stores):
    sampler = make()
    state = sampler.state_dict()
    state["fingerprint"] = state["fingerprint"] | {"stores": stores}
    with pytest.raises(StateError, match=r"the state (does not say|was made with)"):
        sampler.load_state_dict(state)


@every
def test_stopped_and_resumed_equals_never_stopped(name):
    def made():
        sampler = make(**OPTIONS[name])
        sampler.replace_store(STORES[1], 1)
        sampler.replace_store(STORES[2], 2)
        return sampler

    assert_resumes(made)


def test_a_sampler_with_a_history_is_pickled():
    sampler = with_history()
    again = pickle.loads(pickle.dumps(sampler))
    again.replace_store(STORES[3], 4)
    sampler.replace_store(STORES[3], 4)
    for _ in range(3):
        assert list(again) == list(sampler)


@settings(max_examples=40)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("draw"), st.integers(1, 12)),
            st.tuples(st.just("replace"), st.integers(0, 3), st.integers(-1, 2)),
            st.tuples(st.just("resume"), st.booleans()),
        ),
        max_size=12,
    )
)
def test_any_sequence_of_replacements_passes_and_states(actions):
    """The model: a list of stores by epoch, and samplers that are made with one of them."""
    fresh = {i: make(store) for i, store in enumerate(STORES)}
    sampler, history = make(), {0: 0}
    epoch, iterator, drawn = 0, None, 0

    def store_of(number):
        return history[max(first for first in history if first <= number)]

    for action in actions:
        if action[0] == "draw":
            if iterator is None:
                iterator = iter(sampler)
            for batch in itertools.islice(iterator, action[1]):
                assert batch == fresh[store_of(epoch)].batch(drawn, epoch)
                drawn += 1
            if drawn == len(sampler):
                epoch, iterator, drawn = epoch + 1, None, 0
        elif action[0] == "replace":
            number = epoch + action[2]
            if number < epoch or (number == epoch and drawn):
                with pytest.raises(InvalidValueError, match=r"has begun|at least 0"):
                    sampler.replace_store(STORES[action[1]], number)
                continue
            sampler.replace_store(STORES[action[1]], number)
            history = {first: i for first, i in history.items() if first < number}
            history[number] = action[1]
        else:
            state = as_json(sampler.state_dict())
            first = 0 if action[1] else epoch  # the whole history, or what is still to be drawn
            sampler = make(STORES[store_of(first)])
            for number, i in sorted(history.items()):
                if number > first:
                    sampler.replace_store(STORES[i], number)
            sampler.load_state_dict(state)
            iterator = None
        for number in (epoch, epoch + 2):
            assert sampler.store_at(number) is STORES[store_of(number)]


# A run that is killed

EPOCHS = 6
context = multiprocessing.get_context("forkserver")
context.set_forkserver_preload(["tests.sampling.test_replacement"])


def embedded(epoch):
    """The store of the embeddings that the model has in an epoch."""
    points = np.random.default_rng(epoch // 2).normal(size=(N, 12))
    return ManifestationStore.from_embeddings(points)


def train(folder):
    """Embed anew every second epoch, note every batch, and save after each."""
    warnings.simplefilter("ignore")
    trained, path = [], folder / "proxy-0"
    state = load_checkpoint(folder)
    if state:
        trained, path = state["trained"], folder / state["proxy"]
    else:
        embedded(0).save(path)
    sampler = make(ManifestationStore.load(path))
    if state:
        sampler.load_state_dict(state["sampler"])
    loader = DataLoader(range(N), batch_sampler=sampler)
    for epoch in range(sampler.epoch, EPOCHS):
        if epoch % 2 == 0 and epoch and sampler.position == 0:
            path = folder / f"proxy-{epoch}"
            embedded(epoch).save(path)
            sampler.replace_store(ManifestationStore.load(path), epoch)
        for k, batch in enumerate(loader, sampler.position):
            time.sleep(0.005)
            trained.append(batch.tolist())
            where = sampler.state_dict() | {"epoch": epoch, "position": k + 1}
            save_checkpoint({"sampler": where, "proxy": path.name, "trained": trained}, folder)


def start(folder):
    process = context.Process(target=train, args=(folder,))
    process.start()
    return process


def test_a_killed_run_goes_on_with_the_stores_that_it_had(tmp_path):
    delays = np.random.default_rng(0).uniform(0, 0.1, 3)
    progress = kill_and_resume(partial(start, tmp_path), tmp_path, delays)
    assert 0 < progress[0] < progress[-1] < 10 * EPOCHS
    expected = [b for epoch in range(EPOCHS) for b in epoch_of(make(embedded(epoch)), epoch)]
    assert load_checkpoint(tmp_path)["trained"] == expected


# What measures and writes batches


def test_measures_are_of_the_store_of_the_epochs():
    sampler = make()
    sampler.replace_store(STORES[1], 2)
    for epoch, store in ((0, STORES[0]), (2, STORES[1])):
        fresh = make(store)
        assert (
            hardness(sampler, batches=20, epoch=epoch).pair_histogram.tolist()
            == hardness(fresh, batches=20, epoch=epoch).pair_histogram.tolist()
        )
        seen, expected = (coverage(s, epochs=2, epoch=epoch) for s in (sampler, fresh))
        assert seen.pattern_counts.tolist() == expected.pattern_counts.tolist()
    for measure in (
        lambda: hardness(sampler, batches=21),
        lambda: coverage(sampler, epochs=3),
        lambda: list(compare(STORES[0], batch_size=4, epochs=3, samplers={"mine": sampler})),
    ):
        with pytest.raises(InvalidValueError, match="store of this sampler is replaced in epoch 2"):
            measure()
    with pytest.raises(InvalidValueError, match="draws from another store"):
        list(compare(STORES[1], batch_size=4, epochs=2, samplers={"mine": sampler}))


def test_an_order_is_of_the_stores_of_its_epochs(tmp_path):
    pytest.importorskip("pyarrow", reason="orders need the extra streams")
    sampler = make()
    sampler.replace_store(STORES[1], 1)
    for _ in range(2):  # the second time the file is there
        order = write_order(sampler, tmp_path / "order.parquet", epochs=2)
        for epoch in range(2):
            expected = epoch_of(make(STORES[epoch]), epoch)
            assert [list(batch) for batch in order.batches(epoch)] == expected
    write_order(make(), tmp_path / "other.parquet", epochs=2)
    with pytest.raises(StateError, match="other stores by now"):
        write_order(sampler, tmp_path / "other.parquet", epochs=2)
