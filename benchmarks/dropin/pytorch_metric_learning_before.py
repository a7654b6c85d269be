"""pytorch-metric-learning's trainer: an instance and its label."""

import torch
from pytorch_metric_learning import losses, trainers
from torch.utils.data import TensorDataset

from benchmarks.dropin import data

encoder = data.new_encoder()
trainers.MetricLossOnly(
    models={"trunk": encoder},
    optimizers={"trunk_optimizer": torch.optim.Adam(encoder.parameters())},
    loss_funcs={"metric_loss": losses.NTXentLoss()},
    dataset=TensorDataset(data.views[0], torch.arange(256) // 4),
    batch_size=32,
    sampler=None,
    dataloader_num_workers=0,
    data_device=torch.device("cpu"),
).train(num_epochs=2)
