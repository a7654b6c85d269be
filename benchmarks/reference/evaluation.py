"""Evaluation of pretraining: section V-B and Figure 6."""

import copy
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn
from torchmetrics.functional.classification import binary_auroc
from tqdm import tqdm

from benchmarks.reference.augmentation import augmented, scaled
from benchmarks.reference.checkpoints import Checkpoint, seed_step
from benchmarks.reference.data import TEST, TRAINING, VALIDATION, Cases
from benchmarks.reference.networks import FEATURES, ContrastiveModel
from benchmarks.reference.presets import Classifier, Preset

BATCH = 256  # lesions, where nothing is trained


class LesionClassifier(nn.Module):
    """A linear layer on the mean of the features of a lesion's two views."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = nn.Linear(FEATURES, 1)

    def forward(self, views: Tensor) -> Tensor:
        """Return logits (n,) of views (2n, 1, size, size), the two views of a lesion in a row."""
        features = self.encoder(views.contiguous(memory_format=torch.channels_last))
        return self.head(features.unflatten(0, (-1, 2)).mean(1)).squeeze(1)


def images_of(cases: Cases, rows: NDArray[np.intp], device: torch.device) -> Tensor:
    """Return both views of some lesions, (2n, size, size) uint8."""
    return torch.from_numpy(cases.images[rows]).to(device).flatten(0, 1)


@torch.no_grad()
def view_features(fabric: Fabric, encoder: nn.Module, cases: Cases) -> Tensor:
    """Return y of each view, (N, 2, 128) float32, without augmentation."""
    encoder.eval()
    found = []
    with fabric.autocast():
        for rows in np.array_split(np.arange(len(cases.labels)), -(-len(cases.labels) // BATCH)):
            views = scaled(images_of(cases, rows, fabric.device))
            found.append(encoder(views.contiguous(memory_format=torch.channels_last)).float())
    return torch.cat(found).unflatten(0, (-1, 2))


def linear_probe(features: NDArray[np.float32], cases: Cases, preset: Preset) -> float:
    """Return the test AUC of a logistic regression on fixed features (N, 128): LP."""
    training, test = cases.rows(TRAINING), cases.rows(TEST)
    probe = LogisticRegression(C=1 / preset.probe_penalty, max_iter=preset.probe_iterations)
    probe.fit(features[training], cases.labels[training])
    return float(roc_auc_score(cases.labels[test], probe.decision_function(features[test])))


def trait_auc(features: NDArray[np.float32], cases: Cases) -> float:
    """Return how well fixed features predict the manifestation: the mean test AUC over bits.

    Each bit's is that of a ridge regression; bits that are constant in the test part are left out.
    """
    training, test = cases.rows(TRAINING), cases.rows(TEST)
    bits = cases.store.to_dense().astype(np.float32)
    varying = bits[test].std(0) > 0
    scores = Ridge().fit(features[training], bits[training]).predict(features[test])
    return float(roc_auc_score(bits[test][:, varying], scores[:, varying], average="macro"))


@torch.no_grad()
def alignment(fabric: Fabric, model: ContrastiveModel, cases: Cases) -> NDArray[np.float32]:
    """Return the cosine distances of each test view from its manifestation: Figure 6."""
    model.eval()
    rows = cases.rows(TEST)
    bits = torch.from_numpy(cases.store.to_dense()[rows]).float().to(fabric.device)
    features = view_features(fabric, model.encoder, cases)[torch.from_numpy(rows)]
    z_m = model.embed_manifestations(bits)
    distances = [
        1 - nn.functional.cosine_similarity(model.projector(features[:, view]), z_m)
        for view in (0, 1)
    ]
    return torch.cat(distances).float().cpu().numpy()


def train_classifier(
    fabric: Fabric,
    encoder: nn.Module,
    cases: Cases,
    settings: Classifier,
    seed: int,
    path: Path,
) -> float:
    """Return the test AUC of a classifier trained on an encoder: LE if frozen, else FT.

    Training stops when the validation AUC has not grown for `patience` epochs, and the best
    epoch's weights are tested. `path` is the checkpoint, from which it goes on.
    """
    frozen = settings.encoder_rate == 0
    seed_step(seed, 2**32 - 1)
    module = LesionClassifier(copy.deepcopy(encoder)).requires_grad_(True)
    module.encoder.requires_grad_(not frozen)
    parameters = [{"params": module.head.parameters(), "lr": settings.peak_rate}]
    if not frozen:
        rate = settings.encoder_rate * settings.peak_rate
        parameters.append({"params": module.encoder.parameters(), "lr": rate})
    model, optimizer = fabric.setup(
        module, torch.optim.Adam(parameters, weight_decay=settings.weight_decay)
    )
    peaks = [group["lr"] for group in optimizer.param_groups]
    state: dict[str, Any] = {
        "settings": f"{cases.name}, seed {seed}, {settings}",
        "model": model,
        "optimizer": optimizer,
        "epoch": 0,
        "best": {"auc": -1.0, "epoch": 0, "model": {}},
    }
    checkpoint = Checkpoint(fabric, path, seconds=180)
    checkpoint.load(state)
    training = cases.rows(TRAINING)
    labels = torch.from_numpy(cases.labels).float().to(fabric.device)
    lowest = settings.min_rate / settings.peak_rate
    epochs = tqdm(range(state["epoch"], settings.epochs), f"{path.stem} {cases.name}", leave=False)
    for epoch in epochs:
        factor = lowest + (1 - lowest) * (1 + math.cos(math.pi * epoch / settings.epochs)) / 2
        for group, peak in zip(optimizer.param_groups, peaks, strict=True):
            group["lr"] = peak * factor
        model.train()
        if frozen:
            module.encoder.eval()
        order = np.random.default_rng([seed, epoch]).permutation(training)
        for k, first in enumerate(range(0, len(order), settings.batch_size)):
            rows = order[first : first + settings.batch_size]
            seed_step(seed, epoch, k)
            logits = model(augmented(images_of(cases, rows, fabric.device)))
            loss = nn.functional.binary_cross_entropy_with_logits(logits.float(), labels[rows])
            optimizer.zero_grad()
            fabric.backward(loss)
            optimizer.step()
        auc = test_auc(model, cases, VALIDATION, fabric)
        epochs.set_postfix(validation_auc=f"{auc:.4f}")
        if auc > state["best"]["auc"]:
            weights = {key: value.cpu().clone() for key, value in module.state_dict().items()}
            state["best"] = {"auc": auc, "epoch": epoch, "model": weights}
        state["epoch"] = epoch + 1
        checkpoint.save(state)
        if epoch - state["best"]["epoch"] >= settings.patience:
            break
    module.load_state_dict(state["best"]["model"])
    path.unlink(missing_ok=True)
    return test_auc(model, cases, TEST, fabric)


@torch.no_grad()
def test_auc(model: nn.Module, cases: Cases, part: int, fabric: Fabric) -> float:
    """Return a classifier's AUC on one part, without augmentation."""
    model.eval()
    rows = cases.rows(part)
    logits = [
        model(scaled(images_of(cases, some, fabric.device)))
        for some in np.array_split(rows, -(-len(rows) // BATCH))
    ]
    labels = torch.from_numpy(cases.labels[rows]).to(fabric.device)
    return binary_auroc(torch.cat(logits).float(), labels).item()
