"""Nearest patterns against the slow search, and the lists that users bring."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from maninegs_sampling import ManifestationStore, ManiNegError
from maninegs_sampling.sampling.peers.neighbors import (
    find_neighbors,
    listed_neighbors,
    nearest_patterns,
)
from tests.conftest import bit_matrices, random_store
from tests.sampling.peers import naive


@given(bits=bit_matrices(), n_neighbors=st.integers(1, 50), skip=st.integers(0, 5))
def test_nearest_patterns_equal_naive(bits, n_neighbors, skip):
    store = ManifestationStore.from_dense(bits)
    patterns = ManifestationStore.from_dense(bits).to_dense()
    rows = [patterns[np.flatnonzero(store.pattern_of == u)[0]] for u in range(store.n_patterns)]
    found = nearest_patterns(store, n_neighbors, skip_nearest=skip)
    assert found.tolist() == naive.nearest(rows, n_neighbors, skip)


def test_nearest_patterns_beyond_one_tile_and_one_slab():
    store = random_store(5000, 70)
    found = nearest_patterns(store, 10, skip_nearest=3)
    bits = np.unpackbits(store.words.view(np.uint8), axis=1, bitorder="little")[:, :70]
    for u in (0, 63, 64, 2047, 2048, 4999):
        distances = (bits[u] != bits).sum(axis=1)
        distances[u] = 1000
        assert found[u].tolist() == np.argsort(distances, kind="stable")[3:13].tolist()


@st.composite
def lists_and_indices(draw):
    n = draw(st.integers(1, 8))
    row = st.lists(st.integers(0, n - 1), unique=True, max_size=n)
    rows = draw(st.lists(row, min_size=n, max_size=n))
    width = max(1, *map(len, rows)) + draw(st.integers(0, 2))
    filled = [draw(st.permutations(r + [-1] * (width - len(r)))) for r in rows]
    indices = draw(st.none() | st.lists(st.integers(0, n - 1), unique=True, min_size=1))
    return filled, indices


@given(lists_and_indices())
def test_lists_equal_naive(case):
    lists, indices = case
    n = len(lists)
    drawn = list(range(n)) if indices is None else indices
    given_indices = None if indices is None else np.array(indices)
    found = listed_neighbors(lists, n, given_indices)
    expected = naive.listed(lists, drawn)
    assert [row + [-1] * (len(lists[0]) - len(row)) for row in expected] == found.tolist()


def test_lists_in_every_form():
    lists = [[1, 2], [0, 2], [1, -1]]
    for given_lists in (
        lists,
        np.array(lists, np.int32),
        torch.tensor(lists),
        np.array(lists).T.copy().T,
    ):
        assert listed_neighbors(given_lists, 3, None).tolist() == lists
    unsigned = np.array([[1, 2], [0, 2], [1, 0]], np.uint8)
    assert listed_neighbors(unsigned, 3, None).tolist() == unsigned.tolist()


def test_ranks_are_counted_among_the_others_that_may_be_drawn():
    store = ManifestationStore.from_dense(np.eye(5, dtype=bool))
    lists = [[0, 3, 1, 2, 4], [1, 0, 2, 3, 4], [2, 1, 0, 3, 4], [3, 1, 2, 0, 4], [4, 0, 1, 2, 3]]
    indices = np.array([0, 1, 2, 4])
    found = find_neighbors(
        store.subset(indices), lists, n_instances=5, indices=indices, n_neighbors=2, skip_nearest=1
    )
    assert found.nearest.tolist() == [[2, 3], [2, 3], [0, 3], [1, 2]]
    assert found.degrees.tolist() == [2, 2, 2, 2]


@pytest.mark.parametrize(
    ("neighbors", "message"),
    [
        ([[1], [0]], r"neighbors must have the shape \(3, K\).*got shape \(2, 1\)"),
        ([1, 0, 2], r"got shape \(3,\)"),
        (np.zeros((3, 0), int), r"got shape \(3, 0\)"),
        ([[1.0], [0.0], [1.0]], "neighbors must be whole numbers; got float64"),
        ([[True], [True], [False]], "neighbors must be whole numbers; got bool"),
        ([[1], [0], [3]], r"must lie in \[0, 3\).*neighbors\[2, 0\] is 3"),
        ([[1], [-2], [0]], r"neighbors\[1, 0\] is -2"),
        ([[1, 2], [2, 2], [0, 1]], r"neighbors\[1\] names 2 twice"),
        ([[1, 2], [2], [0, 1]], "neighbors must be a rectangular array"),
        ("abc", r"got shape \(\)"),
        (np.ma.masked_array([[1], [0], [1]], mask=[[0], [1], [0]]), "neighbors must be complete"),
    ],
)
def test_lists_that_cannot_be_used(neighbors, message):
    with pytest.raises(ManiNegError, match=message):
        listed_neighbors(neighbors, 3, None)


@pytest.mark.parametrize(
    ("neighbors", "skip", "longest"),
    [(None, 4, 4), (None, 30, 4), ([[-1]] * 5, 0, 0), ([[0], [1], [2], [3], [4]], 0, 0),
     ([[1, 2]] * 5, 2, 2)],
)  # fmt: skip
def test_no_neighbors_left_is_an_error(neighbors, skip, longest):
    store = ManifestationStore.from_dense(np.eye(5, dtype=bool))
    with pytest.raises(
        ManiNegError,
        match=f"skip_nearest={skip} leaves no neighbors: the longest list has {longest}",
    ):
        find_neighbors(
            store, neighbors, n_instances=5, indices=None, n_neighbors=3, skip_nearest=skip
        )
