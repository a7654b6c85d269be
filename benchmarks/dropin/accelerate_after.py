"""Hugging Face Accelerate, which deals a sampler's batches out to its processes."""

import torch
from accelerate import Accelerator
from torch.utils.data import DataLoader

import maninegs_sampling as mn
from benchmarks.dropin import data

accelerator = Accelerator(cpu=True)
store = mn.ManifestationStore.from_dense(data.bits)
loader = DataLoader(data.dataset, batch_size=32, shuffle=True)
loader = mn.ManiNegBatchSampler.wrap(loader, store, mu=8.0, num_replicas=1, rank=0)
encoder = data.new_encoder()
optimizer = torch.optim.Adam(encoder.parameters())
encoder, optimizer, loader = accelerator.prepare(encoder, optimizer, loader)
for _epoch in range(2):
    for view_1, view_2 in loader:
        loss = data.contrast(encoder(view_1), encoder(view_2))
        optimizer.zero_grad()
        accelerator.backward(loss)
        optimizer.step()
