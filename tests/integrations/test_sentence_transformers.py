"""The sentence-transformers trainer, through its batch_sampler argument."""

import pytest

from tests.integrations.common import epochs_of, make_sampler, run_in_processes

pytest.importorskip("sentence_transformers")
pytest.importorskip("datasets")


@pytest.mark.parametrize("processes", [1, 2])
def test_batches_are_dealt_out(tmp_path, processes):
    ranks = run_in_processes(
        "tests.integrations.sentence_transformers_ranks", folder=tmp_path, processes=processes
    )
    whole = sum(epochs_of(make_sampler(), 3), [])
    assert ranks == [whole[rank::processes] for rank in range(processes)]
