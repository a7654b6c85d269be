"""What each process gets from the sentence-transformers trainer, for its test."""

import os

import torch
from datasets import Dataset
from sentence_transformers import (
    SentenceTransformer,
    SentenceTransformerTrainer,
    SentenceTransformerTrainingArguments,
)
from sentence_transformers.models import StaticEmbedding  # type: ignore[import-not-found]
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from tests.integrations.common import finish, make_sampler

# The text of item i is the word "i", whose number is i.
tokenizer = Tokenizer(WordLevel({str(i): i for i in range(60)} | {"[UNK]": 60}, "[UNK]"))
tokenizer.pre_tokenizer = Whitespace()


class Notes(torch.nn.Module):
    """A loss that notes the items of its batches."""

    def __init__(self, model):
        super().__init__()
        self.model, self.seen = model, []

    def forward(self, sentence_features, labels=None):
        anchors, positives = (dict(features) for features in sentence_features)
        self.seen.append(anchors["input_ids"].tolist())
        return 0 * sum(self.model(f)["sentence_embedding"].sum() for f in (anchors, positives))


def hard_batches(dataset, batch_size, drop_last, seed=0, **_):
    """What batch_sampler= takes: called with the dataset and the arguments of a batch sampler."""
    return make_sampler(batch_size=batch_size, num_replicas=1, rank=0)


texts = [str(i) for i in range(60)]
model = SentenceTransformer(modules=[StaticEmbedding(tokenizer, embedding_dim=8)], device="cpu")
loss = Notes(model)
arguments = SentenceTransformerTrainingArguments(
    os.environ["FOLDER"], use_cpu=True, num_train_epochs=3, per_device_train_batch_size=5,
    report_to=[], save_strategy="no", disable_tqdm=True, batch_sampler=hard_batches,
)  # fmt: skip
SentenceTransformerTrainer(
    model,
    arguments,
    train_dataset=Dataset.from_dict({"anchor": texts, "positive": texts}),
    loss=loss,
).train()
finish(loss.seen)
