"""Which bits the traits of a schema become, in order, and their names."""

from collections.abc import Sequence
from typing import Literal

from maninegs_sampling.data.patterns import LARGEST_BITS
from maninegs_sampling.data.repeated_bits import first_bits, repeated_names
from maninegs_sampling.data.traits import Trait
from maninegs_sampling.errors import SchemaError
from maninegs_sampling.quoting import quoted

# What a missing cell becomes; see `Schema`.
Missing = Literal["absent", "option", "masked", "error"]


def own_bits(trait: Trait, missing: Missing) -> int:
    """Return the number of bits of a trait, with that for missing cells, before they repeat."""
    return trait.n_bits + (missing == "option")


def encoded_width(trait: Trait, missing: Missing) -> int:
    """Return `own_bits`, and with missing="masked" as many again, which say what is known."""
    return own_bits(trait, missing) * (2 if missing == "masked" else 1)


def count_bits(traits: Sequence[Trait], missing: Missing) -> int:
    """Return the number of bits that traits become."""
    return sum(encoded_width(trait, missing) * trait.weight for trait in traits)


def bit_names(traits: Sequence[Trait], missing: Missing) -> tuple[str, ...]:
    """Return a name for each bit that traits become; the known bits come last."""
    names: list[str] = []
    for trait in traits:
        of_missing = (f"{trait.name}=missing",) if missing == "option" else ()
        names += repeated_names((*trait.bit_names, *of_missing), trait.weight)
    return with_known_bits(names) if missing == "masked" else tuple(names)


def with_known_bits(names: Sequence[str]) -> tuple[str, ...]:
    """Return names of bits, and those of as many bits that say which of them are known."""
    return (*names, *(f"known: {name}" for name in names))


def has_known_bits(names: Sequence[str] | None) -> bool:
    """Return whether names of bits say that the second half tells which bits are known."""
    if not names:
        return False
    return tuple(names) == with_known_bits(names[: len(names) // 2])


def check_layout(schema_name: str, traits: Sequence[Trait], missing: Missing) -> None:
    """Raise if there are too many bits, or names do not tell which bits are repeated."""
    n_bits = count_bits(traits, missing)
    if n_bits > LARGEST_BITS:
        details = []
        if any(trait.weight > 1 for trait in traits):
            details.append(f"{sum(own_bits(trait, missing) for trait in traits)} without weights")
        if missing == "masked":
            details.append("half of them say which bits are known")
        raise SchemaError(
            f"schema {quoted(schema_name)} has {n_bits} bits"
            f"{' (' + '; '.join(details) + ')' if details else ''}; "
            f"at most {LARGEST_BITS} are allowed"
        )
    names, first = bit_names(traits, missing), list[int]()
    for trait in traits:
        first += [*range(len(first), len(first) + own_bits(trait, missing))] * trait.weight
    first += [len(first) + bit for bit in first] if missing == "masked" else []
    for bit, told in enumerate(first_bits(names)):
        if told != first[bit]:
            raise SchemaError(
                f"schema {quoted(schema_name)} has names that do not tell which bit "
                f"{quoted(names[bit])} repeats; rename its trait or option"
            )
