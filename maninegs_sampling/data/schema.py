"""Schemas: how a row of a table becomes the bits of a manifestation."""

from collections.abc import Collection
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from maninegs_sampling.data.bit_layout import Missing, bit_names, check_layout, count_bits
from maninegs_sampling.data.cells import normal_form
from maninegs_sampling.data.column_codes import Column
from maninegs_sampling.data.encoding import encoded_batches
from maninegs_sampling.data.inference import Rules, infer_table
from maninegs_sampling.data.schema_files import schema_from_json, schema_to_json
from maninegs_sampling.data.storage import write_atomically
from maninegs_sampling.data.tables import read_tables
from maninegs_sampling.data.traits import Trait
from maninegs_sampling.errors import (
    InvalidTypeError,
    SchemaError,
    TableError,
    check_choice,
    check_count,
)
from maninegs_sampling.quoting import listed, quoted

_LONGEST_NAME = 1000  # characters of a label or a group


@dataclass(frozen=True)
class Schema:
    """The traits of a table in the order of their bits, and its label and group columns.

    Args:
        name: name for messages and reports.
        traits: the traits, in order.
        missing: what a missing cell becomes. "absent": no bit is set. "option": a bit of its own,
            after the trait's other bits. "masked": no bit is set, and as many bits again, after
            those of all traits, say which bits are known. "error": encoding raises.
        missing_values: texts that count as missing, besides empty cells and NaN. They are compared
            as options are.
        label_column: column of the task's outcome, if any. It never becomes bits.
        positive_labels: labels that count as 1 in `labels`. They are compared as options are.
        group_column: column of the groups, such as a patient id, for
            `ManiNegBatchSampler(groups=...)`.
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
    missing: Missing = "absent"
    missing_values: tuple[str, ...] = ("NA", "N/A", "NaN", "null", "?", "<NA>", "#N/A")
    label_column: str | None = None
    positive_labels: tuple[str, ...] = ()
    group_column: str | None = None
    notes: tuple[str, ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        check_choice("missing", self.missing, get_args(Missing))
        for name in ("traits", "missing_values", "positive_labels", "notes"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if not self.traits:
            raise SchemaError(f"schema {quoted(self.name)} has no traits")
        names = [trait.name for trait in self.traits]
        if len(set(names)) < len(names):
            raise SchemaError(
                f"schema {quoted(self.name)} has two traits with the same name: {listed(names)}"
            )
        check_layout(self.name, self.traits, self.missing)
        for role in ("label_column", "group_column"):
            column = getattr(self, role)
            readers = [trait.name for trait in self.traits if column and trait.may_read(column)]
            if readers:
                raise SchemaError(
                    f"schema {quoted(self.name)}: its {role} {quoted(column)} is also read by "
                    f"trait {quoted(readers[0])}, whose bits would give it away; remove the trait"
                )

    @property
    def n_bits(self) -> int:
        """The number of bits."""
        return count_bits(self.traits, self.missing)

    @property
    def bit_names(self) -> tuple[str, ...]:
        """A name for each bit, in order."""
        return bit_names(self.traits, self.missing)

    @cached_property
    def _missing_forms(self) -> set[str]:
        return {"", "nan"} | {normal_form(value) for value in self.missing_values}

    def is_missing(self, text: str) -> bool:
        """Whether a cell's text counts as missing."""
        return normal_form(text) in self._missing_forms

    def encode(self, table: Any) -> NDArray[np.bool_]:
        """Return the bits of a table, (rows, bits) bool.

        Args:
            table: a pandas, polars or pyarrow table, a path to a CSV or Parquet file, or a list of
                these, read one after the other.

        Raises:
            TableError: If a column is missing from the table or a cell is not allowed. The message
                names the row and the column.
        """
        words = np.concatenate(list(encoded_batches(self, table, lambda words: words)))
        as_bytes = words.astype("<u8", copy=False).view(np.uint8)
        bits = np.unpackbits(as_bytes, axis=1, count=self.n_bits, bitorder="little")
        return bits.view(np.bool_)

    def count_missing(self, table: Any) -> dict[str, int]:
        """Return the number of missing cells of each trait."""
        counts = {trait.name: 0 for trait in self.traits}
        for part in read_tables(table):
            for trait in self.traits:
                columns = [c for c in trait.columns or (trait.name,) if c in part.names]
                if columns:
                    cells = part.column(columns[0]).counts().items()
                    counts[trait.name] += sum(n for text, n in cells if self.is_missing(text))
                elif not any(map(trait.may_read, part.names)):
                    counts[trait.name] += part.n_rows
        return counts

    def _read_column(self, table: Any, name: str | None, role: str) -> Column:
        """Return the label column or the group column of all parts of a table."""
        if name is None:
            raise SchemaError(f"schema {quoted(self.name)} has no {role} column")
        parts = []
        for part in read_tables(table):
            if name not in part.names:
                raise TableError(
                    f"{part.source} lacks the {role} column {quoted(name)}; "
                    f"it has {listed(part.names)}"
                )
            parts.append(part.column(name))
        column = Column.join(parts)
        for code, text in enumerate(column.texts):
            # A NumPy array of texts allots every row the longest, and drops trailing NULs.
            if len(text) > _LONGEST_NAME or "\0" in text:
                raise TableError(
                    f"row {column.first_row(code)} (the first is 0): the {role} {quoted(text)} "
                    f"must have at most {_LONGEST_NAME} characters and no NUL"
                )
        return column

    def labels(self, table: Any) -> NDArray[Any]:
        """Return the label of each row: 0 or 1 if `positive_labels` is set, text otherwise.

        Labels that differ only in case, or in how a number is written, are the same label. Its
        first spelling is returned.

        Args:
            table: as in `encode`.

        Raises:
            SchemaError: If the schema has no label column.
            TableError: If the table lacks the label column, a label is missing, or no row has a
                positive label, as with a misspelled `positive_labels`.
        """
        column = self._read_column(table, self.label_column, "label")
        for code, text in enumerate(column.texts):
            if self.is_missing(text):
                raise TableError(
                    f"row {column.first_row(code)} (the first is 0) has no label in "
                    f"{quoted(self.label_column)}"
                )
        forms = [normal_form(text) for text in column.texts]
        first_spelling: dict[str, str] = {}
        for form, text in zip(forms, column.texts, strict=True):
            first_spelling.setdefault(form, text)
        if not self.positive_labels:
            return np.array([first_spelling[form] for form in forms])[column.codes]
        positive = {normal_form(value) for value in self.positive_labels}
        if positive.isdisjoint(forms):
            raise TableError(
                f"no label in {quoted(self.label_column)} is one of positive_labels, "
                f"{listed(self.positive_labels)}; the labels are "
                f"{listed(first_spelling.values())}"
            )
        return np.array([form in positive for form in forms], np.int64)[column.codes]

    def group_ids(self, table: Any) -> NDArray[np.str_]:
        """Return the group of each row, such as a patient id, for the sampler's `groups`.

        A row without a group is a group of its own. Ids are compared as they are written, except
        numbers: "007" equals 7, as in libraries that infer the type of a column.

        Args:
            table: as in `encode`.

        Raises:
            SchemaError: If the schema has no group column.
            TableError: If the table lacks the group column.
        """
        column = self._read_column(table, self.group_column, "group")
        missing = np.array([self.is_missing(text) for text in column.texts])
        present = np.where(missing, "", column.texts)[column.codes]
        # Cells are stripped, so no id in a table begins with a space.
        alone = np.flatnonzero(missing[column.codes])
        names = np.array([f" row {row}" for row in alone], np.str_)
        ids = present.astype(np.promote_types(present.dtype, names.dtype))
        ids[alone] = names
        return ids

    # Longer than 60 lines because of its docstring.
    @classmethod
    def infer(
        cls,
        table: Any,
        *,
        label_column: str | None = None,
        group_column: str | None = None,
        missing: Missing = "absent",
        missing_values: Collection[str] = (),
        include: Collection[str] = (),
        exclude: Collection[str] = (),
        max_options: int = 12,
        n_bins: int = 3,
        name: str = "inferred",
    ) -> "Schema":
        """Infer a schema from a table. Its `notes` give each column's decision and the reason.

        A column with two values becomes a flag. Few distinct values become options, sets of few
        distinct words become words, and other numbers are binned at quantiles. Only bins are
        ordered (see `Trait`). These columns are left out:

        - the label column and the group column;
        - constant columns, free text, dates, times, telephone numbers and codes;
        - columns whose name contains the word id, uid, uuid, guid or mrn, or ends in a word such as
          patient, case, study, file, path, date, time, index or key: ``PatientID`` and
          ``study_date``, but not ``patient_age``;
        - integers that look like identifiers, see
          `maninegs_sampling.data.inference.looks_like_ids`.

        Args:
            table: a pandas, polars or pyarrow table, a path, or a list of these.
            label_column: column of the outcome.
            group_column: column of the groups, such as the patient.
            missing: see `Schema`.
            missing_values: texts that count as missing, such as "-9" or "unknown", in addition to
                the defaults of `Schema`.
            include: columns that become traits although their names or values look like
                identifiers or dates.
            exclude: columns to leave out.
            max_options: largest number of distinct values that become options. A set may have four
                times as many words.
            n_bins: number of bins for numbers, with about equally many rows in each.
            name: name of the schema.

        Raises:
            TableError: If a named column does not exist, no column can become a trait, or a column
                of `include` cannot. The message says why.
            InvalidValueError: If a column of `include` is also excluded, the label column or the
                group column.

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
        roles = dict.fromkeys(exclude, "excluded")
        named = ((label_column, "the label column"), (group_column, "the group column"))
        roles |= {column: role for column, role in named if column is not None}
        rules = Rules(max_options, n_bins, missing, label_column, include)
        traits, notes = infer_table(table, rules, roles, missing_forms=blank._missing_forms)
        return cls(
            name,
            traits,
            label_column=label_column,
            group_column=group_column,
            notes=notes,
            **settings,
        )

    def save(self, path: str | Path) -> None:
        """Write the schema to `path` as readable JSON, atomically.

        Args:
            path: the file to write.
        """
        write_atomically(Path(path), [schema_to_json(self).encode()])

    @classmethod
    def load(cls, path: str | Path) -> "Schema":
        """Return the schema saved at `path`.

        Args:
            path: a file written by `save`.

        Raises:
            SchemaError: If the file is not JSON, has another version or is not a schema. The
                message names the key.
        """
        try:
            text = Path(path).read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise SchemaError(f"{path} is not JSON: {error}") from None
        return schema_from_json(cls, text, str(path))


def _texts(name: str, values: Collection[str]) -> tuple[str, ...]:
    """Return `values` as a tuple of texts, or raise if they are anything else, such as one text."""
    if isinstance(values, str) or not (
        isinstance(values, Collection) and all(isinstance(value, str) for value in values)
    ):
        raise InvalidTypeError(f"{name} must be a list of texts; got {quoted(values)}")
    return tuple(values)
