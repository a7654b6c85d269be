"""CachedContrast: the gradient of the large batch, in the memory of a mini-batch."""

import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing
from torch import nn

import maninegs_sampling as mn
from maninegs_sampling.errors import InvalidTypeError, InvalidValueError


class Encoder(nn.Module):
    """Dropout and a norm that sees each row alone. Remembers how many rows it was given."""

    def __init__(self, dropout=0.0):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(6, 16), nn.LayerNorm(16), nn.GELU(), nn.Dropout(dropout), nn.Linear(16, 4)
        )
        self.rows = []

    def forward(self, x):
        self.rows.append(len(x))
        return self.layers(x)


def made(kind, *arguments):
    torch.manual_seed(0)
    return kind(*arguments)


def batch(n=20):
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(n, 6, generator=generator) for _ in range(2)]


def gradients(module, loss):
    parameters = list(module.parameters())
    return torch.autograd.grad(loss, parameters)


def plain_loss(encoder, inputs, size):
    """The loss of embeddings that are encoded in mini-batches and all kept."""
    z = [torch.cat([encoder(part) for part in x.split(size)]) for x in inputs]
    return mn.nt_xent(*z, temperature=0.2)


@pytest.mark.parametrize("size", [1, 3, 7, 20, 64])
@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_the_gradient_is_that_of_the_large_batch(size, dropout):
    encoder = made(Encoder, dropout)
    contrast = mn.CachedContrast(
        encoder, partial(mn.nt_xent, temperature=0.2), mini_batch_size=size
    )
    torch.manual_seed(5)
    found = contrast(*batch())
    ours = gradients(encoder, found)
    assert len(encoder.rows) == 2 * 2 * -(-20 // size)  # each mini-batch twice
    assert max(encoder.rows) == min(size, 20)
    torch.manual_seed(5)
    # With dropout the masks of the large batch are drawn by mini-batch; without, all at once.
    expected = plain_loss(encoder, batch(), size if dropout else 20)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
    torch.testing.assert_close(ours, gradients(encoder, expected), rtol=0, atol=1e-6)


def test_autocast_is_the_same_in_the_second_pass():
    encoder = made(Encoder)
    contrast = mn.CachedContrast(encoder, partial(mn.nt_xent, temperature=0.2), mini_batch_size=6)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = contrast(*batch())
        expected = plain_loss(encoder, batch(), 6)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
    ours, right = gradients(encoder, found), gradients(encoder, expected)
    torch.testing.assert_close(ours, right, rtol=0, atol=1e-6)


def test_encoders_of_their_own_a_criterion_to_learn_and_nested_inputs():
    class Table(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(6, 4)

        def forward(self, cells):
            return self.linear(cells["value"]) * cells["mask"][0]

    image, table = made(Encoder), made(Table)
    criterion = mn.InterModalNTXentLoss()
    contrast = mn.CachedContrast([image, table], criterion, mini_batch_size=7)
    x, y = batch()
    cells = {"value": y, "mask": [torch.ones(20, 1)]}
    loss, terms = contrast(x, cells, ids=range(20), return_terms=True)
    assert "top1" in terms
    expected = criterion(image(x), table(cells), ids=range(20))
    torch.testing.assert_close(loss, expected)
    found, right = gradients(contrast, loss), gradients(contrast, expected)
    torch.testing.assert_close(found, right, rtol=0, atol=1e-6)
    assert any(parameter is criterion.log_temperature for parameter in contrast.parameters())
    with torch.no_grad():
        torch.testing.assert_close(contrast(x, cells), criterion(image(x), table(cells)))


def test_arguments():
    encoder = nn.Linear(6, 4)
    for arguments, error, message in [
        ((encoder, mn.nt_xent, 0), InvalidValueError, "mini_batch_size must be at least 1"),
        ((encoder, mn.nt_xent, 1.5), InvalidTypeError, "mini_batch_size must be a whole number"),
        (([encoder, 3], mn.nt_xent, 1), InvalidTypeError, "encoders must be torch modules; got 3"),
        (([], mn.nt_xent, 1), InvalidValueError, "encoders must be a module, or one"),
        ((encoder, "nt_xent", 1), InvalidTypeError, "criterion must be .*got 'nt_xent'"),
    ]:
        with pytest.raises(error, match=message):
            mn.CachedContrast(*arguments[:2], mini_batch_size=arguments[2])
    contrast = mn.CachedContrast([encoder, encoder], mn.nt_xent, mini_batch_size=2)
    x = torch.ones(4, 6)
    for inputs, error, message in [
        ((x,), InvalidValueError, "each of the 2 encoders; got 1"),
        ((x, "text"), InvalidTypeError, "an input must be a tensor, or a dict.*got 'text'"),
        ((x, {}), InvalidTypeError, "an input must be a tensor"),
        ((x, [x, x[:3]]), InvalidValueError, "must have equally many rows"),
        ((x, x[:0]), InvalidValueError, "at least 1"),
    ]:
        with pytest.raises(error, match=message):
            contrast(*inputs)
    pooled = mn.CachedContrast(nn.Flatten(0), mn.nt_xent, mini_batch_size=2)
    with pytest.raises(InvalidValueError, match=r"tensor of 2 rows for 2 inputs; got \(12,\)"):
        pooled(x, x)


SIZES = {2: (12, 8), 3: (7, 4, 9)}


def run_rank(rank, world, folder):
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=world
    )
    criterion = mn.NTXentLoss(0.2, gather=True)
    contrast = mn.CachedContrast(made(Encoder), criterion, mini_batch_size=3)
    model = nn.parallel.DistributedDataParallel(contrast)
    reductions = []

    def count(state, bucket):
        reductions.append(1)
        future = dist.all_reduce(bucket.buffer().div_(world), async_op=True).get_future()
        return future.then(lambda done: done.value()[0])

    model.register_comm_hook(None, count)
    start = sum(SIZES[world][:rank])
    rows = slice(start, start + SIZES[world][rank])
    for _ in range(2):
        model.zero_grad()
        model(*(x[rows] for x in batch(sum(SIZES[world])))).backward()
    found = [parameter.grad for parameter in contrast.parameters()]
    torch.save((len(reductions), found), f"{folder}/{rank}")
    dist.destroy_process_group()


@pytest.mark.skipif(not dist.is_available(), reason="torch was built without torch.distributed")
@pytest.mark.parametrize("world", SIZES)
def test_ranks_reduce_their_gradients_once_in_each_step(world, tmp_path):
    torch.multiprocessing.spawn(run_rank, (world, str(tmp_path)), nprocs=world)  # type: ignore[attr-defined]
    criterion = mn.NTXentLoss(0.2)
    contrast = mn.CachedContrast(made(Encoder), criterion, mini_batch_size=64)
    expected = gradients(contrast, contrast(*batch(sum(SIZES[world]))))
    for rank in range(world):
        reductions, found = torch.load(Path(tmp_path) / str(rank), weights_only=True)
        assert reductions == 2  # steps; the model is a single bucket
        torch.testing.assert_close(found, list(expected), rtol=0, atol=1e-6)


@pytest.mark.filterwarnings("ignore")  # Lightning's own
def test_lightning_and_accelerate_train_it_as_any_module(tmp_path):
    pytest.importorskip("lightning")
    accelerate = pytest.importorskip("accelerate")
    from lightning import LightningModule, Trainer

    class Training(LightningModule):
        def __init__(self):
            super().__init__()
            self.contrast = mn.CachedContrast(
                made(Encoder), partial(mn.nt_xent, temperature=0.2), mini_batch_size=3
            )

        def training_step(self, pair, _):
            return self.contrast(*pair)

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

    trained = Training()
    trainer = Trainer(
        max_steps=2, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, accelerator="cpu", default_root_dir=tmp_path,
    )  # fmt: skip
    trainer.fit(trained, torch.utils.data.DataLoader([batch(), batch()], batch_size=None))

    by_hand = Training().contrast
    optimizer = torch.optim.SGD(by_hand.parameters(), lr=0.1)
    accelerator = accelerate.Accelerator(cpu=True)
    model, optimizer = accelerator.prepare(by_hand, optimizer)
    for _ in range(2):
        optimizer.zero_grad()
        accelerator.backward(model(*batch()))
        optimizer.step()
    for ours, theirs in zip(by_hand.parameters(), trained.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs)

    plain = made(Encoder)
    optimizer = torch.optim.SGD(plain.parameters(), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        plain_loss(plain, batch(), 20).backward()
        optimizer.step()
    for ours, theirs in zip(by_hand.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)


MEASURE = """
import sys, torch, maninegs_sampling as mn
from torch import nn

def status(field):
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field))

layers = [nn.Linear(32, 1024)]
for _ in range(4):
    layers += [nn.GELU(), nn.Linear(1024, 1024)]
encoder = nn.Sequential(*layers, nn.Linear(1024, 16))
contrast = mn.CachedContrast(encoder, mn.nt_xent, mini_batch_size=256)
x = torch.randn(2, 2048, 32)
contrast(*x[:, :256]).backward()
before = status("VmRSS")
contrast(*x).backward()
print(status("VmHWM") - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/status")
def test_memory_is_that_of_a_mini_batch():
    kibibytes = int(subprocess.check_output([sys.executable, "-c", MEASURE]))
    # Activations of the whole batch are nine times 2 x 2,048 x 1,024 floats, 144 MiB; those of a
    # mini-batch 9 MiB. The gradient of 4 million parameters is summed beside them: 17 MiB.
    assert kibibytes < 64 * 1024
