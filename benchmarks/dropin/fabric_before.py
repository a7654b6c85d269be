"""Lightning Fabric."""

import torch
from lightning.fabric import Fabric
from torch.utils.data import DataLoader

from benchmarks.dropin import data

fabric = Fabric(accelerator="cpu")
fabric.launch()
loader = DataLoader(data.dataset, batch_size=32, shuffle=True)
loader = fabric.setup_dataloaders(loader)
encoder = data.new_encoder()
encoder, optimizer = fabric.setup(encoder, torch.optim.Adam(encoder.parameters()))
for _epoch in range(2):
    for view_1, view_2 in loader:
        loss = data.contrast(encoder(view_1), encoder(view_2))
        optimizer.zero_grad()
        fabric.backward(loss)
        optimizer.step()
