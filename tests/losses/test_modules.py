"""Losses as modules: their options and their temperature."""

import copy
import inspect
import pickle

import pytest
import torch

import maninegs_sampling as mn
from maninegs_sampling.errors import InvalidTypeError, InvalidValueError
from tests.losses.cases import FUNCTIONS, MODULES, random_pair


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
        assert len(list(module.parameters())) == learnable * (2 if name == "SigLIPLoss" else 1)
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
    hard = easy.flip(0)  # each has the wrong partner
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


@pytest.mark.parametrize("name", MODULES)
def test_modules_have_the_options_of_their_functions(name):
    own = ("temperature", "learnable", "min_temperature", "temperature_per_term", "n_views")
    own += ("n_modalities", "ids", "bias", "memory", "log_q", "bits")
    own += ("positive_mask", "ignore")
    of_module, of_function = (
        {
            option.name: option
            for option in inspect.signature(each).parameters.values()
            if option.kind is option.KEYWORD_ONLY and option.name not in own
        }
        for each in (getattr(mn, name), FUNCTIONS[name])
    )
    assert of_function
    assert of_module == of_function  # names, defaults and annotations
    temperatures = (
        inspect.signature(each).parameters["temperature"].default
        for each in (getattr(mn, name), FUNCTIONS[name])
    )
    assert len(set(temperatures)) == 1


BAD_OPTIONS = [
    ("bias", float("inf"), InvalidValueError, "bias must be finite; got inf"),
    ("label_smoothing", 1.5, InvalidValueError, r"label_smoothing must lie in \[0, 1\]; got 1.5"),
    ("label_smoothing", "0.1", InvalidTypeError, "label_smoothing must be a number; got '0.1'"),
    ("alpha", -1, InvalidValueError, "alpha must be finite and at least 0; got -1"),
    ("beta", -1, InvalidValueError, "beta must be finite and at least 0; got -1"),
    ("beta", None, InvalidTypeError, "beta must be a number; got None"),
    ("tau_plus", 1.0, InvalidValueError, r"tau_plus must lie in \[0, 1\); got 1.0"),
    ("weights", 1.0, InvalidTypeError, "weights must be a sequence of numbers; got 1.0"),
    ("weights", [1.0, "2"], InvalidTypeError, r"weights\[1\] must be a number; got '2'"),
    (
        "image_weight",
        float("inf"),
        InvalidValueError,
        r"image_weight must (be finite|lie in \[0, 1\]); got inf",
    ),
    ("text_weight", True, InvalidTypeError, "text_weight must be a number; got True"),
    ("normalize", 1, InvalidTypeError, "normalize must be True or False; got 1"),
    ("symmetric", "both", InvalidTypeError, "symmetric must be True or False; got 'both'"),
    ("reduction", "average", InvalidValueError, "'mean', 'sum', 'none'; got 'average'"),
    ("gather", "all", InvalidTypeError, "True, False or a process group; got 'all'"),
    ("learnable", "no", InvalidTypeError, "learnable must be True or False; got 'no'"),
    ("temperature_per_term", 3, InvalidTypeError, "temperature_per_term must be True or False"),
]


@pytest.mark.parametrize("name", MODULES)
def test_modules_check_their_options_when_made(name):
    cases = [
        case for case in BAD_OPTIONS if case[0] in inspect.signature(getattr(mn, name)).parameters
    ]
    assert len(cases) >= 5
    for option, value, error, message in cases:
        with pytest.raises(error, match=message):
            getattr(mn, name)(**{option: value})


def test_multimodal_modules_check_the_number_of_weights():
    with pytest.raises(InvalidValueError, match=r"each of the 2 modalities; got \[1.0\]"):
        mn.MultimodalNTXentLoss(temperature_per_term=True, n_modalities=2, weights=[1.0])


def test_modules_keep_their_own_copy_of_weights():
    z = [*random_pair(6, 4, dtype=torch.float32), random_pair(6, 4, 1, torch.float32)[0]]
    weights = [2.0]
    module = mn.MultimodalNTXentLoss(weights=weights)
    before = module(*z)
    weights[0] = 5.0
    torch.testing.assert_close(module(*z), before)


def test_modules_show_every_option():
    assert repr(mn.HardNegativeInterModalNTXentLoss(0.5, learnable=False, beta=2)) == (
        "HardNegativeInterModalNTXentLoss(temperature=0.5, learnable=False, beta=2.0, "
        "tau_plus=0.1, symmetric=True, normalize=True, reduction='mean', gather=False)"
    )


@pytest.mark.parametrize("name", MODULES)
def test_modules_can_be_copied_and_pickled(name):
    module = getattr(mn, name)(0.3, normalize=False)
    for other in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert repr(other) == repr(module)
        torch.testing.assert_close(other.log_temperature, module.log_temperature)
