"""Contrastive pretraining with batches of one of three samplers: section V, Table III."""

import math
import os
from collections.abc import Iterable
from itertools import chain, count, islice
from pathlib import Path
from typing import Any, Final

import torch
from lightning_fabric import Fabric
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from benchmarks.reference.augmentation import augmented
from benchmarks.reference.checkpoints import Checkpoint, seed_step
from benchmarks.reference.data import TRAINING, Cases
from benchmarks.reference.networks import ContrastiveModel, image_encoder
from benchmarks.reference.presets import Preset
from maninegs_sampling import LinearAnnealing, ManifestationStore, ManiNegBatchSampler
from maninegs_sampling.analysis.baselines import uniform

MODES: Final = ("unimodal", "multimodal")
# "vmf" draws uniform batches; it is the loss that differs.
SAMPLERS: Final = ("uniform", "vmf", "manineg")
HISTORY: Final = ("loss", "positive cosine", "negative cosine", "distance between pairs")
LOG_EVERY: Final = 10  # steps


class Views(Dataset[Any]):
    """Both views of the lesions of one part, fetched a batch at a time."""

    def __init__(self, cases: Cases, part: int) -> None:
        self.images, self.rows = cases.images, cases.rows(part)
        self.store = cases.store.subset(self.rows)
        self.manifestations = torch.from_numpy(self.store.to_dense()).float()
        self.patterns = torch.from_numpy(self.store.pattern_of.astype("int64"))

    def __len__(self) -> int:
        """Return the number of lesions."""
        return len(self.rows)

    def __getitems__(self, lesions: list[int]) -> tuple[Tensor, Tensor, Tensor]:
        """Return uint8 images (n, 2, size, size), manifestations (n, n_bits), patterns (n,)."""
        images = torch.from_numpy(self.images[self.rows[lesions]])
        return images, self.manifestations[lesions], self.patterns[lesions]


def as_it_is(batch: Any) -> Any:
    """Return what `Views` fetched, which is a batch already."""
    return batch


def annealing(preset: Preset) -> LinearAnnealing:
    """Return mu's schedule."""
    return LinearAnnealing(preset.mu_start, preset.mu_end, steps=preset.annealing_steps)


