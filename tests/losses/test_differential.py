"""Every public loss against its slow twin in float64, over generated cases.

A float path may err no more than the plainest PyTorch formulation in the same type does, plus the
margin that `assert_near` states. A long run:

    MANINEGS_DIFFERENTIAL_EXAMPLES=100000 pytest tests/losses/test_differential.py
"""

import os
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import maninegs_sampling as mn
from maninegs_sampling.losses import contrast, negatives, products
from tests import naive_losses

EXAMPLES = int(os.environ.get("MANINEGS_DIFFERENTIAL_EXAMPLES", 0))
BLOCK = 4  # sizes of 1 to 2 BLOCK + 1 then cross every border


@dataclass
class Case:
    """One call of a loss, whose options are the same for ours and for the twin's."""

    loss: str
    embeddings: list[torch.Tensor]
    temperature: float
    learnable: bool
    needed: list[bool]  # whose gradients are computed
    ids: object
    reduction: str
    path: dict[str, float]
    options: dict[str, object] = field(default_factory=dict)


HOW_MANY = {
    "nt_xent": 2,
    "inter_modal_nt_xent": 2,
    "hard_negative_nt_xent": 2,
    "hard_negative_inter_modal_nt_xent": 2,
    "multimodal_nt_xent": 3,
    "mammo_clip_loss": 4,
    "siglip_loss": 2,
}
MODULES = {
    "nt_xent": mn.NTXentLoss,
    "inter_modal_nt_xent": mn.InterModalNTXentLoss,
    "hard_negative_nt_xent": mn.HardNegativeNTXentLoss,
    "hard_negative_inter_modal_nt_xent": mn.HardNegativeInterModalNTXentLoss,
    "multimodal_nt_xent": mn.MultimodalNTXentLoss,
    "mammo_clip_loss": mn.MammoCLIPLoss,
    "siglip_loss": mn.SigLIPLoss,
}


def draw_ids(draw, n):
    kind = draw(st.sampled_from([None, "equal", "different", "groups", "bool", "uint64", "int8"]))
    if kind is None:
        return None
    if kind == "equal":
        return torch.full((n,), draw(st.sampled_from([0, -1, 2**62])))
    if kind == "different":
        return torch.arange(n).flip(0) - 3
    if kind == "groups":
        return draw(st.lists(st.integers(-1, 1), min_size=n, max_size=n))
    if kind == "bool":
        return torch.tensor(draw(st.lists(st.booleans(), min_size=n, max_size=n)))
    values = [0, 1, 2**63, 2**64 - 1] if kind == "uint64" else [-128, -1, 0, 127]
    drawn = draw(st.lists(st.sampled_from(values), min_size=n, max_size=n))
    return np.array(drawn, dtype=kind)


def draw_embeddings(draw, loss, n, normalize):
    """Plain, nearly equal or zero vectors, of any memory layout and of lengths near the limits."""
    d, seed = draw(st.sampled_from([1, 2, 3, 8])), draw(st.integers(0, 2**32))
    dtype = draw(st.sampled_from([torch.float32, torch.float32, torch.float64, torch.bfloat16]))
    generator = torch.Generator().manual_seed(seed)
    sizes = [1e-20, 1e-6, 1.0, 1.0, 1e4] if normalize else [1e-20, 1e-6, 1.0, 1.0, 30.0, 1e4]
    embeddings = []
    for _ in range(HOW_MANY[loss]):
        z = torch.randn(n, d, generator=generator, dtype=torch.float64)
        kind = draw(st.sampled_from(["plain", "plain", "alike", "zero", "mixed lengths"]))
        if kind == "alike":
            z = z[:1] + 1e-3 * z
        elif kind == "zero":
            z[draw(st.integers(0, n - 1))] = 0.0
        elif kind == "mixed lengths":
            z *= 10.0 ** torch.randint(-3, 3, (n, 1), generator=generator)
        z = (z * draw(st.sampled_from(sizes))).to(dtype)
        layout = draw(st.sampled_from(["plain", "transposed", "strided", "expanded"]))
        if layout == "transposed":
            z = z.T.contiguous().T
        elif layout == "strided":
            z = torch.stack([z, z], 2)[:, :, 1]
        elif layout == "expanded":
            z = z[:1].expand(n, d)
        embeddings.append(z)
    return embeddings


