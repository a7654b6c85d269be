"""One trait of a manifestation: some columns of a table and the bits that they become."""

import difflib
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from maninegs_sampling.errors import SchemaError, check_choice

KINDS = ("one_of", "any_of", "flag", "bins")

_TRUE = {"1", "true", "t", "yes", "y", "present"}
_FALSE = {"0", "false", "f", "no", "n", "absent"}


def normal_form(text: str) -> str:
    """Return `text` as options are compared: case, outer and repeated spaces do not matter."""
    return " ".join(text.split()).casefold().replace("≤", "<=").replace("≥", ">=")


@dataclass(frozen=True)
class Trait:
    """One trait: some columns of a table and the bits that they become.

    Parameters:
        name: of the trait and, unless `columns` says otherwise, of its column.
        kind: "one_of": mutually exclusive options, one bit each. "any_of": a set of words such as
            PLEOMORPHIC-PUNCTATE, one bit a word. "flag": one bit. "bins": a number, one bit for
            each interval between the edges, upper ends included.
        options: of "one_of" and "any_of", in the order of their bits.
        edges: of "bins", ascending; n edges make n + 1 intervals.
        columns: the names that the column may have; the first one present is read.
        separator: between the words of "any_of".
        synonyms: pairs (word in the table, option it stands for).
        optional: a table without the column has the trait missing in every row.

    A "one_of" or "any_of" trait may also be spread over 0/1 columns named as its bits are,
    "trait=option".
    """

    name: str
    kind: str
    options: tuple[str, ...] = ()
    edges: tuple[float, ...] = ()
    columns: tuple[str, ...] = ()
    separator: str = "-"
    synonyms: tuple[tuple[str, str], ...] = ()
    optional: bool = False

    def __post_init__(self) -> None:
        check_choice(f"kind of trait {self.name!r}", self.kind, KINDS)
        for name in ("options", "edges", "columns"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        object.__setattr__(self, "synonyms", tuple((a, b) for a, b in self.synonyms))
        if self.kind in ("one_of", "any_of"):
            if not self.options:
                raise SchemaError(f"trait {self.name!r} has no options")
            if len({normal_form(option) for option in self.options}) < len(self.options):
                raise SchemaError(f"trait {self.name!r} lists an option twice: {self.options}")
        if self.kind == "any_of" and not self.separator:
            raise SchemaError(f"trait {self.name!r} needs a separator between its words")
        if self.kind == "bins" and not self.edges:
            raise SchemaError(f"trait {self.name!r} needs at least one edge between its bins")
        if not all(a < b for a, b in pairwise(self.edges)):
            raise SchemaError(f"trait {self.name!r} has edges that do not ascend: {self.edges}")
        unknown = [option for _, option in self.synonyms if option not in self.options]
        if unknown:
            raise SchemaError(f"trait {self.name!r} has synonyms of unknown options: {unknown}")

    @property
    def bit_names(self) -> tuple[str, ...]:
        """A name for each bit, without the one for missing values."""
        if self.kind == "flag":
            return (self.name,)
        if self.kind == "bins":
            limits = [f"{edge:g}" for edge in self.edges]
            inner = [f"{a}<{self.name}<={b}" for a, b in pairwise(limits)]
            return (f"{self.name}<={limits[0]}", *inner, f"{self.name}>{limits[-1]}")
        return tuple(f"{self.name}={option}" for option in self.options)

    def encode_text(self, text: str) -> list[int]:
        """Return the numbers of the bits that a cell sets.

        Raises:
            ValueError: with the problem, when the trait does not allow the cell.
        """
        if self.kind == "flag":
            if normal_form(text) not in _TRUE | _FALSE:
                raise ValueError(f"{text!r} is neither yes nor no")
            return [0] if normal_form(text) in _TRUE else []
        if self.kind == "bins":
            try:
                value = float(text)
            except ValueError:
                raise ValueError(f"{text!r} is not a number") from None
            if value != value:
                raise ValueError(f"{text!r} is not a number")
            return [int(np.searchsorted(self.edges, value, side="left"))]
        places = {normal_form(option): i for i, option in enumerate(self.options)}
        places |= {normal_form(word): self.options.index(option) for word, option in self.synonyms}
        if normal_form(text) in places:
            return [places[normal_form(text)]]
        words = text.split(self.separator)
        if self.kind == "any_of":
            for word in words:
                if normal_form(word) not in places:
                    raise ValueError(self._unknown(word, places))
            return sorted({places[normal_form(word)] for word in words})
        for separator in (";", "|", ",", "-", "/"):
            words = [normal_form(word) for word in text.split(separator)]
            if len(words) > 1 and all(word in places for word in words):
                raise ValueError(
                    f"{text!r} names several of the exclusive options of {self.name!r}"
                )
        raise ValueError(self._unknown(text, places))

    def _unknown(self, word: str, places: dict[str, int]) -> str:
        close = difflib.get_close_matches(normal_form(word), places, n=1)
        hint = f"; did you mean {self.options[places[close[0]]]!r}?" if close else ""
        return f"{word!r} is not an option of {self.name!r}, which are {list(self.options)}{hint}"
