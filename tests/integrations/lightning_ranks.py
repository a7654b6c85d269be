"""What each of two processes gets from Lightning, for test_lightning."""

import os
import sys

from lightning.fabric import Fabric
from torch.utils.data import DataLoader

from maninegs_sampling import ManiNegBatchSampler
from tests.integrations.common import MU, STORE, Indices, as_lists, finish, make_sampler
from tests.integrations.lightning_model import Notes, make_trainer

how, options = sys.argv[1], dict(pair.split("=") for pair in sys.argv[2:])


def make_loader():
    if "wrapped" in how:
        return ManiNegBatchSampler.wrap(
            DataLoader(Indices(), batch_size=5, shuffle=True), STORE, mu=MU, seed=3
        )
    return DataLoader(Indices(), batch_sampler=make_sampler(**options))


if how.startswith("fabric"):
    fabric = Fabric(accelerator="cpu", devices=2, strategy="ddp")
    fabric.launch()
    try:
        loader = fabric.setup_dataloaders(
            make_loader(), use_distributed_sampler=how != "fabric told"
        )
        result = [as_lists(loader) for _ in range(3)]
    except TypeError as error:
        result = str(error)
else:
    extra = {} if how != "trainer told" else {"use_distributed_sampler": False}
    trainer = make_trainer(os.environ["FOLDER"], devices=2, strategy="ddp", **extra)
    model = Notes(make_loader=make_loader)
    try:
        trainer.fit(model, *([] if "hook" in how else [make_loader()]))
        result = model.seen
    except TypeError as error:
        result = str(error)
finish(result)
