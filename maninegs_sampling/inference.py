"""Guessing the traits of a table without a schema: one decision a column, with its reason."""

import re

import numpy as np

from maninegs_sampling.traits import Trait, normal_form

_YES_NO = [{"1", "0"}, {"true", "false"}, {"yes", "no"}, {"y", "n"}, {"t", "f"}]
_YES_NO += [{"present", "absent"}]
_IDENTIFIER = re.compile(
    r"(^|[_\s.-])(id|uid|uuid|guid|index|key|path|file|filename)$|^unnamed", re.I
)
_SEPARATORS = ("|", ";", ",", "-")


def _numbers(texts: list[str]) -> list[float] | None:
    """The texts as finite numbers, or None if one is not."""
    try:
        values = [float(text) for text in texts]
    except ValueError:
        return None
    return values if np.isfinite(values).all() else None


def _words(distinct: list[str], max_options: int) -> tuple[str, list[str]] | None:
    """The separator and the words, if the distinct texts are sets of few words."""
    for separator in _SEPARATORS:
        sets = [text.split(separator) for text in distinct]
        words = {normal_form(word): word.strip() for words in sets for word in words}
        # Words that recur across sets make a vocabulary; free text and names do not.
        if (
            any(len(words) > 1 for words in sets)
            and len(words) <= max_options
            and len(words) < len(distinct)
            and "" not in words
        ):
            return separator, sorted(words.values())
    return None


def _infer_trait(
    name: str, texts: list[str], max_options: int, n_bins: int
) -> tuple[Trait | None, str]:
    """The trait that a column becomes, or None, and the reason."""
    present = [text for text in texts if text]
    first_spelling = {normal_form(text): text for text in reversed(present)}
    distinct = list(first_spelling.values())
    if len(distinct) == 0:
        return None, "left out, every cell is missing"
    if len(distinct) == 1:
        return None, f"left out, constant ({distinct[0]!r})"
    if _IDENTIFIER.search(name):
        return None, "left out, its name is that of an identifier"
    if set(first_spelling) in _YES_NO:
        return Trait(name, "flag"), "yes or no: one bit"
    values = _numbers(present)
    if len(distinct) <= max_options:
        options = sorted(distinct, key=float) if values is not None else sorted(distinct)
        if len({float(option) for option in options} if values is not None else options) < len(
            options
        ):
            return None, "left out, the same number is written in two ways"
        return Trait(name, "one_of", tuple(options)), f"{len(options)} options"
    if values is not None:
        whole = all(value.is_integer() for value in values)
        if whole and len(set(values)) == len(values) == max(values) - min(values) + 1:
            return None, "left out, it numbers the rows"
        quantiles = np.quantile(values, np.arange(1, n_bins) / n_bins)
        edges = [float(edge) for edge in np.unique(quantiles) if edge < max(values)]
        if not edges:
            return None, "left out, its quantiles coincide"
        cut = ", ".join(f"{edge:g}" for edge in edges)
        return Trait(
            name, "bins", edges=tuple(edges)
        ), f"number, {len(edges) + 1} bins cut at {cut}"
    found = _words(distinct, max_options=4 * max_options)
    if found is not None:
        separator, words = found
        trait = Trait(name, "any_of", tuple(words), separator=separator)
        return trait, f"sets of {len(words)} words, separated by {separator!r}"
    if len(distinct) > len(present) / 2:
        return None, f"left out, free text or an identifier ({len(distinct)} distinct values)"
    return None, f"left out, {len(distinct)} distinct values are more than {max_options} options"


def infer_traits(
    columns: dict[str, list[str]], *, max_options: int, n_bins: int
) -> tuple[list[Trait], list[str]]:
    """Return the traits of a table's columns, and a note on every column.

    Parameters:
        columns: the cells as texts, "" where missing.
    """
    traits, notes = [], []
    for name, texts in columns.items():
        trait, reason = _infer_trait(name, texts, max_options, n_bins)
        if trait is not None:
            traits.append(trait)
        notes.append(f"{name}: {reason}")
    return traits, notes
