"""Hugging Face Accelerate, in two processes: it shards batch samplers itself."""

import pytest

from tests.integrations.common import epochs_of, make_sampler, run_in_processes

pytest.importorskip("accelerate")


@pytest.mark.parametrize("told", ["set_epoch", "left alone"])
def test_whole_batches_are_dealt_out(tmp_path, told):
    ranks = run_in_processes(
        "tests.integrations.accelerate_ranks", "whole", "5", told, folder=tmp_path
    )
    expected = epochs_of(make_sampler(), 3)
    for epoch in range(3):
        dealt = [None] * 12
        for rank in (0, 1):
            dealt[rank::2] = ranks[rank]["epochs"][epoch]
        assert dealt == expected[epoch]  # none twice, none lost, none padded, none split twice
    assert [rank["length"] for rank in ranks] == [6, 6]
    assert all(rank["again"] == rank["epochs"][0] for rank in ranks)
    assert expected[0] != expected[1]


def test_batches_are_split(tmp_path):
    ranks = run_in_processes(
        "tests.integrations.accelerate_ranks", "split", "6", "set_epoch", folder=tmp_path
    )
    expected = epochs_of(make_sampler(batch_size=6), 3)
    for epoch in range(3):
        halves = zip(*(rank["epochs"][epoch] for rank in ranks), strict=True)
        assert [first + second for first, second in halves] == expected[epoch]
    assert [rank["length"] for rank in ranks] == [10, 10]


def test_an_odd_last_batch_is_left_out_as_drop_last_says(tmp_path):
    """Not padded with the first batches of the epoch."""
    ranks = run_in_processes(
        "tests.integrations.accelerate_ranks", "whole", "5", "left alone", "11", folder=tmp_path
    )
    expected = epochs_of(make_sampler(batches_per_epoch=11), 3)
    for epoch in range(3):
        assert [rank["epochs"][epoch] for rank in ranks] == [
            expected[epoch][:10:2],
            expected[epoch][1:10:2],
        ]
    assert [rank["length"] for rank in ranks] == [5, 5]
