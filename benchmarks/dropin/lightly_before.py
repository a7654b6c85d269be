"""A SimCLR loop with lightly's loss."""

import torch
from lightly.loss import NTXentLoss
from torch.utils.data import DataLoader

from benchmarks.dropin import data

loader = DataLoader(data.dataset, batch_size=32, shuffle=True)
encoder = data.new_encoder()
criterion = NTXentLoss(temperature=0.5)
optimizer = torch.optim.Adam(encoder.parameters())
for _epoch in range(2):
    for view_1, view_2 in loader:
        loss = criterion(encoder(view_1), encoder(view_2))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
