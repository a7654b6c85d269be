"""`manineg_batch_sampler`, called as the sentence-transformers trainer calls a batch sampler."""

from functools import partial

import numpy as np
import pytest

datasets = pytest.importorskip("datasets")
pytest.importorskip("sentence_transformers")
from sentence_transformers import (
    SentenceTransformer,
    SentenceTransformerTrainer,
    SentenceTransformerTrainingArguments,
)
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
from sentence_transformers.sentence_transformer.modules import StaticEmbedding
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from maninegs_sampling import ManifestationStore, ManiNegBatchSampler
from maninegs_sampling.errors import InvalidTypeError, InvalidValueError
from maninegs_sampling.sentence_transformers import manineg_batch_sampler
from tests.conftest import random_store
from tests.integrations.common import note_batches

STORE = random_store(60, 14)


def _pairs(n=60, n_positives=60):
    """Row i is the texts "a<i>" and "p<i modulo n_positives>"."""
    return datasets.Dataset.from_dict(
        {
            "anchor": [f"a{i}" for i in range(n)],
            "positive": [f"p{i % n_positives}" for i in range(n)],
            "label": [1.0] * n,
        }
    )


def _sampler(dataset, store=STORE, drop_last=True, **options):
    return manineg_batch_sampler(
        dataset, 8, drop_last, ["label"], None, 3, store=store, **({"mu": 5.0} | options)
    )


def test_batches_are_those_of_the_sampler():
    batches = list(_sampler(_pairs()))
    expected = ManiNegBatchSampler(
        STORE, batch_size=8, mu=5.0, seed=3, num_replicas=1, rank=0, groups=range(60)
    )
    assert batches == list(expected)
    assert list(_sampler(_pairs(), sigma=0.5)) != batches


def test_batches_are_full_and_counted_where_texts_repeat():
    dataset = _pairs(n_positives=12)
    for drop_last, length in ((True, 7), (False, 8)):
        sampler = _sampler(dataset, drop_last=drop_last)
        batches = list(sampler)
        assert len(batches) == len(sampler) == length
        for batch in batches:
            assert len({i % 12 for i in batch}) == len(batch) == 8
    assert any(len({i % 12 for i in b}) < 8 for b in _sampler(dataset, no_duplicates=False))


def test_a_text_counts_in_any_column_and_in_lists():
    dataset = datasets.Dataset.from_dict(
        {
            "anchor": ["a", "b", "c", "d", "e"],
            "positive": ["b", "x", "y", None, None],
            "negative": [["q"], [], ["r", "d"], ["s"], ["t"]],
            "dataset_name": ["same"] * 5,
        }
    )
    store = ManifestationStore.from_dense(np.eye(5))
    sampler = manineg_batch_sampler(dataset, 3, True, store=store, mu=2.0, batches_per_epoch=50)
    met = {frozenset((i, j)) for batch in sampler for i in batch for j in batch if i < j}
    assert met == {frozenset(pair) for pair in [(0, 2), (0, 3), (0, 4), (1, 2), (1, 3), (1, 4), (2, 4), (3, 4)]}  # fmt: skip


def test_other_columns_are_not_read():
    pytest.importorskip("PIL", reason="an image column needs pillow")
    features = datasets.Features({"text": datasets.Value("string"), "image": datasets.Image()})
    rows = {
        "text": [f"t{i}" for i in range(60)],
        "image": [{"bytes": b"broken", "path": None}] * 60,
    }
    assert len(_sampler(datasets.Dataset.from_dict(rows, features=features)).batch(0)) == 8


def test_rows_that_are_linked_and_too_many_are_warned_about():
    def chain(n):  # each of the first n rows shares a text with the next
        anchors = [f"t{i}" for i in range(60)]
        positives = anchors[1:n] + [f"p{i}" for i in range(61 - n)]
        return datasets.Dataset.from_dict({"anchor": anchors, "positive": positives})

    _sampler(chain(8))  # as many as an epoch has batches
    with pytest.warns(UserWarning, match="9 of 60 rows are linked by texts.* batch of 8 holds one"):
        sampler = _sampler(chain(9))
    assert all(sum(i < 9 for i in batch) <= 1 for batch in sampler)


