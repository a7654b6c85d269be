"""Two real ranks over gloo."""

import warnings
from pathlib import Path

import pytest
import torch.distributed
import torch.multiprocessing

from maninegs_sampling import ManiNegBatchSampler
from tests.conftest import random_store

pytestmark = pytest.mark.skipif(
    not torch.distributed.is_available(), reason="torch was built without torch.distributed"
)

STORE = random_store(80, 14)


def run_rank(rank: int, folder: str) -> None:
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2
    )
    results = {}
    for shard in ("batches", "within"):
        sampler = ManiNegBatchSampler(STORE, batch_size=4, mu=3.0, distributed="auto", shard=shard)
        results[shard] = [list(sampler) for _ in range(3)]
    for name, options in (("silent", {}), ("told", {"num_replicas": 1, "rank": 0})):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            ManiNegBatchSampler(STORE, batch_size=4, mu=3.0, **options)
        results[name] = [str(warning.message) for warning in caught]
    torch.save(results, f"{folder}/{rank}")
    torch.distributed.destroy_process_group()


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranks")
    torch.multiprocessing.spawn(run_rank, (str(folder),), nprocs=2)  # type: ignore[attr-defined]
    return [torch.load(Path(folder) / str(rank), weights_only=True) for rank in range(2)]


def test_ranks_draw_their_own_batches(ranks):
    epochs = [rank["batches"] for rank in ranks]
    assert [[len(epoch) for epoch in rank] for rank in epochs] == [[10] * 3] * 2
    anchors = [batch[0] for rank in epochs for epoch in rank for batch in epoch]
    assert len(set(anchors)) == 60


def test_ranks_share_one_batch(ranks):
    whole = ManiNegBatchSampler(STORE, batch_size=8, mu=3.0)
    for epoch in range(3):
        pairs = zip(ranks[0]["within"][epoch], ranks[1]["within"][epoch], strict=True)
        assert [a + b for a, b in pairs] == list(whole)


def test_ranks_that_say_nothing_are_warned_once(ranks):
    for rank in ranks:
        assert len(rank["silent"]) == 1
        for way in ("runs 2 ranks", 'distributed="auto"', "num_replicas=1, rank=0"):
            assert way in rank["silent"][0]
        assert rank["told"] == []
