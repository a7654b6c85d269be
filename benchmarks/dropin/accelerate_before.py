"""Hugging Face Accelerate, which deals a sampler's batches out to its processes."""

import torch
from accelerate import Accelerator
from torch.utils.data import DataLoader

from benchmarks.dropin import data

accelerator = Accelerator(cpu=True)
loader = DataLoader(data.dataset, batch_size=32, shuffle=True)
encoder = data.new_encoder()
optimizer = torch.optim.Adam(encoder.parameters())
encoder, optimizer, loader = accelerator.prepare(encoder, optimizer, loader)
for _epoch in range(2):
    for view_1, view_2 in loader:
        loss = data.contrast(encoder(view_1), encoder(view_2))
        optimizer.zero_grad()
        accelerator.backward(loss)
        optimizer.step()