@st.composite
def cases(draw):
    loss = draw(st.sampled_from(list(HOW_MANY)))
    n = draw(st.sampled_from([1, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK + 1, 2]))
    options = {"normalize": draw(st.booleans())}
    if "inter_modal" in loss or loss == "multimodal_nt_xent":
        options["symmetric"] = draw(st.booleans())
    if loss.startswith("hard"):
        options["normalize"] = True  # the floor assumes unit vectors
        options["beta"] = draw(st.sampled_from([0.0, 0.5, 1.0, 3.0]))
        options["tau_plus"] = draw(st.sampled_from([0.0, 0.1, 0.6]))
    elif loss == "siglip_loss":
        options["bias"] = draw(st.sampled_from([-10.0, 0.0, 3.5]))
    else:
        options["label_smoothing"] = draw(st.sampled_from([0.0, 0.1, 1.0]))
    return Case(
        loss,
        draw_embeddings(draw, loss, n, options["normalize"]),
        draw(st.sampled_from([0.01, 0.07, 0.7, 10.0])),
        draw(st.booleans()),
        draw(st.lists(st.booleans(), min_size=HOW_MANY[loss], max_size=HOW_MANY[loss]).filter(any)),
        draw_ids(draw, n),
        draw(st.sampled_from(["mean", "sum", "none"])),
        {
            "DIRECT_LOGITS": draw(st.sampled_from([0, 4 * BLOCK**2, 2**40])),
            "BLOCK": draw(st.sampled_from([BLOCK, BLOCK, 512])),
            "SAFE_LOGIT": draw(st.sampled_from([None, None, 0.0])),
        },
        options,
    )


@contextmanager
def forced(path):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(contrast, "DIRECT_LOGITS", path["DIRECT_LOGITS"])
        patch.setattr(products, "BLOCK", path["BLOCK"])
        if path["SAFE_LOGIT"] is not None:
            safe = dict.fromkeys(negatives.SAFE_LOGIT, path["SAFE_LOGIT"])
            patch.setattr(negatives, "SAFE_LOGIT", safe)
        yield


def as_list(ids):
    return None if ids is None else [int(i) for i in ids]


def reduced(rows, reduction):
    return {"mean": rows.mean, "sum": rows.sum, "none": rows.clone}[reduction]()


def evaluate(case, function, dtype=None):
    """The loss and the gradients that the case needs, with a different weight for each row."""
    z = [row.detach() if dtype is None else row.detach().to(dtype) for row in case.embeddings]
    leaves = [row.requires_grad_(needed) for row, needed in zip(z, case.needed, strict=True)]
    work = torch.promote_types(leaves[0].dtype, torch.float32)
    tau = torch.tensor(case.temperature, dtype=work, requires_grad=True)
    value = function(leaves, tau if case.learnable else case.temperature)
    weights = torch.linspace(0.5, 1.5, value.numel(), dtype=value.dtype).view(value.shape)
    wanted = [*filter(lambda row: row.requires_grad, leaves), *[tau] * case.learnable]
    gradients = torch.autograd.grad((value * weights).sum(), wanted, allow_unused=True)
    gradients = [
        torch.zeros_like(of) if found is None else found
        for of, found in zip(wanted, gradients, strict=True)
    ]
    return [value.detach(), *gradients]


def of_ours(case):
    def function(embeddings, tau):
        return getattr(mn, case.loss)(
            *embeddings, temperature=tau, ids=case.ids, reduction=case.reduction, **case.options
        )

    with forced(case.path):
        return evaluate(case, function)


