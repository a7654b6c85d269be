"""Orders: what is written is what the sampler draws, also after a kill, and damage is named."""

import multiprocessing
import pickle
import time
import warnings

import numpy as np
import polars
import pytest
from torch.utils.data import BatchSampler

pytest.importorskip("pyarrow", reason="pyarrow is not installed")

from pyarrow.parquet import ParquetFile

import maninegs_sampling as mn
from maninegs_sampling.errors import (
    InvalidTypeError,
    InvalidValueError,
    StateError,
    StorageError,
)
from maninegs_sampling.orders import order_file, parts
from tests.conftest import random_store

STORE = random_store(60, 14)
context = multiprocessing.get_context("forkserver")
context.set_forkserver_preload(["tests.orders.test_order_file"])


def manineg(**options):
    """12 batches of 5 an epoch."""
    mu = mn.LinearAnnealing(9, 0, 30)
    return mn.ManiNegBatchSampler(STORE, **({"batch_size": 5, "mu": mu, "seed": 3} | options))


SAMPLERS = {
    "free": manineg,
    "covering": lambda: manineg(batch_size=7, coverage="epoch", batches_per_epoch="ceil"),
    "short batches": lambda: manineg(duplicates="drop_patterns"),
    "uniform": lambda: mn.UniformDistinctBatchSampler(STORE, batch_size=5),
    "blocks": lambda: mn.GraphBlockBatchSampler(STORE, batch_size=5),
    "walks": lambda: mn.RandomWalkBatchSampler(STORE, batch_size=5),
}


class Reversed:
    """Not of this package: batches of 4 that turn with the epoch; epoch 1 has one batch less."""

    def __init__(self, shift=0):
        self.epoch, self.shift = 0, shift

    def set_epoch(self, epoch):
        self.epoch = epoch

    def __iter__(self):
        rows = (np.arange(40) + self.epoch + self.shift) % 40
        return iter(rows.reshape(10, 4).tolist()[self.epoch == 1 :])


def expected_rows(sampler, epochs):
    found = []
    for epoch in range(epochs):
        sampler.set_epoch(epoch)
        found += [(epoch, k, row) for k, batch in enumerate(sampler) for row in batch]
    return found


@pytest.mark.parametrize("rows_per_part", [1, 13, 2**20])
@pytest.mark.parametrize("name", SAMPLERS)
def test_the_file_holds_what_the_sampler_draws(tmp_path, monkeypatch, name, rows_per_part):
    monkeypatch.setattr(order_file, "ROWS_PER_PART", rows_per_part)
    path = tmp_path / "order.parquet"
    order = mn.write_order(SAMPLERS[name](), path, epochs=3)
    frame = polars.read_parquet(path)
    assert frame.columns == ["epoch", "batch", "row"]
    assert set(frame.dtypes) == {polars.Int64}
    assert frame.rows() == expected_rows(SAMPLERS[name](), 3)
    sampler = SAMPLERS[name]()
    assert order.n_epochs == 3
    for epoch in range(3):
        batches = [sampler.batch(k, epoch) for k in range(len(sampler))]
        assert list(order.batches(epoch)) == batches
        assert order.n_batches(epoch) == len(batches)
        for start, stop, step in [(0, None, 2), (1, None, 2), (3, 7, 1), (4, 11, 5), (99, None, 1)]:
            assert list(order.batches(epoch, start, stop, step)) == batches[start:stop:step]
    assert [file.name for file in tmp_path.iterdir()] == ["order.parquet"]


def test_any_sampler_whose_epoch_can_be_set(tmp_path):
    order = mn.write_order(Reversed(), tmp_path / "order.parquet", epochs=3)
    assert [order.n_batches(epoch) for epoch in range(3)] == [10, 9, 10]
    assert next(order.batches(2, 9)) == [38, 39, 0, 1]
    copy = pickle.loads(pickle.dumps(order))
    assert list(copy.batches(1)) == list(order.batches(1))
    assert {copy, order} == {order}


def test_a_position_that_was_loaded_is_not_skipped(tmp_path):
    sampler = manineg()
    sampler.load_state_dict(sampler.state_dict() | {"epoch": 0, "position": 4})
    order = mn.write_order(sampler, tmp_path / "order.parquet", epochs=1)
    assert list(order.batches(0)) == list(manineg())


class StoppedError(Exception):
    pass


