"""A model's outputs on a split: logits, errors, and test-time augmentation."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tuneoff.trainer.contract import Scores
from tuneoff.trainer.data import batches
from tuneoff.trainer.data.batches import Resident
from tuneoff.trainer.distributed import ALONE, Ranks

# Large enough to keep a device busy, small enough for ResNet152 at 224 px beside its training.
BATCH = 256

View = Callable[[Tensor, int | None], Sequence[Tensor]]
"""Makes the versions of a batch of images that a model is shown; their names are in
``registry.VIEWS``.

It takes stored images (uint8, shape (batch, height, width, 3)) and the side in pixels that the
model takes (None for the stored size), and returns normalised images, float32, each of shape
(batch, 3, side, side)."""


def plain(images: Tensor, side: int | None) -> Sequence[Tensor]:
    """The images as they are."""
    return [batches.normalise(images, side)]


def flip(images: Tensor, side: int | None) -> Sequence[Tensor]:
    """The images and their mirror images."""
    whole = batches.normalise(images, side)
    return [whole, whole.flip(3)]


def ten_crop(images: Tensor, side: int | None) -> Sequence[Tensor]:
    """Four corners, the centre, and the mirror images of these five (Krizhevsky et al. 2012), of
    images scaled to 8/7 of the side, as 256 is of 224."""
    height, width = (side, side) if side else images.shape[1:3]
    whole = batches.normalise(images, max(height, width) * 8 // 7)
    below, right = whole.shape[2] - height, whole.shape[3] - width
    corners = [(0, 0), (0, right), (below, 0), (below, right)]
    places = [*corners, (below // 2, right // 2)]
    crops = [whole[:, :, y : y + height, x : x + width] for y, x in places]
    return [*crops, *(crop.flip(3) for crop in crops)]


def forward(
    model: nn.Module, images: Tensor, side: int | None, bf16: bool, view: View = plain
) -> Tensor:
    """A batch's logits in evaluation mode; over several views, log of the mean probability.

    Args:
        model: left in evaluation mode.
        images: as stored, uint8, shape (batch, height, width, 3).
        side: pixels to which they are scaled; None keeps the stored size.
        bf16: compute in bfloat16.
        view: test-time augmentation.

    Returns:
        float32 tensor of shape (batch, classes) on the images' device.
    """
    model.eval()
    with torch.inference_mode(), torch.autocast(images.device.type, torch.bfloat16, enabled=bf16):
        outputs: list[Tensor] = [model(version).float() for version in view(images, side)]
    if len(outputs) == 1:
        return outputs[0]
    stacked = torch.stack([output.log_softmax(1) for output in outputs])
    return stacked.logsumexp(0) - float(np.log(len(outputs)))


def score(
    model: nn.Module,
    data: Resident,
    chosen: NDArray[np.int64],
    bf16: bool,
    view: View = plain,
    between: Callable[[], object] = lambda: None,
    ranks: Ranks = ALONE,
) -> Scores:
    """A model's logits on the images that ``chosen`` (shape (images,)) indexes.

    Args:
        between: called between batches.
        ranks: the processes among which the images are divided; each returns the scores of all.
    """
    own = chosen[ranks.shard]
    outputs: list[Tensor] = []
    labels: list[Tensor] = []
    for start in range(0, len(own), BATCH):
        if outputs:
            between()
        images, shown = batches.gather(data, own[start : start + BATCH])
        outputs.append(forward(model, images, data.image_size, bf16, view))
        labels.append(shown)
    return Scores(
        ranks.interleave(torch.cat(outputs), len(chosen)).cpu().numpy(),
        ranks.interleave(torch.cat(labels), len(chosen)).cpu().numpy(),
    )


def cross_entropy(scores: Scores) -> float:
    """Mean cross entropy, nats (the paper's eq. 3)."""
    logits = torch.from_numpy(scores.logits).double()
    loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(scores.labels))
    return float(loss)


def top_error(scores: Scores, k: int) -> float:
    """Share of images whose label is not among the k highest logits, 0 to 1."""
    k = min(k, scores.logits.shape[1])
    best = np.argpartition(-scores.logits, k - 1, axis=1)[:, :k]
    return float(np.mean(~(best == scores.labels[:, None]).any(axis=1)))
