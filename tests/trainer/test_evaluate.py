"""Errors by hand, and test-time augmentation."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tuneoff.trainer import evaluate
from tuneoff.trainer.contract import Scores
from tuneoff.trainer.data import batches
from tuneoff.trainer.data.batches import Resident


class Brightest(nn.Module):
    """Scores two classes by the means of the left and the right half."""

    def forward(self, images: Tensor) -> Tensor:
        half = images.shape[3] // 2
        left, right = images[..., :half], images[..., half:]
        return torch.stack([left.mean((1, 2, 3)), right.mean((1, 2, 3))], 1)


def test_top_errors() -> None:
    logits = np.array([[3, 2, 1], [1, 2, 3], [2, 3, 1]], dtype=np.float32)
    scores = Scores(logits, np.array([0, 1, 2]))
    assert evaluate.top_error(scores, 1) == pytest.approx(2 / 3) == scores.error
    assert evaluate.top_error(scores, 2) == pytest.approx(1 / 3)
    assert evaluate.top_error(scores, 5) == 0


def test_cross_entropy_of_a_guess_is_log_classes() -> None:
    scores = Scores(np.zeros((4, 10), dtype=np.float32), np.arange(4))
    assert evaluate.cross_entropy(scores) == pytest.approx(math.log(10))


def test_flip_shows_both_sides() -> None:
    images = torch.randint(0, 256, (5, 8, 8, 3), dtype=torch.uint8)
    logits = evaluate.forward(Brightest(), images, None, False, evaluate.flip)
    assert torch.allclose(logits[:, 0], logits[:, 1], atol=1e-6)
    assert torch.allclose(logits.exp().sum(1), torch.ones(5), atol=1e-6)


def test_ten_crop_takes_corners_centre_and_mirrors() -> None:
    images = torch.arange(192, dtype=torch.uint8).view(1, 8, 8, 3)
    scaled = batches.normalise(images, 16)
    crops = evaluate.ten_crop(images, 14, "imagenet")
    assert len(crops) == 10
    assert {tuple(crop.shape) for crop in crops} == {(1, 3, 14, 14)}
    places = [(0, 0), (0, 2), (2, 0), (2, 2), (1, 1)]
    for crop, (top, left) in zip(crops[:5], places, strict=True):
        assert torch.equal(crop, scaled[:, :, top : top + 14, left : left + 14])
    assert torch.equal(crops[5], crops[0].flip(3))


def test_ten_crop_of_images_at_their_stored_size() -> None:
    images = torch.zeros(2, 14, 14, 3, dtype=torch.uint8)
    assert {tuple(crop.shape) for crop in evaluate.ten_crop(images, None, "imagenet")} == {
        (2, 3, 14, 14)
    }


def test_score_keeps_the_order_of_the_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluate, "BATCH", 3)
    images = torch.zeros(7, 8, 8, 3, dtype=torch.uint8)
    images[torch.arange(7), :, :4] = torch.arange(7, dtype=torch.uint8)[:, None, None, None] * 30
    data = Resident(images, torch.arange(7))
    chosen = np.array([6, 0, 3, 1, 5])
    between: list[None] = []
    scores = evaluate.score(
        Brightest(), data, chosen, bf16=False, between=lambda: between.append(None)
    )
    assert len(between) == 1
    assert scores.labels.tolist() == chosen.tolist()
    assert scores.logits[:, 0].argsort().tolist() == [1, 3, 2, 4, 0]
