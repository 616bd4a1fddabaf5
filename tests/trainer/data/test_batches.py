"""Batches: the right images, in order, normalised, never one alone."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tuneoff.trainer.data import batches
from tuneoff.trainer.data.batches import Epoch, Resident
from tuneoff.trainer.data.pack import Pack
from tuneoff.trainer.recipe import Recipe
from tuneoff.trainer.registry import NORMALISATIONS


def make(count: int, size: int = 8) -> Resident:
    """Images of random pixels, image i labelled i."""
    generator = torch.Generator().manual_seed(0)
    shape = (count, size, size, 3)
    images = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
    return Resident(images, torch.arange(count))


@pytest.mark.parametrize("how", NORMALISATIONS.names)
def test_normalised_as_torchvision_does(how: str) -> None:
    data = make(3)
    stored, _ = batches.gather(data, np.array([2, 0]))
    images = batches.normalise(stored, None, how)
    known = NORMALISATIONS.entry(how)
    mean, std = torch.tensor(known.mean), torch.tensor(known.std)
    expected = ((data.images[[2, 0]].double() / 255 - mean) / std).permute(0, 3, 1, 2)
    assert torch.allclose(images.double(), expected, atol=1e-5)
    assert images.dtype == torch.float32
    assert images.is_contiguous(memory_format=torch.channels_last)


def test_flips_mirror_the_chosen_images_only() -> None:
    data = make(10)
    order = np.arange(10)[::-1].copy()
    flips = np.arange(10) % 3 == 0
    plain = {
        int(label): image
        for images, labels in batches.training_batches(data, Epoch(order), 4)
        for image, label in zip(images, labels, strict=True)
    }
    flipped = dict(zip(order.tolist(), flips.tolist(), strict=True))
    for images, labels in batches.training_batches(data, Epoch(order, flips), 4):
        for image, label in zip(images, labels.tolist(), strict=True):
            expected = plain[label].flip(2) if flipped[label] else plain[label]
            assert torch.equal(image, expected)


def test_images_without_room_on_the_device_come_batch_by_batch() -> None:
    images = make(6).images.numpy()
    none, names = np.zeros(6, dtype=np.bool_), ("a", "b")
    pack = Pack(images, np.arange(6), none, names, "digest", none.astype(np.uint64), names)
    for room, moved in ((None, True), (images.nbytes, True), (images.nbytes - 1, False)):
        data = batches.resident(pack, None, torch.device("meta"), room)
        assert data.device.type == "meta"
        assert (data.images.device.type == "meta") == moved
    data = batches.resident(pack, None, torch.device("cpu"), 0)
    assert data.images.data_ptr() == images.ctypes.data
    stored, labels = batches.gather(data, np.array([4, 1]))
    assert torch.equal(stored, torch.from_numpy(images[[4, 1]]))
    assert labels.tolist() == [4, 1]


def test_stored_images_are_never_changed() -> None:
    data = make(10)
    before = data.images.clone()
    list(batches.training_batches(data, Epoch(np.arange(10), np.ones(10, dtype=bool)), 3))
    assert torch.equal(data.images, before)


@settings(deadline=None)
@given(st.integers(2, 70), st.integers(2, 20), st.integers(0, 40))
def test_any_start_gives_the_rest_of_the_epoch(count: int, size: int, start: int) -> None:
    data = make(count, 2)
    order = np.random.default_rng(count).permutation(count)
    flips = np.random.default_rng(size).random(count) < 0.5
    whole = list(batches.training_batches(data, Epoch(order, flips), size))
    rest = list(batches.training_batches(data, Epoch(order, flips), size, start))
    assert len(whole) == batches.count(count, size)
    assert len(rest) == max(0, len(whole) - start)
    for (a, la), (b, lb) in zip(whole[start:], rest, strict=True):
        assert torch.equal(a, b)
        assert torch.equal(la, lb)
    sizes = [len(labels) for _, labels in whole]
    assert all(size > 1 for size in sizes)
    assert count - sum(sizes) == (count % size == 1)
    seen = torch.cat([labels for _, labels in whole]).tolist() if whole else []
    assert len(set(seen)) == len(seen)


@pytest.mark.parametrize("size", [4, 8, 12, 20])
def test_scaled_on_the_device(size: int) -> None:
    images = torch.full((2, 8, 8, 3), 100, dtype=torch.uint8)
    scaled = batches.normalise(images, size)
    assert scaled.shape == (2, 3, size, size)
    assert torch.allclose(scaled, batches.normalise(images, None)[:, :, :1, :1], atol=1e-5)


def test_a_rectangle_becomes_a_square() -> None:
    images = torch.zeros(1, 6, 10, 3, dtype=torch.uint8)
    assert batches.normalise(images, None).shape == (1, 3, 6, 10)
    assert batches.normalise(images, 8).shape == (1, 3, 8, 8)


@settings(deadline=None)
@given(st.integers(1, 40), st.integers(8, 300), st.integers(8, 300), st.booleans())
def test_sides_grow_to_the_full_size_by_the_last_quarter(
    epochs: int, start: int, full: int, stored: bool
) -> None:
    data = Resident(torch.zeros(1, full, full, 3, dtype=torch.uint8), torch.zeros(1))
    data = data if stored else replace(data, image_size=full)
    recipe = Recipe(epochs=epochs, start_size=start)
    found = [batches.side(recipe, epoch, data) for epoch in range(1, epochs + 1)]
    sides = [full if side is None else side for side in found]
    assert sides == sorted(sides)
    assert all(side == full for side in sides[math.ceil(0.75 * epochs) :])
    assert found[-1] == data.image_size  # as it is evaluated
    if start < full:
        assert sides[0] == (start if epochs > 1 else full)
        step = 32 if full >= 128 else 8
        assert all(side % step == 0 or side in (start, full) for side in sides)
        assert all(side < full for side in sides[: max(0, math.floor(0.75 * epochs) - 1)])
    else:
        assert set(sides) == {full}


def test_sides_of_sixteen_epochs() -> None:
    data = Resident(torch.zeros(1, 64, 64, 3, dtype=torch.uint8), torch.zeros(1), image_size=64)
    recipe = Recipe(epochs=16, start_size=32)
    sides = [batches.side(recipe, epoch, data) for epoch in range(1, 17)]
    assert sides == [32] * 3 + [40] * 3 + [48] * 3 + [56] * 3 + [64] * 4


def test_without_a_start_size_images_have_the_size_that_was_asked_for() -> None:
    rectangle = Resident(torch.zeros(1, 6, 10, 3, dtype=torch.uint8), torch.zeros(1))
    assert batches.side(Recipe(), 1, rectangle) is None
    assert batches.side(Recipe(start_size=8), 9, rectangle) is None
    assert batches.side(Recipe(), 1, replace(rectangle, image_size=32)) == 32
