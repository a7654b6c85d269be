"""Schemas: how a row of a table becomes the bits of a manifestation."""

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maninegs_sampling.data.cells import normal_form
from maninegs_sampling.data.inference import Rules, infer_traits
from maninegs_sampling.data.schema_files import schema_from_json, schema_to_json
from maninegs_sampling.data.storage import write_atomically
from maninegs_sampling.data.tables import Table, read_tables
from maninegs_sampling.data.traits import Trait
from maninegs_sampling.errors import (
    InvalidTypeError,
    InvalidValueError,
    SchemaError,
    TableError,
    check_choice,
    check_count,
)
from maninegs_sampling.quoting import listed, quoted

MISSING = ("absent", "option", "error")
MOST_BITS = 65_535  # Hamming distances are 16-bit numbers at most
_LONGEST_NAME = 1000  # characters of a label or a group


@dataclass(frozen=True)
class Schema:
    """Traits in the order of their bits, and what the other columns of interest are called.

    Args:
        name: for messages and reports.
        traits: in order.
        missing: what a missing cell becomes. "absent": no bit is set. "option": a bit of its own,
            after the trait's others. "error": encoding stops.
        missing_values: texts that count as missing, besides empty cells and NaN; compared as
            options are.
        label: the column of the task's outcome, if any; it never becomes bits.
        positive: values of the label that count as 1 in `labels`; compared as options are.
        groups: the column, such as a patient id, for `ManiNegBatchSampler(groups=...)`.
        notes: what `infer` decided about each column.

    Example:
        >>> schema = Schema("lumps", (
        ...     Trait("shape", "one_of", options=("round", "irregular")),
        ...     Trait("halo", "flag"),
        ... ))
        >>> schema.bit_names
        ('shape=round', 'shape=irregular', 'halo')
        >>> import polars
        >>> schema.encode(polars.DataFrame({"shape": ["Round", None], "halo": [0, 1]})).tolist()
        [[True, False, False], [False, False, True]]
    """

    name: str
    traits: tuple[Trait, ...]
    missing: str = "absent"
    missing_values: tuple[str, ...] = ("NA", "N/A", "NaN", "null", "?", "<NA>", "#N/A")
    label: str | None = None
    positive: tuple[str, ...] = ()
    groups: str | None = None
    notes: tuple[str, ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        check_choice("missing", self.missing, MISSING)
        for name in ("traits", "missing_values", "positive", "notes"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if not self.traits:
            raise SchemaError(f"schema {quoted(self.name)} has no traits")
        names = [trait.name for trait in self.traits]
        if len(set(names)) < len(names):
            raise SchemaError(
                f"schema {quoted(self.name)} has two traits of one name: {listed(names)}"
            )
        n_bits = sum(trait.n_bits + (self.missing == "option") for trait in self.traits)
        if n_bits > MOST_BITS:
            raise SchemaError(
                f"schema {quoted(self.name)} has {n_bits} bits; it may have {MOST_BITS} at most"
            )
        for what, column in (("label", self.label), ("groups", self.groups)):
            readers = [trait.name for trait in self.traits if column and trait.may_read(column)]
            if readers:
                raise SchemaError(
                    f"schema {quoted(self.name)}: its {what} column {quoted(column)} is also read "
                    f"by trait {quoted(readers[0])}, whose bits would give it away; leave the "
                    "trait out"
                )

    def _trait_bits(self, trait: Trait) -> tuple[str, ...]:
        return trait.bit_names + ((f"{trait.name}=missing",) if self.missing == "option" else ())

    @property
    def bit_names(self) -> tuple[str, ...]:
        """A name for each bit, in order."""
        return tuple(name for trait in self.traits for name in self._trait_bits(trait))

    @cached_property
    def _missing_forms(self) -> set[str]:
        return {"", "nan"} | {normal_form(value) for value in self.missing_values}

    def is_missing(self, text: str) -> bool:
        """Whether a cell's text counts as missing."""
        return normal_form(text) in self._missing_forms

    def encode(self, table: Any) -> NDArray[np.bool_]:
        """Return (rows, bits) bool.

        Args:
            table: a pandas, polars or pyarrow table, a path to a CSV or Parquet file, or a list of
                any of these, read one after the other.

        Raises:
            TableError: a column is not there, or a cell is not allowed; the message names them.
        """
        return np.concatenate(
            [
                np.concatenate([self._encode_trait(trait, part) for trait in self.traits], axis=1)
                for part in read_tables(table)
            ]
        )

    def _encode_trait(self, trait: Trait, table: Table) -> NDArray[np.bool_]:
        column = next((c for c in trait.columns or (trait.name,) if c in table.names), None)
        n_bits = len(self._trait_bits(trait))
        if column is None:
            if trait.kind != "flag" and any(name in table.names for name in trait.bit_names):
                return self._encode_spread(trait, table)
            if not trait.optional:
                wanted = " or ".join(map(quoted, trait.columns or (trait.name,)))
                raise TableError(
                    f"{table.source} has no column {wanted} for trait {quoted(trait.name)}; "
                    f"it has {listed(table.names)}"
                )
            missing = np.zeros((1, n_bits), np.bool_)
            missing[0, -1] = self.missing == "option"
            return missing.repeat(table.n_rows, axis=0)

        texts = table.texts(column)
        places = {text: place for place, text in enumerate(dict.fromkeys(texts))}
        patterns = np.zeros((len(places), n_bits), np.bool_)
        for text, place in places.items():
            try:
                if not self.is_missing(text):
                    patterns[place, trait.encode_text(text)] = True
                elif self.missing == "option":
                    patterns[place, -1] = True
                elif self.missing == "error":
                    raise ValueError('is missing, and missing="error" forbids that')
            except ValueError as error:
                raise TableError(
                    f"{table.source}, row {texts.index(text)} (the first is 0), "
                    f"column {quoted(column)}: {error}"
                ) from None
        codes = np.fromiter(map(places.__getitem__, texts), np.int64, len(texts))
        return patterns[codes]

    def _encode_spread(self, trait: Trait, table: Table) -> NDArray[np.bool_]:
        """Encode a trait that is spread over 0/1 columns, one for each of its bits."""
        flags = Schema(
            self.name,
            tuple(Trait(name, "flag", optional=True) for name in trait.bit_names),
            missing="error" if self.missing == "error" else "absent",
            missing_values=self.missing_values,
        )
        bits = np.concatenate([flags._encode_trait(flag, table) for flag in flags.traits], axis=1)
        several = np.flatnonzero(bits.sum(axis=1) > 1)
        if trait.kind != "any_of" and len(several) > 0:
            row = int(several[0])
            columns = [trait.bit_names[i] for i in np.flatnonzero(bits[row])]
            raise TableError(
                f"{table.source}, row {row} (the first is 0): columns {listed(columns)} are set "
                f"together, but {quoted(trait.name)} has mutually exclusive options"
            )
        if self.missing == "option":
            bits = np.concatenate([bits, ~bits.any(axis=1, keepdims=True)], axis=1)
        return bits

    def count_missing(self, table: Any) -> dict[str, int]:
        """Return how many cells of each trait are missing."""
        counts = {trait.name: 0 for trait in self.traits}
        for part in read_tables(table):
            for trait in self.traits:
                columns = [c for c in trait.columns or (trait.name,) if c in part.names]
                if columns:
                    cells = Counter(part.texts(columns[0]))
                    counts[trait.name] += sum(n for c, n in cells.items() if self.is_missing(c))
                elif not any(name in part.names for name in trait.bit_names):
                    counts[trait.name] += part.n_rows
        return counts

    def _read_column(self, table: Any, name: str | None, what: str) -> list[str]:
        if name is None:
            raise SchemaError(f"schema {quoted(self.name)} names no {what} column")
        texts: list[str] = []
        for part in read_tables(table):
            if name not in part.names:
                raise TableError(
                    f"{part.source} has no column {quoted(name)} for the {what}; "
                    f"it has {listed(part.names)}"
                )
            texts += part.texts(name)
        for row, text in enumerate(texts):
            # An array of texts has room for the longest in every row, and drops NUL at the end.
            if len(text) > _LONGEST_NAME or "\0" in text:
                raise TableError(
                    f"row {row} (the first is 0): {quoted(text)} is no {what}; it must be at most "
                    f"{_LONGEST_NAME} characters without NUL"
                )
        return texts

    def labels(self, table: Any) -> NDArray[Any]:
        """Return one label a row: 0 or 1 if the schema says which values are positive, else text.

        Labels that differ in case or in the way that a number is written are one label; its text
        is the first of them.

        Raises:
            SchemaError: the schema has no label column.
            TableError: the table lacks that column, a label is missing, or a positive value never
                occurs in it: a misspelt one would make every label 0.
        """
        texts = self._read_column(table, self.label, "label")
        for row, text in enumerate(texts):
            if self.is_missing(text):
                raise TableError(f"row {row} (the first is 0) has no label in {quoted(self.label)}")
        first_spelling: dict[str, str] = {}
        for text in dict.fromkeys(texts):
            first_spelling.setdefault(normal_form(text), text)
        if not self.positive:
            spelling = {text: first_spelling[normal_form(text)] for text in dict.fromkeys(texts)}
            return np.array([spelling[text] for text in texts])
        positive = {normal_form(value): value for value in self.positive}
        if positive.keys().isdisjoint(first_spelling):
            raise TableError(
                f"no label in {quoted(self.label)} is positive, which is "
                f"{' or '.join(map(quoted, self.positive))}; the labels are "
                f"{listed(first_spelling.values())}"
            )
        is_positive = {text: normal_form(text) in positive for text in dict.fromkeys(texts)}
        return np.array([is_positive[text] for text in texts], np.int64)

    def group_ids(self, table: Any) -> NDArray[np.str_]:
        """Return one group a row, such as a patient id, for the sampler's `groups`.

        A row without one is a group of its own. The ids are compared as they are written, except
        that numbers are numbers: "007" is 7, as for libraries that guess the column's type.

        Raises:
            SchemaError: the schema has no groups column.
            TableError: the table lacks that column.
        """
        texts = self._read_column(table, self.groups, "groups")
        # No id in a table begins with a space: cells are stripped.
        return np.array(
            [f" row {row}" if self.is_missing(text) else text for row, text in enumerate(texts)]
        )

    @classmethod
    def infer(
        cls,
        table: Any,
        *,
        label: str | None = None,
        groups: str | None = None,
        missing: str = "absent",
        missing_values: Collection[str] = (),
        include: Collection[str] = (),
        exclude: Collection[str] = (),
        max_options: int = 12,
        n_bins: int = 3,
        name: str = "inferred",
    ) -> "Schema":
        """Return a schema for any table; its `notes` say what was decided on each column, and why.

        Two values become a flag, named after the second of them unless they mean yes and no. Few
        distinct values become options, sets of few distinct words become words, other numbers are
        cut at quantiles. The label and the groups are left out, and so are

        - constant columns, free text, dates, times, telephone numbers and codes;
        - columns whose name has the word id, uid, uuid, guid or mrn, or ends in a word such as
          patient, case, study, file, path, date, time, index or key: ``PatientID`` and
          ``study_date``, but not ``patient_age``;
        - whole numbers that look like numbers of things, see
          `maninegs_sampling.data.inference.numbers_things`.

        Args:
            table: a pandas, polars or pyarrow table, a path, or a list of these.
            label: column with the outcome; it never becomes bits.
            groups: column with, say, the patient; it never becomes bits.
            missing: see `Schema`.
            missing_values: texts that count as missing besides those that always do in `Schema`,
                such as "-9" or "unknown".
            include: columns that become traits although their name, their dates or their numbers
                speak against it.
            exclude: columns to leave out.
            max_options: most distinct values of a column that become options; a set may be made of
                four times as many words.
            n_bins: intervals for numbers, with about equally many rows in each.
            name: of the schema, for messages and reports.

        Raises:
            TableError: no such column, no column that can become a trait, or one to include that
                cannot; the message says why.
            InvalidValueError: a column is included and is also excluded, the label or the groups.

        Example:
            >>> import polars
            >>> table = polars.DataFrame({"sex": ["F", "M", "M"], "grade": [1, 2, 3]})
            >>> Schema.infer(table).bit_names
            ('sex=M', 'grade=1', 'grade=2', 'grade=3')
        """
        missing_values = _texts("missing_values", missing_values)
        include, exclude = _texts("include", include), _texts("exclude", exclude)
        check_count("max_options", max_options, at_least=1)
        check_count("n_bins", n_bins, at_least=2)
        settings: dict[str, Any] = {
            "missing": missing,
            "missing_values": (*cls.missing_values, *missing_values),
        }
        # What counts as missing does not depend on the traits.
        blank = cls(name, (Trait("", "flag"),), **settings)
        columns, notes = _columns_to_infer(table, blank)
        roles = dict.fromkeys(exclude, "excluded")
        roles |= {c: what for c, what in ((label, "label"), (groups, "groups")) if c is not None}
        for column in (*roles, *include):
            if column not in columns and column not in notes:
                raise TableError(
                    f"there is no column {quoted(column)} "
                    f"{_PURPOSES[roles.get(column, 'included')]}; "
                    f"the columns are {listed([*columns, *notes])}"
                )
        both = [column for column in include if column in roles]
        if both:
            raise InvalidValueError(
                f"column {quoted(both[0])} cannot be included: it is {_ROLES[roles[both[0]]]}"
            )
        for column, role in roles.items():
            columns.pop(column, None)
            notes[column] = f"left out, it is {_ROLES[role]}"
        traits, decided = infer_traits(columns, Rules(max_options, n_bins, missing, label, include))
        notes = decided | notes
        made = {trait.name for trait in traits}
        for column in include:
            if column not in made:
                raise TableError(f"column {quoted(column)} cannot be included: {notes[column]}")
        lines = tuple(f"{column}: {note}" for column, note in notes.items())
        if not traits:
            raise TableError("no column can become a trait:\n  " + "\n  ".join(lines))
        return cls(name, tuple(traits), label=label, groups=groups, notes=lines, **settings)

    def save(self, path: str | Path) -> None:
        """Write the schema to `path` as readable JSON, atomically."""
        write_atomically(Path(path), [schema_to_json(self).encode()])

    @classmethod
    def load(cls, path: str | Path) -> "Schema":
        """Return the schema saved at `path`.

        Raises:
            SchemaError: not JSON, another version, or not a schema; the message names the key.
        """
        try:
            text = Path(path).read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise SchemaError(f"{path} is not JSON: {error}") from None
        return schema_from_json(cls, text, str(path))


_ROLES = {"label": "the label", "groups": "the groups", "excluded": "excluded"}
_PURPOSES = {
    "label": "for the label",
    "groups": "for the groups",
    "excluded": "to exclude",
    "included": "to include",
}


def _texts(name: str, values: Collection[str]) -> tuple[str, ...]:
    """A tuple of texts, which one text is not."""
    if isinstance(values, str) or not (
        isinstance(values, Collection) and all(isinstance(value, str) for value in values)
    ):
        raise InvalidTypeError(f"{name} must be a list of texts; got {quoted(values)}")
    return tuple(values)


def _columns_to_infer(table: Any, blank: Schema) -> tuple[dict[str, list[str]], dict[str, str]]:
    """The columns of all tables as texts, "" where missing, and why others cannot be read."""
    columns: dict[str, list[str]] = {}
    unreadable: dict[str, str] = {}
    n_rows = 0
    for part in read_tables(table):
        for column in part.names:
            try:
                texts = part.texts(column)
            except TableError as error:
                unreadable[column] = f"left out, {error}"
                continue
            present = {
                text: "" if blank.is_missing(text) else text for text in dict.fromkeys(texts)
            }
            columns.setdefault(column, [""] * n_rows).extend(present[text] for text in texts)
        n_rows += part.n_rows
        for texts in columns.values():
            texts += [""] * (n_rows - len(texts))
    return {c: texts for c, texts in columns.items() if c not in unreadable}, unreadable
