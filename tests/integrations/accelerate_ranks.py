"""What each of two processes gets from Accelerate, for test_accelerate."""

import sys

from accelerate import Accelerator
from accelerate.utils import DataLoaderConfiguration
from torch.utils.data import DataLoader

from tests.integrations.common import Indices, as_lists, finish, make_sampler

split_batches = sys.argv[1] == "split"
batch_size = int(sys.argv[2])
options = {"batches_per_epoch": int(sys.argv[4])} if sys.argv[4:] else {}
accelerator = Accelerator(
    cpu=True, dataloader_config=DataLoaderConfiguration(split_batches=split_batches)
)
# The ranks are Accelerate's business: it shards what it is given.
sampler = make_sampler(batch_size=batch_size, num_replicas=1, rank=0, **options)
loader = accelerator.prepare(DataLoader(Indices(), batch_sampler=sampler))
seen = []
for epoch in range(3):
    if sys.argv[3] == "set_epoch":
        loader.set_epoch(epoch)
    seen.append(as_lists(loader))
# once more the first epoch, out of order
loader.set_epoch(0)
again = as_lists(loader)
finish({"length": len(loader), "epochs": seen, "again": again})