@pytest.mark.parametrize("make", [manineg, SAMPLERS["covering"], Reversed])
@pytest.mark.parametrize("writes", [0, 1, 5, 12, 16])
def test_it_goes_on_after_any_part(tmp_path, monkeypatch, make, writes):
    monkeypatch.setattr(order_file, "ROWS_PER_PART", 11)
    whole, path = tmp_path / "whole.parquet", tmp_path / "order.parquet"
    mn.write_order(make(), whole, epochs=3)
    add, left = parts.Parts.add, [writes]

    def add_some(self, *part):
        left[0] -= 1
        if left[0] < 0:
            (self._folder / "part.unfinished").write_bytes(b"cut off")
            raise StoppedError
        add(self, *part)

    with monkeypatch.context() as patched:
        patched.setattr(parts.Parts, "add", add_some)
        try:
            mn.write_order(make(), path, epochs=3)
        except StoppedError:
            assert not path.exists()
    drawn = []
    monkeypatch.setattr(
        parts.Parts, "add", lambda self, *part: (drawn.append(part[:2]), add(self, *part))
    )
    mn.write_order(make(), path, epochs=3)
    assert path.read_bytes() == whole.read_bytes()
    assert len(drawn) == max(0, ParquetFile(whole).num_row_groups - writes)
    assert not list(tmp_path.glob("*.parts"))


def slow_write(path):
    warnings.simplefilter("ignore")
    order_file.ROWS_PER_PART = 11
    add = parts.Parts.add

    def slow_add(self, *part):
        time.sleep(0.01)
        add(self, *part)

    parts.Parts.add = slow_add
    mn.write_order(manineg(), path, epochs=40)


def test_killed_at_random_moments_it_writes_the_same_file(tmp_path, monkeypatch):
    monkeypatch.setattr(order_file, "ROWS_PER_PART", 11)
    whole, path = tmp_path / "whole.parquet", tmp_path / "order.parquet"
    mn.write_order(manineg(), whole, epochs=40)
    folder, progress = tmp_path / "order.parquet.parts", []
    for delay in np.random.default_rng(0).uniform(0, 0.04, 5):
        before = len(list(folder.glob("*.parquet")))
        process = context.Process(target=slow_write, args=(str(path),))
        process.start()
        while len(list(folder.glob("*.parquet"))) == before:
            assert process.is_alive(), "it ended before it was killed"
            time.sleep(0.001)
        time.sleep(delay)
        process.kill()
        process.join()
        progress.append(len(list(folder.glob("*.parquet"))))
    assert 0 < progress[0] <= progress[-1] < 160, "all kills are to fall within the writing"
    mn.write_order(manineg(), path, epochs=40)
    assert path.read_bytes() == whole.read_bytes()


def test_a_finished_file_is_kept(tmp_path):
    path = tmp_path / "order.parquet"
    mn.write_order(manineg(), path, epochs=2)
    before = path.stat().st_mtime_ns
    (tmp_path / "order.parquet.parts").mkdir()
    assert mn.write_order(manineg(), path, epochs=2).n_epochs == 2
    assert path.stat().st_mtime_ns == before
    assert not (tmp_path / "order.parquet.parts").exists()


@pytest.mark.parametrize("finished", [True, False])
@pytest.mark.parametrize(
    ("make", "epochs", "message"),
    [
        (lambda: manineg(seed=4), 2, "seed=3; this sampler has seed=4"),
        (lambda: manineg(mu=1.0), 2, r"mu=LinearAnnealing.*this sampler has mu="),
        (manineg, 3, "was made with epochs=2, not 3"),
        (Reversed, 2, "was made with sampler='ManiNegBatchSampler', not 'Reversed'"),
    ],
)
def test_other_options_are_refused(tmp_path, monkeypatch, finished, make, epochs, message):
    path = tmp_path / "order.parquet"
    with monkeypatch.context() as patched:
        if not finished:
            patched.setattr(parts.Parts, "join", lambda *_: (_ for _ in ()).throw(StoppedError))
        try:
            mn.write_order(manineg(), path, epochs=2)
        except StoppedError:
            assert not finished
    with pytest.raises(StateError, match=message):
        mn.write_order(make(), path, epochs=epochs)


