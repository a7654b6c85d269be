"""Each engine, unmodified, hands out the batches of the order: workers and ranks share them."""

import pytest

pytest.importorskip("pyarrow", reason="pyarrow is not installed")

from benchmarks.examples import streams
from tests.integrations.common import run_in_processes
from tests.orders.shards import rows_in
from tests.orders.stream_ranks import rows_in_place, rows_through

# Their own: files left to the garbage collector, and forks beside threads.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
PACKAGES = {"webdataset": "webdataset", "in_place": "webdataset", "datasets": "datasets"}


def need(engine):
    pytest.importorskip(PACKAGES[engine], reason=f"{PACKAGES[engine]} is not installed")


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("streams")
    shards, store = streams.write_shards(folder)
    order = streams.write_covering_order(store, folder)
    new = streams.rewrite(order, shards, folder)
    return shards, order, new, streams.write_local_order(store, folder)


@pytest.mark.parametrize("engine", ["webdataset", "datasets"])
def test_rewritten_shards_give_the_batches_of_the_order(written, engine):
    need(engine)
    _, order, new, _ = written
    for epoch, paths in enumerate(new):
        batches = list(order.batches(epoch))
        assert rows_through(engine, paths, 0) == batches
    # Workers take turns with whole shards.
    assert sorted(rows_through(engine, new[1], 2)) == sorted(batches)


@pytest.mark.parametrize("engine", ["webdataset", "datasets"])
def test_ranks_share_rewritten_shards(written, tmp_path, engine):
    need(engine)
    _, order, new, _ = written
    ranks = run_in_processes(
        "tests.orders.stream_ranks", engine, str(order.path), *map(str, new[1]), folder=tmp_path
    )
    assert sorted(ranks[0] + ranks[1]) == sorted(order.batches(1))
    assert len(ranks[0]) == len(ranks[1])


def test_shards_that_stay_where_they_are(written, tmp_path, monkeypatch):
    need("in_place")
    from benchmarks.examples.stream_in_place import BatchesInPlace

    shards, _, _, order = written
    batches = list(order.batches(1))
    reads, read = [], BatchesInPlace.read
    with monkeypatch.context() as patched:
        patched.setattr(
            BatchesInPlace, "read", lambda self, shard: (reads.append(shard), read(self, shard))[1]
        )
        assert rows_in_place(order, 1, shards, 0) == batches
    assert sorted(reads) == [0, 1, 2, 3], "each shard is read once"
    assert sorted(rows_in_place(order, 1, shards, 2)) == sorted(batches)
    ranks = run_in_processes(
        "tests.orders.stream_ranks", "in_place", str(order.path), *map(str, shards), folder=tmp_path
    )
    assert sorted(ranks[0] + ranks[1]) == sorted(batches)
    assert len(ranks[0]) == len(ranks[1])


def test_the_shards_hold_what_they_say(written):
    shards, *_ = written
    assert [row for path in shards for row in rows_in(path)] == list(range(streams.N))
