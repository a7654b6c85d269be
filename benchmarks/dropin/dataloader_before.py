"""A plain loop over torch's DataLoader."""

import torch
from torch.utils.data import DataLoader

from benchmarks.dropin import data

loader = DataLoader(data.dataset, batch_size=32, shuffle=True, num_workers=2)
encoder = data.new_encoder()
optimizer = torch.optim.Adam(encoder.parameters())
for _epoch in range(2):
    for view_1, view_2 in loader:
        loss = data.contrast(encoder(view_1), encoder(view_2))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
