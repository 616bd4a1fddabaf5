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
from tuneoff.trainer.data.features import Stored
from tuneoff.trainer.distributed import ALONE, Ranks

# Large enough to keep a device busy, small enough for ResNet152 at 224 px beside its training.
BATCH = 256

View = Callable[[Tensor, int | None, str], Sequence[Tensor]]
"""Makes the versions of a batch of images that a model is shown; their names are in
``registry.VIEWS``.

It takes stored images (uint8, shape (batch, height, width, 3)), the side in pixels that the model
takes (None for the stored size) and how they are normalised (see ``batches.normalise``). It returns
normalised images, float32, each of shape (batch, 3, side, side)."""


def plain(images: Tensor, side: int | None, how: str) -> Sequence[Tensor]:
    """The images as they are."""
    return [batches.normalise(images, side, how)]


def flip(images: Tensor, side: int | None, how: str) -> Sequence[Tensor]:
    """The images and their mirror images."""
    whole = batches.normalise(images, side, how)
    return [whole, whole.flip(3)]


def ten_crop(images: Tensor, side: int | None, how: str) -> Sequence[Tensor]:
    """Four corners, the centre, and the mirror images of these five (Krizhevsky et al. 2012), of
    images scaled to 8/7 of the side, as 256 is of 224."""
    height, width = (side, side) if side else images.shape[1:3]
    whole = batches.normalise(images, max(height, width) * 8 // 7, how)
    below, right = whole.shape[2] - height, whole.shape[3] - width
    corners = [(0, 0), (0, right), (below, 0), (below, right)]
    places = [*corners, (below // 2, right // 2)]
    crops = [whole[:, :, y : y + height, x : x + width] for y, x in places]
    return [*crops, *(crop.flip(3) for crop in crops)]


def forward(
    model: nn.Module,
    images: Tensor,
    side: int | None,
    bf16: bool,
    view: View = plain,
    how: str = "imagenet",
) -> Tensor:
    """A batch's logits in evaluation mode; over several views, log of the mean probability.

    Args:
        model: left in evaluation mode.
        images: as stored, uint8, shape (batch, height, width, 3).
        side: pixels to which they are scaled; None keeps the stored size.
        bf16: compute in bfloat16.
        view: test-time augmentation.
        how: they are normalised, see ``batches.normalise``.

    Returns:
        float32 tensor of shape (batch, classes) on the images' device.
    """
    outputs = [_logits(model, version, bf16) for version in view(images, side, how)]
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

    def logits(part: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        images, labels = batches.gather(data, part)
        return forward(model, images, data.image_size, bf16, view, data.how), labels

    return _score(logits, chosen, between, ranks)


def score_stored(
    rest: nn.Module,
    stored: Stored,
    chosen: NDArray[np.int64],
    bf16: bool,
    between: Callable[[], object] = lambda: None,
    ranks: Ranks = ALONE,
) -> Scores:
    """As ``score`` of a whole model, from the kept outputs of its frozen stages.

    Args:
        rest: the stages after these.
        stored: their outputs.
    """

    def logits(part: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        values, labels = stored.gather(part)
        return _logits(rest, values, bf16), labels

    return _score(logits, chosen, between, ranks)


def _logits(model: nn.Module, inputs: Tensor, bf16: bool) -> Tensor:
    model.eval()
    with torch.inference_mode(), torch.autocast(inputs.device.type, torch.bfloat16, enabled=bf16):
        outputs: Tensor = model(inputs)
    return outputs.float()


def _score(
    logits: Callable[[NDArray[np.int64]], tuple[Tensor, Tensor]],
    chosen: NDArray[np.int64],
    between: Callable[[], object],
    ranks: Ranks,
) -> Scores:
    """The scores of all images, of which this process passes its own on batch by batch."""
    own = chosen[ranks.shard]
    outputs: list[Tensor] = []
    labels: list[Tensor] = []
    for start in range(0, len(own), BATCH):
        if outputs:
            between()
        found, shown = logits(own[start : start + BATCH])
        outputs.append(found)
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
