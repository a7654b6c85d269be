"""torchdata's StatefulDataLoader, stopped within an epoch and resumed."""

import torch
from torchdata.stateful_dataloader import StatefulDataLoader

import maninegs_sampling as mn
from benchmarks.dropin import data

encoder = data.new_encoder()
optimizer = torch.optim.Adam(encoder.parameters())
store = mn.ManifestationStore.from_dense(data.bits)
state = {}
for _run in range(2):
    loader = StatefulDataLoader(data.dataset, batch_size=32, shuffle=True)
    loader = mn.ManiNegBatchSampler.wrap(loader, store, mu=8.0)
    loader.load_state_dict(state)
    for view_1, view_2 in loader:
        loss = data.contrast(encoder(view_1), encoder(view_2))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if not state:
            state = loader.state_dict()
            break
