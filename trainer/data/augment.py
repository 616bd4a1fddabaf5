"""Augmentation of training images on the device: random crops, MixUp and CutMix.

Every random choice is a function of the seed, the epoch and the batch, so that a run resumed within
an epoch sees the images that it would have seen without the interruption.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import pad

from tuneoff.trainer import seeding
from tuneoff.trainer.contract import RunSeed
from tuneoff.trainer.recipe import Recipe


@dataclass(frozen=True, slots=True, eq=False)
class Targets:
    """The labels of a batch whose images may be mixtures of two.

    Attributes:
        labels: int64 tensor of shape (batch,).
        others: labels of the images that were mixed in, int64 tensor of shape (batch,); None if the
            images are not mixtures.
        share: weight of ``labels`` in the loss, 0 to 1, that of ``others`` being the rest; float32
            tensor of shape (); None likewise.
    """

    labels: Tensor
    others: Tensor | None = None
    share: Tensor | None = None

    def __getitem__(self, part: slice) -> Targets:
        """The targets of some of the images."""
        others = None if self.others is None else self.others[part]
        return Targets(self.labels[part], others, self.share)

    def loss(self, outputs: Tensor, mean_loss: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        """Mean loss of a model's outputs; of a mixture of two images that of each of their labels,
        by their shares.

        Args:
            outputs: logits, float tensor of shape (batch, classes).
            mean_loss: see ``losses.Loss``.
        """
        loss = mean_loss(outputs, self.labels)
        if self.others is None or self.share is None:
            return loss
        other = mean_loss(outputs, self.others)
        return self.share * loss + (1 - self.share) * other


def crop_offsets(seed: RunSeed, epoch: int, count: int, padding: int) -> NDArray[np.int64]:
    """Where each image's crop begins, at random.

    Args:
        seed: the run's.
        epoch: 1-based.
        count: number of images.
        padding: pixels by which each image is extended on each side.

    Returns:
        int64 array of shape (count, 2): (top, left) in the extended image, 0 to 2 * padding.
    """
    words = seeding.words(2 * count, *seeding.stream(seed, "crop", epoch))
    return (words % np.uint64(2 * padding + 1)).astype(np.int64).reshape(count, 2)


def crop(images: Tensor, offsets: NDArray[np.int64], padding: int) -> Tensor:
    """Extends each image by reflection and cuts a crop of the image's own size out of that.

    Args:
        images: uint8 tensor of shape (batch, height, width, 3).
        offsets: see ``crop_offsets``, shape (batch, 2).
        padding: pixels on each side, less than height and width.

    Returns:
        uint8 tensor of the shape of ``images``.
    """
    _, height, width, _ = images.shape
    channels_first = images.permute(0, 3, 1, 2)
    extended = pad(channels_first, (padding,) * 4, mode="reflect").permute(0, 2, 3, 1)
    places = torch.from_numpy(offsets).to(images.device, non_blocking=True)
    rows = places[:, :1] + torch.arange(height, device=images.device)
    columns = places[:, 1:] + torch.arange(width, device=images.device)
    batch = torch.arange(len(images), device=images.device)
    return extended[batch[:, None, None], rows[:, :, None], columns[:, None, :]]


def mix(
    images: Tensor, labels: Tensor, recipe: Recipe, seed: RunSeed, epoch: int, batch: int
) -> tuple[Tensor, Targets]:
    """MixUp or CutMix of a batch, as the recipe says; the batch itself if it asks for neither.

    Args:
        images: float tensor of shape (batch, 3, height, width).
        labels: int64 tensor of shape (batch,).
        recipe: gives ``mixup`` and ``cutmix``.
        seed: the run's.
        epoch: 1-based.
        batch: 0-based number in the epoch.

    Returns:
        Images of the same shape and memory format, and their targets.
    """
    methods = [name for name in ("mixup", "cutmix") if getattr(recipe, name)]
    if not methods:
        return images, Targets(labels)
    words = seeding.words(4, *seeding.stream(seed, "mix", epoch, batch))
    which, drawn, y, x = (words >> np.uint64(11)).astype(np.float64) * 2.0**-53
    method = methods[int(which * len(methods))]
    share = beta(getattr(recipe, method), float(drawn))
    order = seeding.permutation(len(labels), *seeding.stream(seed, "partners", epoch, batch))
    partner = torch.from_numpy(order).to(images.device, non_blocking=True)
    if method == "mixup":
        mixed = torch.lerp(images[partner], images, share)
    else:
        height, width = images.shape[2:]
        top, bottom, left, right = box(height, width, share, float(y), float(x))
        mixed = images.clone(memory_format=torch.preserve_format)
        mixed[:, :, top:bottom, left:right] = images[partner, :, top:bottom, left:right]
        share = 1 - (bottom - top) * (right - left) / (height * width)
    return mixed, Targets(labels, labels[partner], torch.tensor(share, device=images.device))


def example(images: Tensor, recipe: Recipe) -> Targets:
    """Targets of the kind that ``mix`` returns for this recipe, with class 0 for every image.

    Args:
        images: tensor of shape (batch, ...), on the device of the targets.
        recipe: gives ``mixup`` and ``cutmix``.
    """
    labels = torch.zeros(len(images), dtype=torch.int64, device=images.device)
    if not (recipe.mixup or recipe.cutmix):
        return Targets(labels)
    return Targets(labels, labels.clone(), torch.tensor(0.5, device=images.device))


def beta(alpha: float, drawn: float) -> float:
    """A value of Beta(alpha, alpha): its quantile at ``drawn``, which is uniform on [0, 1)."""
    from scipy.special import betaincinv  # imported only for recipes that mix images

    return float(betaincinv(alpha, alpha, drawn))


def box(height: int, width: int, share: float, y: float, x: float) -> tuple[int, int, int, int]:
    """CutMix's rectangle (Yun et al. 2019, eq. 2), cut off at the image's edge.

    Args:
        height, width: of the images, pixels.
        share: share of the image outside the rectangle if none of it is cut off, 0 to 1.
        y, x: the rectangle's centre, as shares of height and width.

    Returns:
        (top, bottom, left, right), pixels; bottom and right are excluded.
    """
    half_height = int(height * math.sqrt(1 - share)) // 2
    half_width = int(width * math.sqrt(1 - share)) // 2
    middle, centre = int(y * height), int(x * width)
    return (
        max(0, middle - half_height),
        min(height, middle + half_height),
        max(0, centre - half_width),
        min(width, centre + half_width),
    )
