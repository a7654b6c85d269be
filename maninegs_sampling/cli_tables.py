"""How the commands read tables: the options, the schema, and the encoded rows."""

import argparse
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maninegs_sampling.cli_progress import progress
from maninegs_sampling.data.built_in_schemas import find_schema
from maninegs_sampling.data.schema import Schema
from maninegs_sampling.data.store import ManifestationStore
from maninegs_sampling.data.table_files import read_table
from maninegs_sampling.errors import InvalidValueError, TableError
from maninegs_sampling.quoting import escape_controls, quoted

# The options of `read_table`.
_READING = ("separator", "header", "encoding", "decimal")


@dataclass(frozen=True)
class Rows:
    """The tables that a command is given.

    Attributes:
        tables: Paths, or data frames if options say how to read the files.
        schema: The schema that the options name, or the inferred one.
        store: One instance for each row.
        groups: One group for each row; None if the schema names no column of groups.
        groups_source: Python source code that returns the same groups.
    """

    tables: list[Any]
    schema: Schema
    store: ManifestationStore
    groups: NDArray[np.str_] | None
    groups_source: str

    def labels(self) -> NDArray[Any] | None:
        """Return one label for each row; None if the schema names no column of labels."""
        return self.schema.labels(self.tables) if self.schema.label_column else None


def read_rows(options: argparse.Namespace) -> Rows:
    """Return the tables that the options name. Print the notes of an inferred schema.

    Args:
        options: The parsed command line.
    """
    settings = {name: getattr(options, name) for name in _READING}
    settings = {name: value for name, value in settings.items() if value is not None}
    tables: list[Any] = list(options.tables)
    sources = [repr(path) for path in tables]
    if settings:
        how = ", ".join(f"{name}={value!r}" for name, value in settings.items())
        sources = [f"mn.read_table({source}, {how})" for source in sources]
        with progress("reading the table"):
            tables = [read_table(path, **settings) for path in tables]
    schema = _find_schema(tables, options)
    source = sources[0] if len(sources) == 1 else f"[{', '.join(sources)}]"
    store = ManifestationStore.from_table(tables, schema, progress=True)
    return Rows(
        tables,
        schema,
        store,
        schema.group_ids(tables) if schema.group_column else None,
        f"schema.group_ids({source})",
    )


def add_table_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say how tables are read.

    Args:
        parser: The parser of a command.
    """
    parser.add_argument(
        "--schema",
        metavar="NAME|FILE",
        help="mvkl, cbis-ddsm, or a JSON file with a schema; by default inferred from the table",
    )
    parser.add_argument("--label", help="column of the labels, which never becomes bits")
    parser.add_argument("--groups", help="column of the groups, such as patient ids")
    parser.add_argument("--save-schema", metavar="FILE", help="write the schema to a JSON file")
    parser.add_argument(
        "--missing-values",
        nargs="+",
        default=[],
        metavar="VALUE",
        help="further values that mean missing, such as -9 or unknown",
    )
    parser.add_argument(
        "--include",
        nargs="+",
        default=[],
        metavar="COLUMN",
        help="columns to turn into traits even if they look like ids or labels",
    )
    parser.add_argument(
        "--exclude", nargs="+", default=[], metavar="COLUMN", help="columns to leave out"
    )
    parser.add_argument(
        "--separator", metavar="SIGN", help="separator between cells; detected by default"
    )
    parser.add_argument(
        "--decimal", choices=(",", "."), metavar="SIGN", help="decimal sign: a comma or a period"
    )
    parser.add_argument(
        "--encoding", metavar="NAME", help="encoding of the file, such as cp1252; by default UTF-8"
    )
    parser.add_argument(
        "--header",
        action=argparse.BooleanOptionalAction,
        help="whether the first line names the columns; without, they are called column_1, ...",
    )


def repeated_options(options: argparse.Namespace) -> list[str]:
    """Return the table options that were given, as the words of a command line.

    Args:
        options: The parsed command line.
    """
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
    """Return the schema that the options name, or infer one and print its notes."""
    if options.schema is None:
        with progress("reading the table"):
            schema = Schema.infer(
                tables,
                label_column=options.label,
                group_column=options.groups,
                missing_values=options.missing_values,
                include=options.include,
                exclude=options.exclude,
            )
        print("Inferred schema (--save-schema FILE writes it to a file that you can edit):")
        print("\n".join(f"  {escape_controls(note)}" for note in schema.notes) + "\n")
    else:
        schema = _changed(find_schema(options.schema), options)
    if schema.missing == "masked":
        raise InvalidValueError(
            f"schema {quoted(schema.name)} has missing='masked': the commands would take the bits "
            "that say what is known for traits; choose 'absent' or 'option'"
        )
    if options.save_schema:
        schema.save(options.save_schema)
    return schema


def _changed(schema: Schema, options: argparse.Namespace) -> Schema:
    """Return the schema as the options change it. Labels and groups are not traits."""
    if options.include:
        raise InvalidValueError("--include is for inferred schemas, so not for --schema")
    changes: dict[str, Any] = {
        "label_column": options.label or schema.label_column,
        "group_column": options.groups or schema.group_column,
        "missing_values": (*schema.missing_values, *options.missing_values),
    }
    if options.label not in (None, schema.label_column):
        changes["positive_labels"] = ()  # values of the other label
    kept = list(schema.traits)
    excluded = dict.fromkeys(options.exclude, "excluded")
    for column, role in {options.label: "label", options.groups: "groups", **excluded}.items():
        dropped = [trait for trait in kept if column is not None and trait.may_read(column)]
        if role == "excluded" and not dropped:
            raise TableError(f"--exclude: no trait of schema {schema.name!r} reads {column!r}")
        kept = [trait for trait in kept if trait not in dropped]
        for trait in dropped:
            note = f"{trait.name}: left out of schema {schema.name!r}, reads {column!r} ({role})"
            print(escape_controls(note))
    return replace(schema, traits=tuple(kept), **changes)
