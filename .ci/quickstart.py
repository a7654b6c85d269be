"""Run the README's first snippet on made-up bits, with the package that is installed.

    python quickstart.py README.md

Run it outside the clone, so that it sees the installed wheel.
"""

import re
import sys
from pathlib import Path

import numpy as np
import torch

import maninegs_sampling as mn

clone = Path(sys.argv[1]).resolve().parent
assert clone not in Path(mn.__file__).resolve().parents, f"{mn.__file__} is in the clone"

snippet = re.search(r"```python\n(.*?)```", Path(sys.argv[1]).read_text(encoding="utf-8"), re.S)[1]
views = torch.randn(300, 2, 8)
names = {
    "bits": np.random.default_rng(0).random((300, 20)) < 0.5,
    "loader": torch.utils.data.DataLoader(views, batch_size=32, shuffle=True),
}
exec(snippet, names)
batch = next(iter(names["loader"]))
loss = mn.nt_xent(batch[:, 0], batch[:, 1], temperature=0.7)
assert batch.shape == (32, 2, 8)
assert loss.isfinite()
print(f"maninegs-sampling {mn.__version__}: a batch of {len(batch)}, loss {loss:.3f}")
