"""Work on threads, some of it at a time."""

import threading

import pytest

from maninegs_sampling.threads import map_on_threads, thread_count


def test_results_come_in_order_and_few_items_are_taken_ahead():
    taken, begun = [], threading.Event()

    def items():
        for item in range(50):
            taken.append(item)
            yield item

    def work(item):
        if item == 0:
            begun.wait(30)  # others finish first
        else:
            begun.set()
        return -item

    running = threading.active_count()
    for number, result in enumerate(map_on_threads(work, items())):
        assert result == -number
        assert len(taken) <= number + 1 + thread_count()
    assert threading.active_count() == running
    assert list(map_on_threads(work, [])) == []


def test_an_error_of_the_work_or_of_the_items_is_raised_after_the_results_before_it():
    def items():
        yield from (1, 2, 0)
        yield from (1,) * (2 * thread_count())
        raise OSError("no more")

    results = map_on_threads(lambda item: 6 // item, items())
    assert [next(results), next(results)] == [6, 3]
    with pytest.raises(ZeroDivisionError):
        next(results)
    results = map_on_threads(lambda item: item, items())
    with pytest.raises(OSError, match="no more"):
        list(results)


def test_threads_end_with_the_iterator():
    running = threading.active_count()
    results = map_on_threads(lambda item: item, range(100))
    next(results)
    results.close()
    assert threading.active_count() == running
