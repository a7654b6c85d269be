"""Losses with `gather` on two and three ranks over gloo, against one process."""

import math
from functools import partial
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing
from torch import nn

import maninegs_sampling as mn
from maninegs_sampling.errors import InvalidValueError

pytestmark = pytest.mark.skipif(
    not dist.is_available(), reason="torch was built without torch.distributed"
)

SIZES = {2: (5, 3), 3: (4, 1, 3)}  # instances on each rank
IDS = torch.tensor([3, 1, 3, 2, 2, 0, 9, 1])


def corrected(loss):
    """The loss with a log_q that each instance has from its embedding, on whatever rank."""
    return lambda x, y, **options: loss(x, y, log_q=x.detach()[:, 0], **options)


def weighted_negatives(loss):
    """The loss with weights from bits that each instance has from its embedding."""
    return lambda x, y, **options: loss(
        x, y, bits=x.detach() > 0, negative_weights=lambda s: 1 - 0.5 * s, **options
    )


CASES = {
    "nt_xent": (mn.nt_xent, 2),
    "nt_xent, ids and smoothing": (partial(mn.nt_xent, label_smoothing=0.2), 2),
    "nt_xent, lengths kept": (partial(mn.nt_xent, normalize=False), 2),
    "nt_xent, three views": (mn.nt_xent, 3),
    "nt_xent, three views, ids": (partial(mn.nt_xent, label_smoothing=0.2), 3),
    "inter_modal, weighted": (partial(mn.inter_modal_nt_xent, image_weight=0.75), 2),
    "nt_xent, log_q": (corrected(mn.nt_xent), 2),
    "inter_modal, log_q, ids": (corrected(mn.inter_modal_nt_xent), 2),
    "nt_xent, weighted negatives": (weighted_negatives(mn.nt_xent), 2),
    "inter_modal, weighted negatives, ids": (weighted_negatives(mn.inter_modal_nt_xent), 2),
    "inter_modal": (mn.inter_modal_nt_xent, 2),
    "inter_modal, ids": (partial(mn.inter_modal_nt_xent, label_smoothing=0.2), 2),
    "inter_modal, one direction": (partial(mn.inter_modal_nt_xent, symmetric=False), 2),
    "hard": (mn.hard_negative_nt_xent, 2),
    "hard, ids": (partial(mn.hard_negative_nt_xent, beta=2.0), 2),
    "hard inter_modal": (mn.hard_negative_inter_modal_nt_xent, 2),
    "hardness-weighted, ids": (mn.hardness_weighted_nt_xent, 2),
    "hardness-weighted inter_modal": (mn.hardness_weighted_inter_modal_nt_xent, 2),
    "multimodal": (mn.multimodal_nt_xent, 3),
    "mammo_clip, ids": (mn.mammo_clip_loss, 4),
    "siglip": (partial(mn.siglip_loss, bias=-1.0), 2),
    "siglip, ids": (partial(mn.siglip_loss, bias=-1.0), 2),
}


def sup_con(z_i, z_j, ids=None, **options):
    return mn.sup_con(
        z_i - z_j, ids if ids is not None else torch.zeros(len(z_i)).long(), **options
    )


def multi_label_sup_con(z_i, z_j, ids=None, **options):
    bits = ids[:, None] // 2 ** torch.arange(4) % 2
    return mn.multi_label_sup_con(z_i - z_j, bits, **options)


CASES |= {
    "sup_con": (sup_con, 2),
    "sup_con, ids": (sup_con, 2),
    "multi_label_sup_con, ids": (multi_label_sup_con, 2),
}


class Model(nn.Module):
    """An encoder for each embedding, and a temperature."""

    def __init__(self, many):
        super().__init__()
        torch.manual_seed(0)
        self.encoders = nn.ModuleList(nn.Linear(6, 4) for _ in range(many))
        self.log_temperature = nn.Parameter(torch.tensor(-0.5))
        self.double()

    def forward(self, x, loss, **options):
        z = [encoder(x) for encoder in self.encoders]
        return loss(*z, temperature=self.log_temperature.exp(), **options)


