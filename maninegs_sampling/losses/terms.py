"""Weighted sums of losses, each of two of the embeddings."""

from dataclasses import dataclass, field

from torch import Tensor

from maninegs_sampling.losses.batch import Batch
from maninegs_sampling.losses.cross_entropy import cross_entropy
from maninegs_sampling.losses.options import Reduction
from maninegs_sampling.losses.pair_contrasts import ModalityContrast, PairContrast, ViewContrast
from maninegs_sampling.losses.pair_options import NO_OPTIONS, PairOptions


@dataclass
class Terms:
    """The terms of a loss on one batch.

    Attributes:
        batch: The embeddings; terms refer to them by index.
        options: Those about pairs of instances, of all terms.
        losses: By the name of the term: (n,), the loss of each instance.
        weights: By the name of the term: its factor in the total.
    """

    batch: Batch
    options: PairOptions = NO_OPTIONS
    losses: dict[str, Tensor] = field(default_factory=dict)
    weights: dict[str, float] = field(default_factory=dict)

    def add_views(
        self,
        name: str,
        weight: float,
        pair: tuple[int, int],
        temperature: float | Tensor,
        label_smoothing: float,
    ) -> None:
        """Add `nt_xent` of two of the embeddings."""
        contrast = ViewContrast(self.batch, pair, temperature, self.options)
        self._add(name, weight, contrast, label_smoothing)

    def add_modalities(
        self,
        name: str,
        weight: float,
        pair: tuple[int, int],
        temperature: float | Tensor,
        label_smoothing: float,
        *,
        symmetric: bool = True,
    ) -> None:
        """Add `inter_modal_nt_xent` of two of the embeddings."""
        contrast = ModalityContrast(
            self.batch, pair, temperature, self.options, symmetric=symmetric
        )
        self._add(name, weight, contrast, label_smoothing)

    def _add(
        self, name: str, weight: float, contrast: PairContrast, label_smoothing: float
    ) -> None:
        losses = cross_entropy(contrast, label_smoothing)
        self.losses[name] = losses.mean(0)
        self.weights[name] = weight

    def total(self, reduction: Reduction) -> Tensor:
        """Return the weighted sum of all terms, reduced over instances."""
        weighted = [self.weights[name] * losses for name, losses in self.losses.items()]
        return self.batch.reduce(sum(weighted[1:], weighted[0]), reduction)

    def means(self) -> dict[str, Tensor]:
        """Return the unweighted mean of each term over this rank's instances, to log."""
        return {name: losses.detach().mean() for name, losses in self.losses.items()}
