"""pytorch-metric-learning: its trainer, its losses on our batches, our losses in its loop."""

import logging

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

import maninegs_sampling as mn
from tests.integrations.common import STORE, epochs_of, make_sampler

pml = pytest.importorskip("pytorch_metric_learning")

from pytorch_metric_learning import losses, trainers

BITS = torch.from_numpy(STORE.to_dense()).float()


class TwoViews(mn.NTXentLoss):
    """Our loss where theirs is called with embeddings and labels: items come in pairs of views."""

    def __init__(self):
        super().__init__(learnable=False)
        self.seen = []

    def forward(self, embeddings, labels, *_):
        self.seen.append(labels.tolist())
        views = embeddings + 0.01 * torch.randn_like(embeddings)
        return super().forward(embeddings, views)


@pytest.mark.filterwarnings("ignore:Converting a tensor with requires_grad")  # theirs
def test_its_trainer_takes_the_sampler_and_our_loss():
    logging.getLogger("PML").setLevel(logging.ERROR)
    trunk = torch.nn.Linear(STORE.n_bits, 4)
    loss = TwoViews()
    trainer = trainers.MetricLossOnly(
        models={"trunk": trunk},
        optimizers={"trunk_optimizer": torch.optim.SGD(trunk.parameters(), 0.1)},
        batch_size=5,
        loss_funcs={"metric_loss": loss},
        dataset=TensorDataset(BITS, torch.arange(60)),
        sampler=make_sampler(),
        dataloader_num_workers=0,
        data_device=torch.device("cpu"),
    )
    before = trunk.weight.detach().clone()
    trainer.train(num_epochs=3)
    assert loss.seen == sum(epochs_of(make_sampler(), 3), [])
    assert not torch.equal(trunk.weight, before)


def test_its_loss_on_our_batches():
    loader = DataLoader(TensorDataset(BITS, torch.arange(60)), batch_sampler=make_sampler())
    encoder = torch.nn.Linear(STORE.n_bits, 4)
    theirs = losses.SelfSupervisedLoss(losses.NTXentLoss(temperature=0.7))
    for bits, _ in loader:
        z_i, z_j = encoder(bits), encoder(bits + 0.1)
        torch.testing.assert_close(theirs(z_i, z_j), mn.nt_xent(z_i, z_j, temperature=0.7))
