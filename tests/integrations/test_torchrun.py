"""A plain script under torchrun with DistributedDataParallel and nt_xent(gather=True)."""

import numpy as np
import pytest

from tests.integrations.common import epochs_of, make_sampler, run_in_processes

SCRIPT = "tests.integrations.torchrun_ranks"


@pytest.mark.parametrize("when", ["before", "after"])
def test_each_rank_draws_its_own_batches(tmp_path, when):
    ranks = run_in_processes(SCRIPT, "batches", "5", when, folder=tmp_path)
    for number, rank in enumerate(ranks):
        own = epochs_of(make_sampler(num_replicas=2, rank=number), 2)
        assert rank["seen"] == sum(own, [])
        assert rank["length"] == 6
    assert ranks[0]["mus"] == ranks[1]["mus"]
    anchors = [batch[0] for rank in ranks for batch in rank["seen"]]
    assert len(set(anchors)) == len(anchors) == 24
    np.testing.assert_array_equal(ranks[0]["weight"], ranks[1]["weight"])


def test_ranks_that_share_a_batch_train_as_one_process(tmp_path):
    two = run_in_processes(SCRIPT, "within", "5", "after", folder=tmp_path)
    (one,) = run_in_processes(SCRIPT, "within", "10", "after", folder=tmp_path, processes=1)
    halves = zip(two[0]["seen"], two[1]["seen"], strict=True)
    assert [first + second for first, second in halves] == one["seen"]
    np.testing.assert_allclose(two[0]["weight"], one["weight"], rtol=1e-9)
    np.testing.assert_allclose(two[1]["weight"], one["weight"], rtol=1e-9)


@pytest.mark.parametrize("shard", ["batches", "within"])
def test_ranks_that_die_are_restarted_where_they_were(tmp_path, shard):
    ranks = run_in_processes(
        "tests.integrations.restarted_ranks", shard, folder=tmp_path, restarts=3
    )
    for number, rank in enumerate(ranks):
        own = make_sampler(num_replicas=2, rank=number, shard=shard)
        assert rank == {"seen": sum(epochs_of(own, 3), []), "attempts": 4}
