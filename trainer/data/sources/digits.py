"""The handwritten digits that come with scikit-learn: 10 classes, 8 x 8 pixels, no files."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tuneoff.trainer.data import cache, pack
from tuneoff.trainer.data.pack import Pack, PackWriter
from tuneoff.trainer.data.packing import Packing
from tuneoff.trainer.data.sources.base import TEST_SEED, TEST_SHARE
from tuneoff.trainer.data.splits import stratified
from tuneoff.trainer.recipe import DataSource

CLASSES = tuple("0123456789")


def load(source: DataSource, packing: Packing) -> Pack:
    """The digits, see ``base.Source``; grey values 0 to 16 become RGB from 0 to 255."""
    key = f"digits-{pack.FORMAT}"
    return cache.load_or_build(packing.cache, key, _build, verify=packing.verify)


def _build(folder: Path) -> str:
    from sklearn.datasets import load_digits  # takes half a second, which other data sets need not

    bunch = load_digits()
    grey = np.rint(bunch.images * (255 / 16)).astype(np.uint8)
    labels = bunch.target.astype(np.int64)
    test = stratified(labels, TEST_SHARE, "digits-test", TEST_SEED)
    with PackWriter(folder, CLASSES) as writer:
        for image, label, is_test in zip(grey, labels, test, strict=True):
            writer.add(np.repeat(image[:, :, None], 3, axis=2), int(label), bool(is_test))
        return writer.finish()
