"""Contrastive pretraining of a small network on one arm's batches."""

import hashlib
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from benchmarks.reference.augmentation import augmented, scaled
from benchmarks.reference.checkpoints import seed_step
from benchmarks.reference.data import TRAINING
from benchmarks.reference.gain.arms import Arm
from benchmarks.reference.networks import image_encoder, manifestation_encoder, projector
from benchmarks.reference.wbcatt import Cells

WARM_UP = 0.05  # of the steps
WEIGHT_DECAY = 1e-4  # as in Table III


@dataclass(frozen=True)
class Settings:
    """All settings of a training but its arm, its mode and its seed.

    The defaults were chosen by `gain-tune`; see benchmarks/results/gain/DESIGN.md.

    Attributes:
        size: pixels a side.
        network: "small" or "pooled"; see `networks.image_encoder`.
        rate: the largest learning rate of Adam.
        temperature: of all terms, fixed.
        smallest_area: of a random crop, as a share of the image.
    """

    size: int = 32
    network: str = "pooled"
    batch_size: int = 64
    steps: int = 1000
    rate: float = 3e-3
    temperature: float = 0.2
    smallest_area: float = 0.25


class Model(nn.Module):
    """An image encoder, a projector and, for multimodal training, an encoder of manifestations.

    The features of an image are the means over the encoder's last maps, (N, 128).
    """

    def __init__(self, network: str, n_bits: int, *, multimodal: bool) -> None:
        super().__init__()
        self.encoder = image_encoder(network)
        self.encoder.fc = nn.Identity()  # type: ignore[assignment]
        self.projector = projector()
        # Made last, so that both modes begin with the same weights for images.
        self.manifestation_encoder = manifestation_encoder(n_bits) if multimodal else None

    def loss(
        self, views: Tensor, bits: Tensor, ids: Tensor, arm: Arm, temperature: float
    ) -> Tensor:
        """Return an arm's loss of 2n views, the first views first, and n manifestations."""
        z_i, z_j = self.projector(self.encoder(views)).chunk(2)
        loss = arm.views(z_i, z_j, temperature=temperature, ids=ids if arm.masks else None)
        if self.manifestation_encoder is None:
            return loss
        z_m = self.projector(self.manifestation_encoder(bits))
        # Equal manifestations cannot be told apart: the authors' code keeps one of each.
        modal = [arm.modal(z, z_m, temperature=temperature, ids=ids) for z in (z_i, z_j)]
        return loss + (modal[0] + modal[1]) / 2


def initial_model(n_bits: int, mode: str, seed: int, settings: Settings) -> Model:
    """Return the model before the first step, which no arm changes."""
    seed_step(seed, settings.steps)  # a step that training never comes to
    model = Model(settings.network, n_bits, multimodal=mode == "multimodal")
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def pretrain(
    cells: Cells, arm: Arm, mode: str, seed: int, settings: Settings
) -> tuple[nn.Module, str]:
    """Return the trained image encoder, and a digest of the batches.

    The seed fixes the initial weights and, for each step, the random numbers of the augmentation,
    which are the same for all arms.
    """
    rows = cells.rows(TRAINING)
    store = cells.store.subset(rows)
    images = torch.from_numpy(cells.images[rows])
    bits = torch.from_numpy(store.to_dense()).float()
    patterns = torch.from_numpy(store.pattern_of.astype(np.int64))
    model = initial_model(store.n_bits, mode, seed, settings).train()
    optimizer = torch.optim.Adam(
        model.parameters(), lr=settings.rate, weight_decay=WEIGHT_DECAY, fused=True
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, settings.rate, settings.steps, pct_start=WARM_UP, cycle_momentum=False
    )
    drawn = hashlib.sha256()
    for step, batch in enumerate(arm.draw(store, settings.batch_size, seed, settings.steps)):
        drawn.update(np.asarray([len(batch), *batch], np.int64).tobytes())
        seed_step(seed, step)
        views = augmented(images[batch].repeat(2, 1, 1), smallest_area=settings.smallest_area)
        loss = model.loss(
            views.contiguous(memory_format=torch.channels_last),
            bits[batch],
            patterns[batch],
            arm,
            settings.temperature,
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return model.encoder, drawn.hexdigest()[:12]


@torch.no_grad()
def features_of(encoder: nn.Module, cells: Cells) -> NDArray[np.float32]:
    """Return the features of all images, (N, 128) float32, without augmentation."""
    encoder.eval()
    found = [
        encoder(scaled(images).contiguous(memory_format=torch.channels_last))
        for images in torch.from_numpy(np.array(cells.images)).split(512)
    ]
    return torch.cat(found).numpy()
