"""Maps of where an image shows a trait, from a frozen encoder, after Mammo-FActOR.

Mammo-FActOR (Ghosh et al. 2024, section 2.3) explains a frozen image encoder: what is learned tells
only which images have an attribute, and where the encoder sees it comes out. Here the encoder is
trained with images and manifestations, as Mammo-CLIP's is with images and reports, and each trait
gets one direction in the space of its feature map. Images with the trait are contrasted with those
of the same batch that lack it. No position is ever told.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus
from torch.utils.data import DataLoader, TensorDataset

import maninegs_sampling as mn

CELL = 4  # pixels a side that one place of the feature map stands for


class SpatialEncoder(nn.Module):
    """A small network whose feature map is kept: (n, 1, s, s) to (n, 32, s / 4, s / 4)."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 16, 5, stride=2, padding=2),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, stride=2, padding=1),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.Conv2d(32, 32, 3, padding=1),
            nn.BatchNorm2d(32),
            nn.ReLU(),
        )
        self.embedding = nn.Linear(64, 64)

    def features(self, images: Tensor) -> Tensor:
        """Return the feature map."""
        found: Tensor = self.layers(images)
        return found

    def forward(self, images: Tensor) -> Tensor:
        """Return (n, 64) embeddings of the mean and the maximum of each feature."""
        found = self.features(images)
        pooled: Tensor = self.embedding(torch.cat([found.mean((2, 3)), found.amax((2, 3))], dim=1))
        return pooled


class TraitMaps(nn.Module):
    """One direction for each trait: (n, 32, h, w) features to (n, T, h, w) maps.

    Args:
        features: (n, 32, h, w), whose mean and deviation scale each feature.
        n_traits: T.
        sharpness: of the mean over places that scores an image: 0 is the mean, infinity the
            maximum.
    """

    def __init__(self, features: Tensor, n_traits: int, sharpness: float = 4.0) -> None:
        super().__init__()
        self.mean = features.mean((0, 2, 3), keepdim=True)
        self.deviation = features.std((0, 2, 3), keepdim=True) + 1e-6
        self.directions = nn.Parameter(torch.randn(n_traits, features.shape[1]) / 100)
        self.sharpness = sharpness

    def forward(self, features: Tensor) -> Tensor:
        """Return the maps."""
        scaled = (features - self.mean) / self.deviation
        return torch.einsum("nchw,tc->nthw", scaled, self.directions)

    def scores(self, features: Tensor) -> Tensor:
        """Return (n, T): how much an image shows each trait, at its most telling places."""
        maps = self(features).flatten(2)
        n_places = torch.tensor(float(maps.shape[2]))
        soft = torch.logsumexp(self.sharpness * maps, dim=2) - n_places.log()
        return soft / self.sharpness


def presence_contrast(scores: Tensor, present: Tensor) -> Tensor:
    """Return the mean contrast of each image that has a trait with all that lack it.

    For an image p with the trait it is -log(exp(s_p) / (exp(s_p) + sum over n of exp(s_n))), with n
    over the images of the batch without it. A trait that all or none have adds nothing.

    Args:
        scores: (n, T).
        present: (n, T) bool.
    """
    lacking = scores.masked_fill(present, -torch.inf).logsumexp(0)
    terms = softplus(lacking - scores)[present & lacking.isfinite()]
    return terms.sum() / max(1, len(terms))


def train_encoder(images: Tensor, store: mn.ManifestationStore, steps: int) -> SpatialEncoder:
    """Return an encoder trained with images and manifestations on ManiNeg batches, frozen.

    Args:
        images: (N, 1, s, s).
        store: the N manifestations.
        steps: batches of 64.
    """
    bits = torch.from_numpy(store.to_dense()).float()
    items = mn.PatternDataset(TensorDataset(images, bits), store)
    settings = mn.suggest(store, steps=steps, batch_size=64)
    sampler = mn.ManiNegBatchSampler(
        store, batch_size=64, mu=settings["mu"], sigma=settings["sigma"],
        duplicates="keep", batches_per_epoch=steps,
    )  # fmt: skip
    encoder, bits_encoder = SpatialEncoder(), nn.Linear(store.n_bits, 64)
    criterion = mn.InterModalNTXentLoss(temperature=0.2)
    parts = nn.ModuleList([encoder, bits_encoder, criterion])
    optimizer = torch.optim.Adam(parts.parameters(), lr=2e-3)
    for (image, row), patterns in DataLoader(items, batch_sampler=sampler):
        loss = criterion(encoder(image), bits_encoder(row), ids=patterns)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return encoder.eval().requires_grad_(False)


def train_maps(features: Tensor, present: Tensor, steps: int, batch_size: int = 128) -> TraitMaps:
    """Return the maps learned from which images have which trait.

    Args:
        features: (N, 32, h, w) of the frozen encoder.
        present: (N, T) bool.
        steps: batches.
        batch_size: images in a batch.
    """
    maps = TraitMaps(features, present.shape[1])
    optimizer = torch.optim.Adam(maps.parameters(), lr=1e-2, weight_decay=1e-4)
    for _ in range(steps):
        batch = torch.randint(len(features), (batch_size,))
        loss = presence_contrast(maps.scores(features[batch]), present[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return maps.eval().requires_grad_(False)
