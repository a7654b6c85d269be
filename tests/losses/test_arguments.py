"""What the losses refuse, how modules keep a temperature, and the soft-label loss."""

import subprocess
import sys
from functools import partial

import pytest
import torch

import maninegs_sampling as mn
from maninegs_sampling.errors import InvalidTypeError, InvalidValueError, MissingExtraError
from tests import naive_losses
from tests.losses.test_losses import LOSSES, PATHS, forced, random_pair

ALL = LOSSES | {
    "multimodal_nt_xent": mn.multimodal_nt_xent,
    "mammo_clip_loss": lambda a, b, **options: mn.mammo_clip_loss(a, b, a, b, **options),
}


@pytest.mark.parametrize("loss", ALL.values(), ids=ALL)
@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"z": "nothing"}, InvalidTypeError, "must be a torch tensor; got str"),
        ({"z": torch.ones(4, 3, dtype=torch.int64)}, InvalidTypeError, "got torch.int64"),
        ({"z": torch.ones(4)}, InvalidValueError, r"shape \(N, D\).*got \(4,\)"),
        ({"z": torch.ones(0, 3)}, InvalidValueError, r"at least 1; got \(0, 3\)"),
        ({"z": torch.ones(5, 3)}, InvalidValueError, r"\(4, 3\) on cpu and \(5, 3\) on cpu"),
        ({"temperature": 0.0}, InvalidValueError, "positive and finite; got 0.0"),
        ({"temperature": -1}, InvalidValueError, "positive and finite; got -1"),
        ({"temperature": float("nan")}, InvalidValueError, "positive and finite; got nan"),
        ({"temperature": "warm"}, InvalidTypeError, "a number or a tensor; got 'warm'"),
        ({"temperature": torch.tensor(-0.5)}, InvalidValueError, "got -0.5"),
        ({"temperature": torch.tensor(1)}, InvalidTypeError, "torch.int64"),
        ({"ids": [0.5, 1.0, 2.0, 3.0]}, InvalidTypeError, "ids must be integers"),
        ({"ids": [1, 2, 3]}, InvalidValueError, r"shape \(4,\).*got \(3,\)"),
        ({"reduction": "average"}, InvalidValueError, "'mean', 'sum', 'none'; got 'average'"),
        ({"gather": "all"}, InvalidTypeError, "process group; got 'all'"),
    ],
)
def test_bad_arguments_are_named(loss, change, error, message):
    z = torch.ones(4, 3)
    options = {key: value for key, value in change.items() if key != "z"}
    with pytest.raises(error, match=message):
        loss(z, change.get("z", z), **options)


@pytest.mark.parametrize("name", ["nt_xent", "inter_modal_nt_xent", "multimodal_nt_xent"])
@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan")])
def test_label_smoothing_lies_in_0_to_1(name, value):
    z = torch.ones(4, 3)
    with pytest.raises(InvalidValueError, match="label_smoothing must lie"):
        ALL[name](z, z, label_smoothing=value)


def test_hard_negative_arguments():
    z = torch.ones(4, 3)
    with pytest.raises(InvalidValueError, match="beta must be finite and at least 0; got -1"):
        mn.hard_negative_nt_xent(z, z, beta=-1)
    with pytest.raises(InvalidValueError, match=r"tau_plus must lie in \[0, 1\); got 1.0"):
        mn.hard_negative_nt_xent(z, z, tau_plus=1.0)


def test_multimodal_arguments():
    z = torch.ones(4, 3)
    with pytest.raises(InvalidValueError, match="got 1 arguments"):
        mn.multimodal_nt_xent(z)
    with pytest.raises(InvalidValueError, match="got 0 weights and 0 modalities"):
        mn.multimodal_nt_xent(z, [])
    with pytest.raises(InvalidValueError, match="got 1 weights and 2 modalities"):
        mn.multimodal_nt_xent(z, z, [z, z], weights=[1.0])
    with pytest.raises(InvalidValueError, match=r"each of the 3 terms.*\(2,\)"):
        mn.multimodal_nt_xent(z, z, z, temperature=torch.ones(2))
    with pytest.raises(InvalidTypeError, match="modality 0 must be a torch tensor; got int"):
        mn.multimodal_nt_xent(z, z, 3)


def test_ids_may_be_a_list_and_a_one_process_group_is_no_gathering():
    z = random_pair(4, 3)
    expected = mn.nt_xent(*z, ids=torch.tensor([0, 0, 1, 2]))
    torch.testing.assert_close(mn.nt_xent(*z, ids=[0, 0, 1, 2], gather=True), expected)


# Modules


