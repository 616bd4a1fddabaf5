"""The trainer to compare with, as most tutorials write it: ImageFolder, DataLoader, fp32."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Subset
from torchvision import transforms
from torchvision.datasets import ImageFolder

from tuneoff.trainer.models import factory
from tuneoff.trainer.recipe import HyperParams, Recipe

Loaders = tuple[DataLoader[Any], DataLoader[Any]]  # of training and of validation images
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def loaders(
    root: Path, size: int | None, batch_size: int, validation: int, workers: int, pin: bool = False
) -> Loaders:
    """Loaders of training and of validation images.

    Args:
        root: a folder with a folder of images for each class.
        size: side in pixels to which images are scaled; None for their own.
        batch_size: images in a batch.
        validation: number of images that are kept for validation.
        workers: processes that load; 0 for this one alone.
        pin: whether batches are put into page-locked memory, for a GPU.
    """
    resize = [transforms.Resize((size, size))] if size else []
    finish = [transforms.ToTensor(), transforms.Normalize(MEAN, STD)]
    augmented = transforms.Compose([*resize, transforms.RandomHorizontalFlip(), *finish])
    plain = transforms.Compose([*resize, *finish])
    order = np.random.default_rng(0).permutation(len(ImageFolder(root))).tolist()
    train = Subset(ImageFolder(root, augmented), order[validation:])
    held = Subset(ImageFolder(root, plain), order[:validation])
    return (
        DataLoader(
            *(train, batch_size),
            shuffle=True,
            num_workers=workers,
            pin_memory=pin,
            drop_last=len(train) % batch_size == 1,  # batch normalisation cannot train on one
            persistent_workers=workers > 0,
        ),
        DataLoader(held, batch_size, num_workers=workers, persistent_workers=workers > 0),
    )


class Usual:
    """A model that is trained on a device: SGD and cross entropy, no schedule."""

    def __init__(
        self,
        *,
        model: str,
        classes: int,
        train: DataLoader[Any],
        validation: DataLoader[Any],
        checkpoint: Path,
        device: str = "cpu",
    ) -> None:
        params = HyperParams()
        self.model = factory.build(Recipe(model=model), classes, seed=0).to(device)
        self.optimizer = torch.optim.SGD(
            self.model.parameters(), params.lr, params.momentum, weight_decay=params.weight_decay
        )
        self.train, self.validation, self.device = train, validation, device
        self.checkpoint = checkpoint

    def step(self, images: torch.Tensor, labels: torch.Tensor) -> float:
        """One optimiser step; returns the loss of its batch."""
        images = images.to(self.device, non_blocking=True)
        labels = labels.to(self.device, non_blocking=True)
        loss = nn.functional.cross_entropy(self.model(images), labels)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.item()

    def epoch(self) -> int:
        """One epoch with its validation and a checkpoint; returns the images trained on."""
        self.model.train()
        trained = 0
        for images, labels in self.train:
            self.step(images, labels)
            trained += len(labels)
        self.model.eval()
        wrong = 0
        with torch.no_grad():
            for images, labels in self.validation:
                best = self.model(images.to(self.device)).argmax(1).cpu()
                wrong += int((best != labels).sum())
        state = {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}
        torch.save(state | {"wrong": wrong}, self.checkpoint)
        return trained


def pack(path: Path, out: Path) -> int:
    """Decodes a zip file's images by Pillow, in a loop, into one array on disk.

    Returns:
        Number of images.
    """
    with zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if name.endswith(".JPEG")]
        arrays = []
        for name in names:
            with Image.open(io.BytesIO(archive.read(name))) as image:
                arrays.append(np.asarray(image.convert("RGB")))
    np.save(out, np.stack(arrays))
    return len(names)
