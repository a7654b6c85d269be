"""Lightning's Trainer and Fabric, with the default use_distributed_sampler=True."""

import contextlib

import pytest
from torch.utils.data import DataLoader

from tests.integrations.common import Indices, epochs_of, make_sampler, run_in_processes

lightning = pytest.importorskip("lightning")
stateful = pytest.importorskip("torchdata.stateful_dataloader")

from tests.integrations.lightning_model import Notes, make_trainer

pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning's, about workers and logging
RANKS = "tests.integrations.lightning_ranks"


def own_batches(epochs=3):
    """What two ranks draw that each have their own batches."""
    return [epochs_of(make_sampler(num_replicas=2, rank=rank), epochs) for rank in (0, 1)]


def test_one_process(tmp_path):
    model = Notes()
    make_trainer(tmp_path).fit(model, DataLoader(Indices(), batch_sampler=make_sampler()))
    assert model.seen == sum(epochs_of(make_sampler(), 3), [])


def test_two_processes_with_a_loader_made_in_the_hook(tmp_path):
    """Lightning rebuilds the sampler with its ranks, whether it was told of ranks or not."""
    expected = [sum(rank, []) for rank in own_batches()]
    assert run_in_processes(RANKS, "trainer hook", folder=tmp_path) == expected
    assert run_in_processes(RANKS, "trainer hook", "distributed=auto", folder=tmp_path) == expected
    assert run_in_processes(RANKS, "trainer hook wrapped", folder=tmp_path) == expected


@pytest.mark.parametrize("how", ["trainer direct", "fabric default"])
def test_two_processes_that_rebuild_the_sampler_without_its_options(tmp_path, how):
    for message in run_in_processes(RANKS, how, folder=tmp_path):
        assert "use_distributed_sampler=False" in message
        assert 'distributed="auto"' in message


def test_two_processes_told_as_the_error_says(tmp_path):
    """The sampler is made before Lightning starts the ranks."""
    expected = own_batches()
    assert run_in_processes(RANKS, "fabric told", "distributed=auto", folder=tmp_path) == expected
    found = run_in_processes(RANKS, "trainer told", "distributed=auto", folder=tmp_path)
    assert found == [sum(rank, []) for rank in expected]


def checkpointing(folder):
    from lightning.pytorch.callbacks import ModelCheckpoint

    # once a step; last.ckpt is the newest
    callback = ModelCheckpoint(dirpath=folder, every_n_train_steps=1, save_last=True)
    return make_trainer(folder, enable_checkpointing=True, callbacks=[callback])


@pytest.mark.parametrize("workers", [0, 2])
def test_resume_from_a_checkpoint_within_an_epoch(tmp_path, workers):
    def loader():
        return stateful.StatefulDataLoader(
            Indices(), batch_sampler=make_sampler(), num_workers=workers
        )

    expected = sum(epochs_of(make_sampler(), 3), [])
    model = Notes(stop_after=4)
    # Interrupted in the first epoch, twice in the second, and after the last batch of an epoch.
    for stop in (4, 14, 17, 24, None):
        resumed = Notes(stop_after=stop)
        latest = tmp_path / "last.ckpt"
        path = {"ckpt_path": latest} if latest.exists() else {}
        with contextlib.suppress(KeyboardInterrupt, SystemExit):
            checkpointing(tmp_path).fit(resumed, loader(), **path)
        model = resumed
    assert model.seen == expected
