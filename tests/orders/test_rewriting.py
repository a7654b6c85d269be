"""Shards written again: their samples are the order's, byte for byte, also after a kill."""

import gzip
import tarfile

import numpy as np
import pytest

pytest.importorskip("pyarrow", reason="pyarrow is not installed")

import maninegs_sampling as mn
from maninegs_sampling.errors import InvalidTypeError, InvalidValueError, StateError, StorageError
from maninegs_sampling.orders import rewriting
from maninegs_sampling.orders.tar_shards import TarShards
from tests.orders.shards import STORE, N, add, cut, rows_in, sampler_of, samples_in, write_shards
from tests.orders.test_order_file import Given


def order_of(folder, sampler=None, epochs=2):
    return mn.write_order(sampler or sampler_of(), folder / "order.parquet", epochs=epochs)


@pytest.mark.parametrize(
    ("form", "name"),
    [
        (tarfile.USTAR_FORMAT, "sample-{:03d}"),
        (tarfile.GNU_FORMAT, "./folder.of/" + "long" * 40 + "-{:03d}"),
        (tarfile.PAX_FORMAT, "folder/größe-{:03d}"),
    ],
)
@pytest.mark.parametrize(("per_shard", "n_shards"), [(1, 15), (4, 4), (99, 1)])
def test_a_shard_holds_the_batches_of_the_order(tmp_path, form, name, per_shard, n_shards):
    sources = write_shards(tmp_path, form=form, name=name)
    order = order_of(tmp_path)
    new = mn.rewrite_shards(order, sources, tmp_path / "new", batches_per_shard=per_shard)
    assert len(new) == 2 * n_shards
    before = [sample for path in sources for sample in samples_in(path)]
    assert [row for path in sources for row in rows_in(path)] == list(range(N))
    for epoch in range(2):
        mine = [path for path in new if path.name.startswith(f"{epoch:04d}-")]
        assert mine == sorted(mine)
        batches = [batch for path in mine for batch in cut(rows_in(path), 4)]
        assert batches == list(order.batches(epoch))
        after = [sample for path in mine for sample in samples_in(path)]
        assert after == [before[row] for batch in batches for row in batch]


def test_a_last_smaller_batch_and_rows_left_out(tmp_path):
    sources = write_shards(tmp_path)
    for options, left in [({"batches_per_epoch": "ceil"}, 60), ({}, 56)]:
        folder = tmp_path / str(left)
        folder.mkdir()
        order = order_of(folder, sampler_of(batch_size=7, **options), epochs=1)
        new = mn.rewrite_shards(order, sources, folder / "new", batches_per_shard=3)
        batches = [batch for path in new for batch in cut(rows_in(path), 7)]
        assert batches == list(order.batches(0))
        assert len({row for batch in batches for row in batch}) == left


