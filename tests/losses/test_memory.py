"""CrossBatchMemory: past embeddings as further negatives."""

import io

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import maninegs_sampling as mn
from maninegs_sampling.errors import InvalidTypeError, InvalidValueError
from tests import naive_losses
from tests.losses.cases import PATHS, forced, random_pair, with_gradients


def filled(size, sizes, seed=0, ids=None, dim=3):
    """A memory, and what it should hold: the last `size` of all pairs, with their ids."""
    memory = mn.CrossBatchMemory(size, dim).double()
    x, y, all_ids = [], [], []
    for step, n in enumerate(sizes):
        pair = [z.detach() for z in random_pair(n, dim, seed + step)]
        own = None if ids is None else [ids[(step + k) % len(ids)] for k in range(n)]
        memory.add(*pair, ids=own)
        x.append(pair[0])
        y.append(pair[1])
        all_ids += own or []
    x, y = (torch.cat(z)[-size:] if z else torch.zeros(0, dim).double() for z in (x, y))
    return memory, x, y, all_ids[-size:]


def losses_with_negatives(rows, further, temperature):
    """Cross-entropies of rows (positive, negatives) with further negatives for each."""
    rows = [(p, [*negatives, *more]) for (p, negatives), more in zip(rows, further, strict=True)]
    return naive_losses.cross_entropies(rows, temperature)


def products(row, columns, row_id, ids):
    return [row @ c for k, c in enumerate(columns) if not ids or ids[k] != row_id]


@pytest.mark.parametrize("path", PATHS)
@given(
    n=st.sampled_from([1, 3, 5]),
    size=st.sampled_from([1, 4, 6]),
    sizes=st.lists(st.integers(1, 5), max_size=4),
    with_ids=st.booleans(),
    seed=st.integers(0, 2**20),
)
def test_losses_with_a_memory_equal_their_twins(path, n, size, sizes, with_ids, seed):
    pool = [3, 1, 4, 1, 5] if with_ids else None
    memory, past_x, past_y, past_ids = filled(size, sizes, seed + 1, pool)
    assert len(memory) == min(size, sum(sizes))
    x, y = random_pair(n, 3, seed)
    tau = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    ids = pool and pool[:n]
    row_ids = ids or [None] * n

    units = [naive_losses.unit_rows(z) for z in (x, y, past_x, past_y)]
    views, past = units[0] + units[1], units[2] + units[3]
    further = [products(views[a], past, row_ids[a % n], past_ids * 2) for a in range(2 * n)]
    rows = naive_losses.rows_within(x, y, ids, True)
    expected = with_gradients(losses_with_negatives(rows, further, tau), x, y, tau)
    options = {"temperature": tau, "ids": ids, "memory": memory, "reduction": "none"}
    with forced(path):
        found = with_gradients(mn.nt_xent(x, y, **options), x, y, tau)
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-10)

    units = [naive_losses.unit_rows(z) for z in (x, y, past_x, past_y)]
    further = [products(units[0][a], units[3], row_ids[a], past_ids) for a in range(n)]
    further += [products(units[1][a], units[2], row_ids[a], past_ids) for a in range(n)]
    rows = naive_losses.rows_between(x, y, ids, True)
    expected = with_gradients(losses_with_negatives(rows, further, tau), x, y, tau)
    with forced(path):
        found = with_gradients(mn.inter_modal_nt_xent(x, y, **options), x, y, tau)
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("path", PATHS)
def test_accuracies_count_the_memory_too(path):
    x = torch.eye(3, 4)
    memory = mn.CrossBatchMemory(4, 4)
    with forced(path):
        for module in (mn.NTXentLoss(), mn.InterModalNTXentLoss()):
            memory.clear()
            assert module(x, x, memory=memory, return_terms=True)[1]["top1"] == 1.0
            memory.add(x[:1], x[:1])  # as similar to the first instance as its positive
            top1 = module(x, x, memory=memory, return_terms=True)[1]["top1"]
            assert float(top1) == pytest.approx(2 / 3)


