"""The shared checks can fail."""

import numpy as np
import pytest

from maninegs_sampling import ManiNegBatchSampler
from tests.conftest import random_store
from tests.laws import assert_follows_law, assert_resumes


def test_a_right_law_passes():
    drawn = np.random.default_rng(0).choice(3, 10_000, p=[0.5, 0.3, 0.2]).tolist()
    assert_follows_law(drawn, {0: 0.5, 1: 0.3, 2: 0.2})


def test_a_slightly_wrong_law_fails():
    drawn = np.random.default_rng(0).choice(3, 10_000, p=[0.5, 0.3, 0.2]).tolist()
    with pytest.raises(AssertionError, match="p ="):
        assert_follows_law(drawn, {0: 0.47, 1: 0.33, 2: 0.2})


def test_an_impossible_outcome_fails():
    with pytest.raises(AssertionError, match="impossible"):
        assert_follows_law([0, 0, 1], {0: 1.0})


def test_a_pooled_rare_outcome_that_is_too_frequent_fails():
    law = {0: 0.999, 1: 0.0005, 2: 0.0005}
    with pytest.raises(AssertionError, match="p ="):
        assert_follows_law([0] * 12_000 + [1] * 40, law)


class Forgetful(ManiNegBatchSampler):
    """Loses its position."""

    def load_state_dict(self, state):
        super().load_state_dict({**state, "position": 0})


class Repeating(ManiNegBatchSampler):
    """Resumes one batch too early."""

    def load_state_dict(self, state):
        super().load_state_dict({**state, "position": max(0, state["position"] - 1)})


@pytest.mark.parametrize("wrong", [Forgetful, Repeating])
def test_a_sampler_that_resumes_wrongly_fails(wrong):
    store = random_store(40, 12)
    with pytest.raises(AssertionError, match="stopped in epoch"):
        assert_resumes(lambda: wrong(store, batch_size=4, mu=3.0))
