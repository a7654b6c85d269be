"""Stores of Dask data frames, on threads and on a cluster that loses a worker."""

import os
import signal

import numpy as np
import pandas
import pytest

dask = pytest.importorskip("dask", reason="Dask is not installed")
frames = pytest.importorskip("dask.dataframe", reason="dask.dataframe cannot be imported")
distributed = pytest.importorskip("distributed", reason="dask.distributed is not installed")

from maninegs_sampling import ManifestationStore, Schema
from maninegs_sampling.dask import store_from_dataframe
from maninegs_sampling.errors import InvalidTypeError, InvalidValueError, TableError

# Dask's own: sockets that the killed worker left.
pytestmark = pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)


def table(n=500):
    rng = np.random.default_rng(0)
    return pandas.DataFrame(
        {
            "shape": rng.choice(["round", "oval", "lobular"], n),
            "edge": rng.choice(["sharp", "blurred"], n),
        }
    )


@pytest.mark.parametrize("partitions", [1, 2, 9, 70])
def test_the_store_is_that_of_the_whole_table(partitions):
    whole = table()
    schema = Schema.infer(whole)
    store = store_from_dataframe(
        frames.from_pandas(whole, npartitions=partitions, sort=False), schema
    )
    assert store.digest == ManifestationStore.from_table(whole, schema).digest
    assert store.bit_names == tuple(schema.bit_names)


def _rows_from(partition, first):
    return partition[partition.index >= first]


def test_empty_partitions_are_left_out():
    whole = table()
    schema = Schema.infer(whole)
    frame = frames.from_pandas(whole, npartitions=20, sort=False)
    late = frame.map_partitions(_rows_from, 300, meta=frame._meta)
    expected = ManifestationStore.from_table(whole[300:], schema)
    assert store_from_dataframe(late, schema).digest == expected.digest
    with pytest.raises(InvalidValueError, match="all its partitions are empty"):
        store_from_dataframe(frame.map_partitions(_rows_from, 900, meta=frame._meta), schema)


def test_what_is_no_dask_frame():
    schema = Schema.infer(table())
    with pytest.raises(InvalidTypeError, match="frame must be a Dask data frame; got DataFrame"):
        store_from_dataframe(table(), schema)
    frame = frames.from_pandas(table(), npartitions=2)
    with pytest.raises(InvalidTypeError, match="schema must be a Schema; got str"):
        store_from_dataframe(frame, "cbis")


def test_a_cell_that_the_schema_does_not_allow_is_named():
    whole = table()
    schema = Schema.infer(whole)
    whole.loc[400, "shape"] = "square"
    frame = frames.from_pandas(whole, npartitions=4, sort=False)
    with pytest.raises(TableError, match="square"):
        store_from_dataframe(frame, schema)


def _kill_once(partition, marker):
    """Kill the worker that comes here first."""
    if len(partition) and partition.index[0] >= 250:
        try:
            os.close(os.open(marker, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return partition
        os.kill(os.getpid(), signal.SIGKILL)
    return partition


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no SIGKILL here")
def test_a_worker_killed_midway_changes_nothing(tmp_path):
    whole = table()
    schema = Schema.infer(whole)
    marker = tmp_path / "killed"
    frame = frames.from_pandas(whole, npartitions=20, sort=False)
    frame = frame.map_partitions(_kill_once, str(marker), meta=frame._meta)
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None,
            local_directory=str(tmp_path),
        ) as cluster,
        distributed.Client(cluster),
    ):  # fmt: skip
        store = store_from_dataframe(frame, schema)
    assert marker.exists()
    assert store.digest == ManifestationStore.from_table(whole, schema).digest
