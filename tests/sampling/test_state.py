"""States: what schedules do is compared, not how they are written."""

import functools
import json
import subprocess
import sys

import numpy as np
import pytest

from maninegs_sampling import (
    Constant,
    CosineAnnealing,
    LinearAnnealing,
    ManiNegBatchSampler,
    ManiNegError,
    StepwiseAnnealing,
)
from tests.conftest import random_store

STORE = random_store(64, 12)


def sampler_of(mu, **options):
    return ManiNegBatchSampler(STORE, **{"batch_size": 4, "mu": mu, **options})


def falling(slope, step):
    return 8.0 - slope * step


class Curve:
    def __init__(self, slope):
        self.slope = slope

    def __call__(self, step):
        return falling(self.slope, step)


def state_after(sampler, batches):
    for _ in zip(range(batches), sampler, strict=False):
        pass
    return sampler.state_dict()


SAME = {
    "partial": lambda: functools.partial(falling, 0.1),
    "object": lambda: Curve(0.1),
    "lambda": lambda: lambda step: falling(0.1, step),
    "stepwise function": lambda: StepwiseAnnealing(functools.partial(falling, 0.1), every=4),
    "numpy": lambda: lambda step: np.float32(falling(0.5, step)),
    "integers": lambda: LinearAnnealing(9, 0, steps=40),
    "built in": lambda: CosineAnnealing(9, 0, steps=40),
}


@pytest.mark.parametrize("name", SAME)
@pytest.mark.parametrize("stop", [0, 1, 7, 16])
def test_a_schedule_made_again_resumes(name, stop):
    sampler = sampler_of(SAME[name]())
    state = json.loads(json.dumps(state_after(sampler, stop)))
    again = sampler_of(SAME[name]())
    again.load_state_dict(state)
    expected = [again.batch(k, epoch=stop // 16) for k in range(stop % 16, 16)]
    assert list(again) == expected


@pytest.mark.parametrize(
    ("made", "loaded"),
    [
        (Curve(0.1), Curve(0.2)),
        (lambda step: 3.0, lambda step: 3.0 if step < 9 else 2.0),
        (functools.partial(falling, 0.1), LinearAnnealing(8, 0, steps=81)),
        (LinearAnnealing(9, 0, steps=40), LinearAnnealing(9, 0, steps=41)),
        (LinearAnnealing(9, 0, steps=10**6), LinearAnnealing(9, 0, steps=10**6 + 1)),
        (LinearAnnealing(9, 0, steps=40), CosineAnnealing(9, 0, steps=40)),
        (StepwiseAnnealing(Curve(0.1), every=4), StepwiseAnnealing(Curve(0.1), every=5)),
        (Curve(0.1), [8.0].__getitem__),
    ],
)
def test_a_schedule_that_does_something_else_is_refused(made, loaded):
    state = state_after(sampler_of(made), 12)
    with pytest.raises(ManiNegError, match="the state was made with mu="):
        sampler_of(loaded).load_state_dict(state)


def test_numbers_written_in_two_ways_are_one_schedule():
    state = state_after(sampler_of(LinearAnnealing(3, 0, steps=50)), 5)
    sampler_of(LinearAnnealing(3.0, 0.0, steps=50)).load_state_dict(state)
    state = state_after(sampler_of(3), 5)
    for same in (3.0, np.float32(3), np.int64(3), Constant(3), lambda step: 3.0):
        sampler_of(same).load_state_dict(state)


def test_a_state_of_another_process_is_taken(tmp_path):
    script = """
import json
from tests.sampling.test_state import Curve, sampler_of, state_after
print(json.dumps(state_after(sampler_of(Curve(0.1)), 6)))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    again = sampler_of(Curve(0.1))
    again.load_state_dict(json.loads(done.stdout))
    assert next(iter(again)) == again.batch(6)


def test_a_schedule_is_not_asked_beyond_the_steps_that_were_drawn():
    asked = []

    def schedule(step):
        asked.append(step)
        return 3.0

    sampler = sampler_of(schedule)
    state = state_after(sampler, 10)
    again = sampler_of(schedule)
    again.load_state_dict(state)
    assert max(asked) == 9


@pytest.mark.parametrize(
    "mu",
    [
        None, 3, [], {}, {"name": None, "steps": [0], "values": []},
        {"name": 3, "steps": [0], "values": [2.0]},
        {"name": None, "steps": [-1], "values": [2.0]},
        {"name": None, "steps": [2**70], "values": [2.0]},
        {"name": None, "steps": ["0"], "values": [2.0]},
        {"name": None, "steps": [0], "values": [float("nan")]},
        {"name": None, "steps": [0] * 200, "values": [2.0] * 200},
        {"name": None, "steps": [0], "values": [np.ones(2)]},
    ],
)  # fmt: skip
def test_what_is_no_fingerprint_of_a_schedule_is_refused(mu):
    sampler = sampler_of(2.0)
    state = sampler.state_dict()
    state["fingerprint"] = state["fingerprint"] | {"mu": mu}
    with pytest.raises(ManiNegError, match="the state does not say what mu was"):
        sampler.load_state_dict(state)


@pytest.mark.parametrize("name", ["seed", "sigma", "batch_size", "batches_per_epoch"])
@pytest.mark.parametrize("value", [np.ones(3), [1], {"a": 1}, "x", None, 2**80])
def test_anything_in_a_fingerprint_is_compared_or_refused(name, value):
    sampler = sampler_of(2.0)
    state = sampler.state_dict()
    state["fingerprint"] = state["fingerprint"] | {name: value}
    with pytest.raises(ManiNegError, match=f"the state was made with {name}="):
        sampler.load_state_dict(state)


def test_other_indices_are_refused():
    state = sampler_of(2.0, indices=range(40)).state_dict()
    sampler_of(2.0, indices=range(40)).load_state_dict(state)
    for indices in (None, range(41), range(1, 41)):
        with pytest.raises(ManiNegError, match="the state was made with"):
            sampler_of(2.0, indices=indices).load_state_dict(state)


def test_a_table_of_the_steps_that_are_drawn_is_enough_for_a_state():
    table = dict.fromkeys([0, *range(48, 64)], 3.0)
    sampler = sampler_of(table.__getitem__)
    sampler.set_epoch(3)
    state = sampler.state_dict()
    list(sampler)
    again = sampler_of(table.__getitem__)
    again.load_state_dict(sampler.state_dict())
    again.load_state_dict(state)
    assert list(again) == [again.batch(k, epoch=3) for k in range(16)]


def test_options_that_are_a_kind_of_text_are_kept_as_plain_text():
    sampler = sampler_of(2.0, empty=np.str_("nearest"), shard=np.str_("batches"))
    assert {type(sampler.empty), type(sampler.shard)} == {str}
