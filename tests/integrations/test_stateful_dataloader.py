"""torchdata's StatefulDataLoader: stopped anywhere, it goes on with exactly what is left."""

import json
import subprocess
import sys

import pytest

from maninegs_sampling import ManiNegBatchSampler
from tests.integrations.common import ROOT, STORE, Indices, as_lists, epochs_of, make_sampler

torchdata = pytest.importorskip("torchdata.stateful_dataloader")

pytestmark = [
    pytest.mark.filterwarnings("ignore:'set_vital' is deprecated"),
    pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning"),
]


def make_loader(workers, **settings):
    return torchdata.StatefulDataLoader(
        Indices(), batch_sampler=make_sampler(), num_workers=workers, **settings
    )


def state_after(loader, batches):
    """The state when so many batches were trained on, through as many epochs as that takes."""
    while batches:
        for _ in loader:
            batches -= 1
            if batches == 0:
                return loader.state_dict()
    return loader.state_dict()


@pytest.mark.parametrize(
    ("workers", "settings"),
    [(0, {}), (2, {}), (2, {"snapshot_every_n_steps": 5}), (2, {"persistent_workers": True})],
)
# The start, within the first epoch, the last batch of an epoch, and within the second.
@pytest.mark.parametrize("stop", [0, 1, 7, 11, 12, 13, 23])
def test_what_is_left_comes_next(workers, settings, stop):
    expected = sum(epochs_of(make_sampler(), 3), [])
    resumed = make_loader(workers, **settings)
    resumed.load_state_dict(state_after(make_loader(workers, **settings), stop))
    rest = []
    while len(rest) < 36 - stop:
        rest += as_lists(resumed)
    assert rest == expected[stop:]


def test_wrap_keeps_how_often_workers_report():
    loader = torchdata.StatefulDataLoader(
        Indices(), batch_size=5, num_workers=2, snapshot_every_n_steps=7
    )
    wrapped = ManiNegBatchSampler.wrap(loader, STORE, mu=3.0)
    assert type(wrapped) is type(loader)
    assert wrapped.snapshot_every_n_steps == 7


def test_in_a_new_process(tmp_path):
    import torch

    torch.save(state_after(make_loader(2), 17), tmp_path / "state.pt")
    script = f"""
import json, warnings
warnings.simplefilter("ignore")
import torch
from tests.integrations.common import as_lists
from tests.integrations.test_stateful_dataloader import make_loader
loader = make_loader(2)
loader.load_state_dict(torch.load({str(tmp_path / "state.pt")!r}, weights_only=False))
print(json.dumps(as_lists(loader) + as_lists(loader)))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    expected = sum(epochs_of(make_sampler(), 3), [])
    assert json.loads(done.stdout.splitlines()[-1]) == expected[17:]