def test_own_groups_replace_the_texts():
    groups = np.arange(60) % 10
    batches = _sampler(_pairs(n_positives=1), groups=groups)
    assert all(len({i % 10 for i in batch}) == 8 for batch in batches)


@pytest.mark.parametrize(
    ("dataset", "options", "error", "message"),
    [
        (_pairs(59), {}, InvalidValueError, "59 rows and the store 60 instances.*function"),
        (_pairs(), {"store": None}, InvalidTypeError, "store must be a ManifestationStore"),
        (_pairs(), {"store": lambda d: len(d)}, InvalidTypeError, "store must be .* got int"),
        (_pairs(), {"no_duplicates": 1}, InvalidTypeError, "True or False; got 1"),
        (_pairs(n_positives=5), {}, InvalidValueError, "only 5 of 60 rows share no text"),
    ],
)
def test_bad_arguments(dataset, options, error, message):
    with pytest.raises(error, match=message):
        _sampler(dataset, **options)


def _store_of(dataset):
    return STORE.subset(range(len(dataset)))


def _trained(folder, train, evaluation=None, checkpoint=None, **options):
    """A trainer that has run for two epochs, or the rest of them, with batches of 8."""
    words = [f"{kind}{i}" for kind in "ap" for i in range(60)] + ["?"]
    tokenizer = Tokenizer(WordLevel({word: k for k, word in enumerate(words)}, "?"))
    tokenizer.pre_tokenizer = Whitespace()
    model = SentenceTransformer(modules=[StaticEmbedding(tokenizer, embedding_dim=8)], device="cpu")
    arguments = SentenceTransformerTrainingArguments(
        str(folder), use_cpu=True, num_train_epochs=2, per_device_train_batch_size=8,
        per_device_eval_batch_size=8, report_to=[], disable_tqdm=True, seed=3,
        eval_strategy="no" if evaluation is None else "epoch",
        batch_sampler=partial(manineg_batch_sampler, store=_store_of, mu=5.0),
        **({"save_strategy": "epoch"} | options),
    )  # fmt: skip
    loss = MultipleNegativesRankingLoss(model)
    trainer = SentenceTransformerTrainer(
        model, arguments, train_dataset=train, eval_dataset=evaluation, loss=loss
    )
    trainer.train(resume_from_checkpoint=checkpoint)
    return trainer


@pytest.mark.parametrize("accumulate", [1, 2])
def test_the_trainer_takes_it(tmp_path, monkeypatch, accumulate):
    train = _pairs(n_positives=12).remove_columns("label")
    noted = note_batches(monkeypatch.setattr)
    trainer = _trained(
        tmp_path, train, train.select(range(20)), gradient_accumulation_steps=accumulate
    )
    assert trainer.state.global_step == 2 * 8 // accumulate
    of_training = [
        _sampler(train, drop_last=False).batch(k, epoch) for epoch in (0, 1) for k in range(8)
    ]
    assert [batch for batch in noted if batch in of_training] == of_training
    assert all(len(batch) == 8 for batch in noted)
    # The trainer pickles its arguments.
    assert (tmp_path / f"checkpoint-{16 // accumulate}" / "training_args.bin").is_file()


def test_the_trainer_resumes(tmp_path, monkeypatch):
    train = _pairs().remove_columns("label")
    _trained(tmp_path, train, save_steps=3, save_strategy="steps")
    noted = note_batches(monkeypatch.setattr)
    _trained(tmp_path, train, checkpoint=str(tmp_path / "checkpoint-12"))
    rest = [_sampler(train, drop_last=False).batch(k, 1) for k in range(4, 8)]
    assert noted[-4:] == rest


def test_the_trainer_takes_it_for_two_datasets(tmp_path, monkeypatch):
    first, second = _pairs().remove_columns("label"), _pairs(24).remove_columns("label")
    noted = note_batches(monkeypatch.setattr)
    trainer = _trained(tmp_path, {"first": first, "second": second}, dataloader_drop_last=True)
    assert trainer.state.global_step == 2 * (7 + 3)
    expected = [
        _sampler(dataset, _store_of).batch(k, epoch)
        for epoch in (0, 1)
        for dataset, n_batches in ((first, 7), (second, 3))
        for k in range(n_batches)
    ]
    assert sorted(noted) == sorted(expected)
