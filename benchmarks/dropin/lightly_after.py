"""A SimCLR loop with lightly's loss."""

import torch
from lightly.loss import NTXentLoss
from torch.utils.data import DataLoader

import maninegs_sampling as mn
from benchmarks.dropin import data

store = mn.ManifestationStore.from_dense(data.bits)
loader = DataLoader(data.dataset, batch_size=32, shuffle=True)
loader = mn.ManiNegBatchSampler.wrap(loader, store, mu=8.0)
encoder = data.new_encoder()
criterion = NTXentLoss(temperature=0.5)
optimizer = torch.optim.Adam(encoder.parameters())
for _epoch in range(2):
    for view_1, view_2 in loader:
        loss = criterion(encoder(view_1), encoder(view_2))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
