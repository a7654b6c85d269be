"""How the commands read tables: the options, the schema, and what it makes of the rows."""

import argparse
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maninegs_sampling.data.built_in_schemas import find_schema
from maninegs_sampling.data.schema import Schema
from maninegs_sampling.data.store import ManifestationStore
from maninegs_sampling.data.table_files import read_table
from maninegs_sampling.errors import InvalidValueError, TableError
from maninegs_sampling.quoting import escape_controls

# How a file is to be read, for `read_table`.
_READING = ("separator", "header", "encoding", "decimal")


@dataclass(frozen=True)
class Rows:
    """The tables that a command was given.

    Attributes:
        tables: paths, or data frames where the options say how to read them.
        schema: the schema that the options name, or the tables' own.
        store: one instance a row.
        groups: one group a row, None where the schema names no such column.
        groups_source: the Python that returns the same groups.
    """

    tables: list[Any]
    schema: Schema
    store: ManifestationStore
    groups: NDArray[np.str_] | None
    groups_source: str

    def labels(self) -> NDArray[Any] | None:
        """Return one label a row, None where the schema names no such column."""
        return self.schema.labels(self.tables) if self.schema.label_column else None


def read_rows(options: argparse.Namespace) -> Rows:
    """Read the tables that the options name; print what was decided about an inferred schema."""
    settings = {name: getattr(options, name) for name in _READING}
    settings = {name: value for name, value in settings.items() if value is not None}
    tables: list[Any] = list(options.tables)
    sources = [repr(path) for path in tables]
    if settings:
        how = ", ".join(f"{name}={value!r}" for name, value in settings.items())
        sources = [f"mn.read_table({source}, {how})" for source in sources]
        tables = [read_table(path, **settings) for path in tables]
    schema = _find_schema(tables, options)
    source = sources[0] if len(sources) == 1 else f"[{', '.join(sources)}]"
    return Rows(
        tables,
        schema,
        ManifestationStore.from_table(tables, schema),
        schema.group_ids(tables) if schema.group_column else None,
        f"schema.group_ids({source})",
    )


def add_table_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say how tables are read."""
    parser.add_argument(
        "--schema",
        metavar="NAME|FILE",
        help="mvkl, cbis-ddsm, or a schema saved as JSON; inferred from the table by default",
    )
    parser.add_argument("--label", help="column of the outcome, which never becomes bits")
    parser.add_argument("--groups", help="column that names groups, such as a patient id")
    parser.add_argument("--save-schema", metavar="FILE", help="write the schema used as JSON")
    parser.add_argument(
        "--missing-values",
        nargs="+",
        default=[],
        metavar="VALUE",
        help="cells that mean missing too, such as -9 or unknown",
    )
    parser.add_argument(
        "--include",
        nargs="+",
        default=[],
        metavar="COLUMN",
        help="columns that become traits although their names or numbers speak against it",
    )
    parser.add_argument(
        "--exclude", nargs="+", default=[], metavar="COLUMN", help="columns to leave out"
    )
    parser.add_argument("--separator", metavar="SIGN", help="between cells; found by default")
    parser.add_argument("--decimal", choices=(",", "."), help="sign before the decimals")
    parser.add_argument("--encoding", metavar="NAME", help="such as cp1252; by default UTF-8")
    parser.add_argument(
        "--header",
        action=argparse.BooleanOptionalAction,
        help="whether the first line names the columns; with --no-header they are column_1, ...",
    )


def repeated_options(options: argparse.Namespace) -> list[str]:
    """Return the table options that were given, as the words of a command line."""
    words = []
    for name in ("schema", "label", "groups", "separator", "decimal", "encoding"):
        value = getattr(options, name)
        if value:
            words += [f"--{name}", value]
    if options.header is not None:
        words.append("--header" if options.header else "--no-header")
    for name in ("missing_values", "include", "exclude"):
        if getattr(options, name):
            words += [f"--{name.replace('_', '-')}", *getattr(options, name)]
    return words


def _find_schema(tables: list[Any], options: argparse.Namespace) -> Schema:
    """The schema that the options name or, inferred and printed, the table's own."""
    if options.schema is None:
        schema = Schema.infer(
            tables,
            label_column=options.label,
            group_column=options.groups,
            missing_values=options.missing_values,
            include=options.include,
            exclude=options.exclude,
        )
        print("The schema was inferred; --save-schema FILE writes it, to be read and edited:")
        print("\n".join(f"  {escape_controls(note)}" for note in schema.notes) + "\n")
    else:
        schema = _changed(find_schema(options.schema), options)
    if options.save_schema:
        schema.save(options.save_schema)
    return schema


def _changed(schema: Schema, options: argparse.Namespace) -> Schema:
    """The schema as the options change it: what names a row or its outcome makes no bits."""
    if options.include:
        raise InvalidValueError("--include decides what is inferred, which --schema replaces")
    changes: dict[str, Any] = {
        "label_column": options.label or schema.label_column,
        "group_column": options.groups or schema.group_column,
        "missing_values": (*schema.missing_values, *options.missing_values),
    }
    if options.label not in (None, schema.label_column):
        changes["positive_labels"] = ()  # values of the other label
    kept = list(schema.traits)
    excluded = dict.fromkeys(options.exclude, "to exclude")
    for column, role in {options.label: "label", options.groups: "groups", **excluded}.items():
        dropped = [trait for trait in kept if column is not None and trait.may_read(column)]
        if role == "to exclude" and not dropped:
            raise TableError(f"no trait of schema {schema.name!r} reads {column!r}, to be excluded")
        kept = [trait for trait in kept if trait not in dropped]
        for trait in dropped:
            print(f"{trait.name}: left out of schema {schema.name!r}, it reads {column!r} ({role})")
    return replace(schema, traits=tuple(kept), **changes)
