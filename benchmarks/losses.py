"""Time and memory of the losses, forward and backward: python -m benchmarks.losses.

One run compares, on random embeddings with D = 128: this package, a plain masked softmax,
pytorch-metric-learning and info-nce-pytorch (extra `bench`), and lightly if it is installed (its
loss does not need torchvision: `pip install --no-deps lightly`). Times are measured in one process,
in turns. Memory is measured in a separate process for each loss, as the increase during the step.
"""

import importlib
import importlib.util
import resource
import subprocess
import sys
import time
import types
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from benchmarks.timing import best_seconds, describe_machine
from maninegs_sampling import (
    CachedContrast,
    inter_modal_nt_xent,
    multi_label_sup_con,
    nt_xent,
    siglip_loss,
    sup_con,
)
from maninegs_sampling.reports.text_table import text_table

D = 128
TEMPERATURE = 0.1
ROUNDS, SECONDS = 5, 0.3  # per loss; each round has at least one step
MEMORY_LIMIT = 16 * 2**30  # a loss that needs more fails

Loss = Callable[[Tensor, Tensor], Tensor]


def plain_nt_xent(z_i: Tensor, z_j: Tensor) -> Tensor:
    """Return NT-Xent as most codebases implement it."""
    n = len(z_i)
    z = F.normalize(torch.cat((z_i, z_j)), dim=1)
    logits = z @ z.T / TEMPERATURE
    logits.fill_diagonal_(float("-inf"))
    return F.cross_entropy(logits, torch.arange(2 * n).roll(n))


def plain_inter_modal(x: Tensor, y: Tensor) -> Tensor:
    """Return the CLIP loss as most codebases implement it."""
    logits = F.normalize(x, dim=1) @ F.normalize(y, dim=1).T / TEMPERATURE
    target = torch.arange(len(x))
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def plain_siglip(x: Tensor, y: Tensor) -> Tensor:
    """Return SigLIP's loss as most codebases implement it."""
    logits = F.normalize(x, dim=1) @ F.normalize(y, dim=1).T / TEMPERATURE - 10.0
    return -F.logsigmoid(logits * (2 * torch.eye(len(x)) - 1)).sum() / len(x)


