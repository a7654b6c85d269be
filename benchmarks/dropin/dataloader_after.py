"""A plain loop over torch's DataLoader."""

import torch
from torch.utils.data import DataLoader

import maninegs_sampling as mn
from benchmarks.dropin import data

store = mn.ManifestationStore.from_dense(data.bits)
loader = DataLoader(data.dataset, batch_size=32, shuffle=True, num_workers=2)
loader = mn.ManiNegBatchSampler.wrap(loader, store, mu=8.0)
encoder = data.new_encoder()
optimizer = torch.optim.Adam(encoder.parameters())
for _epoch in range(2):
    for view_1, view_2 in loader:
        loss = data.contrast(encoder(view_1), encoder(view_2))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
