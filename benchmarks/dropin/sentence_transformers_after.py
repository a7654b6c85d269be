"""The sentence-transformers trainer, whose argument batch_sampler makes the batches."""

import tempfile

from datasets import Dataset
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

import maninegs_sampling as mn
from benchmarks.dropin import data

store = mn.ManifestationStore.from_dense(data.bits)
tokenizer = Tokenizer(WordLevel({f"t{t}": t for t in range(35)} | {"?": 35}, "?"))
tokenizer.pre_tokenizer = Whitespace()
model = SentenceTransformer(modules=[StaticEmbedding(tokenizer, embedding_dim=16)], device="cpu")
arguments = SentenceTransformerTrainingArguments(
    tempfile.mkdtemp(),
    use_cpu=True,
    num_train_epochs=2,
    per_device_train_batch_size=32,
    save_strategy="no",
    report_to=[],
    batch_sampler=lambda *_, **__: mn.ManiNegBatchSampler(store, batch_size=32, mu=8.0),
)
SentenceTransformerTrainer(
    model,
    arguments,
    train_dataset=Dataset.from_dict({"anchor": data.texts, "positive": data.texts}),
    loss=MultipleNegativesRankingLoss(model),
).train()
