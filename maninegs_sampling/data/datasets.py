"""Demonstration data."""

import numpy as np
from numpy.typing import NDArray

from maninegs_sampling.data.schema import Schema
from maninegs_sampling.data.store import ManifestationStore
from maninegs_sampling.data.synthetic import synthetic_mvkl
from maninegs_sampling.optional import require

__all__ = ["synthetic_mvkl", "wisconsin"]


def wisconsin() -> tuple[ManifestationStore, NDArray[np.int64]]:
    """Return the Wisconsin breast cancer table of scikit-learn as a store, and its labels.

    It has 569 cases of 30 measured features, each binned into ordered terciles: 90 bits. The
    label is 1 for malignant.

    Raises:
        MissingExtraError: If scikit-learn or polars is not installed.
    """
    what = "the demonstration data"
    polars = require("polars", extra="demo", what=what)
    data = require("sklearn.datasets", extra="demo", what=what).load_breast_cancer()
    table = polars.DataFrame(
        {name: data.data[:, i] for i, name in enumerate(data.feature_names.tolist())}
    )
    store = ManifestationStore.from_table(table, Schema.infer(table, name="Wisconsin"))
    return store, np.asarray(data.target == 0, dtype=np.int64)
