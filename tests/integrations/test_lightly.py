"""lightly's NT-Xent in a SimCLR loop on our batches."""

import importlib.util

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

import maninegs_sampling as mn
from benchmarks.losses import TEMPERATURE, lightly
from tests.integrations.common import STORE, make_sampler

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("lightly") is None, reason="lightly is not installed"
)


def test_simclr_loop():
    criterion = lightly()
    bits = torch.from_numpy(STORE.to_dense()).float()
    torch.manual_seed(0)
    encoder = torch.nn.Linear(STORE.n_bits, 16)
    optimizer = torch.optim.Adam(encoder.parameters(), 0.01)
    seen = []
    for _ in range(4):
        for (batch,) in DataLoader(TensorDataset(bits), batch_sampler=make_sampler()):
            z_i, z_j = (encoder(batch + 0.3 * torch.randn_like(batch)) for _ in range(2))
            loss = criterion(z_i, z_j)
            torch.testing.assert_close(
                loss, mn.nt_xent(z_i, z_j, temperature=TEMPERATURE), rtol=1e-4, atol=1e-4
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            seen.append(loss.item())
    assert sum(seen[-12:]) < sum(seen[:12])
