"""The losses under activation checkpointing, torch.func, forward-mode AD and without values."""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd import forward_ad
from torch.utils.checkpoint import checkpoint

import maninegs_sampling as mn
from tests.losses.cases import EVERY, MODULES, PATHS, forced, random_pair

# raised by torch on the first use of forward-mode differentiation
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")

IDS = torch.tensor([0, 1, 1, 2, 3])


def every_case(test):
    test = pytest.mark.parametrize("ids", [None, IDS], ids=["no ids", "ids"])(test)
    test = pytest.mark.parametrize("path", PATHS)(test)
    return pytest.mark.parametrize("name", EVERY)(test)


def point(n=5, d=3):
    """Embeddings, a temperature and a direction to move all of them in."""
    inputs = [*random_pair(n, d), torch.tensor(0.6, dtype=torch.float64, requires_grad=True)]
    generator = torch.Generator().manual_seed(7)
    direction = [torch.randn(z.shape, generator=generator, dtype=torch.float64) for z in inputs]
    return inputs, direction


def of_inputs(name, ids):
    def loss(z_i, z_j, temperature):
        return EVERY[name](z_i, z_j, temperature=temperature, ids=ids)

    return loss


@every_case
def test_activation_checkpointing(name, path, ids):
    inputs, _ = point()
    loss = of_inputs(name, ids)
    with forced(path):
        expected = torch.autograd.grad(loss(*inputs), inputs)
        value = checkpoint(loss, *inputs, use_reentrant=False)
        torch.testing.assert_close(torch.autograd.grad(value, inputs), expected)


@every_case
def test_torch_func(name, path, ids):
    inputs, direction = point()
    loss = of_inputs(name, ids)
    plain = [z.detach() for z in inputs]
    everything = (0, 1, 2)
    with forced(path):
        value = loss(*inputs)
        expected = torch.autograd.grad(value, inputs, create_graph=True)
        along = sum((g * v).sum() for g, v in zip(expected, direction, strict=True))
        curved = torch.autograd.grad(along, inputs, retain_graph=True)

        gradient = torch.func.grad(loss, everything)
        torch.testing.assert_close(gradient(*plain), expected)
        torch.testing.assert_close(torch.func.jacrev(loss, everything)(*plain), expected)
        torch.testing.assert_close(torch.func.jacfwd(loss, everything)(*plain), expected)
        found, pull = torch.func.vjp(loss, *plain)
        torch.testing.assert_close(found, value.detach())
        torch.testing.assert_close(pull(torch.ones_like(found)), expected)
        found = torch.func.jvp(loss, tuple(plain), tuple(direction))
        torch.testing.assert_close(found, (value.detach(), along.detach()))
        _, found = torch.func.jvp(gradient, tuple(plain), tuple(direction))
        torch.testing.assert_close(found, curved)
        hessian = torch.func.hessian(loss)(*plain)
        found = torch.einsum("ndme,me->nd", hessian, direction[0])
        only = torch.autograd.grad((expected[0] * direction[0]).sum(), inputs[0])
        torch.testing.assert_close(found, *only)


@every_case
def test_vmap_over_batches(name, path, ids):
    first, second = torch.randn(2, 4, 5, 3, generator=torch.Generator().manual_seed(1)).double()
    taus = torch.linspace(0.1, 1.0, 4, dtype=torch.float64)
    loss = of_inputs(name, ids)
    with forced(path):
        expected = torch.stack([loss(*each) for each in zip(first, second, taus, strict=True)])
        torch.testing.assert_close(torch.vmap(loss)(first, second, taus), expected)
        one = torch.vmap(loss, in_dims=(None, 0, None))(first[0], second, taus[0])
        torch.testing.assert_close(one[0], loss(first[0], second[0], taus[0]))


@pytest.mark.parametrize("name", EVERY)
def test_vmap_over_ids(name):
    z = [row.detach() for row in random_pair(5, 3)]
    many = torch.stack([IDS, IDS.flip(0), torch.zeros_like(IDS)])
    found = torch.vmap(lambda ids: EVERY[name](*z, ids=ids))(many)
    expected = torch.stack([EVERY[name](*z, ids=ids) for ids in many])
    torch.testing.assert_close(found, expected)


@every_case
def test_forward_mode(name, path, ids):
    inputs, direction = point()
    loss = of_inputs(name, ids)
    with forced(path):
        expected = torch.autograd.grad(loss(*inputs), inputs)
        along = sum((g * v).sum() for g, v in zip(expected, direction, strict=True))
        with forward_ad.dual_level():
            dual = [
                forward_ad.make_dual(z.detach(), v) for z, v in zip(inputs, direction, strict=True)
            ]
            found = forward_ad.unpack_dual(loss(*dual)).tangent
        torch.testing.assert_close(found, along)
        with forward_ad.dual_level():  # the temperature alone
            dual = forward_ad.make_dual(inputs[2].detach(), direction[2])
            found = forward_ad.unpack_dual(loss(*inputs[:2], dual)).tangent
        torch.testing.assert_close(found.detach(), expected[2] * direction[2])


@every_case
def test_shapes_alone(name, path, ids):
    with forced(path):
        z = [torch.empty(5, 3, device="meta", requires_grad=True) for _ in range(2)]
        tau = torch.empty((), device="meta", requires_grad=True)
        for temperature in (0.5, tau):
            loss = EVERY[name](*z, temperature=temperature, ids=ids)
            assert loss.shape == ()
            assert loss.is_meta
            assert all(g.shape == (5, 3) and g.is_meta for g in torch.autograd.grad(loss, z))
        with FakeTensorMode() as mode:
            z = [torch.empty(5, 3, requires_grad=True) for _ in range(2)]
            tau = torch.empty((), requires_grad=True)
            fake_ids = None if ids is None else mode.from_tensor(ids)
            loss = EVERY[name](*z, temperature=tau, ids=fake_ids)
            gradients = torch.autograd.grad(loss, [*z, tau])
            assert [g.shape for g in gradients] == [(5, 3), (5, 3), ()]


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.parametrize("below", [False, True])
def test_modules_under_torch_func(name, below):
    z = (random_pair(6, 4, dtype=torch.float32) + random_pair(6, 4, 1, torch.float32))[
        : MODULES[name]
    ]
    module = getattr(mn, name)(0.3, min_temperature=0.1)
    with torch.no_grad():
        module.log_temperature -= 2 * below  # 0.04: under the bound
    found = torch.func.grad(module)(*(row.detach() for row in z))
    parameters = {"log_temperature": module.log_temperature.detach().clone()}

    def of_parameters(parameters):
        return torch.func.functional_call(module, parameters, tuple(row.detach() for row in z))

    of_temperature = torch.func.grad(of_parameters)(parameters)["log_temperature"]
    tangents = {"log_temperature": torch.ones(())}
    _, forward = torch.func.jvp(of_parameters, (parameters,), (tangents,))
    loss = module(*z)
    expected = torch.autograd.grad(loss, [z[0], module.log_temperature])
    torch.testing.assert_close([found, of_temperature], list(expected))
    torch.testing.assert_close(forward, expected[1])
