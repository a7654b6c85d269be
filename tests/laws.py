"""Checks shared by the tests. `test_laws.py` feeds each of them a wrong answer."""

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any

from scipy.stats import chi2

# Seeds are fixed, so a test passes or fails for good. A right implementation fails a fresh seed
# with this probability.
FAILURE_RATE = 1e-4


def assert_follows_law(
    observed: Iterable[Hashable], law: Mapping[Hashable, float], failure_rate: float = FAILURE_RATE
) -> None:
    """Assert that outcomes occur as often as `law` says, by a chi-square test.

    Outcomes expected fewer than 5 times are pooled. An outcome of probability 0 fails at once.
    """
    counts = Counter(observed)
    n = sum(counts.values())
    assert abs(sum(law.values()) - 1) < 1e-9, "the law does not sum to 1"
    impossible = [outcome for outcome in counts if law.get(outcome, 0.0) <= 0.0]
    assert not impossible, f"drawn, but impossible: {impossible[:3]}"
    seen, expected = [], []
    rest_seen, rest_expected = 0, 0.0
    for outcome, probability in law.items():
        if n * probability >= 5:
            seen.append(counts[outcome])
            expected.append(n * probability)
        else:
            rest_seen += counts[outcome]
            rest_expected += n * probability
    if rest_expected >= 5 or not expected:
        seen.append(rest_seen)
        expected.append(rest_expected)
    elif rest_expected > 0:
        smallest = expected.index(min(expected))
        seen[smallest] += rest_seen
        expected[smallest] += rest_expected
    if len(expected) > 1:
        statistic = sum((s - e) ** 2 / e for s, e in zip(seen, expected, strict=True))
        p_value = chi2.sf(statistic, len(seen) - 1)
        assert p_value > failure_rate, f"p = {p_value:.2g} over {len(seen)} cells, n = {n}"


def assert_resumes(make: Callable[[], Any], epochs: int = 3) -> None:
    """Assert that stopping and resuming from a state yields what an uninterrupted run yields.

    Stops at the start, in the middle and at the end of the first and of the second epoch, and
    twice within one epoch.
    """
    whole = make()
    length = len(whole)
    expected = [list(whole) for _ in range(epochs)]
    for epoch in range(2):
        for stop in {0, 1, length // 2, length - 1, length}:
            first = make()
            got: list[list[Any]] = [list(first) for _ in range(epoch)]
            iterator = iter(first)
            got.append([next(iterator) for _ in range(stop)])
            state = first.state_dict()
            for second_stop in (0, (length - stop) // 2):
                second = make()
                second.load_state_dict(state)
                part = [list(b) for b in got]
                iterator = iter(second)
                if stop < length:
                    part[-1] += [next(iterator) for _ in range(second_stop)]
                third = make()
                third.load_state_dict(second.state_dict())
                if stop < length:
                    part[-1] += list(third)
                part += [list(third) for _ in range(epochs - len(part))]
                assert part == expected, f"stopped in epoch {epoch} after {stop} + {second_stop}"
