"""Trains with Hugging Face's Trainer as a user would: two lines are tuneoff's."""

from __future__ import annotations

import argparse

import torch
from torch.utils.data import Dataset
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments

from tuneoff import folder
from tuneoff.integrations.huggingface import Report, resume_checkpoint


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--lr", type=float)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--seed", type=int)
    return parser.parse_args()


class Words(Dataset[dict[str, torch.Tensor]]):
    """Eight words each; the first one says which of two classes it is."""

    def __init__(self, count: int, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.words = torch.randint(0, 20, (count, 8), generator=generator)

    def __len__(self) -> int:
        return len(self.words)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        words = self.words[index]
        return {"input_ids": words, "labels": (words[0] > 9).long()}


args = arguments()
torch.manual_seed(args.seed)
model = BertForSequenceClassification(
    BertConfig(
        vocab_size=20,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
    )
)
trainer = Trainer(
    model,
    TrainingArguments(
        output_dir=str(folder()),
        num_train_epochs=args.epochs,
        learning_rate=args.lr,
        seed=args.seed,
        per_device_train_batch_size=16,
        report_to="none",
        use_cpu=True,
    ),
    train_dataset=Words(64, seed=0),
    eval_dataset=Words(32, seed=1),
    callbacks=[Report("eval_loss")],
)
trainer.train(resume_from_checkpoint=resume_checkpoint())