def test_rows_by_key(tmp_path):
    sources = write_shards(tmp_path)
    turned = np.random.default_rng(0).permutation(N)
    keys = [f"sample-{row:03d}" for row in turned]
    order = order_of(tmp_path)
    new = mn.rewrite_shards(order, sources, tmp_path / "new", keys=keys)
    read = [row for path in new[: len(new) // 2] for row in rows_in(path)]
    assert read == [turned[row] for batch in order.batches(0) for row in batch]


@pytest.mark.parametrize(
    ("keys", "error", "message"),
    [
        ([f"sample-{min(row, 58):03d}" for row in range(N - 1)] + ["other"], InvalidValueError,
         "row 59: 0 samples have the key 'other'"),
        (list(range(N)), InvalidTypeError, "keys must be a list of texts"),
        ("sample-000", InvalidTypeError, "keys must be a list of texts"),
        (["sample-000"], InvalidValueError, "the order is of 60 rows, and there are 1 keys"),
    ],
)  # fmt: skip
def test_keys_that_cannot_be_used(tmp_path, keys, error, message):
    with pytest.raises(error, match=message):
        mn.rewrite_shards(order_of(tmp_path), write_shards(tmp_path), tmp_path / "new", keys=keys)
    assert not list(tmp_path.glob("new/*.tar"))


def test_keys_of_several_samples_are_refused(tmp_path):
    sources = write_shards(tmp_path, sizes=(30, 30), name="sample-{:03d}")
    with tarfile.open(sources[1], "a") as tar:
        add(tar, "sample-007.json", b"{}")
    keys = [f"sample-{row:03d}" for row in range(N)]
    with pytest.raises(InvalidValueError, match="row 7: 2 samples have the key 'sample-007'"):
        mn.rewrite_shards(order_of(tmp_path), sources, tmp_path / "new", keys=keys)


def test_equal_keys_that_would_meet_are_refused(tmp_path):
    order = mn.write_order(Given([0, 2], [1, 3]), tmp_path / "order.parquet", epochs=1)
    for number in range(2):
        with tarfile.open(tmp_path / f"{number}.tar", "w") as tar:
            add(tar, "a.txt", b"first")
            add(tar, "b.txt", b"second")
    sources = [tmp_path / "0.tar", tmp_path / "1.tar"]
    with pytest.raises(InvalidValueError, match="samples 0 and 2 have the same key"):
        mn.rewrite_shards(order, sources, tmp_path / "new")


@pytest.mark.parametrize("written", [0, 1, 5])
def test_it_goes_on_after_any_shard(tmp_path, monkeypatch, written):
    sources, order = write_shards(tmp_path), order_of(tmp_path)
    whole = mn.rewrite_shards(order, sources, tmp_path / "whole", batches_per_shard=4)
    read, left = TarShards.read, [written * 16 + 3]

    def read_some(self, sample):
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return read(self, sample)

    with monkeypatch.context() as patched:
        patched.setattr(TarShards, "read", read_some)
        with pytest.raises(KeyboardInterrupt):
            mn.rewrite_shards(order, sources, tmp_path / "new", batches_per_shard=4)
    write, wrote = rewriting._write_shard, []
    monkeypatch.setattr(
        rewriting, "_write_shard", lambda path, *rest: (wrote.append(path), write(path, *rest))
    )
    new = mn.rewrite_shards(order, sources, tmp_path / "new", batches_per_shard=4)
    assert len(wrote) == len(new) - written
    assert [path.read_bytes() for path in new] == [path.read_bytes() for path in whole]
    assert not list((tmp_path / "new").glob("*.unfinished"))


def test_a_folder_with_other_shards_is_refused(tmp_path):
    sources, order = write_shards(tmp_path), order_of(tmp_path)
    new = tmp_path / "new"
    mn.rewrite_shards(order, sources, new)
    with pytest.raises(StateError, match="batches_per_shard=16, not 2; remove them"):
        mn.rewrite_shards(order, sources, new, batches_per_shard=2)
    with pytest.raises(StateError, match="holds shards with samples="):
        mn.rewrite_shards(order, [sources[1], sources[0], sources[2]], new)
    other = mn.write_order(sampler_of(seed=4), tmp_path / "other.parquet", epochs=2)
    with pytest.raises(StateError, match="holds shards with order="):
        mn.rewrite_shards(other, sources, new)
    (new / "rewritten.json").unlink()
    with pytest.raises(StateError, match=r"something else, such as 0000-000000\.tar"):
        mn.rewrite_shards(order, sources, new)


@pytest.mark.parametrize(
    ("batches", "message"),
    [
        ([[0, 1], [2, 0]], "batch 1 of epoch 0 has row 0, which the epoch had before"),
        ([[0, 0]], "batch 0 of epoch 0 has row 0, which the epoch had before"),
        ([[0, 1], [2, 60]], "batch 1 of epoch 0 has row 60, of 60 samples"),
        ([[0, 1], [2], [3, 4]], "batch 1 of epoch 0 has 1 rows and the first batch 2"),
        ([[0, 1], [2, 3, 4]], "batch 1 of epoch 0 has 3 rows and the first batch 2"),
    ],
)
def test_orders_that_cannot_be_rewritten(tmp_path, batches, message):
    order = mn.write_order(Given(*batches), tmp_path / "order.parquet", epochs=1)
    with pytest.raises(InvalidValueError, match=message):
        mn.rewrite_shards(order, write_shards(tmp_path), tmp_path / "new")
    assert not list(tmp_path.glob("new/*.tar"))


@pytest.mark.parametrize("sizes", [(N - 1,), (30, N - 29)])
def test_another_number_of_samples_is_refused(tmp_path, sizes):
    message = f"the order is of 60 rows, and there are {sum(sizes)} samples"
    with pytest.raises(InvalidValueError, match=message):
        mn.rewrite_shards(order_of(tmp_path), write_shards(tmp_path, sizes), tmp_path / "new")


def test_a_free_order_is_refused(tmp_path):
    free = mn.ManiNegBatchSampler(STORE, batch_size=4, mu=0.0)
    with pytest.raises(InvalidValueError, match="rewritten for epochs that cover the data"):
        mn.rewrite_shards(order_of(tmp_path, free), write_shards(tmp_path), tmp_path / "new")


def test_shards_that_cannot_be_read(tmp_path):
    order, (path, *_) = order_of(tmp_path), write_shards(tmp_path, sizes=(N,))

    def refused(error, message, shards=(path,)):
        with pytest.raises(error, match=message):
            mn.rewrite_shards(order, shards, tmp_path / "new")

    content = path.read_bytes()
    refused(InvalidTypeError, "shards must be a list of paths", path)
    refused(InvalidValueError, "there are no samples in 0 shards", [])
    refused(StorageError, "nowhere.tar cannot be read", [tmp_path / "nowhere.tar"])
    path.write_bytes(gzip.compress(content))
    refused(StorageError, "cannot be read as an uncompressed tar file")
    path.write_bytes(content[:20_000])
    refused(StorageError, "cannot be read as an uncompressed tar file: unexpected end of data")
    second = content.index(b"sample-010.json")
    path.write_bytes(content[:second] + b"\1" * 600 + content[second + 600 :])
    refused(StorageError, f"is damaged: byte {second} begins no header")
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT, pax_headers={"comment": "x"}) as tar:
        add(tar, "a.txt")
    refused(StorageError, "has global headers")
    with tarfile.open(path, "w") as tar:
        add(tar, "no_extension")
    refused(InvalidValueError, "there are no samples in 1 shards")
    for wrong in (0, 1.5):
        with pytest.raises(
            (InvalidTypeError, InvalidValueError), match="batches_per_shard must be"
        ):
            mn.rewrite_shards(order, [path], tmp_path / "new", batches_per_shard=wrong)


def test_sizes_of_shards(tmp_path):
    found = TarShards.find(write_shards(tmp_path, sizes=(20, 0, 3)))
    assert found.sizes().tolist() == [20, 0, 3]
    assert len(found) == 23