MODULES = {
    "NTXentLoss": 2,
    "InterModalNTXentLoss": 2,
    "HardNegativeNTXentLoss": 2,
    "HardNegativeInterModalNTXentLoss": 2,
    "MultimodalNTXentLoss": 3,
    "MammoCLIPLoss": 4,
}
FUNCTIONS = {
    "NTXentLoss": mn.nt_xent,
    "InterModalNTXentLoss": mn.inter_modal_nt_xent,
    "HardNegativeNTXentLoss": mn.hard_negative_nt_xent,
    "HardNegativeInterModalNTXentLoss": mn.hard_negative_inter_modal_nt_xent,
    "MultimodalNTXentLoss": mn.multimodal_nt_xent,
    "MammoCLIPLoss": mn.mammo_clip_loss,
}


@pytest.mark.parametrize("name", MODULES)
def test_modules_are_their_functions_with_a_temperature(name):
    z = (random_pair(6, 4, dtype=torch.float32) + random_pair(6, 4, 1, torch.float32))[
        : MODULES[name]
    ]
    ids = [0, 1, 2, 3, 3, 4]
    for learnable in (True, False):
        module = getattr(mn, name)(0.3, learnable=learnable)
        loss, terms = module(*z, ids=ids, return_terms=True)
        tau = torch.tensor(0.3, requires_grad=True)
        expected = FUNCTIONS[name](*z, temperature=tau, ids=ids)
        torch.testing.assert_close(loss, expected)
        torch.testing.assert_close(module(*z, ids=ids), loss)
        torch.testing.assert_close(terms.pop("temperature"), torch.tensor(0.3))
        assert terms
        assert not any(term.requires_grad for term in terms.values())
        assert len(list(module.parameters())) == learnable
        if learnable:
            loss.backward()
            (gradient,) = torch.autograd.grad(expected, tau)
            # d loss / d log tau = tau d loss / d tau
            torch.testing.assert_close(module.log_temperature.grad, 0.3 * gradient)
    assert f"temperature=0.3, learnable={learnable}" in repr(module)
    other = getattr(mn, name)(0.9, learnable=learnable)
    other.load_state_dict(module.state_dict())
    torch.testing.assert_close(other.temperature, torch.tensor(0.3))


def test_modules_pass_their_options_on():
    z = random_pair(6, 4, dtype=torch.float32)
    module = mn.NTXentLoss(0.3, label_smoothing=0.2, normalize=False, reduction="sum")
    expected = mn.nt_xent(
        *z, temperature=0.3, label_smoothing=0.2, normalize=False, reduction="sum"
    )
    torch.testing.assert_close(module(*z), expected)
    module = mn.InterModalNTXentLoss(0.3, symmetric=False)
    expected = mn.inter_modal_nt_xent(*z, temperature=0.3, symmetric=False)
    torch.testing.assert_close(module(*z), expected)
    module = mn.HardNegativeNTXentLoss(0.3, beta=2.0, tau_plus=0.0)
    expected = mn.hard_negative_nt_xent(*z, temperature=0.3, beta=2.0, tau_plus=0.0)
    torch.testing.assert_close(module(*z), expected)


def test_a_temperature_for_each_term():
    z = [*random_pair(6, 4, dtype=torch.float32), random_pair(6, 4, 1, torch.float32)[0]]
    module = mn.MultimodalNTXentLoss(temperature_per_term=True)
    loss, terms = module(*z, return_terms=True)
    torch.testing.assert_close(loss, mn.multimodal_nt_xent(*z))
    names = ["view0-modality0", "view1-modality0", "view0-view1"]
    assert list(terms) == names + [f"temperature/{name}" for name in names]
    torch.testing.assert_close(terms["view0-view1"], mn.nt_xent(*z[:2]))
    loss.backward()
    assert module.log_temperature.grad.shape == (3,)
    assert module.log_temperature.grad.unique().numel() == 3
    with pytest.raises(InvalidValueError, match="each of the 1 terms"):
        module(z[0], z[1])


def test_temperature_stays_above_its_bound_and_can_rise_again():
    easy = torch.eye(6, 8)  # the smaller the temperature, the smaller the loss
    hard = easy.flip(0)  # each is told that another is its partner
    module = mn.NTXentLoss(0.5, min_temperature=0.2)
    optimizer = torch.optim.SGD(module.parameters(), lr=1.0)
    seen = []
    for z in [easy] * 20 + [hard] * 5:
        optimizer.zero_grad()
        loss, terms = module(easy, z, return_terms=True)
        loss.backward()
        optimizer.step()
        seen.append(float(terms["temperature"]))
    assert min(seen) == pytest.approx(0.2)
    assert seen[-1] > 0.2


def test_module_arguments():
    with pytest.raises(InvalidValueError, match=r"temperature=0.005, min_temperature=0.01"):
        mn.NTXentLoss(0.005)
    with pytest.raises(InvalidValueError, match="n_views must be at least 1"):
        mn.MultimodalNTXentLoss(n_views=0)


# torch.compile and memory


