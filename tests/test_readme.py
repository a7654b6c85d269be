"""The README's snippets run."""

import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import polars
import torch

import maninegs_sampling as mn

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def test_snippets_run_in_order(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    n = 300
    rng = np.random.default_rng(0)
    columns = {f"trait {i}": rng.choice(["yes", "no"], n) for i in range(12)}
    columns |= {"outcome": rng.integers(0, 2, n), "patient_id": rng.integers(0, 200, n)}
    polars.DataFrame(columns).write_csv("cases.csv")

    views = [torch.randn(n, 6) for _ in range(2)]
    dataset = torch.utils.data.TensorDataset(*views, torch.randn(n, 20))
    encoder, table_encoder = torch.nn.Linear(6, 4), torch.nn.Linear(20, 4)
    names = {
        "torch": torch,
        "dataset": dataset,
        "encoder": encoder,
        "table_encoder": table_encoder,
        "optimizer": torch.optim.AdamW([*encoder.parameters(), *table_encoder.parameters()]),
        "bits": rng.random((n, 20)) < 0.5,
        "loader": torch.utils.data.DataLoader(dataset, batch_size=32, shuffle=True),
    }
    logged = []
    log = SimpleNamespace(
        add_scalar=lambda *entry: logged.append(entry), add_histogram=lambda *entry: None
    )
    names["SummaryWriter"] = lambda: log
    snippets = re.findall(r"```python\n(.*?)```", README, flags=re.S)
    assert len(snippets) == 6
    for snippet in snippets:
        if "checkpoint" in snippet:
            names["checkpoint"] = {"batches": names["loader"].batch_sampler.state_dict()}
        exec(snippet.replace("num_workers=8", "num_workers=0"), names)
        first = next(iter(names["loader"]))[0]
        assert len(first) == names["loader"].batch_sampler.batch_size
    assert "trait 0: yes or no" in capsys.readouterr().out
    assert ("mu", names["seen"].mu, names["seen"].step) in logged
    assert isinstance(names["sampler"], mn.ManiNegBatchSampler)
    assert names["criterion"].log_temperature.grad.abs().min() > 0
