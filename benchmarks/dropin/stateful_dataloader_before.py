"""torchdata's StatefulDataLoader, stopped within an epoch and resumed."""

import torch
from torchdata.stateful_dataloader import StatefulDataLoader

from benchmarks.dropin import data

encoder = data.new_encoder()
optimizer = torch.optim.Adam(encoder.parameters())
state = {}
for _run in range(2):
    loader = StatefulDataLoader(data.dataset, batch_size=32, shuffle=True)
    loader.load_state_dict(state)
    for view_1, view_2 in loader:
        loss = data.contrast(encoder(view_1), encoder(view_2))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if not state:
            state = loader.state_dict()
            break