def inputs():
    return torch.randn(8, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def trained(name, wrap, rows, gather):
    """The loss of these rows, and the gradients after backward."""
    loss, many = CASES[name]
    model = wrap(Model(many))
    ids = IDS[rows] if "ids" in name else None
    value = model(inputs()[rows], loss, ids=ids, gather=gather)
    value.backward()
    return value.detach(), [parameter.grad for parameter in model.parameters()]


def error_of(call):
    try:
        call()
    except InvalidValueError as error:
        return str(error)
    return "none"


def run_rank(rank, world, folder):
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=world
    )
    start = sum(SIZES[world][:rank])
    rows = slice(start, start + SIZES[world][rank])
    ddp = nn.parallel.DistributedDataParallel
    results = {name: trained(name, ddp, rows, True) for name in CASES}

    z = inputs()[rows].requires_grad_()
    everything = dist.new_group(list(range(world)))
    results["group"] = mn.nt_xent(z, z.flip(1), gather=everything).detach()
    results["rows"] = mn.nt_xent(z, z.flip(1), gather=True, reduction="none").detach()
    results["sum"] = mn.nt_xent(z, z.flip(1), gather=True, reduction="sum").detach()

    first_two = dist.new_group([0, 1])
    if rank < 2:
        loss = mn.nt_xent(z, z.flip(1), gather=first_two)
    results["first two"] = loss.detach() if rank < 2 else None
    outsider = error_of(lambda: mn.nt_xent(z, z, gather=first_two)) if rank == 2 else ""
    results["outsider"] = outsider

    for name, module in (("view accuracy", mn.NTXentLoss), ("accuracy", mn.InterModalNTXentLoss)):
        _, terms = module(gather=True)(z, z.flip(1), return_terms=True)
        results[name] = {k: value * len(z) for k, value in terms.items() if "top" in k}
    memory = mn.CrossBatchMemory(6, 6).double()
    memory.add(z + 1.0, z.flip(1), gather=True)
    results["memory"] = mn.nt_xent(z, z.flip(1), gather=True, memory=memory).detach()
    results["alone"] = mn.nt_xent(z, z.flip(1)).detach()
    wide = torch.ones(3, 4 + rank)
    results["dimensions"] = error_of(lambda: mn.nt_xent(wide, wide, gather=True))
    ids = [1, 2, 3] if rank else None
    results["ids"] = error_of(lambda: mn.nt_xent(wide[:, :4], wide[:, :4], ids=ids, gather=True))
    try:
        (first,) = torch.autograd.grad(mn.nt_xent(z, z.flip(1), gather=True), z, create_graph=True)
        first.sum().backward()
        results["twice"] = "none"
    except RuntimeError as error:
        results["twice"] = str(error)
    (results["ordinary"],) = torch.autograd.grad(mn.nt_xent(z, z.flip(1), gather=True), z)
    results["torch.func"] = torch.func.grad(
        lambda rows: mn.nt_xent(rows, rows.flip(1), gather=True)
    )(z.detach())
    mixed = torch.tensor([1, 2, 2], dtype=torch.uint8 if rank else torch.int64)
    with_ids = partial(mn.nt_xent, ids=mixed, gather=True, label_smoothing=0.2)
    results["types of ids"] = with_ids(inputs()[:3] + rank, inputs()[3:6] - rank).detach()
    results["inf"] = mn.hard_negative_nt_xent(
        z.detach() * math.inf if rank == 1 else z.detach(), z.detach(), gather=True
    )
    torch.save(results, f"{folder}/{rank}")
    dist.destroy_process_group()


