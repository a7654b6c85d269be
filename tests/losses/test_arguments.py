"""Arguments that every loss refuses."""

import pytest
import torch

import maninegs_sampling as mn
from maninegs_sampling.errors import InvalidTypeError, InvalidValueError
from tests.losses.cases import ALL, random_pair


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
        ({"normalize": 1}, InvalidTypeError, "normalize must be True or False; got 1"),
        ({"normalize": "no"}, InvalidTypeError, "normalize must be True or False; got 'no'"),
        ({"normalize": None}, InvalidTypeError, "normalize must be True or False; got None"),
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


def test_ids_may_be_a_list_and_a_one_process_group_is_no_gathering():
    z = random_pair(4, 3)
    expected = mn.nt_xent(*z, ids=torch.tensor([0, 0, 1, 2]))
    torch.testing.assert_close(mn.nt_xent(*z, ids=[0, 0, 1, 2], gather=True), expected)


@pytest.mark.parametrize("name", [name for name in ALL if "inter_modal" in name or "multi" in name])
def test_symmetric_is_a_boolean(name):
    z = torch.ones(4, 3)
    with pytest.raises(InvalidTypeError, match="symmetric must be True or False; got 'both'"):
        ALL[name](z, z, symmetric="both")