@pytest.mark.filterwarnings("ignore")  # the compiler warns of its own ways
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("name", ALL)
def test_compiled_losses_are_the_same(name, path):
    torch._dynamo.reset()
    tau = torch.tensor(0.4, requires_grad=True)
    z = random_pair(5, 4, dtype=torch.float32)
    for ids in (None, torch.tensor([0, 1, 1, 2, 3])):
        loss = partial(ALL[name], temperature=tau, ids=ids)
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
@pytest.mark.parametrize("temperature", [0.7, 0.01])
def test_memory_does_not_grow_with_the_square(name, temperature):
    script = MEASURE.format(name=name, temperature=temperature)
    kibibytes = int(subprocess.check_output([sys.executable, "-c", script]))
    # The matrix of logits alone would be 34 MiB between modalities and 137 MiB between views.
    assert kibibytes < 24 * 1024


# The soft-label loss


def test_soft_labels_by_the_formula():
    first, second = (z.detach() for z in random_pair(20, 4))
    labels = torch.rand(20, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for margin in (0.5, 3.0):
        loss = partial(mn.soft_label_contrastive, margin=margin)
        rows = naive_losses.soft_label_contrastive(first, second, labels, margin)
        torch.testing.assert_close(loss(first, second, labels, reduction="none"), rows)
        torch.testing.assert_close(loss(first, second, labels), rows.mean())
        torch.testing.assert_close(loss(first, second, labels, reduction="sum"), rows.sum())
        z = [first.clone().requires_grad_(), second.clone().requires_grad_()]
        assert torch.autograd.gradcheck(partial(loss, soft_labels=labels), z)
        assert torch.autograd.gradgradcheck(partial(loss, soft_labels=labels), z)


def test_soft_labels_of_equal_vectors_have_finite_gradients():
    z = torch.ones(3, 4, requires_grad=True)
    loss = mn.soft_label_contrastive(z, torch.ones(3, 4), torch.tensor([0.0, 0.5, 1.0]))
    (gradient,) = torch.autograd.grad(loss, z)
    assert not gradient.any()


@pytest.mark.parametrize(
    ("labels", "options", "error", "message"),
    [
        ([0.5], {}, InvalidTypeError, "soft_labels must be a torch tensor; got list"),
        (torch.ones(3), {}, InvalidValueError, r"shape \(2,\)"),
        (torch.tensor([0.5, 1.5]), {}, InvalidValueError, r"lie in \[0, 1\]"),
        (torch.tensor([0.5, float("nan")]), {}, InvalidValueError, r"lie in \[0, 1\]"),
        (torch.ones(2), {"margin": 0.0}, InvalidValueError, "margin must be positive"),
        (torch.ones(2), {"reduction": "max"}, InvalidValueError, "got 'max'"),
    ],
)
def test_soft_label_arguments(labels, options, error, message):
    with pytest.raises(error, match=message):
        mn.soft_label_contrastive(torch.ones(2, 3), torch.ones(2, 3), labels, **options)


def test_mixture_labels_follow_two_groups():
    generator = torch.Generator().manual_seed(0)
    near = 1.0 + 0.1 * torch.randn(300, generator=generator)
    far = 3.0 + 0.1 * torch.randn(200, generator=generator)
    for scale in (1e-6, 1.0, 1e6):  # the unit of the distances does not matter
        labels = mn.gaussian_mixture_soft_labels(torch.cat((near, far)) * scale)
        assert labels.dtype == torch.float32
        assert labels[:300].min() > 0.99
        assert labels[300:].max() < 0.01
    # two overlapping groups of one width: the posterior is known
    x = torch.cat((torch.randn(4000, generator=generator), torch.randn(4000, generator=generator)))
    x[4000:] += 3.0
    labels = mn.gaussian_mixture_soft_labels(x.double())
    exact = torch.sigmoid(4.5 - 3.0 * x.double())
    assert (labels - exact).abs().mean() < 0.02


def test_mixture_labels_at_their_limits(monkeypatch):
    assert mn.gaussian_mixture_soft_labels(torch.ones(4)).tolist() == [0.5] * 4
    with pytest.raises(InvalidValueError, match="N at least 2"):
        mn.gaussian_mixture_soft_labels(torch.ones(1))
    with pytest.raises(InvalidValueError, match="finite"):
        mn.gaussian_mixture_soft_labels(torch.tensor([1.0, float("inf")]))
    with pytest.raises(InvalidTypeError, match="floating-point"):
        mn.gaussian_mixture_soft_labels(torch.ones(3, dtype=torch.int64))
    monkeypatch.setitem(sys.modules, "sklearn.mixture", None)
    with pytest.raises(MissingExtraError, match="soft-labels"):
        mn.gaussian_mixture_soft_labels(torch.tensor([1.0, 2.0]))
