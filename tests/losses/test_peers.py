"""The losses agree with other packages' where these compute the same thing."""

import pytest
import torch

import maninegs_sampling as mn
from benchmarks import losses as benchmark
from tests.losses.cases import random_pair

TEMPERATURE = benchmark.TEMPERATURE


@pytest.mark.filterwarnings("ignore")  # the peers' own
@pytest.mark.parametrize(
    ("kind", "peer"),
    [
        (kind, peer)
        for kind, makers in benchmark.LOSSES.items()
        for peer in makers
        if peer != benchmark.OURS
    ],
)
@pytest.mark.parametrize("n", [1, 2, 33])
def test_values_and_gradients_agree(kind, peer, n):
    try:
        loss = benchmark.LOSSES[kind][peer]()
    except ImportError as error:
        pytest.skip(str(error))
    if n == 1 and peer in ("pytorch-metric-learning", "lightly"):
        pytest.skip(f"{peer} has no loss for one pair")
    if n == 2 and (kind, peer) == ("sup_con of both views", "pytorch-metric-learning"):
        pytest.skip(f"{peer} has no loss for one class")
    ours = benchmark.LOSSES[kind][benchmark.OURS]()
    z = random_pair(n, benchmark.D, dtype=torch.float32)
    torch.testing.assert_close(ours(*z), loss(*z), rtol=2e-5, atol=2e-6)
    found, expected = (torch.autograd.grad(f(*z), z) for f in (ours, loss))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


def test_label_smoothing_is_torchs():
    x, y = random_pair(9, 4)
    logits = torch.nn.functional.normalize(x) @ torch.nn.functional.normalize(y).T / TEMPERATURE
    for smoothing in (0.0, 0.3, 1.0):
        expected = torch.nn.functional.cross_entropy(
            logits, torch.arange(9), label_smoothing=smoothing, reduction="none"
        )
        found = mn.inter_modal_nt_xent(
            x,
            y,
            temperature=TEMPERATURE,
            label_smoothing=smoothing,
            symmetric=False,
            reduction="none",
        )
        torch.testing.assert_close(found, expected)


def test_equal_ids_are_metric_learnings_equal_labels_without_their_pull():
    # Where ids are equal, pytorch-metric-learning pulls as well; leaving those positives out of
    # its loss by hand, its denominators are ours.
    losses = pytest.importorskip("pytorch_metric_learning.losses")
    z = random_pair(6, 5)
    ids = torch.tensor([0, 1, 1, 2, 3, 0])
    labels = ids.repeat(2)
    n = len(labels)
    a, b = torch.meshgrid(torch.arange(n), torch.arange(n), indexing="ij")
    negative = labels[a] != labels[b]
    anchor = torch.arange(n)
    pairs = (anchor, anchor.roll(6), a[negative], b[negative])
    loss = losses.NTXentLoss(temperature=TEMPERATURE)
    expected = loss(torch.cat(z), labels, indices_tuple=pairs)
    found = mn.nt_xent(*z, temperature=TEMPERATURE, ids=ids)
    torch.testing.assert_close(found, expected)
