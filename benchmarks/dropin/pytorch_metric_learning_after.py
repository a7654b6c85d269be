"""pytorch-metric-learning's trainer: an instance and its label."""

import torch
from pytorch_metric_learning import losses, trainers
from torch.utils.data import TensorDataset

import maninegs_sampling as mn
from benchmarks.dropin import data

store = mn.ManifestationStore.from_dense(data.bits)
encoder = data.new_encoder()
trainers.MetricLossOnly(
    models={"trunk": encoder},
    optimizers={"trunk_optimizer": torch.optim.Adam(encoder.parameters())},
    loss_funcs={"metric_loss": losses.NTXentLoss()},
    dataset=TensorDataset(data.views[0], torch.arange(256) // 4),
    batch_size=32,
    sampler=mn.ManiNegBatchSampler(store, batch_size=32, mu=8.0),
    dataloader_num_workers=0,
    data_device=torch.device("cpu"),
).train(num_epochs=2)
