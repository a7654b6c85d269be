"""What each process gets from the transformers Trainer, for test_transformers."""

import os

import torch
from torch.utils.data import DataLoader
from transformers import Trainer, TrainingArguments

from tests.integrations.common import Indices, finish, make_sampler


class Notes(torch.nn.Module):
    """Notes the items of its batches."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.seen = []

    def forward(self, items):
        self.seen.append(items.tolist())
        return {"loss": (0 * self.weight).sum()}


class HardTrainer(Trainer):
    """As the documentation says: override get_train_dataloader."""

    def get_train_dataloader(self):
        sampler = make_sampler(batch_size=self.args.train_batch_size, num_replicas=1, rank=0)
        loader = DataLoader(
            self.train_dataset, batch_sampler=sampler, collate_fn=self.data_collator
        )
        return self.accelerator.prepare(loader)


model = Notes()
arguments = TrainingArguments(
    os.environ["FOLDER"], use_cpu=True, num_train_epochs=3, per_device_train_batch_size=5,
    report_to=[], save_strategy="no", disable_tqdm=True, remove_unused_columns=False,
)  # fmt: skip
HardTrainer(
    model,
    arguments,
    train_dataset=Indices(),
    data_collator=lambda items: {"items": torch.tensor(items)},
).train()
finish(model.seen)
