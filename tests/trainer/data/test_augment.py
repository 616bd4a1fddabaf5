"""Crops, MixUp and CutMix, against plain loops over images and pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from tuneoff.trainer import losses
from tuneoff.trainer.contract import RunSeed
from tuneoff.trainer.data import augment
from tuneoff.trainer.data.augment import Targets
from tuneoff.trainer.data.batches import Epoch, Resident, normalise, training_batches
from tuneoff.trainer.recipe import Recipe

CLASSES = 7
MIXES: list[dict[str, Any]] = [{"mixup": 0.4}, {"cutmix": 1.0}, {"mixup": 0.2, "cutmix": 1.0}]


def pixels(count: int, height: int, width: int, seed: int = 0) -> Tensor:
    """Random stored images."""
    generator = torch.Generator().manual_seed(seed)
    shape = (count, height, width, 3)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


def batch(count: int, side: int = 8) -> tuple[Tensor, Tensor]:
    """A batch as models see it, image i being i everywhere, and labels."""
    images = torch.arange(count, dtype=torch.float32)[:, None, None, None].expand(-1, 3, side, side)
    return images.contiguous(memory_format=torch.channels_last), torch.arange(count) % CLASSES


def crop_by_hand(image: NDArray[Any], top: int, left: int, padding: int) -> NDArray[Any]:
    height, width, _ = image.shape
    extended = np.pad(image, ((padding, padding), (padding, padding), (0, 0)), mode="reflect")
    return extended[top : top + height, left : left + width]


# Crops


@settings(deadline=None, max_examples=40)
@given(st.integers(2, 9), st.integers(2, 9), st.integers(1, 5), st.data())
def test_crops_are_those_of_a_plain_loop(
    height: int, width: int, count: int, data: st.DataObject
) -> None:
    padding = data.draw(st.integers(1, min(height, width) - 1))
    images = pixels(count, height, width, seed=height)
    place = st.tuples(st.integers(0, 2 * padding), st.integers(0, 2 * padding))
    places = data.draw(st.lists(place, min_size=count, max_size=count))
    found = augment.crop(images, np.array(places), padding)
    assert found.is_contiguous()
    for image, (top, left), cropped in zip(images, places, found, strict=True):
        assert np.array_equal(cropped, crop_by_hand(image.numpy(), top, left, padding))


def test_offsets_are_uniform() -> None:
    offsets = augment.crop_offsets(RunSeed(1), 1, 20_000, 4)
    assert offsets.shape == (20_000, 2)
    for column in offsets.T:
        counts = np.bincount(column, minlength=9)
        assert len(counts) == 9
        assert scipy.stats.chisquare(counts).pvalue > 1e-4
    across, down = offsets.T
    assert abs(np.corrcoef(across, down)[0, 1]) < 0.03


def test_offsets_are_a_function_of_seed_and_epoch() -> None:
    first = augment.crop_offsets(RunSeed(1, 2, 3), 4, 50, 2)
    assert np.array_equal(first, augment.crop_offsets(RunSeed(1, 2, 3), 4, 50, 2))
    for seed, epoch in ((RunSeed(1, 2, 4), 4), (RunSeed(1, 3, 3), 4), (RunSeed(1, 2, 3), 5)):
        assert not np.array_equal(first, augment.crop_offsets(seed, epoch, 50, 2))


def test_batches_of_crops_keep_image_crop_flip_and_label_together() -> None:
    images = pixels(11, 6, 8)
    data = Resident(images, torch.arange(11))
    order = np.random.default_rng(0).permutation(11)
    flips = np.random.default_rng(1).random(11) < 0.5
    crops = augment.crop_offsets(RunSeed(), 1, 11, 3)
    epoch = Epoch(order, flips, crops, padding=3)
    seen = 0
    for shown, labels in training_batches(data, epoch, 4):
        assert shown.is_contiguous(memory_format=torch.channels_last)
        for image, label in zip(shown, labels.tolist(), strict=True):
            place = order.tolist().index(label)
            top, left = crops[place]
            expected = crop_by_hand(images[label].numpy(), top, left, 3)
            expected = expected[:, ::-1] if flips[place] else expected
            stored = torch.from_numpy(expected.copy())[None]
            assert torch.equal(image, normalise(stored, None)[0])
            seen += 1
    assert seen == 11
    assert torch.equal(data.images, pixels(11, 6, 8))


# Mixtures


def test_without_mixing_a_batch_is_itself() -> None:
    images, labels = batch(5)
    mixed, targets = augment.mix(images, labels, Recipe(), RunSeed(), 1, 0)
    assert mixed is images
    assert targets.labels is labels
    assert targets.others is None


@pytest.mark.parametrize("number", range(12))
def test_mixup_is_the_formula(number: int) -> None:
    images, labels = batch(9)
    before = images.clone()
    mixed, targets = augment.mix(images, labels, Recipe(mixup=0.4), RunSeed(3), 2, number)
    assert targets.others is not None
    assert targets.share is not None
    assert 0 <= float(targets.share) <= 1
    assert mixed.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(images, before)
    # Image i is i everywhere: what was mixed into it can be read off, and is what its label says.
    share = float(targets.share)
    partners = (mixed - share * images) / (1 - share) if share < 0.99 else None
    if partners is not None:
        rows = partners[:, 0, 0, 0].round().long()
        assert torch.allclose(mixed, share * images + (1 - share) * images[rows], atol=1e-4)
        assert torch.equal(targets.others, labels[rows])
        assert sorted(rows.tolist()) == list(range(9))
    assert torch.equal(targets.labels, labels)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10**6), st.sampled_from([8, 9, 32]), st.floats(0.05, 5))
def test_cutmix_has_the_shares_of_its_pixels(number: int, side: int, alpha: float) -> None:
    images, labels = batch(6, side)
    before = images.clone()
    mixed, targets = augment.mix(images, labels, Recipe(cutmix=alpha), RunSeed(), 1, number)
    assert mixed.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(images, before)
    assert targets.others is not None
    assert targets.share is not None
    stayed = mixed == images
    for row, label, other in zip(range(6), targets.labels, targets.others, strict=True):
        if bool(stayed[row].all()):
            continue  # nothing was cut, or the partner is the image itself
        (partner,) = mixed[row][~stayed[row]].unique().tolist()
        assert int(labels[int(partner)]) == int(other)
        assert int(labels[row]) == int(label)
        assert float(stayed[row, 0].float().mean()) == pytest.approx(float(targets.share))


@settings(deadline=None)
@given(
    st.integers(8, 300),
    st.integers(8, 300),
    st.floats(0, 1),
    st.floats(0, 1, exclude_max=True),
    st.floats(0, 1, exclude_max=True),
)
def test_the_box_lies_inside_and_is_no_larger_than_asked(
    height: int, width: int, share: float, y: float, x: float
) -> None:
    top, bottom, left, right = augment.box(height, width, share, y, x)
    assert 0 <= top <= bottom <= height
    assert 0 <= left <= right <= width
    assert (bottom - top) * (right - left) <= (1 - share) * height * width + 1e-6


def test_a_box_in_the_middle_has_the_area_asked_for() -> None:
    top, bottom, left, right = augment.box(200, 100, 0.75, 0.5, 0.5)
    assert (top, bottom, left, right) == (50, 150, 25, 75)
    assert augment.box(8, 8, 1.0, 0.5, 0.5) == (4, 4, 4, 4)


def test_both_come_with_equal_chances() -> None:
    images, labels = batch(8, 16)
    recipe = Recipe(mixup=1.0, cutmix=1.0)
    cut = 0
    for number in range(400):
        mixed, _ = augment.mix(images, labels, recipe, RunSeed(), 1, number)
        cut += bool((mixed == mixed.round()).all())  # whole pixels of whole images
    assert 140 < cut < 260


@pytest.mark.parametrize("options", MIXES)
def test_a_mixture_is_a_function_of_seed_epoch_and_batch(options: dict[str, Any]) -> None:
    images, labels = batch(16, 16)
    recipe = Recipe(**options)

    def mixed(seed: RunSeed, epoch: int, number: int) -> tuple[list[int], float]:
        _, targets = augment.mix(images, labels, recipe, seed, epoch, number)
        assert targets.others is not None
        assert targets.share is not None
        return targets.others.tolist(), float(targets.share)

    first = mixed(RunSeed(1), 2, 3)
    assert mixed(RunSeed(1), 2, 3) == first
    for other in (mixed(RunSeed(2), 2, 3), mixed(RunSeed(1), 3, 3), mixed(RunSeed(1), 2, 4)):
        assert other != first


@given(st.floats(0.05, 50), st.floats(0.001, 0.999))
@example(0.0625, 0.9375)
def test_beta_is_the_quantile(alpha: float, drawn: float) -> None:
    found = augment.beta(alpha, drawn)
    # Near 1, the distribution may grow by much from one number of 64 bits to the next.
    below, above = np.nextafter(found, [0.0, 1.0])
    assert scipy.stats.beta.cdf(below, alpha, alpha) <= drawn + 1e-6
    assert scipy.stats.beta.cdf(above, alpha, alpha) >= drawn - 1e-6
    assert augment.beta(alpha, 1 - drawn) == pytest.approx(1 - found, abs=1e-6)


@given(st.floats(1e-12, 1e12), st.floats(0, 1, exclude_max=True))
def test_beta_stays_a_share_whatever_alpha(alpha: float, drawn: float) -> None:
    assert 0 <= augment.beta(alpha, drawn) <= 1


# Targets


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.9])
@pytest.mark.parametrize("share", [None, 0.0, 0.3, 1.0])
def test_the_loss_is_cross_entropy_with_mixed_and_smoothed_labels(
    smoothing: float, share: float | None
) -> None:
    generator = torch.Generator().manual_seed(0)
    outputs = torch.randn(5, CLASSES, generator=generator, dtype=torch.float64)
    labels, others = torch.tensor([0, 1, 2, 3, 4]), torch.tensor([6, 1, 0, 5, 4])
    wanted = torch.nn.functional.one_hot(labels, CLASSES).double()
    targets = Targets(labels)
    if share is not None:
        wanted = share * wanted + (1 - share) * torch.nn.functional.one_hot(others, CLASSES)
        targets = Targets(labels, others, torch.tensor(share))
    wanted = (1 - smoothing) * wanted + smoothing / CLASSES
    expected = -(wanted * outputs.log_softmax(1)).sum(1).mean()
    loss = losses.loss_of(Recipe(label_smoothing=smoothing))
    assert float(targets.loss(outputs, loss)) == pytest.approx(float(expected), rel=1e-6)


def test_parts_of_targets_are_those_of_their_images() -> None:
    share = torch.tensor(0.25)
    targets = Targets(torch.arange(6), torch.arange(6, 12), share)
    part = targets[slice(1, 6, 2)]
    assert part.labels.tolist() == [1, 3, 5]
    assert part.others is not None
    assert part.others.tolist() == [7, 9, 11]
    assert part.share is share
    assert Targets(torch.arange(6))[slice(0, 2)].others is None
