"""The photographs that come with tuneoff."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import numpy as np

from tuneoff.trainer.data.pack import Pack
from tuneoff.trainer.data.sources.trashnet import IMAGES
from tuneoff.trainer.data.splits import describe
from tuneoff.trainer.recipe import DataSource


def test_the_images_are_all_there(load: Callable[[DataSource], Pack]) -> None:
    source = DataSource("trashnet", validation=0.2)
    pack = load(source)
    assert pack.images.shape == (1500, 64, 64, 3)
    assert pack.classes == ("cardboard", "glass", "metal", "paper", "plastic", "trash")
    assert np.bincount(pack.labels).tolist() == [239, 298, 243, 353, 286, 81]
    assert np.bincount(pack.labels[pack.test]).tolist() == [80, 99, 81, 118, 95, 27]
    assert hashlib.sha256(IMAGES.read_bytes()).hexdigest() == (
        "8188d902d5b3d4f4d2812e553b6d48a7ba9953d51e87d7abe0bb7cda78fc3d3f"
    )
    task = describe(pack, source)
    assert task.sizes == {"train": 800, "validation": 200, "test": 500}
    assert task.notes == ()
    assert task.duplicates is not None
    assert task.duplicates.crossing == 0


def test_their_licence_lies_beside_them() -> None:
    assert "MIT License" in IMAGES.with_suffix(".txt").read_text(encoding="utf-8")
