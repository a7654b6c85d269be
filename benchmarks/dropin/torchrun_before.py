"""A script for torchrun, with DistributedDataParallel."""

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler

from benchmarks.dropin import data

dist.init_process_group("gloo")
sampler = DistributedSampler(data.dataset)
loader = DataLoader(data.dataset, batch_size=32, sampler=sampler)
encoder = DistributedDataParallel(data.new_encoder())
optimizer = torch.optim.Adam(encoder.parameters())
for epoch in range(2):
    sampler.set_epoch(epoch)
    for view_1, view_2 in loader:
        loss = data.contrast(*encoder(torch.cat([view_1, view_2])).chunk(2))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
dist.barrier()
dist.destroy_process_group()
