"""The networks of section V, as the authors' code builds them."""

from pathlib import Path

import torch
from monai.networks.nets.resnet import ResNet, resnet50
from torch import Tensor, nn

from maninegs_sampling import losses
from maninegs_sampling.errors import InvalidValueError, check_choice

FEATURES = 128
NETWORKS = ("resnet50", "small", "pooled")


def image_encoder(name: str, weights: Path | None = None) -> ResNet:
    """Return f_I: a ResNet of one channel whose last layer gives (N, 128), without bias.

    Args:
        name: "resnet50", "small": four basic blocks of 16 to 128 channels, or "pooled": the same
            behind a max pool, as in "resnet50".
        weights: a file of ImageNet weights of a ResNet50, as torchvision names them. The first
            layer's are summed over the colors.
    """
    if check_choice("network", name, NETWORKS) == "resnet50":
        network = resnet50(
            spatial_dims=2, n_input_channels=1, conv1_t_stride=2, bias_downsample=False
        )
    else:
        network = ResNet(
            "basic", [1, 1, 1, 1], [16, 32, 64, 128],
            spatial_dims=2, n_input_channels=1, conv1_t_stride=2,
            no_max_pool=name == "small", bias_downsample=False,
        )  # fmt: skip
    if weights is not None:
        state = torch.load(weights, map_location="cpu", weights_only=True)
        state = {key: value for key, value in state.items() if not key.startswith("fc.")}
        state["conv1.weight"] = state["conv1.weight"].sum(1, keepdim=True)
        missing = network.load_state_dict(state, strict=False)
        if missing.unexpected_keys or {k.split(".")[0] for k in missing.missing_keys} != {"fc"}:
            raise InvalidValueError(f"{weights} does not hold the weights of a {name}: {missing}")
    assert network.fc is not None  # for the type checker: only feed_forward=False leaves it out
    network.fc = nn.Linear(network.fc.in_features, FEATURES, bias=False)
    return network


def manifestation_encoder(n_bits: int) -> nn.Sequential:
    """Return f_M: two linear layers, (N, n_bits) to (N, 128), and dropout on their output."""
    return nn.Sequential(
        nn.Linear(n_bits, 512),
        nn.BatchNorm1d(512),
        nn.ReLU(),
        nn.Linear(512, FEATURES),
        nn.Dropout(0.5),
    )


def projector() -> nn.Sequential:
    """Return g, which images and manifestations share: (N, 128) to (N, 128)."""
    return nn.Sequential(
        nn.Linear(FEATURES, FEATURES),
        nn.BatchNorm1d(FEATURES),
        nn.ReLU(),
        nn.Linear(FEATURES, FEATURES),
    )


class ContrastiveModel(nn.Module):
    """Figure 1 of the paper: encoders, projector and loss, Eq. (5) or Eq. (6).

    Args:
        encoder: f_I.
        n_bits: of a manifestation.
        multimodal: whether the loss contrasts images with manifestations, too.
        vmf: whether the losses weight negatives by their similarity (Robinson et al. 2021).
        temperature: of each term, at the start.
        gather: whether negatives come from all devices.
    """

    def __init__(
        self,
        encoder: nn.Module,
        n_bits: int,
        *,
        multimodal: bool,
        vmf: bool,
        temperature: float,
        gather: bool,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.projector = projector()
        between_views = losses.HardNegativeNTXentLoss if vmf else losses.NTXentLoss
        self.view_loss = between_views(temperature, gather=gather)
        self.manifestation_encoder = manifestation_encoder(n_bits) if multimodal else None
        if multimodal:
            between_modes = (
                losses.HardNegativeInterModalNTXentLoss if vmf else losses.InterModalNTXentLoss
            )
            # The authors ran only the half from images to manifestations.
            self.modal_losses = nn.ModuleList(
                between_modes(temperature, symmetric=False, gather=gather) for _ in range(2)
            )

    def embed_manifestations(self, manifestations: Tensor) -> Tensor:
        """Return z of manifestations, (N, n_bits) to (N, 128)."""
        assert self.manifestation_encoder is not None
        return self.projector(self.manifestation_encoder(manifestations))

    def forward(
        self, cc: Tensor, mlo: Tensor, manifestations: Tensor, patterns: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the loss, and the mean cosine of positive and of negative pairs of views.

        Instances of one pattern are no negatives of each other between modalities, where the
        authors' code keeps one instance of each pattern.
        """
        z_cc, z_mlo = self.projector(self.encoder(torch.cat([cc, mlo]))).chunk(2)
        loss = self.view_loss(z_cc, z_mlo)
        if self.manifestation_encoder is not None:
            z_m = self.embed_manifestations(manifestations)
            terms = [
                criterion(z, z_m, ids=patterns)
                for criterion, z in zip(self.modal_losses, (z_cc, z_mlo), strict=True)
            ]
            loss = loss + (terms[0] + terms[1]) / 2
        with torch.no_grad():
            cosines = nn.functional.cosine_similarity(z_cc[:, None], z_mlo[None], dim=-1).float()
            positive = cosines.diagonal().mean()
            negative = (cosines.sum() - cosines.diagonal().sum()) / max(
                1, len(cosines) ** 2 - len(cosines)
            )
        return loss, positive, negative
