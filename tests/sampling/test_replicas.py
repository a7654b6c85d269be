"""Where ranks come from: options, a DistributedSampler, torchrun's environment."""

import pytest
from torch.utils.data.distributed import DistributedSampler

from maninegs_sampling import ManiNegBatchSampler
from maninegs_sampling.errors import ManiNegError
from maninegs_sampling.sampling.replicas import Replicas
from tests.conftest import random_store


def test_what_options_say():
    injected = DistributedSampler(range(20), num_replicas=3, rank=2)
    assert Replicas.from_options(None, None, None, None) == Replicas(1, 0, "default")
    assert Replicas.from_options(None, None, "auto", None) == Replicas(1, 0, "auto")
    assert Replicas.from_options(4, 1, None, None) == Replicas(4, 1, "told")
    assert Replicas.from_options(4, 1, None, injected) == Replicas(4, 1, "told")
    assert Replicas.from_options(None, None, "auto", injected) == Replicas(3, 2, "told")


def test_ranks_are_read_once_they_run(monkeypatch):
    waiting = Replicas(source="auto")
    assert waiting.settled() is waiting
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert waiting.settled() is waiting  # RANK is missing
    monkeypatch.setenv("RANK", "3")
    assert waiting.settled() == Replicas(4, 3, "running")
    told = Replicas(2, 1, "told")
    assert told.settled() is told


def test_one_process_under_torchrun_is_not_warned(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "1")
    monkeypatch.setenv("RANK", "0")
    assert Replicas().settled() == Replicas(1, 0, "told")


@pytest.mark.parametrize(
    ("world_size", "rank", "message"),
    [
        ("", "0", "the environment variable WORLD_SIZE must be a whole number.*; got ''"),
        ("two", "0", "WORLD_SIZE must be a whole number.*; got 'two'"),
        ("2", "-1", "the environment variable RANK must be a whole number.*; got '-1'"),
        ("2", "1.5", "RANK must be a whole number"),
        ("2", "2", "the environment says RANK=2 and WORLD_SIZE=2; a rank must be below"),
        ("0", "0", "the environment says RANK=0 and WORLD_SIZE=0"),
    ],
)
@pytest.mark.parametrize("options", [{}, {"distributed": "auto"}])
def test_an_environment_that_makes_no_sense(monkeypatch, world_size, rank, message, options):
    monkeypatch.setenv("WORLD_SIZE", world_size)
    monkeypatch.setenv("RANK", rank)
    with pytest.raises(ManiNegError, match=message):
        ManiNegBatchSampler(random_store(40, 8), batch_size=2, mu=2.0, **options)
