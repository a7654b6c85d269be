"""Contrastive pretraining of a small network on one arm's batches."""

import hashlib
import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from benchmarks.reference.augmentation import augmented, scaled
from benchmarks.reference.checkpoints import seed_step
from benchmarks.reference.data import TRAINING, Cases
from benchmarks.reference.gain.arms import Arm
from benchmarks.reference.networks import image_encoder, manifestation_encoder, projector
from benchmarks.reference.wbcatt import Cells

WARM_UP = 0.05  # of the steps
WEIGHT_DECAY = 1e-4  # as in Table III
MIN_TEMPERATURE = 0.01  # of a learned one, as in the package's losses


@dataclass(frozen=True)
class Settings:
    """All settings of a training but its arm, its mode and its seed.

    The defaults were chosen by `gain-tune`; see benchmarks/results/gain/DESIGN.md.

    Attributes:
        size: pixels a side.
        network: "small" or "pooled"; see `networks.image_encoder`.
        rate: the largest learning rate of Adam.
        temperature: of all terms; the first one, if it is learned.
        smallest_area: of a random crop, as a share of the image.
        temperature_rate: the largest learning rate of the temperature; 0 for a fixed one.
    """

    size: int = 32
    network: str = "pooled"
    batch_size: int = 64
    steps: int = 1000
    rate: float = 3e-3
    temperature: float = 0.2
    smallest_area: float = 0.25
    temperature_rate: float = 0.0


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
        self, views: Tensor, bits: Tensor, ids: Tensor, arm: Arm, temperature: float | Tensor
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


class Temperature(nn.Module):
    """A temperature, fixed or learned by its logarithm."""

    def __init__(self, start: float, *, learned: bool) -> None:
        super().__init__()
        self.start = start
        self.logarithm = nn.Parameter(torch.tensor(math.log(start))) if learned else None

    def forward(self) -> float | Tensor:
        """Return the temperature."""
        if self.logarithm is None:
            return self.start
        return self.logarithm.exp().clamp_min(MIN_TEMPERATURE)


def initial_model(n_bits: int, mode: str, seed: int, settings: Settings) -> Model:
    """Return the model before the first step, which no arm changes."""
    seed_step(seed, settings.steps)  # a step that training never comes to
    model = Model(settings.network, n_bits, multimodal=mode == "multimodal")
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def pretrain(
    data: Cells | Cases, arm: Arm, mode: str, seed: int, settings: Settings
) -> tuple[nn.Module, str]:
    """Return the trained image encoder, and a digest of the batches.

    The seed fixes the initial weights and, for each step, the random numbers of the augmentation,
    which are the same for all arms.
    """
    rows = data.rows(TRAINING)
    store = data.store.subset(rows)
    images = torch.from_numpy(data.images[rows])
    bits = torch.from_numpy(store.to_dense()).float()
    patterns = torch.from_numpy(store.pattern_of.astype(np.int64))
    model = initial_model(store.n_bits, mode, seed, settings).train()
    temperature = Temperature(settings.temperature, learned=settings.temperature_rate > 0)
    groups = [{"params": list(model.parameters()), "weight_decay": WEIGHT_DECAY}]
    peaks = [settings.rate]
    if temperature.logarithm is not None:
        groups.append({"params": [temperature.logarithm], "weight_decay": 0.0})
        peaks.append(settings.temperature_rate)
    optimizer = torch.optim.Adam(groups, lr=settings.rate, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, peaks, settings.steps, pct_start=WARM_UP, cycle_momentum=False
    )
    drawn = hashlib.sha256()
    for step, batch in enumerate(arm.draw(store, settings.batch_size, seed, settings.steps)):
        drawn.update(np.asarray([len(batch), *batch], np.int64).tobytes())
        seed_step(seed, step)
        pairs = images[batch][:, [0, -1]].transpose(0, 1).flatten(0, 1)  # the first views first
        views = augmented(pairs, smallest_area=settings.smallest_area)
        loss = model.loss(
            views.contiguous(memory_format=torch.channels_last),
            bits[batch],
            patterns[batch],
            arm,
            temperature(),
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return model.encoder, drawn.hexdigest()[:12]


@torch.no_grad()
def features_of(encoder: nn.Module, data: Cells | Cases) -> NDArray[np.float32]:
    """Return the features of all instances, (N, 128) float32, without augmentation.

    They are the means over an instance's images.
    """
    encoder.eval()
    found = []
    for images in torch.from_numpy(np.array(data.images)).split(512):
        each = encoder(scaled(images.flatten(0, 1)).contiguous(memory_format=torch.channels_last))
        found.append(each.unflatten(0, images.shape[:2]).mean(1))
    return torch.cat(found).numpy()
