"""The Python snippets of a Markdown page, and names and files for them to work with."""

import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import polars
import torch

import maninegs_sampling as mn

N = 300


def snippets_of(page: Path) -> list[str]:
    return re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.S)


def write_cases(path: Path) -> None:
    """Write a table with traits, a label column and a group column."""
    rng = np.random.default_rng(0)
    columns = {f"trait {i}": rng.choice(["yes", "no"], N) for i in range(12)}
    columns |= {"outcome": rng.integers(0, 2, N), "patient_id": rng.integers(0, 200, N)}
    polars.DataFrame(columns).write_csv(path)


def names_for_snippets() -> dict:
    """Return what a reader has before the first snippet: data, a loader and a model."""
    views = [torch.randn(N, 6) for _ in range(2)]
    dataset = torch.utils.data.TensorDataset(*views, torch.randn(N, 20))
    encoder, table_encoder = torch.nn.Linear(6, 4), torch.nn.Linear(20, 4)
    bits = np.random.default_rng(0).random((N, 20)) < 0.5
    logged = []
    log = SimpleNamespace(
        add_scalar=lambda *entry: logged.append(entry), add_histogram=lambda *entry: None
    )
    return {
        "torch": torch,
        "dataset": dataset,
        "encoder": encoder,
        "table_encoder": table_encoder,
        "optimizer": torch.optim.AdamW([*encoder.parameters(), *table_encoder.parameters()]),
        "bits": bits,
        "codes": np.packbits(bits, axis=1),
        "embeddings": torch.randn(N, 20),
        "store": mn.ManifestationStore.from_dense(bits),
        "loader": torch.utils.data.DataLoader(dataset, batch_size=32, shuffle=True),
        "train_indices": range(N - 30),
        "logged": logged,
        "SummaryWriter": lambda: log,
    }


def run_snippets(page: Path, names: dict) -> None:
    """Run the snippets of a page in order, in one namespace."""
    snippets = snippets_of(page)
    assert snippets, page
    for snippet in snippets:
        if "checkpoint" in snippet and "checkpoint" not in names:
            state = names["hard"].batch_sampler.state_dict()
            names["checkpoint"] = {"batches": state | {"epoch": 0, "position": 0}}
        exec(compile(snippet.replace("num_workers=8", "num_workers=0"), page.name, "exec"), names)
