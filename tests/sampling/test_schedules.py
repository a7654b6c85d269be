import numpy as np
import pytest
import torch

from maninegs_sampling import (
    Constant,
    CosineAnnealing,
    ExponentialAnnealing,
    LinearAnnealing,
    ManiNegError,
    StepwiseAnnealing,
)
from maninegs_sampling.sampling.schedules import as_schedule


@pytest.mark.parametrize("schedule", [LinearAnnealing(11, 0, 4500), CosineAnnealing(11, 0, 4500)])
def test_annealing_falls_from_start_to_end_and_stays(schedule):
    values = [schedule(step) for step in range(0, 9001, 100)]
    assert values[0] == 11
    assert values == sorted(values, reverse=True)
    assert schedule(4499) > 0
    assert schedule(4500) == schedule(4501) == schedule(10**9) == 0


def test_annealing_may_rise():
    assert [LinearAnnealing(0, 4, 4)(step) for step in range(6)] == [0, 1, 2, 3, 4, 4]


def test_exponential_halves_the_gap():
    schedule = ExponentialAnnealing(9, 1, half_life=10)
    assert [schedule(step) for step in (0, 10, 20)] == [9, 5, 3]


def test_stepwise_holds_between_readings():
    schedule = StepwiseAnnealing(lambda step: float(step), every=30)
    assert [schedule(step) for step in (0, 29, 30, 59, 60)] == [0, 0, 30, 30, 60]


def test_numbers_become_constants_and_callables_stay():
    assert as_schedule(3) == Constant(3.0)
    schedule = LinearAnnealing(1, 0, 2)
    assert as_schedule(schedule) is schedule


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LinearAnnealing(1, 0, 0), "steps must be at least 1"),
        (lambda: LinearAnnealing(float("nan"), 0, 1), "start must be finite"),
        (lambda: CosineAnnealing(1, float("inf"), 1), "end must be finite"),
        (lambda: ExponentialAnnealing(1, 0, half_life=0), "half_life must be positive"),
        (lambda: StepwiseAnnealing(3.0, every=2), "schedule must be callable"),
        (lambda: StepwiseAnnealing(Constant(1), every=0), "every must be at least 1"),
        (lambda: Constant(float("nan")), "value must be finite"),
        (lambda: as_schedule("linear"), "mu must be a number or a callable"),
        (lambda: as_schedule(True), "mu must be a number or a callable"),
        (lambda: as_schedule(None), "mu must be a number or a callable .* got None"),
        (lambda: as_schedule(np.True_), "mu must be a number or a callable"),
        (lambda: as_schedule(torch.tensor(True)), "mu must be a number or a callable"),
        (lambda: as_schedule([1.0, 2.0]), "mu must be a number or a callable"),
        (lambda: as_schedule(np.ones(2)), "mu must be a number or a callable"),
        (lambda: as_schedule(1j), "mu must be a number or a callable"),
        (lambda: as_schedule(float("nan")), "mu must be finite"),
        (lambda: as_schedule(1e7), r"mu must be finite and within \+-1e\+06; got 1"),
        (lambda: Constant("a"), "value must be a number; got 'a'"),
        (lambda: Constant(None), "value must be a number; got None"),
        (lambda: Constant(True), "value must be a number; got True"),
        (lambda: Constant(1j), "value must be a number; got 1j"),
        (lambda: LinearAnnealing("a", 0, steps=3), "start must be a number; got 'a'"),
        (lambda: LinearAnnealing("3", 0, steps=3), "start must be a number; got '3'"),
        (lambda: LinearAnnealing(3, 10**400, steps=3), "end must be finite"),
        (lambda: LinearAnnealing(3, 1e7, steps=3), "end must be finite and within"),
        (lambda: LinearAnnealing(3, 0, steps=3.0), "steps must be a whole number; got 3.0"),
        (lambda: LinearAnnealing(3, 0, steps="3"), "steps must be a whole number; got '3'"),
        (lambda: CosineAnnealing(None, 0, steps=3), "start must be a number; got None"),
        (lambda: CosineAnnealing(1, np.ones(2), steps=3), "end must be a number; got array"),
        (lambda: ExponentialAnnealing(1, 0, half_life="x"), "half_life must be a number; got 'x'"),
        (lambda: ExponentialAnnealing(1, 0, half_life=None), "half_life must be a number; got None"),
        (lambda: ExponentialAnnealing(1, 0, half_life=-1.0), "half_life must be positive; got -1.0"),
        (lambda: ExponentialAnnealing(1, 0, half_life=float("nan")), "half_life must be"),
        (lambda: ExponentialAnnealing(1, 0, half_life=float("inf")), "half_life must be"),
        (lambda: ExponentialAnnealing(1, "0", half_life=1), "end must be a number; got '0'"),
        (lambda: StepwiseAnnealing(Constant(1), every=1.5), "every must be a whole number; got 1.5"),
        (lambda: StepwiseAnnealing(Constant(1), every=None), "every must be a whole number; got None"),
    ],
)  # fmt: skip
def test_errors(make, message):
    with pytest.raises(ManiNegError, match=message):
        make()


@pytest.mark.parametrize("kind", [int, np.float32, np.int64, np.array, torch.tensor])
def test_numbers_of_any_kind_are_kept_as_pythons_own(kind):
    twins = [
        (Constant(kind(3)), Constant(3.0)),
        (LinearAnnealing(kind(3), kind(0), np.int64(9)), LinearAnnealing(3.0, 0.0, 9)),
        (CosineAnnealing(kind(3), kind(0), np.uint8(9)), CosineAnnealing(3.0, 0.0, 9)),
        (
            ExponentialAnnealing(kind(3), kind(0), kind(9)),
            ExponentialAnnealing(3.0, 0.0, half_life=9.0),
        ),
        (
            StepwiseAnnealing(as_schedule(kind(3)), every=np.int64(9)),
            StepwiseAnnealing(Constant(3.0), every=9),
        ),
        (as_schedule(kind(3)), Constant(3.0)),
    ]
    for made, expected in twins:
        assert made == expected
        assert hash(made) == hash(expected)
        assert repr(made) == repr(expected)


@pytest.mark.parametrize(
    "schedule",
    [
        Constant(3),
        LinearAnnealing(11, 0, 2**40),
        CosineAnnealing(11, 0, 300),
        ExponentialAnnealing(11, 0, half_life=7),
        StepwiseAnnealing(LinearAnnealing(11, 0, 300), every=200),
        StepwiseAnnealing(LinearAnnealing(11, 0, 300), every=1000),
        StepwiseAnnealing(lambda step: [11, 7, 3][step // 100], every=100),
    ],
    ids=lambda schedule: type(schedule).__name__,
)
@pytest.mark.parametrize("kind", [np.uint8, np.int32, np.int64, np.array, torch.tensor])
def test_steps_of_any_integer_kind(schedule, kind):
    for step in (0, 7, 250):
        value = schedule(kind(step))
        assert type(value) is float
        assert value == schedule(step)