def of_twin(case, dtype):
    twin = getattr(naive_losses, case.loss)

    def function(embeddings, tau):
        with naive_losses.computing_in(dtype):
            rows = twin(*embeddings, tau, ids=as_list(case.ids), **case.options)
        return reduced(rows, case.reduction)

    return evaluate(case, function, dtype)


def largest_logit(case):
    """The largest product of two lengths over the temperature. Rounding errors scale with it."""
    if case.options["normalize"]:
        return 1 / case.temperature
    lengths = [float(z.double().norm(dim=1).max()) for z in case.embeddings]
    return max(lengths) ** 2 / case.temperature


def assert_near(case):
    """Compare value and gradients with the twin's in float64.

    The twin itself, run in the type of ours (float32 for bfloat16), is the plainest formulation.
    Ours may err as much as it does, plus `margin` roundings of the largest logit, in a
    gradient also times the largest change of a logit with an embedding.
    """
    found, exact = of_ours(case), of_twin(case, torch.float64)
    dtype = torch.promote_types(case.embeddings[0].dtype, torch.float32)
    plainest = of_twin(case, dtype)
    eps = torch.finfo(dtype).eps
    logit = largest_logit(case)
    # In the hard-negative losses the logarithm of a difference loses digits by cancellation.
    margin = 64 * eps * (1 + logit) * (1 + case.options.get("beta", 0.0))
    many = 1 if case.reduction == "mean" else 2 * len(case.embeddings[0])
    at_value = max(1.0, float(exact[0].abs().max()))
    scales = [at_value, *gradient_scales(case)]
    names = ["value", *(f"gradient {k}" for k in range(len(found) - 1))]
    for name, own, right, plain, scale in zip(names, found, exact, plainest, scales, strict=True):
        own = own.double()
        assert own.isfinite().all(), (name, own, right)
        allowed = margin * many * scale
        if own.ndim == 2:  # the gradient comes in the type of its embeddings
            allowed = allowed + 2 * torch.finfo(case.embeddings[0].dtype).eps * right.abs()
        accepted = (plain.double() - right).abs()
        if right.ndim == 2:
            accepted = accepted.amax(1, keepdim=True)
        # What is computed in float32 is rounded to denormal numbers down there.
        limit = allowed + 2 * accepted.nan_to_num(0.0) + torch.finfo(torch.float32).tiny
        assert ((own - right).abs() <= limit).all(), f"{name}: {own} is not {right}"


def gradient_scales(case):
    """The size of the summands of each gradient, which may cancel."""
    lengths = [z.double().norm(dim=1, keepdim=True) for z in case.embeddings]
    longest = max(float(each.max()) for each in lengths)
    for each, needed in zip(lengths, case.needed, strict=True):
        if needed and case.options["normalize"]:  # vectors that count as zero have no gradient
            yield (each > 1e-12) / each.clamp(min=1e-12) / case.temperature
        elif needed:
            yield longest / case.temperature
    if case.learnable:
        yield largest_logit(case) / case.temperature


@settings(max_examples=EXAMPLES or 400, derandomize=not EXAMPLES)
@given(case=cases())
def test_every_loss_equals_its_twin(case):
    assert_near(case)


@settings(max_examples=EXAMPLES // 10 or 40, derandomize=not EXAMPLES)
@given(case=cases())
def test_every_module_equals_its_function(case):
    options = case.options | {"reduction": case.reduction}
    if case.loss == "multimodal_nt_xent":
        options["n_views"] = 2
    module = MODULES[case.loss](case.temperature, learnable=case.learnable, **options).double()
    options.pop("n_views", None)
    with forced(case.path):
        found = module(*case.embeddings, ids=case.ids)
        expected = getattr(mn, case.loss)(
            *case.embeddings, temperature=module.temperature.item(), ids=case.ids, **options
        )
    torch.testing.assert_close(found, expected)
