"""Data in a NumPy file."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tuneoff.trainer.recipe import DataSource

LABELS = np.arange(30) % 3
IMAGES = np.random.default_rng(0).integers(0, 256, (30, 8, 8, 3), dtype=np.uint8)


def npz(path: Path, **arrays: Any) -> DataSource:
    np.savez_compressed(path, **arrays)
    return DataSource("npz", str(path))


def test_the_keys_of_a_file(load: Any, tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    classes = np.array(["a", "b", "c"])
    source = npz(path, train_images=IMAGES, train_labels=LABELS, classes=classes)
    pack = load(source)
    np.testing.assert_array_equal(pack.images, IMAGES)
    assert pack.classes == ("a", "b", "c")
    assert pack.test.sum() == 6
    # MedMNIST's files have these, and labels in a column.
    medical = npz(tmp_path / "y.npz", train_images=IMAGES, train_labels=LABELS[:, None],
                  val_images=IMAGES, val_labels=LABELS[:, None],
                  test_images=IMAGES, test_labels=LABELS[:, None])  # fmt: skip
    pack = load(medical)
    assert pack.test.sum() == 30
    assert len(pack.images) == 60
    assert pack.notes == (
        "30 validation images are not used: validation is carved out of train, the same for all",
    )


def test_a_file_that_is_written_again_is_read_again(load: Any, tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    before = load(npz(path, train_images=IMAGES, train_labels=LABELS)).digest
    assert load(npz(path, train_images=IMAGES[::-1], train_labels=LABELS)).digest != before


def test_what_cannot_be_read(refused: Any, tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    refused(DataSource("npz", str(path)), "x.npz does not exist; check the data path")
    names = np.array([*"abc"] * 10, dtype=object)
    source = npz(path, train_images=IMAGES, train_labels=names)
    refused(source, "has arrays of Python objects, which are not read, as that would run code")
    npz(path, train_images=IMAGES, train_labels=LABELS)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    refused(source, "x.npz is damaged or no .npz file")
    path.write_bytes(whole[:200] + bytes(200) + whole[400:])
    refused(source, "x.npz is damaged or no .npz file")
    path.write_bytes(pickle.dumps({"train_images": 1}))
    refused(source, "has arrays of Python objects")
    path.write_bytes(b"")
    refused(source, "x.npz is damaged or no .npz file")
    with path.open("wb") as file:
        np.save(file, IMAGES)
    refused(source, "has one array without labels; write it with numpy.savez")
    refused(npz(path, pictures=IMAGES), "x.npz has the key 'pictures', which means nothing here")


def test_a_path_is_needed() -> None:
    with pytest.raises(ValueError, match=r"data 'npz' needs an [.]npz file"):
        DataSource("npz")
