"""Batches made on the device from images that are kept there: gathered, mirrored, normalised."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import interpolate

from tuneoff.trainer.data import augment
from tuneoff.trainer.data.pack import Pack
from tuneoff.trainer.recipe import Recipe
from tuneoff.trainer.registry import normalisation


@dataclass(frozen=True, slots=True, eq=False)
class Resident:
    """A pack on the device.

    Attributes:
        images: uint8 tensor of shape (images, height, width, 3); in main memory if the device has
            not enough of its own.
        labels: int64 tensor of shape (images,), on the device.
        image_size: side in pixels to which batches are scaled; None keeps the stored size.
        how: batches are normalised, as ``registry.normalisation`` takes it.
    """

    images: Tensor
    labels: Tensor
    image_size: int | None = None
    how: str = "imagenet"

    @property
    def device(self) -> torch.device:
        """The device on which batches are made."""
        return self.labels.device


def resident(
    pack: Pack, image_size: int | None, device: torch.device, room: int | None = None
) -> Resident:
    """Moves a pack to the device. On the CPU nothing is copied: the memory map itself is used.

    Args:
        pack: decoded images.
        image_size: see ``Resident``.
        device: where batches are made.
        room: bytes that the images may take there; None for any number. If they need more, they
            stay in main memory, and each batch is copied when it is made.
    """
    fits = room is None or pack.images.nbytes <= room
    images = torch.from_numpy(pack.images)
    return Resident(
        images.to(device) if fits else images, torch.from_numpy(pack.labels).to(device), image_size
    )


def count(images: int, batch_size: int) -> int:
    """The number of batches in an epoch.

    A last batch of a single image is left out: batch normalisation cannot train on it where the
    feature map is 1 x 1.
    """
    return images // batch_size + (images % batch_size > 1)


@dataclass(frozen=True, slots=True, eq=False)
class Epoch:
    """Which images an epoch trains on, and how each is changed.

    Attributes:
        order: indices of its images, in the order of training, shape (images,).
        flips: whether to mirror each image of ``order``, shape (images,); None to mirror none.
        crops: where each image's crop begins, see ``augment.crop_offsets``; None for whole images.
        padding: pixels by which images are extended before they are cropped.
        side: pixels to which images are scaled, as ``Resident.image_size``.
    """

    order: NDArray[np.int64]
    flips: NDArray[np.bool_] | None = None
    crops: NDArray[np.int64] | None = None
    padding: int = 0
    side: int | None = None


def side(recipe: Recipe, epoch: int, data: Resident) -> int | None:
    """The side in pixels to which an epoch's images are scaled; None for the stored size.

    With ``recipe.start_size`` it grows linearly until three quarters of the epochs are done, in
    steps that the strides of a ResNet divide: 32 pixels, or 8 if the full size is below 128. The
    last epoch always has the full size.

    Args:
        recipe: gives ``start_size`` and ``epochs``.
        epoch: 1-based.
        data: the images.
    """
    full = data.image_size or max(data.images.shape[1:3])
    if not recipe.start_size or recipe.start_size >= full:
        return data.image_size
    growing = min(0.75 * recipe.epochs, recipe.epochs - 1)  # epochs; the last one is never one
    if epoch > growing:
        return data.image_size
    progress = (epoch - 1) / growing
    grown = recipe.start_size + progress * (full - recipe.start_size)
    step = 32 if full >= 128 else 8
    return max(recipe.start_size, int(grown / step) * step)


def training_batches(
    data: Resident, epoch: Epoch, batch_size: int, start: int = 0
) -> Iterator[tuple[Tensor, Tensor]]:
    """An epoch's batches, from number ``start`` on.

    Args:
        data: the images.
        epoch: which of them, and how they are changed.
        batch_size: images in a batch; the last one may be smaller, see ``count``.
        start: number of batches that are left out at the front, to resume within an epoch.

    Yields:
        Normalised float32 images of shape (batch, 3, height, width) in channels_last memory
        format, and int64 labels of shape (batch,).
    """
    images_in_all = len(epoch.order)
    for number in range(start, count(images_in_all, batch_size)):
        part = slice(number * batch_size, (number + 1) * batch_size)
        chosen, mirrored = np.arange(part.start, min(part.stop, images_in_all)), 0
        if epoch.flips is not None:
            # The images to be mirrored come first, so that one flip of a slice mirrors them all.
            # The order of the images within a batch does not matter.
            flips = epoch.flips[part]
            chosen = np.concatenate([chosen[flips], chosen[~flips]])
            mirrored = int(flips.sum())
        images, labels = gather(data, epoch.order[chosen])
        if epoch.crops is not None:
            images = augment.crop(images, epoch.crops[chosen], epoch.padding)
        if mirrored:
            images[:mirrored] = images[:mirrored].flip(2)
        yield normalise(images, epoch.side, data.how), labels


def blank(data: Resident, batch_size: int) -> Tensor:
    """A full batch of zeros, in the shape and memory format of ``training_batches``."""
    stored = data.images[:1].to(data.device).expand(batch_size, -1, -1, -1)
    return torch.zeros_like(normalise(stored, data.image_size, data.how))


def gather(data: Resident, chosen: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
    """The images and labels at some indices.

    Args:
        data: the images.
        chosen: indices, shape (batch,).

    Returns:
        uint8 tensor of shape (batch, height, width, 3) and int64 tensor of shape (batch,), both on
        the device.
    """
    index = torch.from_numpy(chosen).to(data.device, non_blocking=True)
    images = data.images.index_select(0, index.to(data.images.device))
    return images.to(data.device, non_blocking=True), data.labels[index]


def normalise(images: Tensor, image_size: int | None, how: str = "imagenet") -> Tensor:
    """Stored pixels as a model's input.

    Args:
        images: uint8 tensor of shape (batch, height, width, 3).
        image_size: side to which they are scaled (bilinear; antialiased where they shrink).
        how: the mean and the standard deviation, as ``registry.normalisation`` takes them.

    Returns:
        float32 tensor of shape (batch, 3, side, side), channels_last: (x / 255 - mean) / std.
    """
    known = normalisation(how)
    count, height, width, _ = images.shape
    # The constants are repeated for a whole row of pixels. With only the three of one pixel, the
    # innermost loop of PyTorch has three steps, which takes six times as long on the CPU.
    scale = torch.tensor([1 / (255 * s) for s in known.std], device=images.device).repeat(width)
    shifts = [-m / s for m, s in zip(known.mean, known.std, strict=True)]
    shift = torch.tensor(shifts, device=images.device)
    rows = images.view(count, height, width * 3).float()
    rows = torch.addcmul(shift.repeat(width), rows, scale)
    batch = rows.view(count, height, width, 3).permute(0, 3, 1, 2)
    if image_size is None or batch.shape[2:] == (image_size, image_size):
        return batch
    shrinks = image_size < max(batch.shape[2:])
    return interpolate(batch, (image_size, image_size), mode="bilinear", antialias=shrinks)
