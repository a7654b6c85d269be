"""Table III of the paper, and the smaller settings that show its effects sooner."""

from dataclasses import dataclass, replace
from typing import Final, Literal


@dataclass(frozen=True)
class Classifier:
    """How a benign-malignant classifier is trained on top of an encoder.

    Attributes:
        peak_rate, min_rate: of the cosine learning-rate schedule.
        encoder_rate: factor on the encoder's learning rate; 0 freezes it.
        epochs, patience: at most, and without a better AUC on the validation part.
    """

    peak_rate: float
    min_rate: float
    encoder_rate: float
    weight_decay: float
    epochs: int = 1000
    patience: int = 100
    batch_size: int = 48


@dataclass(frozen=True)
class Preset:
    """All settings of a run but its seed, its data and its samplers. The defaults are Table III.

    Attributes:
        network: "resnet50" or "small", see `networks`.
        image_size: pixels a side.
        steps, warmup_steps, annealing_steps: the last is when mu reaches its end; Table III's
            "150th" step was the 150th epoch of 30 batches in the authors' code.
        batch_size: lesions over all devices.
        weight_decay: not of the temperatures, whose rate is `temperature_rate`.
        workers: processes that read images for a GPU.
        checkpoint_seconds: time between checkpoints.
    """

    network: str = "resnet50"
    image_size: int = 256
    precision: Literal["bf16-mixed", "32-true"] = "bf16-mixed"
    steps: int = 9000
    warmup_steps: int = 300
    annealing_steps: int = 4500
    batch_size: int = 64
    peak_rate: float = 1e-4
    min_rate: float = 1e-7
    temperature_rate: float = 1e-2
    weight_decay: float = 1e-4
    temperature: float = 0.7
    mu_start: float = 11.0
    mu_end: float = 0.0
    sigma: float = 3.0
    probe_penalty: float = 3.16
    probe_iterations: int = 1000
    linear: Classifier = Classifier(1e-3, 1e-6, 0.0, 1e-6)
    finetuning: Classifier = Classifier(5e-5, 5e-7, 0.1, 5e-5)
    workers: int = 8
    checkpoint_seconds: float = 180.0


PAPER: Final = Preset()
# Sizes cut, all else as the paper.
GPU_25MIN: Final = replace(
    PAPER,
    image_size=128,
    steps=900,
    warmup_steps=30,
    annealing_steps=450,
    linear=replace(PAPER.linear, epochs=30, patience=10),
    finetuning=replace(PAPER.finetuning, epochs=15, patience=5),
)
# A network that is trained from nothing in 900 steps takes higher rates than a pretrained one.
CPU: Final = replace(
    PAPER,
    network="small",
    image_size=64,
    steps=900,
    warmup_steps=30,
    annealing_steps=450,
    peak_rate=1e-3,
    min_rate=1e-6,
    linear=Classifier(1e-2, 1e-5, 0.0, 1e-6, epochs=10, patience=5),
    finetuning=Classifier(1e-2, 1e-4, 0.1, 5e-5, epochs=10, patience=5),
)
SMOKE: Final = replace(
    CPU,
    image_size=32,
    steps=12,
    warmup_steps=2,
    annealing_steps=6,
    batch_size=16,
    linear=replace(CPU.linear, epochs=1),
    finetuning=replace(CPU.finetuning, epochs=1),
)
PRESETS: Final = {"paper": PAPER, "gpu-25min": GPU_25MIN, "cpu": CPU, "smoke": SMOKE}
