"""Several proxies at once: stores of the same instances whose distances add up."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maninegs_sampling.data.bit_layout import has_known_bits, with_known_bits
from maninegs_sampling.data.blocks import patterns_in_blocks
from maninegs_sampling.data.patterns import LARGEST_BITS, pack
from maninegs_sampling.data.repeated_bits import repeated_names
from maninegs_sampling.data.store import ManifestationStore, check_store
from maninegs_sampling.errors import InvalidTypeError, InvalidValueError, check_count
from maninegs_sampling.quoting import quoted


def combine_stores(
    stores: Sequence[ManifestationStore], *, weights: Sequence[int] | None = None
) -> ManifestationStore:
    """Return one store whose distances are the weighted sums of the distances in several stores.

    Row i of every store is the same instance. Each store's bits are repeated as often as its weight
    says, so that sums are exact, and samplers and reports take the result as any other store.

    Args:
        stores: one or more stores of the same number of instances.
        weights: a whole number of at least 1 for each store; by default all are 1. Only their
            ratios matter to which instances are near: for 0.7 : 0.3 pass [7, 3].

    Returns:
        The store. Names of bits begin with the number of their store, as in "0: mass"; a bit
        without a name is "1: bit 17". Repeated bits are named "0: mass (2 of 3)". If a store says
        which of its bits are known (`missing="masked"` of `Schema`), so does the result, in its
        second half; bits of the other stores are known everywhere.

    Raises:
        InvalidValueError: If there are no stores, they differ in the number of instances, there is
            not one weight for each, a weight is below 1, or there are more than 65,535 bits.
        InvalidTypeError: If one of them is not a store, or a weight is not a whole number.

    Example:
        >>> traits = ManifestationStore.from_dense([[1, 0], [0, 1]], ["mass", "halo"])
        >>> signs = ManifestationStore.from_dense([[1], [0]])
        >>> combine_stores([traits, signs], weights=[2, 1]).bit_names
        ('0: mass', '0: halo', '0: mass (2 of 2)', '0: halo (2 of 2)', '1: bit 0')
    """
    stores = _checked_stores(stores)
    times = [1] * len(stores) if weights is None else _checked_weights(weights, len(stores))
    proxies = [_Proxy(*each) for each in zip(stores, times, strict=True)]
    n_values = sum(proxy.times * proxy.n_values for proxy in proxies)
    halves = (0, 1) if any(proxy.masked for proxy in proxies) else (0,)
    n_bits = len(halves) * n_values
    if n_bits > LARGEST_BITS:
        parts = " + ".join(f"{proxy.times} x {proxy.n_values}" for proxy in proxies)
        known = ", and as many that say which are known" if len(halves) > 1 else ""
        raise InvalidValueError(
            f"a store has at most {LARGEST_BITS} bits; got {n_bits}: {parts}{known}"
        )

    def packed_rows(begin: int, end: int) -> NDArray[np.uint64]:
        words = np.zeros((end - begin, -(-n_bits // 64)), np.uint64)
        bit = 0
        for half in halves:
            for proxy in proxies:
                own = proxy.half(half, begin, end)
                for _ in range(proxy.times):
                    _write_bits(words, bit, own)
                    bit += proxy.n_values
        return words

    words, pattern_of = patterns_in_blocks(len(stores[0]), n_bits, packed_rows)
    names = [name for i, proxy in enumerate(proxies) for name in proxy.names(i)]
    all_names = with_known_bits(names) if len(halves) > 1 else tuple(names)
    return ManifestationStore._of(words, pattern_of, n_bits, all_names)


class _Proxy:
    """One of the stores, and how often its bits are repeated."""

    def __init__(self, store: ManifestationStore, times: int) -> None:
        self.store, self.times = store, times
        self.masked = has_known_bits(store.bit_names)
        self.n_values = store.n_bits // 2 if self.masked else store.n_bits

    def half(self, number: int, begin: int, end: int) -> NDArray[np.uint64]:
        """Return the values of some rows, number=0, or which of them are known, number=1."""
        if number == 1 and not self.masked:
            return pack(np.ones((1, self.n_values), np.bool_))
        words = self.store.words[self.store.pattern_of[begin:end]]
        return _read_bits(words, number * self.n_values, self.n_values)

    def names(self, number: int) -> tuple[str, ...]:
        """Return the names of the values in the combined store."""
        own = self.store.bit_names or [f"bit {bit}" for bit in range(self.n_values)]
        return repeated_names([f"{number}: {name}" for name in own[: self.n_values]], self.times)


def _read_bits(words: NDArray[np.uint64], bit: int, n_bits: int) -> NDArray[np.uint64]:
    """Return `n_bits` bits of rows, from `bit` on, as rows of words."""
    word, shift = divmod(bit, 64)
    own: NDArray[np.uint64] = words[:, word:] >> np.uint64(shift)
    if shift > 0:
        own[:, :-1] |= words[:, word + 1 :] << np.uint64(64 - shift)
    own = own[:, : -(-n_bits // 64)]
    own[:, -1] &= np.uint64((1 << ((n_bits - 1) % 64 + 1)) - 1)
    return own


def _write_bits(words: NDArray[np.uint64], bit: int, own: NDArray[np.uint64]) -> None:
    """Set the bits of rows, from `bit` on, to those of `own`; they must be 0 before."""
    word, shift = divmod(bit, 64)
    n_words = own.shape[1]
    words[:, word : word + n_words] |= own << np.uint64(shift)
    if shift > 0:
        over = own[:, : words.shape[1] - word - 1] >> np.uint64(64 - shift)
        words[:, word + 1 : word + 1 + n_words] |= over


def _checked_stores(stores: Any) -> list[ManifestationStore]:
    """Return `stores` as a list, or raise unless they are stores of the same instances."""
    if isinstance(stores, ManifestationStore) or not isinstance(stores, Iterable):
        raise InvalidTypeError(f"stores must be a sequence of stores; got {quoted(stores)}")
    listed = [check_store(f"stores[{i}]", store) for i, store in enumerate(stores)]
    if not listed:
        raise InvalidValueError("combine_stores needs at least one store")
    for i, store in enumerate(listed):
        if len(store) != len(listed[0]):
            raise InvalidValueError(
                f"stores must be of the same instances; stores[0] has {len(listed[0])} and "
                f"stores[{i}] {len(store)}; concat_stores takes stores of different instances"
            )
    return listed


def _checked_weights(weights: Any, n_stores: int) -> list[int]:
    """Return `weights` as integers, or raise unless each store has one of at least 1."""
    if isinstance(weights, (str, bytes)) or not isinstance(weights, Iterable):
        raise InvalidTypeError(f"weights must be a list of whole numbers; got {quoted(weights)}")
    listed = list(weights)
    if len(listed) != n_stores:
        raise InvalidValueError(
            f"there must be one weight for each of the {n_stores} stores; got {quoted(listed)}"
        )
    try:
        return [check_count(f"weights[{i}]", w, at_least=1) for i, w in enumerate(listed)]
    except InvalidTypeError as error:
        raise InvalidTypeError(
            f"{error}. Bits are repeated so many times: for 0.7 : 0.3 pass [7, 3]"
        ) from None
