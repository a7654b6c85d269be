"""The checks of arguments that the whole package shares."""

from fractions import Fraction

import numpy as np
import pytest
import torch

from maninegs_sampling.errors import (
    InvalidTypeError,
    InvalidValueError,
    check_choice,
    check_count,
    check_number,
)

ONE_NUMBER = [np.int64, np.uint8, np.array, torch.tensor, lambda x: torch.tensor([x])]
NOT_A_NUMBER = [
    None, True, "3", b"3", 1j, [3], {3}, object(), np.True_, np.str_("3"), np.array("3"),
    np.array(True), np.array([1, 2]), np.array([]), torch.tensor(True), torch.tensor([1, 2]),
    torch.tensor(1j), torch.zeros((), device="meta"), np.datetime64("2020"),
    np.ma.masked, np.ma.array(3, mask=True),
]  # fmt: skip


@pytest.mark.parametrize("kind", [int, *ONE_NUMBER])
def test_whole_numbers_of_any_kind(kind):
    number = check_count("steps", kind(3), at_least=3, at_most=3)
    assert number == 3
    assert type(number) is int


@pytest.mark.parametrize("kind", [int, float, np.float16, Fraction, *ONE_NUMBER])
def test_numbers_of_any_kind(kind):
    number = check_number("mu", kind(3))
    assert number == 3.0
    assert type(number) is float


@pytest.mark.parametrize(
    "value",
    [*NOT_A_NUMBER, 3.0, np.float64(3), np.array(3.0)],
    ids=lambda value: type(value).__name__,
)
def test_what_is_no_whole_number(value):
    with pytest.raises(InvalidTypeError, match="steps must be a whole number; got "):
        check_count("steps", value, at_least=1)


@pytest.mark.parametrize("value", NOT_A_NUMBER, ids=lambda value: type(value).__name__)
def test_what_is_no_number(value):
    with pytest.raises(InvalidTypeError, match="mu must be a number; got "):
        check_number("mu", value)


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), np.float32("-inf"), 10**400, -(10**400)]
)
def test_what_is_no_finite_number(value):
    with pytest.raises(InvalidValueError, match="mu must be finite; got "):
        check_number("mu", value)


@pytest.mark.parametrize(("value", "message"), [(0, "at least 1; got 0"), (6, "at most 5; got 6")])
def test_counts_out_of_bounds(value, message):
    with pytest.raises(InvalidValueError, match=f"steps must be {message}"):
        check_count("steps", value, at_least=1, at_most=5)


@pytest.mark.parametrize("value", ["c", None, 3, ["a"], np.array(["a"]), np.array(["a", "b"]), {}])
def test_choices_that_are_none(value):
    with pytest.raises(InvalidValueError, match="shape must be one of 'a', 'b'; got "):
        check_choice("shape", value, ("a", "b"))