@pytest.fixture(scope="module", params=SIZES, ids=lambda world: f"{world} ranks")
def ranks(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranks")
    torch.multiprocessing.spawn(run_rank, (request.param, str(folder)), nprocs=request.param)  # type: ignore[attr-defined]
    return [torch.load(Path(folder) / str(k), weights_only=True) for k in range(request.param)]


@pytest.mark.parametrize("name", CASES)
def test_ranks_together_train_like_one_process(ranks, name):
    value, gradients = trained(name, lambda model: model, slice(None), False)
    mean = torch.stack([rank[name][0] for rank in ranks]).mean()
    torch.testing.assert_close(mean, value)
    for rank in ranks:
        torch.testing.assert_close(rank[name][1], gradients)


def test_the_same_without_gathering_is_something_else(ranks):
    value, _ = trained("nt_xent", lambda model: model, slice(None), False)
    rows = [trained("nt_xent", lambda model: model, slice(k, k + 2), False)[0] for k in (0, 2)]
    assert abs(sum(rows) / 2 - value) > 0.1


def test_reductions_and_groups(ranks):
    z = inputs()
    losses = mn.nt_xent(z, z.flip(1), reduction="none").view(2, -1)
    sizes = SIZES[len(ranks)]
    parts = torch.split(losses, list(sizes), dim=1)
    for rank, part in zip(ranks, parts, strict=True):
        torch.testing.assert_close(rank["rows"], part.flatten())
        torch.testing.assert_close(rank["sum"], part.sum())
    whole = torch.stack([rank["group"] for rank in ranks]).mean()
    torch.testing.assert_close(whole, losses.mean())

    some = z[: sum(sizes[:2])]
    pair = torch.stack([rank["first two"] for rank in ranks[:2]]).mean()
    torch.testing.assert_close(pair, mn.nt_xent(some, some.flip(1)))
    for rank, own in zip(ranks, torch.split(z, list(sizes)), strict=True):
        torch.testing.assert_close(rank["alone"], mn.nt_xent(own, own.flip(1)))


def test_ranks_that_disagree_all_say_so(ranks):
    for k, rank in enumerate(ranks):
        assert "agree in dimensions; by rank they have [4, 5" in rank["dimensions"]
        assert "agree in ids; by rank they have [0, 1" in rank["ids"]
        assert "not in" in rank["outsider"] if k == 2 else rank["outsider"] == ""


def test_accuracies_are_of_own_rows_among_all_candidates(ranks):
    z = inputs()
    for name, module in (("view accuracy", mn.NTXentLoss), ("accuracy", mn.InterModalNTXentLoss)):
        _, terms = module()(z, z.flip(1), return_terms=True)
        for top in ("top1", "top5"):
            of_all = sum(rank[name][top] for rank in ranks) / len(z)
            torch.testing.assert_close(of_all, terms[top])
        assert 0 < terms["top1"] < terms["top5"]


def test_a_memory_of_the_embeddings_of_all_ranks(ranks):
    z = inputs()
    memory = mn.CrossBatchMemory(6, 6).double()
    memory.add(z + 1.0, z.flip(1))
    mean = torch.stack([rank["memory"] for rank in ranks]).mean()
    torch.testing.assert_close(mean, mn.nt_xent(z, z.flip(1), memory=memory))


def test_torch_func_across_ranks(ranks):
    for rank in ranks:
        torch.testing.assert_close(rank["torch.func"], rank["ordinary"])


def test_ids_of_different_types_across_ranks(ranks):
    world = range(len(ranks))
    first = torch.cat([inputs()[:3] + k for k in world])
    second = torch.cat([inputs()[3:6] - k for k in world])
    whole = mn.nt_xent(first, second, ids=[1, 2, 2] * len(ranks), label_smoothing=0.2)
    mean = torch.stack([rank["types of ids"] for rank in ranks]).mean()
    torch.testing.assert_close(mean, whole)


def test_inf_on_one_rank_is_not_hidden(ranks):
    assert not torch.stack([rank["inf"] for rank in ranks]).mean().isfinite()


def test_a_second_derivative_across_ranks_is_refused(ranks):
    for rank in ranks:
        assert "once_differentiable" in rank["twice"]