@pytest.mark.parametrize("finished", [True, False])
def test_another_sampler_of_the_same_name_is_refused(tmp_path, monkeypatch, finished):
    path = tmp_path / "order.parquet"
    with monkeypatch.context() as patched:
        if not finished:
            patched.setattr(parts.Parts, "join", lambda *_: (_ for _ in ()).throw(StoppedError))
        try:
            mn.write_order(Reversed(), path, epochs=2)
        except StoppedError:
            assert not finished
    with pytest.raises(StateError, match=r"batch 8 of epoch 1 is \[37.*the sampler draws \[38"):
        mn.write_order(Reversed(shift=1), path, epochs=2)


@pytest.mark.parametrize("part", [0, 3])
def test_a_damaged_part_is_named(tmp_path, monkeypatch, part):
    monkeypatch.setattr(order_file, "ROWS_PER_PART", 11)
    path = tmp_path / "order.parquet"
    with monkeypatch.context() as patched:
        patched.setattr(parts.Parts, "join", lambda *_: (_ for _ in ()).throw(StoppedError))
        with pytest.raises(StoppedError):
            mn.write_order(manineg(), path, epochs=1)
    file = tmp_path / f"order.parquet.parts/{part:08d}.parquet"
    file.write_bytes(file.read_bytes()[:50])
    with pytest.raises(StorageError, match=rf"{part:08d}\.parquet is damaged .*to begin again"):
        mn.write_order(manineg(), path, epochs=1)


class Given:
    def __init__(self, *batches):
        self._batches = batches

    def set_epoch(self, epoch):
        pass

    def __iter__(self):
        return iter(self._batches)


@pytest.mark.parametrize(
    ("sampler", "error", "message"),
    [
        (None, InvalidTypeError, "sampler must have set_epoch and give batches; got NoneType"),
        (BatchSampler(range(8), 2, False), InvalidTypeError, "got BatchSampler"),
        (Given(), InvalidValueError, "gives no batch in epoch 0"),
        (Given([1], []), InvalidValueError, "batch 1 of epoch 0 is empty"),
        (Given([1], [-1]), InvalidValueError, "row numbers must be at least 0; got -1"),
        (Given([1.5]), InvalidTypeError, r"lists of row numbers; got \[1.5\]"),
        (Given(["a"]), InvalidTypeError, "lists of row numbers"),
        (Given([[1, 2], [3, 4]]), InvalidTypeError, "lists of row numbers"),
    ],
)
def test_what_gives_no_batches_of_rows(tmp_path, sampler, error, message):
    with pytest.raises(error, match=message):
        mn.write_order(sampler, tmp_path / "order.parquet", epochs=1)
    assert not (tmp_path / "order.parquet").exists()


def test_other_arguments_that_cannot_be_used(tmp_path):
    with pytest.raises(InvalidValueError, match="of rank 1 of 2"):
        mn.write_order(manineg(num_replicas=2, rank=1), tmp_path / "o.parquet", epochs=1)
    with pytest.raises(InvalidValueError, match="epochs must be at least 1; got 0"):
        mn.write_order(manineg(), tmp_path / "o.parquet", epochs=0)
    with pytest.raises(InvalidValueError, match="there is no folder"):
        mn.write_order(manineg(), tmp_path / "nowhere" / "o.parquet", epochs=1)
    order = mn.write_order(manineg(), tmp_path / "o.parquet", epochs=1)
    with pytest.raises(InvalidValueError, match="epoch must be at most 0; got 1"):
        order.batches(1)
    with pytest.raises(InvalidValueError, match="step must be at least 1; got 0"):
        order.batches(0, step=0)
    with pytest.raises(InvalidValueError, match="start must be at least 0; got -1"):
        order.batches(0, -1)


def test_files_that_are_no_orders(tmp_path):
    path = tmp_path / "order.parquet"
    with pytest.raises(StorageError, match="there is no file"):
        mn.BatchOrder(path)
    path.write_bytes(b"no Parquet")
    with pytest.raises(StorageError, match="cannot be read as an order"):
        mn.BatchOrder(path)
    polars.DataFrame({"epoch": [0], "batch": [0], "row": [1]}).write_parquet(path)
    with pytest.raises(StorageError, match="is not an order that write_order wrote"):
        mn.BatchOrder(path)
    path.unlink()
    mn.write_order(manineg(), path, epochs=1)
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    with pytest.raises(StorageError, match="cannot be read as an order"):
        mn.BatchOrder(path)
