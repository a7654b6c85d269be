"""Stores of sets of tags."""

import numpy as np
import pandas
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from maninegs_sampling import ManifestationStore
from maninegs_sampling.errors import InvalidTypeError, InvalidValueError

TAGS = st.one_of(
    st.lists(st.lists(st.text(max_size=3)), min_size=1),
    st.lists(st.lists(st.integers(-5, 20)), min_size=1),
).filter(any)


@given(sets=TAGS)
def test_bits_are_the_sorted_tags(sets):
    store = ManifestationStore.from_sets(sets)
    vocabulary = sorted(set().union(*sets))
    assert store.bit_names == tuple(map(str, vocabulary))
    assert store.to_dense().tolist() == [[tag in tags for tag in vocabulary] for tags in sets]
    again = ManifestationStore.from_sets(map(iter, sets), vocabulary=vocabulary)
    assert (again.digest, again.bit_names) == (store.digest, store.bit_names)


def test_a_vocabulary_gives_the_order_and_may_hold_more():
    store = ManifestationStore.from_sets([{"b"}, ("a",), []], vocabulary=["b", "c", "a"])
    assert store.bit_names == ("b", "c", "a")
    assert store.to_dense().astype(int).tolist() == [[1, 0, 0], [0, 0, 1], [0, 0, 0]]


@pytest.mark.parametrize(
    "sets",
    [
        pandas.Series([["b", "a"], ["a"]]),
        np.array([["b", "a"], ["a", "a"]]),
        [np.array(["b", "a"]), np.array(["a"])],
    ],
)
def test_columns_of_lists(sets):
    store = ManifestationStore.from_sets(sets)
    assert store.bit_names == ("a", "b")
    assert store.to_dense().tolist() == [[True, True], [True, False]]


@pytest.mark.parametrize(
    ("sets", "vocabulary", "error", "message"),
    [
        (["edema", "effusion"], None, InvalidTypeError, r"sets\[0\] must be a list of tags.*the text 'edema'"),
        ("edema", None, InvalidTypeError, "sets must be one list of tags"),
        ([["a"], b"b"], None, InvalidTypeError, r"sets\[1\] must be a list"),
        ([["a"], None], None, InvalidTypeError, r"sets\[1\] must be a list of tags; one without tags is \[\]; got None"),
        ([["a"], np.nan], None, InvalidTypeError, r"sets\[1\] must .* got nan"),
        ([["a"], 3], None, InvalidTypeError, r"sets\[1\] must .* got 3"),
        ([{"a": 1}], None, InvalidTypeError, r"sets\[0\] must .* got {'a': 1}"),
        ({"a": ["b"]}, None, InvalidTypeError, "sets must be one list"),
        (None, None, InvalidTypeError, "sets must be one list of tags for each instance; got None"),
        (np.eye(3, dtype=int), None, InvalidTypeError, r"shape \(3, 3\) and dtype int64.*from_dense"),
        (np.eye(3, dtype=bool), None, InvalidTypeError, "dtype bool"),
        (torch.eye(3).int(), None, InvalidTypeError, "dtype int32"),
        ([["a", None]], None, InvalidValueError, r"None in sets\[0\] is missing"),
        ([["a"], ["a", np.nan]], None, InvalidValueError, r"nan in sets\[1\] is missing"),
        ([["a", 1.5]], None, InvalidTypeError, r"1.5 in sets\[0\] is neither a text nor an integer"),
        ([["a", True]], None, InvalidTypeError, "True"),
        ([["a", ["b"]]], None, InvalidTypeError, r"\['b'\] in sets\[0\]"),
        ([["a", pandas.NA]], None, InvalidValueError, r"<NA> in sets\[0\] is missing"),
        ([["a", pandas.NaT]], None, InvalidValueError, r"NaT in sets\[0\] is missing"),
        ([["a", np.zeros(2)]], None, InvalidTypeError, r"in sets\[0\] is neither"),
        ([["a"], [7]], None, InvalidTypeError, r"texts \['a'\] and the integers \[7\]"),
        ([["a"]], ["b", 7, "a"], InvalidTypeError, "all texts or all integers"),
        ([], None, InvalidValueError, "at least one instance and one tag; got 0 sets"),
        ([[], []], None, InvalidValueError, "got 2 sets of 0 tags"),
        ([["a"]], [], InvalidValueError, r"sets\[0\] has 'a', which is not in vocabulary"),
        ([[]], [], InvalidValueError, "1 sets of 0 tags"),
        ([["b"], ["a", "x"]], ["a", "b"], InvalidValueError, r"sets\[1\] has 'x'"),
        ([["a"]], ["a", "b", "a"], InvalidValueError, "vocabulary has 'a' twice"),
        ([["a"]], {"a"}, InvalidTypeError, "in order; got a set"),
        ([["a"]], "a", InvalidTypeError, "vocabulary must be a list of tags"),
        ([["a"]], ["a", None], InvalidValueError, "None in vocabulary is missing"),
        ([range(65_536)], None, InvalidValueError, "at most 65535 bits; the sets have 65536"),
    ],
)  # fmt: skip
def test_bad_sets(sets, vocabulary, error, message):
    with pytest.raises(error, match=message):
        ManifestationStore.from_sets(sets, vocabulary=vocabulary)