def batch_sampler(
    name: str, store: ManifestationStore, preset: Preset, seed: int, start: int, fabric: Fabric
) -> Iterable[list[int]]:
    """Return this device's share of the batches of steps from `start` on."""
    if name == "manineg":
        sampler = ManiNegBatchSampler(
            store,
            batch_size=preset.batch_size // fabric.world_size,
            mu=annealing(preset),
            sigma=preset.sigma,
            seed=seed,
            batches_per_epoch=preset.steps,
            num_replicas=fabric.world_size,
            rank=fabric.global_rank,
            shard="within",
        )
        sampler.load_state_dict({**sampler.state_dict(), "position": start})
        return sampler
    epochs = uniform(store, preset.batch_size, seed)
    first, skipped = divmod(start, store.n_instances // preset.batch_size)
    batches = chain.from_iterable(epochs(epoch) for epoch in count(first))
    shares = (batch[fabric.global_rank :: fabric.world_size] for batch in batches)
    return list(islice(shares, skipped, skipped + preset.steps - start))


def batches(
    fabric: Fabric, views: Views, preset: Preset, sampler: str, seed: int, start: int
) -> DataLoader[Any]:
    """Return a loader of this device's batches from step `start` on."""
    on_gpu = fabric.device.type == "cuda"
    loader = DataLoader(
        views,
        batch_sampler=batch_sampler(sampler, views.store, preset, seed, start, fabric),
        collate_fn=as_it_is,
        # On a CPU the training needs all cores, so workers would slow it down.
        num_workers=min(preset.workers, os.cpu_count() or 1) if on_gpu else 0,
        pin_memory=on_gpu,
    )
    # The batch samplers are already split over the devices.
    prepared: Any = fabric.setup_dataloaders(loader, use_distributed_sampler=False)
    return prepared


def learning_rate(step: int, preset: Preset) -> float:
    """Return the factor on each peak rate: a linear warm-up from 1e-3, then a cosine."""
    if step < preset.warmup_steps:
        return 1e-3 + (1 - 1e-3) * step / preset.warmup_steps
    done = (step - preset.warmup_steps) / max(1, preset.steps - preset.warmup_steps)
    lowest = preset.min_rate / preset.peak_rate
    return lowest + (1 - lowest) * (1 + math.cos(math.pi * done)) / 2


def build(
    n_bits: int,
    preset: Preset,
    mode: str,
    sampler: str,
    seed: int,
    gather: bool,
    weights: Path | None,
) -> tuple[ContrastiveModel, torch.optim.Optimizer]:
    """Return the model and its optimizer before the first step."""
    seed_step(seed, preset.steps)  # a step that training never comes to
    model = ContrastiveModel(
        image_encoder(preset.network, weights),
        n_bits,
        multimodal=mode == "multimodal",
        vmf=sampler == "vmf",
        temperature=preset.temperature,
        gather=gather,
    )
    model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    temperatures = [p for name, p in model.named_parameters() if name.endswith("temperature")]
    others = [p for name, p in model.named_parameters() if not name.endswith("temperature")]
    optimizer = torch.optim.Adam(
        [
            {"params": others, "lr": preset.peak_rate, "weight_decay": preset.weight_decay},
            {"params": temperatures, "lr": preset.temperature_rate, "weight_decay": 0.0},
        ]
    )
    return model, optimizer


def training_step(
    model: Any, batch: tuple[Tensor, Tensor, Tensor]
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the output of the model for a batch on its device, after augmenting its images."""
    images, manifestations, patterns = batch
    views = augmented(images.flatten(0, 1)).contiguous(memory_format=torch.channels_last)
    return model(views[0::2], views[1::2], manifestations, patterns)


def pretrain(
    fabric: Fabric,
    cases: Cases,
    preset: Preset,
    mode: str,
    sampler: str,
    seed: int,
    folder: Path,
    weights: Path | None = None,
) -> tuple[ContrastiveModel, Tensor]:
    """Return the trained model and its history; resume from the folder's checkpoint, if any.

    The folder gets checkpoint.pt and TensorBoard's events. The history, which the checkpoint holds
    too, is (steps, 4), with `HISTORY` as columns.
    """
    views = Views(cases, TRAINING)
    model, optimizer = build(
        views.store.n_bits, preset, mode, sampler, seed, fabric.world_size > 1, weights
    )
    wrapped, optimizer = fabric.setup(model, optimizer)
    peaks = [group["lr"] for group in optimizer.param_groups]
    state: dict[str, Any] = {
        "settings": f"{cases.name}, {mode}, {sampler}, seed {seed}, {preset}",
        "model": wrapped,
        "optimizer": optimizer,
        "step": 0,
        "history": torch.zeros(preset.steps, len(HISTORY), device=fabric.device),
    }
    checkpoint = Checkpoint(fabric, folder / "checkpoint.pt", preset.checkpoint_seconds)
    checkpoint.load(state)
    start, history = state["step"], state["history"].to(fabric.device)
    if start == preset.steps:
        return model, history.cpu()

    loader = batches(fabric, views, preset, sampler, seed, start)
    wrapped.train()
    quiet = not fabric.is_global_zero
    title = f"{mode} {sampler} {seed}"
    log = None if quiet else SummaryWriter(folder, purge_step=start)
    progress = tqdm(loader, title, total=preset.steps, initial=start, disable=quiet)
    for step, batch in enumerate(progress, start):
        seed_step(seed, step, fabric.global_rank)
        factor = learning_rate(step, preset)
        for group, peak in zip(optimizer.param_groups, peaks, strict=True):
            group["lr"] = peak * factor
        loss, *cosines = training_step(wrapped, batch)
        optimizer.zero_grad()
        fabric.backward(loss)
        optimizer.step()
        history[step] = torch.stack([loss.detach(), *cosines, mean_distance(batch[1])])
        if step % LOG_EVERY == 0:
            if log is not None:
                write_log(log, step, history[step], model, preset)
            progress.set_postfix(loss=f"{history[step, 0].item():.3f}")
            state.update(step=step + 1, history=history)
            checkpoint.save(state)
    state.update(step=preset.steps, history=history)
    checkpoint.save(state, now=True)
    if log is not None:
        log.close()
    return model, history.cpu()


def write_log(
    log: SummaryWriter, step: int, values: Tensor, model: ContrastiveModel, preset: Preset
) -> None:
    """Write a step's history, learning rate, mu and temperatures to TensorBoard."""
    scalars = dict(zip(HISTORY, values.tolist(), strict=True))
    scalars["learning rate"] = preset.peak_rate * learning_rate(step, preset)
    scalars["mu"] = annealing(preset)(step)
    for name, parameter in model.named_parameters():
        if name.endswith("log_temperature"):
            scalars[name.replace("log_", "")] = parameter.exp().item()
    for name, value in scalars.items():
        log.add_scalar(name, value, step)


def mean_distance(manifestations: Tensor) -> Tensor:
    """Return the mean Hamming distance over all pairs of a batch (n, n_bits)."""
    n, ones = len(manifestations), manifestations.sum(0)
    return 2 * (ones * (n - ones)).sum() / max(1, n * (n - 1))
