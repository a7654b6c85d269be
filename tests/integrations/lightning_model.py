"""A Lightning module that notes its batches and keeps the notes in its checkpoints."""

import logging

import lightning
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)


class Notes(lightning.LightningModule):
    """Nothing is learned. `stop_after` batches, it is interrupted."""

    def __init__(self, stop_after=None, make_loader=None):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.seen, self.stop_after, self.make_loader = [], stop_after, make_loader

    def train_dataloader(self):
        return self.make_loader()

    def training_step(self, batch, _):
        if len(self.seen) == self.stop_after:
            raise KeyboardInterrupt
        self.seen.append(batch.tolist())
        return (0 * self.weight).sum()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)

    def on_save_checkpoint(self, checkpoint):
        checkpoint["seen"] = [list(batch) for batch in self.seen]

    def on_load_checkpoint(self, checkpoint):
        self.seen = checkpoint["seen"]


class WithinEpochs(ModelCheckpoint):
    """Leaves out the last batch of an epoch: from there Lightning resumes with a wrong count."""

    def on_train_batch_end(self, trainer, *step):
        if not trainer.is_last_batch:
            super().on_train_batch_end(trainer, *step)


def make_trainer(folder, **options):
    settings = {
        "max_epochs": 3, "accelerator": "cpu", "devices": 1, "logger": False,
        "enable_progress_bar": False, "enable_model_summary": False,
        "enable_checkpointing": False, "default_root_dir": folder,
    }  # fmt: skip
    return lightning.Trainer(**(settings | options))
