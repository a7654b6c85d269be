"""One run: a model pretrained with one sampler from one seed, and evaluated on each dataset."""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from lightning_fabric import Fabric

from benchmarks.reference.data import Cases
from benchmarks.reference.evaluation import (
    alignment,
    linear_probe,
    train_classifier,
    trait_auc,
    view_features,
)
from benchmarks.reference.presets import Preset
from benchmarks.reference.pretraining import HISTORY, build, pretrain
from maninegs_sampling.data.storage import write_atomically
from maninegs_sampling.errors import StateError

PACKAGES: Final = (
    "maninegs-sampling", "torch", "numpy", "lightning-fabric", "monai", "kornia", "scikit-learn",
)  # fmt: skip


@dataclass(frozen=True)
class Run:
    """What to pretrain.

    Attributes:
        mode: "unimodal" or "multimodal".
        sampler: "uniform", "vmf" or "manineg"; "none" for a network as it was initialized.
        seed: of the network's weights, the batches and the augmentation.
    """

    mode: str
    sampler: str
    seed: int

    @property
    def name(self) -> str:
        """The name of its folder."""
        return f"{self.mode}-{self.sampler}-{self.seed}"


def perform(
    run: Run,
    fabric: Fabric,
    datasets: Sequence[Cases],
    preset: Preset,
    out: Path,
    weights: Path | None = None,
) -> dict[str, Any]:
    """Return the results of a run, and compute those that are missing in `out`.

    Args:
        run: which run.
        fabric: the devices.
        datasets: the first is pretrained on; all are evaluated on, by all three protocols.
        preset: the settings.
        out: gets a folder of the run's name with result.json, which grows with each measurement.
        weights: pretrained weights to begin with.

    Returns:
        AUCs of LP, LE and FT by dataset, the history, and what else was measured; see `tables`.
    """
    source = datasets[0]
    folder = out / run.name
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "result.json"
    result: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    settings = f"{source.name} {preset} {weights}"
    if result.setdefault("settings", settings) != settings:
        raise StateError(
            f"{path} was made with other settings; name another folder\n"
            f"there: {result['settings']}\nhere:  {settings}"
        )
    result.setdefault("run", asdict(run))
    result.setdefault("versions", {package: version(package) for package in PACKAGES})
    result.setdefault("seconds", {})

    def measure(name: str, make: Callable[[], Any]) -> None:
        if name not in result:
            begin = time.perf_counter()
            result[name] = make()
            result["seconds"][name] = round(time.perf_counter() - begin, 1)
            write_atomically(path, [json.dumps(result, indent=1).encode()])

    needed = [f"{cases.name} {protocol}" for cases in datasets for protocol in ("LP", "LE", "FT")]
    if all(name in result for name in needed):
        return result

    if run.sampler == "none":
        n_bits = source.store.n_bits
        model, _ = build(n_bits, preset, run.mode, run.sampler, run.seed, False, weights)
        model = model.to(fabric.device)
    else:
        begin = time.perf_counter()
        model, history = pretrain(
            fabric, source, preset, run.mode, run.sampler, run.seed, folder, weights
        )
        seconds = round(time.perf_counter() - begin, 1)
        result["seconds"].setdefault("pretraining", seconds)
        late = history[-max(1, preset.steps // 10) :].mean(0).tolist()
        result["last tenth of the steps"] = dict(zip(HISTORY, late, strict=True))
    if run.mode == "multimodal":
        measure("cosine distances", lambda: alignment(fabric, model, source).round(4).tolist())
    protocols = (("LE", preset.linear), ("FT", preset.finetuning))
    for cases in datasets:
        features = view_features(fabric, model.encoder, cases).mean(1).cpu().numpy()
        measure(f"{cases.name} traits", partial(trait_auc, features, cases))
        measure(f"{cases.name} LP", partial(linear_probe, features, cases, preset))
        for protocol, classifier in protocols:
            unfinished = folder / f"{protocol}-{cases.name}.pt"
            arguments = (fabric, model.encoder, cases, classifier, run.seed, unfinished)
            measure(f"{cases.name} {protocol}", partial(train_classifier, *arguments))
    return result
