"""Why a sampler did or did not help: how trained models see near and far negatives."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor

from benchmarks.reference.augmentation import scaled
from benchmarks.reference.data import TEST, Cases
from benchmarks.reference.networks import ContrastiveModel
from benchmarks.reference.presets import Preset
from benchmarks.reference.pretraining import MODES, SAMPLERS, Views, build
from benchmarks.reference.tables import NAMES, markdown, spread
from maninegs_sampling import ManiNegBatchSampler, nt_xent, pairwise_hamming
from maninegs_sampling.analysis.baselines import uniform

BANDS = ((0, 0), (1, 2), (3, 5), (6, 9), (10, 35))  # bits
BATCHES = 40
TEMPERATURE = 0.1  # low enough that the nearest negatives decide the loss


@torch.no_grad()
def measure(fabric: Fabric, model: ContrastiveModel, cases: Cases, preset: Preset) -> list[float]:
    """Return measurements of a model on the test part, without augmentation.

    First the mean cosine between the CC view of one lesion and the MLO view of another, for each
    of `BANDS`. Then `nt_xent` of the views at `TEMPERATURE` in uniform batches and in ManiNeg's of
    mu = 0, each with the network's running statistics and with the batch's own: were the latter
    loss much lower, batch norm would tell which batch a view is from. Last, of a multimodal model,
    the mean cosine distance between views and manifestations, with running statistics in the
    projector, which both share, and with those of either modality by itself.
    """
    views = Views(cases, TEST)
    images, manifestations, _ = views.__getitems__(list(range(len(views))))
    pixels = scaled(images.flatten(0, 1)).to(fabric.device)
    manifestations = manifestations.to(fabric.device)

    def embed(rows: Sequence[int]) -> tuple[Tensor, Tensor]:
        chosen = torch.tensor(rows)
        both = torch.cat([pixels[2 * chosen], pixels[2 * chosen + 1]])
        z_cc, z_mlo = model.projector(model.encoder(both)).float().chunk(2)
        return z_cc, z_mlo

    model.eval()
    z_cc, z_mlo = (torch.nn.functional.normalize(z) for z in embed(range(len(views))))
    cosines = (z_cc @ z_mlo.T).cpu().numpy()
    distances = pairwise_hamming(views.store).astype(int)
    np.fill_diagonal(distances, -1)
    found = [float(cosines[(low <= distances) & (distances <= high)].mean()) for low, high in BANDS]
    # Running statistics change in training mode, even without a gradient.
    before = {key: value.clone() for key, value in model.state_dict().items()}
    hard = ManiNegBatchSampler(
        views.store, batch_size=preset.batch_size, mu=preset.mu_end, sigma=preset.sigma
    )
    easy = [
        b for epoch in range(BATCHES) for b in uniform(views.store, preset.batch_size, 0)(epoch)
    ]
    for batches in (
        easy[:BATCHES],
        [hard.batch(k % len(hard), k // len(hard)) for k in range(BATCHES)],
    ):
        for training in (False, True):
            model.train(training)
            losses = [nt_xent(*embed(batch), temperature=TEMPERATURE) for batch in batches]
            found.append(float(torch.stack(losses).mean()))
    model.load_state_dict(before)
    if model.manifestation_encoder is not None:
        model.eval()
        features = model.encoder(pixels), model.manifestation_encoder(manifestations)
        for training in (False, True):
            model.projector.train(training)
            z_image, z_m = (model.projector(y).float() for y in features)
            cosine = torch.nn.functional.cosine_similarity(z_image, z_m.repeat_interleave(2, 0))
            found.append(1 - float(cosine.mean()))
    return found


def report(fabric: Fabric, cases: Cases, preset: Preset, folder: Path) -> str:
    """Return a table over the finished runs in a folder that `table` made."""
    bands = [f"{low}-{high} bits" if low < high else f"{low} bits" for low, high in BANDS]
    losses = ["uniform batches", "same, batch statistics", "ManiNeg's", "same, batch statistics"]
    distances = ["image to manifestation", "same, batch statistics"]
    header = ["", "", *bands, *losses, *distances]
    rows = []
    for mode in MODES:
        for sampler in SAMPLERS:
            found = []
            for path in sorted(folder.glob(f"{mode}-{sampler}-*/checkpoint.pt")):
                model, _ = build(cases.store.n_bits, preset, mode, sampler, 0, False, None)
                state = torch.load(path, map_location="cpu", weights_only=True)
                model.load_state_dict(state["model"])
                found.append(measure(fabric, model.to(fabric.device), cases, preset))
            if found:
                cells = [spread(values, 1.0) for values in zip(*found, strict=True)]
                rows.append([mode, NAMES[sampler], *cells, *[""] * (len(header) - len(cells) - 2)])
    title = (
        f"On the test part of {cases.name}, unaugmented: mean cosine between views of different "
        f"lesions by Hamming distance; nt_xent at temperature {TEMPERATURE} of batches of "
        f"{preset.batch_size}; mean cosine distance of Figure 6"
    )
    return f"{title}\n\n{markdown(header, rows)}\n"
