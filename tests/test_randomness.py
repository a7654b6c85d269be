import numpy as np
import pytest
from scipy.stats import chisquare, pearsonr

from maninegs_sampling import ManiNegError
from maninegs_sampling.randomness import BATCHES, check_seed, generator_at
from maninegs_sampling.sampling import _stream


def started_stream(seed, purpose, position):
    stream = np.zeros(_stream.STREAM_WORDS, np.uint64)
    _stream.start_stream(stream, *(np.uint64(k) for k in (seed, purpose, *position)))
    return stream


def kernel_words(seed, purpose, position, n):
    stream = started_stream(seed, purpose, position)
    return [int(_stream.next_word(stream)) for _ in range(n)]


@pytest.mark.parametrize("seed", [0, 1, 2**32, 2**64 - 1])
@pytest.mark.parametrize("position", [(0, 0, 0), (1, 2, 3), (2**64 - 1, 2**63, 7)])
def test_the_kernel_draws_numpys_philox(seed, position):
    raw = generator_at(seed, BATCHES, position).bit_generator.random_raw(23)
    assert kernel_words(seed, BATCHES, position, 23) == raw.tolist()


def test_neighbouring_names_are_unrelated_streams():
    names = [(s, p, (b, e, r)) for s in (0, 1) for p in (1, 2) for b in (0, 1) for e in (0, 1) for r in (0, 1)]  # fmt: skip
    words = [kernel_words(*name, 400) for name in names]
    assert len({word for stream in words for word in stream}) == 400 * len(names)
    for a in range(len(words)):
        for b in range(a):
            assert pearsonr(words[a], words[b]).pvalue > 1e-6


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 100])
def test_random_below_is_uniform(limit):
    stream = started_stream(5, 2, (0, 0, 0))
    drawn = [_stream.random_below(stream, limit) for _ in range(20_000)]
    counts = np.bincount(drawn, minlength=limit)
    assert len(counts) == limit
    assert limit == 1 or chisquare(counts).pvalue > 1e-4


def test_random_unit_lies_in_its_interval():
    stream = started_stream(5, 2, (0, 0, 0))
    drawn = np.array([_stream.random_unit(stream) for _ in range(20_000)])
    assert drawn.min() >= 0
    assert drawn.max() < 1
    assert chisquare(np.histogram(drawn, bins=50, range=(0, 1))[0]).pvalue > 1e-4


@pytest.mark.parametrize(
    ("seed", "message"), [(-1, "at least 0"), (2**64, "below"), (0.5, "whole")]
)
def test_bad_seeds(seed, message):
    with pytest.raises(ManiNegError, match=message):
        check_seed(seed)
