"""Bits that are repeated, so that what they say counts several times in every distance."""

import re
from collections import Counter, defaultdict
from collections.abc import Sequence

_REPEATED = re.compile(r"(.*) \(([1-9][0-9]{0,4}) of ([1-9][0-9]{0,4})\)", re.DOTALL)


def repeated_names(names: Sequence[str], times: int) -> tuple[str, ...]:
    """Return the names of bits that are repeated: all of them in order, then all of them again.

    The first of equal bits keeps its name. Bits that `names` repeats already are counted anew.

    Example:
        >>> repeated_names(["mass", "halo"], 2)
        ('mass', 'halo', 'mass (2 of 2)', 'halo (2 of 2)')
        >>> repeated_names(["mass", "mass (2 of 2)"], 2)
        ('mass', 'mass (2 of 4)', 'mass (3 of 4)', 'mass (4 of 4)')
    """
    first = first_bits(names) * times
    of_each, so_far = Counter(first), Counter[int]()
    made = []
    for bit in first:
        so_far[bit] += 1
        number = f" ({so_far[bit]} of {of_each[bit]})" if so_far[bit] > 1 else ""
        made.append(names[bit] + number)
    return tuple(made)


def first_bits(names: Sequence[str]) -> list[int]:
    """Return (B,) the bit that each bit repeats; a bit that repeats none is its own.

    Bits are repeated if their names say so, as those of `repeated_names` do, and none is missing.

    Example:
        >>> first_bits(["mass", "halo", "mass (2 of 2)", "dose (2 of 2)"])
        [0, 1, 0, 3]
    """
    place = {name: bit for bit, name in enumerate(names)}
    repeated = defaultdict[tuple[int, int], dict[int, int]](dict)
    for bit, name in enumerate(names):
        found = _REPEATED.fullmatch(name)
        if found is not None and found[1] in place:
            repeated[place[found[1]], int(found[3])][int(found[2])] = bit
    first = list(range(len(names)))
    if len(place) < len(names):
        return first  # names that several bits share do not tell which bit is meant
    for (original, times), bits in repeated.items():
        if set(bits) == set(range(2, times + 1)):
            for bit in bits.values():
                first[bit] = original
    return first


def distinct_bits(names: Sequence[str]) -> dict[int, str]:
    """Return the bits that repeat no other, each with its name and how many bits repeat it.

    Example:
        >>> distinct_bits(["mass", "halo", "mass (2 of 2)"])
        {0: 'mass, 2 bits', 1: 'halo'}
    """
    times = Counter(first_bits(names))
    return {bit: names[bit] + (f", {n} bits" if n > 1 else "") for bit, n in times.items()}
