"""The transformers Trainer, whose loader is made in get_train_dataloader."""

import tempfile

import torch
from torch.utils.data import DataLoader
from transformers import Trainer, TrainingArguments

from benchmarks.dropin import data


class Training(torch.nn.Module):
    """SimCLR without augmentation."""

    def __init__(self):
        super().__init__()
        self.encoder = data.new_encoder()

    def forward(self, view_1, view_2):
        """Return the loss of a batch."""
        return {"loss": data.contrast(self.encoder(view_1), self.encoder(view_2))}


class Views(Trainer):
    """Trains on pairs of views."""

    def get_train_dataloader(self):
        """Return the loader, prepared by Accelerate."""
        loader = DataLoader(data.dataset, batch_size=32, shuffle=True, collate_fn=collate)
        return self.accelerator.prepare(loader)


def collate(items):
    """Name what forward takes."""
    return dict(zip(("view_1", "view_2"), map(torch.stack, zip(*items, strict=True)), strict=True))


arguments = TrainingArguments(
    tempfile.mkdtemp(), use_cpu=True, num_train_epochs=2, save_strategy="no", report_to=[]
)
Views(Training(), arguments, train_dataset=data.dataset).train()
