"""Few combinations of options in which all values of any few of them meet."""

import itertools
from typing import Any


def covering(factors: dict[str, tuple[Any, ...]], strength: int) -> list[dict[str, Any]]:
    """Return combinations such that any `strength` options take all their values together.

    Greedy: each next combination is the one in which most of what is missing occurs.
    """
    numbers = [range(len(values)) for values in factors.values()]
    parts = {
        combination: set(itertools.combinations(enumerate(combination), strength))
        for combination in itertools.product(*numbers)
    }
    missing = set().union(*parts.values())
    chosen = []
    while missing:
        best = max(parts, key=lambda combination: len(parts[combination] & missing))
        missing -= parts[best]
        chosen.append(best)
    return [
        {name: values[k] for (name, values), k in zip(factors.items(), combination, strict=True)}
        for combination in chosen
    ]
