"""The handwritten digits that come with scikit-learn: 10 classes, 8 x 8 pixels, no files."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import numpy.typing as npt

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


def read() -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """The digits: images (1797, 8, 8) with grey values 0.0 to 16.0, and labels (1797,), int64.

    They are read from scikit-learn's file without scikit-learn: to import it takes seconds, for
    SciPy and pandas above all.
    """
    found = importlib.util.find_spec("sklearn")
    for folder in (found.submodule_search_locations or ()) if found else ():
        file = Path(folder, "datasets", "data", "digits.csv.gz")
        if file.is_file():
            rows = np.loadtxt(file, delimiter=",")
            return rows[:, :-1].reshape(-1, 8, 8), rows[:, -1].astype(np.int64)
    from sklearn.datasets import load_digits  # a version that keeps them elsewhere

    bunch = load_digits()
    return bunch.images, bunch.target.astype(np.int64)


def _build(folder: Path) -> str:
    images, labels = read()
    grey = np.rint(images * (255 / 16)).astype(np.uint8)
    test = stratified(labels, TEST_SHARE, "digits-test", TEST_SEED)
    with PackWriter(folder, CLASSES) as writer:
        for image, label, is_test in zip(grey, labels, test, strict=True):
            writer.add(np.repeat(image[:, :, None], 3, axis=2), int(label), bool(is_test))
        return writer.finish()
