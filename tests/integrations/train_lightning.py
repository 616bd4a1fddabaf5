"""Trains with PyTorch Lightning as a user would: two lines are tuneoff's."""

from __future__ import annotations

import argparse
from typing import Any

import torch
from pytorch_lightning import LightningModule, Trainer, seed_everything
from torch.nn.functional import mse_loss
from torch.utils.data import DataLoader, TensorDataset

from tuneoff.integrations.lightning import Report, resume_checkpoint


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--lr", type=float)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--seed", type=int)
    return parser.parse_args()


class Line(LightningModule):  # type: ignore[misc]
    """A linear model."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.layer, self.rate = torch.nn.Linear(4, 1), rate

    def training_step(self, batch: Any, _: int) -> torch.Tensor:
        return mse_loss(self.layer(batch[0]), batch[1])

    def validation_step(self, batch: Any, _: int) -> None:
        self.log("val_loss", mse_loss(self.layer(batch[0]), batch[1]))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), self.rate)


args = arguments()
seed_everything(args.seed)
inputs = torch.randn(64, 4)
data = DataLoader(TensorDataset(inputs, inputs.sum(1, keepdim=True)), 16)
trainer = Trainer(
    max_epochs=args.epochs,
    callbacks=[Report("val_loss")],
    accelerator="cpu",
    logger=False,
    enable_checkpointing=False,
)
trainer.fit(Line(args.lr), data, data, ckpt_path=resume_checkpoint())
