"""One trait of a manifestation: a column of a table and its bits."""

import difflib
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Literal, get_args

import numpy as np

from maninegs_sampling.data.cells import normal_form, number_text
from maninegs_sampling.errors import SchemaError, check_choice, check_count
from maninegs_sampling.quoting import listed, quoted

Kind = Literal["one_of", "any_of", "flag", "bins"]

_TRUE = {"1", "true", "t", "yes", "y", "present"}
_FALSE = {"0", "false", "f", "no", "n", "absent"}

# A trait's bits are repeated at most so many times.
MOST_WEIGHT = 255

# Searching for the closest option takes too long with more options or a longer word.
_MOST_COMPARED, _LONGEST_COMPARED = 1000, 80


@dataclass(frozen=True)
class Trait:
    """One trait: a column of a table and the bits that it becomes.

    Args:
        name: name of the trait and, unless `columns` is given, of its column.
        kind: "one_of": mutually exclusive options, one bit each. "any_of": a set of words such as
            PLEOMORPHIC-PUNCTATE, one bit per word. "flag": one bit. "bins": a number, one bit per
            interval between the edges, which include their upper ends.
        options: for "one_of" and "any_of", the options in the order of their bits. For "flag", the
            words for off and on, of which the second names the bit; by default any yes or no,
            1 or 0.
        edges: for "bins", the edges in ascending order; n edges make n + 1 intervals.
        columns: names that the column may have. The first one in the table is read.
        separator: separator between the words of "any_of".
        synonyms: pairs (word in the table, option it stands for).
        optional: whether a table may lack the column; the trait is then missing in every row.
        ordered: for "one_of" and "bins", whether the options ascend, as grades do. Bit j then says
            "option j or a higher one", so that two options are as many bits apart as there are
            steps between them. By default, any two options are 2 bits apart.
        weight: how much the trait counts, from 1 to 255: a store holds its bits so many times.

    A trait that is no "flag" may also be spread over 0/1 columns, one for each option, named
    "trait=option" as in `option_names`; or, if it is ordered, one for each of its `bit_names`.

    Example:
        >>> Trait("shape", "one_of", options=("round", "irregular")).bit_names
        ('shape=round', 'shape=irregular')
        >>> Trait("age", "bins", edges=(40, 60)).bit_names
        ('age<=40', '40<age<=60', 'age>60')
        >>> Trait("age", "bins", edges=(40, 60), ordered=True).bit_names
        ('age known', 'age>40', 'age>60')
    """

    name: str
    kind: Kind
    options: tuple[str, ...] = ()
    edges: tuple[float, ...] = ()
    columns: tuple[str, ...] = ()
    separator: str = "-"
    synonyms: tuple[tuple[str, str], ...] = ()
    optional: bool = False
    ordered: bool = False
    weight: int = 1

    def __post_init__(self) -> None:
        check_choice(f"kind of trait {quoted(self.name)}", self.kind, get_args(Kind))
        for name in ("options", "edges", "columns"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        object.__setattr__(self, "synonyms", tuple((a, b) for a, b in self.synonyms))
        weight = f"weight of trait {quoted(self.name)}"
        weight_as_int = check_count(weight, self.weight, at_least=1, at_most=MOST_WEIGHT)
        object.__setattr__(self, "weight", weight_as_int)
        problem = self._problem()
        if problem:
            raise SchemaError(f"trait {quoted(self.name)} {problem}")

    def _problem(self) -> str:
        """Return what is wrong with the arguments, or ""."""
        if self.kind in ("one_of", "any_of") and not self.options:
            return "has no options"
        if self.kind == "flag" and len(self.options) not in (0, 2):
            return f"is a flag; its options must be off and on; got {listed(self.options)}"
        if self.kind == "bins" and self.options:
            return f"has bins; it must have edges and no options; got {listed(self.options)}"
        if len({normal_form(option) for option in self.options}) < len(self.options):
            return f"lists an option twice: {listed(self.options)}"
        if self.kind == "any_of" and not self.separator:
            return "needs a separator between its words"
        if self.kind == "bins" and not self.edges:
            return "needs at least one edge between its bins"
        if self.kind != "bins" and self.edges:
            return f"has edges, which only bins have; its kind is {self.kind!r}"
        if not all(a < b for a, b in pairwise(self.edges)):
            return f"has edges that do not ascend: {listed(self.edges)}"
        if not isinstance(self.ordered, bool):
            return f"must be ordered or not, True or False; got ordered={quoted(self.ordered)}"
        if self.ordered and self.kind not in ("one_of", "bins"):
            return f"is ordered, which only one_of and bins can be; its kind is {self.kind!r}"
        options = set(self.options)
        unknown = [option for _, option in self.synonyms if option not in options]
        return f"has synonyms of unknown options: {listed(unknown)}" if unknown else ""

    @property
    def option_names(self) -> tuple[str, ...]:
        """A name for each option or bin; none for a flag."""
        if self.kind == "bins":
            limits = [f"{edge:g}" for edge in self.edges]
            inner = [f"{a}<{self.name}<={b}" for a, b in pairwise(limits)]
            return (f"{self.name}<={limits[0]}", *inner, f"{self.name}>{limits[-1]}")
        return () if self.kind == "flag" else tuple(f"{self.name}={o}" for o in self.options)

    @property
    def bit_names(self) -> tuple[str, ...]:
        """A name for each bit, without the bit for missing cells and repeated bits."""
        if self.kind == "flag":
            return (f"{self.name}={self.options[1]}" if self.options else self.name,)
        if not self.ordered:
            return self.option_names
        if self.kind == "bins":
            return (f"{self.name} known", *(f"{self.name}>{edge:g}" for edge in self.edges))
        return tuple(f"{self.name}>={option}" for option in self.options)

    @property
    def n_bits(self) -> int:
        """The number of bits, without the bit for missing cells and repeated bits."""
        return {"flag": 1, "bins": len(self.edges) + 1}.get(self.kind, len(self.options))

    def may_read(self, column: str) -> bool:
        """Return whether the trait may be read from a column of this name."""
        spread = () if self.kind == "flag" else (*self.option_names, *self.bit_names)
        return column in (self.columns or (self.name,)) or column in spread

    @cached_property
    def _places(self) -> dict[str, int]:
        """The index of the option that each word stands for, words in normal form."""
        number = {option: i for i, option in enumerate(self.options)}
        places = {normal_form(option): i for option, i in number.items()}
        return places | {normal_form(word): number[option] for word, option in self.synonyms}

    def encode_text(self, text: str) -> list[int]:
        """Return the indices of the bits that a cell sets.

        Args:
            text: the text of a cell that is not missing.

        Raises:
            ValueError: If the trait does not allow the cell; the message says why.
        """
        form = normal_form(text)
        if self.kind == "flag":
            if self.options:
                if form not in self._places:
                    raise ValueError(self._unknown(text))
                return [0] if self._places[form] == 1 else []
            if form not in _TRUE | _FALSE:
                raise ValueError(f"{quoted(text)} is neither yes nor no")
            return [0] if form in _TRUE else []
        if self.kind == "bins":
            try:
                value = float(number_text(text) or "")
            except ValueError:
                raise ValueError(f"{quoted(text)} is not a number") from None
            return self._bits_of(int(np.searchsorted(self.edges, value, side="left")))
        if form in self._places:
            return self._bits_of(self._places[form])
        if self.kind == "any_of":
            words = text.split(self.separator)
            for word in words:
                if normal_form(word) not in self._places:
                    raise ValueError(self._unknown(word))
            return sorted({self._places[normal_form(word)] for word in words})
        for separator in (";", "|", ",", "-", "/"):
            words = [normal_form(word) for word in text.split(separator)]
            if len(words) > 1 and all(word in self._places for word in words):
                raise ValueError(
                    f"{quoted(text)} names several of the exclusive options of {quoted(self.name)}"
                )
        raise ValueError(self._unknown(text))

    def _bits_of(self, place: int) -> list[int]:
        """Return the indices of the bits that an option sets."""
        return list(range(place + 1)) if self.ordered else [place]

    def _unknown(self, word: str) -> str:
        form, places = normal_form(word), self._places
        close = []
        if len(form) <= _LONGEST_COMPARED and len(places) <= _MOST_COMPARED:
            close = difflib.get_close_matches(form, places, n=1)
        hint = f"; did you mean {quoted(self.options[places[close[0]]])}?" if close else ""
        return (
            f"{quoted(word)} is not an option of {quoted(self.name)}, whose options are "
            f"{listed(self.options)}{hint}"
        )
