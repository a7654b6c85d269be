import pytest

from maninegs_sampling import (
    Constant,
    CosineAnnealing,
    ExponentialAnnealing,
    LinearAnnealing,
    ManiNegError,
    StepwiseAnnealing,
)
from maninegs_sampling.schedules import as_schedule


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
    ],
)
def test_errors(make, message):
    with pytest.raises(ManiNegError, match=message):
        make()