def labels_of(n: int) -> Tensor:
    """Return the labels of two views of n instances, four of a class."""
    return (torch.arange(n) // 4).repeat(2)


def bits_of(n: int) -> Tensor:
    """Return 24 bits of two views of n instances, a fifth of them set and the first always."""
    bits = torch.rand(n, 24, generator=torch.Generator().manual_seed(1)) < 0.2
    bits[:, 0] = True
    return bits.repeat(2, 1)


def jaccard(bits: Tensor) -> Tensor:
    """Return the Jaccard similarities of all rows of bits."""
    b = bits.float()
    both = b @ b.T
    return both / (b.sum(1)[:, None] + b.sum(1) - both)


def plain_supervised(z: Tensor, weights: Tensor) -> Tensor:
    """Return the supervised contrastive loss with weighted positives, from the whole matrix."""
    z = F.normalize(z, dim=1)
    own = torch.eye(len(z), dtype=torch.bool)
    weights = weights.masked_fill(own, 0.0)
    logits = z @ z.T / TEMPERATURE
    log_sum = logits.masked_fill(own, -torch.inf).logsumexp(1, keepdim=True)
    return ((log_sum - logits) * weights).sum(1).div(weights.sum(1)).mean()


def plain_sup_con(x: Tensor, y: Tensor) -> Tensor:
    """Return the supervised contrastive loss as most codebases implement it."""
    labels = labels_of(len(x))
    return plain_supervised(torch.cat((x, y)), (labels[:, None] == labels).float())


def plain_multi_label(x: Tensor, y: Tensor) -> Tensor:
    """Return the loss weighted by Jaccard similarities, from the whole matrix."""
    return plain_supervised(torch.cat((x, y)), jaccard(bits_of(len(x))))


def our_sup_con(x: Tensor, y: Tensor) -> Tensor:
    """Return this package's loss of two views with labels."""
    return sup_con(torch.cat((x, y)), labels_of(len(x)), temperature=TEMPERATURE)


def our_multi_label(x: Tensor, y: Tensor) -> Tensor:
    """Return this package's loss of two views with bits."""
    return multi_label_sup_con(torch.cat((x, y)), bits_of(len(x)), temperature=TEMPERATURE)


def metric_learning_sup_con() -> Loss:
    """Return pytorch-metric-learning's supervised contrastive loss."""
    losses = importlib.import_module("pytorch_metric_learning.losses")
    loss = losses.SupConLoss(temperature=TEMPERATURE)
    return lambda x, y: loss(torch.cat((x, y)), labels_of(len(x)))


def encoder() -> nn.Module:
    """Return an encoder whose activations need much more memory than its embeddings."""
    torch.manual_seed(0)
    layers = [nn.Linear(D, 1024), nn.GELU(), nn.Linear(1024, 1024), nn.GELU(), nn.Linear(1024, D)]
    return nn.Sequential(*layers)


def cached() -> Loss:
    """Return NT-Xent of a batch that is encoded in 8 mini-batches."""
    contrast = CachedContrast(
        encoder(), partial(nt_xent, temperature=TEMPERATURE), mini_batch_size=1
    )

    def loss(x: Tensor, y: Tensor) -> Tensor:
        contrast.mini_batch_size = -(-len(x) // 8)
        value: Tensor = contrast(x, y)
        return value

    return loss


def whole_batch() -> Loss:
    """Return NT-Xent of a batch that is encoded at once."""
    encode = encoder()
    return lambda x, y: nt_xent(encode(x), encode(y), temperature=TEMPERATURE)


def metric_learning() -> Loss:
    """Return pytorch-metric-learning's NT-Xent."""
    losses = importlib.import_module("pytorch_metric_learning.losses")
    loss: Loss = losses.SelfSupervisedLoss(losses.NTXentLoss(temperature=TEMPERATURE))
    return loss


def lightly() -> Loss:
    """Return lightly's NT-Xent, without importing the modules around it that need torchvision.

    Of `lightly.models.utils` the loss needs nothing but for its memory bank, which is off.
    """
    spec = importlib.util.find_spec("lightly")
    if spec is None or spec.origin is None:
        raise ImportError("lightly is not installed")
    root = Path(spec.origin).parent
    for name in ("loss", "models", "models.modules", "models.utils"):
        package = types.ModuleType(f"lightly.{name}")
        package.__path__ = [str(root.joinpath(*name.split(".")))]
        sys.modules[f"lightly.{name}"] = package
    module = importlib.import_module("lightly.loss.ntx_ent_loss")
    loss: Loss = module.NTXentLoss(temperature=TEMPERATURE)
    return loss


def info_nce() -> Loss:
    """Return info-nce-pytorch's loss, called once for each direction."""
    loss = importlib.import_module("info_nce").InfoNCE(temperature=TEMPERATURE)
    return lambda x, y: (loss(x, y) + loss(y, x)) / 2


OURS = "maninegs"
LOSSES: dict[str, dict[str, Callable[[], Loss]]] = {
    "nt_xent": {
        OURS: lambda: partial(nt_xent, temperature=TEMPERATURE),
        "plain masked softmax": lambda: plain_nt_xent,
        "pytorch-metric-learning": metric_learning,
        "lightly": lightly,
    },
    "inter_modal_nt_xent": {
        OURS: lambda: partial(inter_modal_nt_xent, temperature=TEMPERATURE),
        "plain softmax": lambda: plain_inter_modal,
        "info-nce-pytorch": info_nce,
    },
    "siglip_loss": {
        OURS: lambda: partial(siglip_loss, temperature=TEMPERATURE),
        "plain sigmoid": lambda: plain_siglip,
    },
    "sup_con of both views": {
        OURS: lambda: our_sup_con,
        "plain masked softmax": lambda: plain_sup_con,
        "pytorch-metric-learning": metric_learning_sup_con,
    },
    "multi_label_sup_con of both views": {
        OURS: lambda: our_multi_label,
        "plain masked softmax": lambda: plain_multi_label,
    },
    "CachedContrast with 8 mini-batches": {
        OURS: cached,
        "whole batch": whole_batch,
    },
}


# Products that a loss needs, in units of N^2: half of all pairs where the matrix is symmetric.
PAIRS = {"nt_xent": 2, "inter_modal_nt_xent": 1, "siglip_loss": 1, "sup_con of both views": 2}


def random_pair(n: int) -> list[Tensor]:
    """Return two similar views."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(n, D, generator=generator)
    y = x + torch.randn(n, D, generator=generator)
    return [x.requires_grad_(), y.requires_grad_()]


def step(loss: Loss, pair: list[Tensor]) -> float:
    """Run forward and backward and return the loss."""
    for z in pair:
        z.grad = None
    value = loss(*pair)
    value.backward()
    return float(value.detach())


def status_mebibytes(field: str) -> float:
    """Return a memory field of this process (Linux): VmRSS, the current one, or VmHWM, the peak.

    getrusage would count the memory of the process that started this one.
    """
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(field))


def print_one(kind: str, name: str, n: int) -> None:
    """Print the value and the memory, in MiB, of one step. The measuring process calls this."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT, MEMORY_LIMIT))
    loss = LOSSES[kind][name]()
    pair = random_pair(n)
    step(loss, random_pair(8))
    before = status_mebibytes("VmRSS")
    value = step(loss, pair)
    print(value, status_mebibytes("VmHWM") - before)


def measure_memory(kind: str, name: str, n: int) -> tuple[float, float] | None:
    """Return the value and the memory of one step in a new process, or None if it fails."""
    command = [sys.executable, "-m", "benchmarks.losses", kind, name, str(n)]
    ran = subprocess.run(command, capture_output=True, text=True)
    if ran.returncode:
        reason = (ran.stderr.strip().splitlines() or ["killed"])[-1]
        if "can't allocate memory" in reason:
            reason = f"it asks for more than {MEMORY_LIMIT >> 30} GiB"
        print(f"{name} at {n:,} does not finish: {reason}")
        return None
    value, mebibytes = map(float, ran.stdout.split())
    return value, mebibytes


def measure_times(losses: dict[str, Loss], n: int) -> dict[str, float]:
    """Return the seconds of the fastest step of each loss, measured in turns."""
    pair = random_pair(n)
    best = dict.fromkeys(losses, float("inf"))
    for _ in range(ROUNDS if n <= 4096 else 2):
        for name, loss in losses.items():
            end = time.perf_counter() + SECONDS
            while (begin := time.perf_counter()) < end:
                step(loss, pair)
                best[name] = min(best[name], time.perf_counter() - begin)
    return best


def matmul_rate() -> float:
    """Return the speed of multiplying 2,048 x 2,048 matrices on this machine, in flop/s."""
    a = torch.randn(2048, 2048)
    return 2 * 2048**3 / best_seconds(lambda: a @ a, 10)


def main() -> None:
    """Print the tables."""
    print(describe_machine())
    for kind, makers in LOSSES.items():
        for n in (64, 256, 4096, 16384):
            measure(kind, makers, n)


def measure(kind: str, makers: dict[str, Callable[[], Loss]], n: int) -> None:
    """Print the table for one loss and size."""
    print(f"\n{kind}, N = {n:,}, D = {D}, float32")
    memory: dict[str, float] = {}
    losses: dict[str, Loss] = {}
    values: dict[str, float] = {}
    for name, make in makers.items():
        try:
            loss = make()
        except ImportError as error:
            print(f"{name} is left out: {error}")
            continue
        found = measure_memory(kind, name, n)
        if found:
            losses[name] = loss
            values[name], memory[name] = found
    rates = [matmul_rate()]
    seconds = measure_times(losses, n)
    rates.append(matmul_rate())
    peers = [name for name in losses if name != OURS]
    quickest = min((seconds[name] for name in peers), default=float("nan"))
    table = [
        (
            name,
            f"{1e3 * seconds[name]:.4g}",
            f"{seconds[name] / quickest:.2f}" if peers else "",
            f"{memory[name]:.0f}",
            f"{values[name]:.5f}",
        )
        for name in losses
    ]
    print(text_table(("", "ms", "/ quickest peer", "MiB", "loss"), table))
    if kind not in PAIRS or n < 4096:  # in smaller batches, other things count
        return
    # Products that cannot be done without: of 2N views with the half of all pairs, or of all N x N
    # pairs; once forward, and backward once more to make them again and twice for the gradients.
    needed = 4 * 2 * PAIRS[kind] * n**2 * D / max(rates)
    print(
        f"{OURS}: its matrix products need {1e3 * needed:.4g} ms at this machine's "
        f"{max(rates) / 1e9:.0f} Gflop/s, {needed / seconds[OURS]:.0%} of its time"
    )


if __name__ == "__main__":
    if len(sys.argv) == 4:
        print_one(sys.argv[1], sys.argv[2], int(sys.argv[3]))
    else:
        main()
