"""A plain training script with DistributedDataParallel, for test_torchrun."""

import os
import sys

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, TensorDataset

import maninegs_sampling as mn
from tests.integrations.common import STORE, finish, make_sampler

shard, batch_size, when = sys.argv[1], int(sys.argv[2]), sys.argv[3]
if when == "before":  # the sampler is made before the ranks run
    sampler = make_sampler(batch_size=batch_size, shard=shard, distributed="auto")
dist.init_process_group("gloo")
if when == "after":
    sampler = make_sampler(batch_size=batch_size, shard=shard, distributed="auto")
bits = torch.from_numpy(STORE.to_dense()).double()
loader = DataLoader(TensorDataset(bits, torch.arange(60)), batch_sampler=sampler)
torch.manual_seed(0)
model = DistributedDataParallel(torch.nn.Linear(STORE.n_bits, 4).double())
optimizer = torch.optim.SGD(model.parameters(), 0.1)
seen, mus = [], []
for epoch in range(2):
    sampler.set_epoch(epoch)
    for k, (batch, items) in enumerate(loader):
        z_i, z_j = model(torch.cat([batch, batch.flip(1)])).chunk(2)
        loss = mn.nt_xent(z_i, z_j, temperature=0.5, gather=True)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        seen.append(items.tolist())
        mus.append(sampler.describe(epoch, k).mu)
weight = model.module.weight.detach().tolist()
result = {"seen": seen, "mus": mus, "weight": weight, "length": len(sampler)}
assert os.environ["WORLD_SIZE"] == str(dist.get_world_size())
finish(result)
