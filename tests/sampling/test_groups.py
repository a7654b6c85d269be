"""Labels of groups, in every form that they come in."""

import numpy as np
import pandas
import polars
import pytest
import torch

from maninegs_sampling.errors import ManiNegError
from maninegs_sampling.sampling.groups import group_numbers


@pytest.mark.parametrize(
    "groups",
    [
        ["b", "a", "b"], ("b", "a", "b"), np.array(["b", "a", "b"]), np.array([7, 3, 7]),
        torch.tensor([7, 3, 7]), pandas.Series(["b", "a", "b"]), polars.Series(["b", "a", "b"]),
        pandas.Series(["b", "a", "b"], dtype="category"), pandas.Series([7, 3, 7], dtype="Int64"),
        [2.5, "x", 2.5], [torch.tensor(7), torch.tensor(3), torch.tensor(7)], list(np.array([7, 3, 7])),
        [np.array(7), np.array(3), np.array(7)], np.array(["2020-01-01", "2021-01-01", "2020-01-01"], "M8[ns]"),
        [True, False, True], [1, "1", 1],
    ],
)  # fmt: skip
def test_labels_are_numbered_in_order_of_appearance(groups):
    assert group_numbers(groups, 3).tolist() == [0, 1, 0]


@pytest.mark.parametrize(
    "groups",
    [
        ["a", None, "b"], ["a", float("nan"), "b"], [1.0, np.nan, 2.0], ["a", pandas.NA, "b"],
        np.array([1.0, np.nan, 2.0]), pandas.Series([1, None, 2], dtype="Int64"),
        pandas.Series(["a", None, "b"]), polars.Series(["a", None, "b"]),
        np.array(["2020-01-01", "NaT", "2021-01-01"], "M8[ns]"),
        np.ma.masked_array([1, 2, 3], mask=[False, True, False]), [1, pandas.NaT, 3],
    ],
)  # fmt: skip
def test_a_missing_label_is_named(groups):
    with pytest.raises(ManiNegError, match=r"groups\[1\] is missing"):
        group_numbers(groups, 3)


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ([1, 2], "each of the 3 instances; got 2"),
        (np.zeros((3, 1)), r"groups\[0\] is \[0.0\]"),
        ([[1], [2], [3]], r"groups\[0\] is \[1\]"),
        ({0: "a", 1: "b", 2: "a"}, "groups must hold a label for each instance; got"),
        ({1, 2, 3}, "groups must hold a label for each instance; got"),
        ([object(), object(), object()], r"groups\[0\] is <object"),
        ([bytearray(b"a")] * 3, r"groups\[0\] is bytearray"),
        ([torch.ones(2)] * 3, r"groups\[0\] is tensor"),
        ("abc", "groups must hold a label for each instance; got 'abc'"),
        (3, "groups must hold a label for each instance; got 3"),
        (np.array(3), "groups must hold a label for each instance"),
    ],
)
def test_what_holds_no_labels_is_refused(groups, message):
    with pytest.raises(ManiNegError, match=message):
        group_numbers(groups, 3)
