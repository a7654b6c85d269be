"""The time of a step outside the network: input, augmentation, loss and sampler."""

import time
from collections.abc import Callable
from itertools import islice

import torch
from lightning_fabric import Fabric

from benchmarks.reference.augmentation import augmented
from benchmarks.reference.data import TRAINING, Cases
from benchmarks.reference.presets import Preset
from benchmarks.reference.pretraining import (
    Views,
    batch_sampler,
    batches,
    build,
    training_step,
)
from benchmarks.timing import describe_machine

ROUNDS = 3


def report(fabric: Fabric, cases: Cases, preset: Preset, mode: str, steps: int) -> str:
    """Return a table of seconds a step, each kind timed in rounds of `steps` in a row.

    In a row, because workers would read ahead while steps of another kind run.
    """
    views = Views(cases, TRAINING)
    model, optimizer = build(views.store.n_bits, preset, mode, "manineg", 0, False, None)
    wrapped, optimizer = fabric.setup(model, optimizer)
    wrapped.train()
    images, *others = next(iter(batches(fabric, views, preset, "manineg", 0, 0)))
    pixels = augmented(images.flatten(0, 1)).contiguous(memory_format=torch.channels_last)

    def learn(loss: torch.Tensor) -> None:
        optimizer.zero_grad()
        fabric.backward(loss)
        optimizer.step()

    def bare() -> int:
        for _ in range(steps):
            optimizer.zero_grad()
            with fabric.autocast():
                loss = model.encoder(pixels).float().square().mean()
            fabric.backward(loss)
        return steps

    def fixed() -> int:
        for _ in range(steps):
            learn(wrapped(pixels[0::2], pixels[1::2], *others)[0])
        return steps

    def whole() -> int:
        for batch in islice(batches(fabric, views, preset, "manineg", 0, 0), steps):
            learn(training_step(wrapped, batch)[0])
        return steps

    def draw() -> int:
        return len(list(batch_sampler("manineg", views.store, preset, 0, 0, fabric)))

    kinds: dict[str, Callable[[], int]] = {
        "network, forward and backward, on a fixed batch": bare,
        "step on a fixed batch on the device": fixed,
        "step with input and augmentation": whole,
        "making the sampler and drawing all batches, for each": draw,
    }
    seconds: dict[str, list[float]] = {name: [] for name in kinds}
    for _ in range(ROUNDS):
        for name, run in kinds.items():
            begin = time.perf_counter()
            count = run()
            if fabric.device.type == "cuda":
                torch.cuda.synchronize()
            seconds[name].append((time.perf_counter() - begin) / count)
    best = {name: min(times) for name, times in seconds.items()}
    step, per_step = best["step on a fixed batch on the device"], 2 * preset.batch_size
    device = torch.cuda.get_device_name() if fabric.device.type == "cuda" else describe_machine()
    lines = [
        f"{preset.network}, {preset.image_size} pixels, {preset.precision}, {mode}, on {device}",
        f"best of {ROUNDS} rounds of {steps} steps of {per_step} images",
        *(
            f"{name:54} {1e3 * s:10.3f} ms {per_step / s:10.0f} images/s {s / step:9.5f} of a step"
            for name, s in best.items()
        ),
    ]
    return "\n".join(lines)
