"""The losses under torch.compile, and the memory that they take."""

import subprocess
import sys
from functools import partial

import pytest
import torch

from tests.losses.cases import ALL, EVERY, LOSSES, PATHS, forced, random_pair

# Compiling takes seconds; the paths between differ in their sizes of blocks only.
EACH = ("direct", "blocks of 3, shifted")
COMPILED = [(name, ALL[name], path) for name in ALL for path in PATHS] + [
    (name, EVERY[name], path) for name in EVERY if name not in ALL for path in EACH
]


@pytest.mark.filterwarnings("ignore")  # the compiler's own warnings
@pytest.mark.parametrize(
    ("compiled", "path"),
    [
        pytest.param(
            loss, path, id=f"{name}-{path}", marks=() if path in EACH else pytest.mark.slow
        )
        for name, loss, path in COMPILED
    ],
)
def test_compiled_losses_are_the_same(compiled, path):
    torch._dynamo.reset()
    tau = torch.tensor(0.4, requires_grad=True)
    z = random_pair(5, 4, dtype=torch.float32)
    for ids in (None, torch.tensor([0, 1, 1, 2, 3])):
        loss = partial(compiled, temperature=tau, ids=ids)
        with forced(path):
            expected = loss(*z)
            found = torch.compile(loss, backend="aot_eager")(*z)
            torch.testing.assert_close(found, expected)
            torch.testing.assert_close(
                torch.autograd.grad(found, [*z, tau]), torch.autograd.grad(expected, [*z, tau])
            )


MEASURE = """
import torch, maninegs_sampling as mn

def status(field):  # getrusage would count the memory of the process that started this one
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field))

z = torch.randn(2, 3000, 8, requires_grad=True)
mn.nt_xent(*z[:, :600]).backward()
before = status("VmRSS")
mn.{name}(*z, temperature={temperature}).backward()
print(status("VmHWM") - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/status")
@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("temperature", [0.7, pytest.param(0.01, marks=pytest.mark.slow)])
def test_memory_does_not_grow_with_the_square(name, temperature):
    script = MEASURE.format(name=name, temperature=temperature)
    kibibytes = int(subprocess.check_output([sys.executable, "-c", script]))
    # The matrix of logits alone would be 34 MiB between modalities and 137 MiB between views.
    assert kibibytes < 24 * 1024


MULTI_LABEL = (
    MEASURE.replace("2, 3000, 8", "1, 16384, 128")
    .replace(
        "mn.{name}(*z, temperature={temperature})",
        "mn.multi_label_sup_con(z[0], torch.rand(16384, 35) < 0.3)",
    )
    .replace("mn.nt_xent(*z[:, :600])", "mn.sup_con(z[0, :600], torch.arange(600) // 2)")
)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/status")
def test_memory_of_many_bits_at_16384_rows():
    kibibytes = int(subprocess.check_output([sys.executable, "-c", MULTI_LABEL]))
    # One matrix of logits would be 1,024 MiB.
    assert kibibytes < 250 * 1024
