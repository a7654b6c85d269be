"""Lightning's Trainer."""

import lightning
import torch
from torch.utils.data import DataLoader

import maninegs_sampling as mn
from benchmarks.dropin import data

store = mn.ManifestationStore.from_dense(data.bits)


class Training(lightning.LightningModule):
    """SimCLR without augmentation."""

    def __init__(self):
        super().__init__()
        self.encoder = data.new_encoder()

    def train_dataloader(self):
        """Return the loader, made here so that Lightning gives it the ranks."""
        loader = DataLoader(data.dataset, batch_size=32, shuffle=True)
        loader = mn.ManiNegBatchSampler.wrap(loader, store, mu=8.0)
        return loader

    def training_step(self, views, _):
        """Return the loss of a batch."""
        return data.contrast(*map(self.encoder, views))

    def configure_optimizers(self):
        """Return Adam."""
        return torch.optim.Adam(self.parameters())


lightning.Trainer(max_epochs=2, accelerator="cpu", logger=False, enable_checkpointing=False).fit(
    Training()
)
