"""The scale, order and memory layout of embeddings do not matter; reductions."""

import pytest
import torch

import maninegs_sampling as mn
from tests.losses.cases import LOSSES, PATHS, forced, random_pair, with_gradients


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("name", LOSSES)
def test_scale_and_order_do_not_matter(name, path):
    x, y = random_pair(7, 3)
    with forced(path):
        rows = LOSSES[name](x, y, reduction="none").view(2, -1)
        for scale in (1e-4, 1e4):
            scaled = LOSSES[name](x * scale, y / scale, reduction="none").view(2, -1)
            torch.testing.assert_close(scaled, rows, rtol=1e-9, atol=1e-9)
        order = torch.randperm(7, generator=torch.Generator().manual_seed(0))
        moved = LOSSES[name](x[order], y[order], reduction="none").view(2, -1)
        torch.testing.assert_close(moved, rows[:, order])
        swapped = LOSSES[name](y, x, reduction="none").view(2, -1)
        torch.testing.assert_close(swapped, rows.flip(0))


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("name", LOSSES)
def test_memory_layout_does_not_matter(name, path):
    x, y = random_pair(6, 4, dtype=torch.float32)
    with forced(path):
        expected = with_gradients(LOSSES[name](x, y, reduction="none"), x, y)
        layouts = (
            lambda z: z.detach().T.contiguous().T,
            lambda z: torch.stack((z.detach(), z.detach()), 1)[:, 0],
        )
        for layout in layouts:
            odd = [layout(z).requires_grad_() for z in (x, y)]
            assert not odd[0].is_contiguous()
            found = with_gradients(LOSSES[name](*odd, reduction="none"), *odd)
            torch.testing.assert_close(found, expected)
        one_view_twice = LOSSES[name](x, x)
        torch.testing.assert_close(one_view_twice, LOSSES[name](x, x.clone()))


@pytest.mark.parametrize("name", LOSSES)
def test_reductions(name):
    z = random_pair(6, 4)
    rows = LOSSES[name](*z, reduction="none")
    assert rows.shape == (12,)
    torch.testing.assert_close(LOSSES[name](*z), rows.mean())
    torch.testing.assert_close(LOSSES[name](*z, reduction="sum"), rows.sum())


def test_reductions_of_weighted_sums():
    z = random_pair(6, 4) + random_pair(6, 4, seed=1)
    for loss, many in ((mn.multimodal_nt_xent, 3), (mn.mammo_clip_loss, 4)):
        rows = loss(*z[:many], reduction="none")
        assert rows.shape == (6,)
        torch.testing.assert_close(loss(*z[:many]), rows.mean())
        torch.testing.assert_close(loss(*z[:many], reduction="sum"), rows.sum())
