"""Stores of Dask data frames: one store for each partition, merged as a tree."""

from typing import TYPE_CHECKING, Any

from maninegs_sampling.data.schema import Schema
from maninegs_sampling.data.store import ManifestationStore, concat_stores
from maninegs_sampling.errors import InvalidTypeError, InvalidValueError
from maninegs_sampling.optional import require

if TYPE_CHECKING:
    from dask.dataframe import DataFrame

# Stores that one task merges.
_FAN_IN = 8


def store_from_dataframe(frame: "DataFrame", schema: Schema) -> ManifestationStore:
    """Return the store of a Dask data frame, one instance per row, in the order of the rows.

    Each partition is encoded where it lies. Only stores are sent, and they are merged eight at a
    time. Tasks run on the scheduler that Dask is set to use, such as that of a
    `distributed.Client`. A task that is lost with its worker runs again, with the same result.

    Args:
        frame: a data frame of `dask.dataframe`. Partitions may be empty.
        schema: how a row becomes bits, as in `ManifestationStore.from_table`.

    Raises:
        InvalidTypeError: If `frame` is not a Dask data frame, or `schema` not a schema.
        InvalidValueError: If it has no rows.
        TableError: If the schema does not allow a cell; the message names its row within the
            partition, and its column.
        MissingExtraError: If Dask is not installed.

    Example:
        >>> import dask.dataframe, pandas
        >>> from maninegs_sampling import Schema
        >>> table = pandas.DataFrame({"shape": ["round", "oval", "round"]})
        >>> frame = dask.dataframe.from_pandas(table, npartitions=2)
        >>> store_from_dataframe(frame, Schema.infer(table))
        ManifestationStore(3 instances, 1 bits, 2 patterns)
    """
    frames = require("dask.dataframe", extra="dask", what="store_from_dataframe")
    delayed = require("dask", extra="dask", what="store_from_dataframe").delayed
    if not isinstance(frame, frames.DataFrame):
        raise InvalidTypeError(f"frame must be a Dask data frame; got {type(frame).__name__}")
    if not isinstance(schema, Schema):
        raise InvalidTypeError(f"schema must be a Schema; got {type(schema).__name__}")
    stores = [delayed(_store_of)(partition, schema) for partition in frame.to_delayed()]
    while len(stores) > 1:
        groups = [stores[i : i + _FAN_IN] for i in range(0, len(stores), _FAN_IN)]
        stores = [delayed(_merged)(group) for group in groups]
    store: ManifestationStore | None = stores[0].compute()
    if store is None:
        raise InvalidValueError("frame must have at least one row; all its partitions are empty")
    return store


def _store_of(partition: Any, schema: Schema) -> ManifestationStore | None:
    """Return the store of a partition; None if it has no rows."""
    return ManifestationStore.from_table(partition, schema) if len(partition) > 0 else None


def _merged(stores: list[ManifestationStore | None]) -> ManifestationStore | None:
    """Return one store of those that there are; None if there are none."""
    present = [store for store in stores if store is not None]
    return concat_stores(present) if present else None