def test_one_direction_and_three_views():
    memory, past_x, past_y, _ = filled(6, [4])
    x, y = random_pair(3, 3)
    found = mn.inter_modal_nt_xent(x, y, symmetric=False, memory=memory)
    wide = torch.cat([y, past_y])
    logits = torch.nn.functional.normalize(x) @ torch.nn.functional.normalize(wide).T / 0.7
    expected = torch.nn.functional.cross_entropy(logits, torch.arange(3))
    torch.testing.assert_close(found, expected)
    three = mn.CrossBatchMemory(6, 3, n_embeddings=3).double()
    three.add(past_x, past_y, past_x)
    with_memory = mn.nt_xent(x, y, x + y, memory=three)
    assert with_memory > mn.nt_xent(x, y, x + y) + 0.1


def test_the_memory_is_saved_and_gets_no_gradient():
    memory, *_ = filled(5, [4, 3], ids=[7, 8, 9])
    file = io.BytesIO()
    torch.save(memory.state_dict(), file)
    file.seek(0)
    other = mn.CrossBatchMemory(5, 3).double()
    other.load_state_dict(torch.load(file, weights_only=True))
    for each in (memory, other):
        each.add(*(z * 2 for z in random_pair(2, 3, 9)), ids=[1, 2])
    assert len(other) == 5
    z = random_pair(3, 3)
    options = {"ids": [1, 2, 3]}
    expected = mn.nt_xent(*z, memory=memory, **options)
    torch.testing.assert_close(mn.nt_xent(*z, memory=other, **options), expected, rtol=0, atol=0)
    assert expected.requires_grad
    assert not memory.embeddings.requires_grad
    before = mn.nt_xent(*z, memory=memory, **options)
    memory.add(*z, ids=[4, 5, 6])
    before.backward()  # the queue has moved on since


@pytest.mark.parametrize("path", PATHS)
def test_what_is_not_finite_in_the_memory_is_not_hidden(path):
    memory = mn.CrossBatchMemory(4, 3)
    memory.add(torch.full((1, 3), torch.nan), torch.ones(1, 3))
    with forced(path):
        assert not mn.nt_xent(*random_pair(3, 3), memory=memory).isfinite()


def test_arguments():
    z = torch.ones(4, 3)
    with_ids, without = mn.CrossBatchMemory(8, 3), mn.CrossBatchMemory(8, 3)
    with_ids.add(z, z, ids=range(4))
    without.add(z, z)
    for call, error, message in [
        (lambda: mn.nt_xent(z, z, memory=[z]), InvalidTypeError, "memory must be a CrossBatchMem"),
        (lambda: mn.nt_xent(z, z, memory=with_ids), InvalidValueError, "both have ids or neither"),
        (
            lambda: mn.nt_xent(z, z, ids=range(4), memory=without),
            InvalidValueError,
            "the memory has none",
        ),
        (lambda: mn.nt_xent(z, z, z, memory=without), InvalidValueError, "2 embeddings.*got 3"),
        (
            lambda: mn.inter_modal_nt_xent(z[:, :2], z[:, :2], memory=without),
            InvalidValueError,
            "3 dimensions; the loss got 2 of 2",
        ),
        (
            lambda: mn.nt_xent(z, z, memory=mn.CrossBatchMemory(8, 3), label_smoothing=0.1),
            InvalidValueError,
            r"label_smoothing must be 0 with memory; got 0.1",
        ),
        (lambda: without.add(z), InvalidValueError, "holds 2 embeddings of each instance; got 1"),
        (lambda: without.add(z, z[:3]), InvalidValueError, "must have the same shape"),
        (lambda: without.add(z[:, :2], z[:, :2]), InvalidValueError, "3 dimensions; got 2"),
        (lambda: without.add(z, z, ids=range(4)), InvalidValueError, "it has no ids, and"),
        (lambda: with_ids.add(z, z), InvalidValueError, "it has ids, and `add` got ids=None"),
        (lambda: with_ids.add(z, z, ids=[1]), InvalidValueError, r"ids must have the shape"),
        (lambda: mn.CrossBatchMemory(0, 3), InvalidValueError, "size must be at least 1"),
        (lambda: mn.CrossBatchMemory(3, 1.5), InvalidTypeError, "dim must be a whole number"),
    ]:
        with pytest.raises(error, match=message):
            call()
    assert repr(without) == "CrossBatchMemory(size=8, dim=3, n_embeddings=2)"
