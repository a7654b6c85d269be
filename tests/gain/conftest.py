"""A small folder like WBCAtt's, for the tests of the comparison of batches and losses."""

import io

import numpy as np
import polars
import pytest

SIZE = 32  # pixels a side
PARTS = {"train": 1000, "val": 80, "test": 120}  # 1% of the labels are 10 cells
KINDS = ("Basophil", "Eosinophil", "Neutrophil")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A small folder like the real one: gray squares whose size tells the type."""
    # Here and not above, because without the extra dev-all they are missing.
    from PIL import Image

    from benchmarks.reference import wbcatt

    made = tmp_path_factory.mktemp("wbcatt")
    rng = np.random.default_rng(0)
    n = sum(PARTS.values())
    kind = rng.integers(3, size=n)
    files = []
    for k in kind:
        pixels = rng.integers(0, 60, (64, 64, 3), dtype=np.uint8)
        pixels[20 : 30 + 10 * k, 20 : 30 + 10 * k] += 120
        jpeg = io.BytesIO()
        Image.fromarray(pixels).save(jpeg, "JPEG")
        files.append(jpeg.getvalue())
    offsets = np.cumsum([0, *map(len, files)])
    jpeg = np.frombuffer(b"".join(files), np.uint8)
    np.savez(made / "images.npz", jpeg=jpeg, offsets=offsets)
    options = dict.fromkeys(wbcatt.ATTRIBUTES, "ab")
    options |= {"nucleus_shape": "abcdef", "cytoplasm_colour": "abc"}
    # The first option is the most frequent, so that many cells share a pattern.
    table = {
        name: np.array(list(values))[np.minimum(rng.geometric(0.6, n), len(values)) - 1]
        for name, values in options.items()
    }
    subtype = np.where(kind == 2, rng.choice(["band", "segmented"], n), None)
    polars.DataFrame(
        {
            "cell_type": np.array(KINDS)[kind],
            "neutrophil_subtype": list(subtype),
            "official_split": np.repeat(list(PARTS), list(PARTS.values())),
            **table,
        }
    ).write_csv(made / "cells.csv")
    return made


@pytest.fixture(scope="module")
def cells(folder, tmp_path_factory):
    from benchmarks.reference import wbcatt

    return wbcatt.load(folder, tmp_path_factory.mktemp("cache"), SIZE)
