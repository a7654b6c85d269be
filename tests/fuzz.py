"""Fuzz what is loaded from files, guided by coverage. Needs `pip install atheris`.

    python -m tests.fuzz TARGET [libFuzzer's options]
    python -m tests.fuzz signed -runs=1000000 -rss_limit_mb=2048

The targets are the keys of tests.untrusted.TARGETS. What breaks one goes into test_untrusted.
"""

import sys
import tempfile
from pathlib import Path

import atheris

from maninegs_sampling import ManifestationStore, ManiNegBatchSampler
from maninegs_sampling.data import (
    encoding,
    inference,
    patterns,
    schema,
    schema_files,
    storage,
    store_files,
    table_files,
    tables,
)
from maninegs_sampling.sampling import replacement, state
from tests.untrusted import TARGETS

# Not whole modules: Numba compiles kernels from their bytecode, and must find it as it is.
WATCHED = (
    storage.StoredArrays.__init__, storage.StoredArrays.load, storage.StoredArrays._read,
    store_files.load, store_files._ArrayCheck.rows, storage._read_header, storage._find_arrays, ManifestationStore.load.__func__,  # type: ignore[attr-defined]
    patterns.check_bits, patterns.check_shapes, patterns.check_pattern_of, patterns.check_names,
    schema.Schema.load.__func__, schema.Schema.__post_init__, schema.Trait.__post_init__,  # type: ignore[attr-defined]
    schema_files._from_json, schema_files.schema_from_json,
    schema.Schema.infer.__func__, schema.Schema.encode, encoding._encode_trait,  # type: ignore[attr-defined]
    tables.read_tables,
    table_files.decoded, table_files.regular_shape, table_files.detect_separator,
    table_files._rows, table_files.column_names, table_files._looks_like_data,
    inference.infer_table, inference._infer_trait, inference._infer_words,
    ManiNegBatchSampler.load_state_dict, state.read_state, state.check_fingerprint,
    state.check_schedule, state._is_schedule_fingerprint,
    replacement.check_stores, replacement._is_list_of_stores,
)  # fmt: skip


def main() -> None:
    """Fuzz the target that the command line names."""
    for function in WATCHED:
        atheris.instrument_func(function)
    load, valid = TARGETS[sys.argv.pop(1)]
    corpus = Path(tempfile.mkdtemp())
    for i, content in enumerate(valid):
        (corpus / str(i)).write_bytes(content)

    def run(content: bytes) -> None:
        load(content)

    atheris.Setup([*sys.argv, str(corpus)], run)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
