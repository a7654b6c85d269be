"""Each engine, unmodified, hands out the batches of the order: workers and ranks share them."""

import ast
import textwrap
from pathlib import Path

import pytest

pytest.importorskip("pyarrow", reason="pyarrow is not installed")

import maninegs_sampling as mn
from benchmarks.examples import streams
from maninegs_sampling.data.datasets import synthetic_mvkl
from tests.integrations.common import run_in_processes
from tests.orders.shards import rows_in
from tests.orders.stream_ranks import rows_through

# The engines' own: files that are left to the garbage collector, and what they call.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

# The package of each engine, the module that is imported, and the order that it reads.
ENGINES = {
    "webdataset": ("webdataset", "webdataset", "order.parquet"),
    "in_place": ("webdataset", "webdataset", "local.parquet"),
    "datasets": ("datasets", "datasets", "order.parquet"),
    "litdata": ("litdata", "litdata", "order.parquet"),
    "mosaicml": ("mosaicml-streaming", "streaming", "order.parquet"),
    "ray": ("ray[data]", "ray.data", "order.parquet"),
}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A folder with tar shards, both orders, and the shards rewritten."""
    folder = tmp_path_factory.mktemp("streams")
    shards, store = streams.write_shards(folder)
    streams.rewrite(streams.write_covering_order(store, folder), shards, folder)
    streams.write_local_order(store, folder)
    return folder


def batches_for(engine, folder):
    """Skip without the engine; else write what it reads, and return the batches of each epoch."""
    package, module, order_name = ENGINES[engine]
    pytest.importorskip(
        module, reason=f"{package} is not installed or cannot be imported", exc_type=ImportError
    )
    order = mn.BatchOrder(folder / order_name)
    if engine == "litdata" and not (folder / "chunks-0").exists():
        from benchmarks.examples.stream_litdata import Lesions, write_chunks

        bits = synthetic_mvkl(streams.N)[0].to_dense()
        for epoch in range(streams.EPOCHS):
            write_chunks(
                order, epoch, Lesions(bits), streams.BATCH_SIZE, folder / f"chunks-{epoch}"
            )
    if engine == "mosaicml" and not (folder / "mds").exists():
        from benchmarks.examples.stream_mosaicml import write_shards

        write_shards(folder / "mds")
    return [list(order.batches(epoch)) for epoch in range(streams.EPOCHS)]


@pytest.mark.parametrize("engine", [name for name in ENGINES if name != "ray"])
def test_an_engine_gives_the_batches_of_the_order(written, engine):
    expected = batches_for(engine, written)
    assert [rows_through(engine, written, epoch, 0) for epoch in range(2)] == expected
    # Two workers take turns, and each reads whole batches.
    assert sorted(rows_through(engine, written, 1, 2)) == sorted(expected[1])


@pytest.mark.parametrize("engine", [name for name in ENGINES if name != "ray"])
def test_two_ranks_share_the_batches(written, tmp_path, engine):
    expected = batches_for(engine, written)[1]
    ranks = run_in_processes("tests.orders.stream_ranks", engine, str(written), folder=tmp_path)
    assert sorted(ranks[0] + ranks[1]) == sorted(expected)
    assert len(ranks[0]) == len(ranks[1])
    if engine == "mosaicml":  # which hands out any sample: step k has the batches 2k and 2k + 1
        assert ranks == [expected[::2], expected[1::2]]


def test_ray_gives_the_batches_of_the_order(written, monkeypatch):
    expected = batches_for("ray", written)
    import ray

    ray.init(num_cpus=1, include_dashboard=False, object_store_memory=2**28)
    try:
        assert [rows_through("ray", written, epoch, 0) for epoch in range(2)] == expected
        ranks = []
        for rank in ("0", "1"):
            monkeypatch.setenv("RANK", rank)
            monkeypatch.setenv("WORLD_SIZE", "2")
            ranks.append(rows_through("ray", written, 1, 0))
        assert sorted(ranks[0] + ranks[1]) == sorted(expected[1])
        assert len(ranks[0]) == len(ranks[1])
    finally:
        ray.shutdown()


def test_in_place_each_shard_is_read_once(written, monkeypatch):
    batches_for("in_place", written)
    from benchmarks.examples.stream_in_place import BatchesInPlace

    reads, read = [], BatchesInPlace.read
    monkeypatch.setattr(
        BatchesInPlace, "read", lambda self, shard: (reads.append(shard), read(self, shard))[1]
    )
    rows_through("in_place", written, 0, 0)
    assert sorted(reads) == [0, 1, 2, 3]


def test_the_shards_hold_what_they_say(written):
    shards = sorted(written.glob("lesions-*.tar"))
    assert [row for path in shards for row in rows_in(path)] == list(range(streams.N))


def statements(source):
    tree = ast.parse(textwrap.dedent(source))
    return {ast.dump(node) for node in ast.walk(tree) if isinstance(node, ast.stmt)}


def test_the_page_quotes_the_scripts():
    root = Path(__file__).parents[2]
    page = (root / "docs/streams.md").read_text(encoding="utf-8")
    sections = [part.partition("```py\n") for part in page.split("(../benchmarks/examples/")[1:]]
    assert len(sections) == len(ENGINES)
    for text, _, rest in sections:
        script = root / "benchmarks/examples" / text.partition(")")[0]
        quoted = statements(rest.partition("```")[0])
        assert quoted, script
        assert quoted <= statements(script.read_text(encoding="utf-8")), script


def test_mosaicml_resumes_within_an_epoch(written):
    expected = batches_for("mosaicml", written)
    from torch.utils.data import DataLoader

    from benchmarks.examples.stream_mosaicml import OrderedDataset

    order = mn.BatchOrder(written / "order.parquet")
    options = {"local": str(written / "mds"), "batch_size": streams.BATCH_SIZE}
    dataset = OrderedDataset(order, **options)
    for _ in DataLoader(dataset, batch_size=streams.BATCH_SIZE):
        pass
    state = dataset.state_dict(num_samples=0, from_beginning=True)
    dataset.load_state_dict(state | {"epoch": 1, "sample_in_epoch": 5 * streams.BATCH_SIZE})
    loader = DataLoader(dataset, batch_size=streams.BATCH_SIZE)
    assert [batch["row"].tolist() for batch in loader] == expected[1][5:]
