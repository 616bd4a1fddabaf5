"""What a model makes of a split: logits, errors, and test-time augmentation."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from trainer.contract import Scores
from trainer.data import batches
from trainer.data.batches import Resident

# Large enough to keep a device busy, small enough for ResNet152 at 224 px beside its training.
BATCH = 256

View = Callable[[Tensor], Sequence[Tensor]]
"""Images of shape (batch, 3, height, width) to the versions of them that a model is shown."""


def plain(images: Tensor) -> Sequence[Tensor]:
    """The images as they are."""
    return [images]


def flip(images: Tensor) -> Sequence[Tensor]:
    """The images and their mirror images."""
    return [images, images.flip(3)]


def ten_crop(images: Tensor) -> Sequence[Tensor]:
    """Four corners, the centre, and the mirror images of these five (Krizhevsky et al. 2012);
    a crop's side is 7/8 of the image's, as 224 is of 256."""
    height, width = images.shape[2:]
    h, w = max(1, height * 7 // 8), max(1, width * 7 // 8)
    corners = [(0, 0), (0, width - w), (height - h, 0), (height - h, width - w)]
    places = [*corners, ((height - h) // 2, (width - w) // 2)]
    crops = [images[:, :, top : top + h, left : left + w] for top, left in places]
    return [*crops, *(crop.flip(3) for crop in crops)]


VIEWS = {"plain": plain, "flip": flip, "ten-crop": ten_crop}


def forward(model: nn.Module, images: Tensor, bf16: bool, view: View = plain) -> Tensor:
    """A batch's logits in evaluation mode; over several views, log of the mean probability.

    Args:
        model: left in evaluation mode.
        images: normalised, shape (batch, 3, height, width).
        bf16: compute in bfloat16.
        view: test-time augmentation.

    Returns:
        float32 tensor of shape (batch, classes) on the images' device.
    """
    model.eval()
    with torch.inference_mode(), torch.autocast(images.device.type, torch.bfloat16, enabled=bf16):
        outputs: list[Tensor] = [model(version).float() for version in view(images)]
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
) -> Scores:
    """A model's logits on the images that ``chosen`` (shape (images,)) indexes.

    Args:
        between: called between batches.
    """
    outputs: list[Tensor] = []
    for start in range(0, len(chosen), BATCH):
        if outputs:
            between()
        images, _ = batches.gather(data, chosen[start : start + BATCH])
        outputs.append(forward(model, images, bf16, view))
    labels = data.labels[torch.from_numpy(chosen).to(data.labels.device)]
    return Scores(torch.cat(outputs).cpu().numpy(), labels.cpu().numpy())


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
