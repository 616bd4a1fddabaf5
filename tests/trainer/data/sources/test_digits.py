"""The digits of scikit-learn."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest

from tuneoff.trainer.data.pack import Pack
from tuneoff.trainer.data.sources import digits
from tuneoff.trainer.recipe import DataSource

Load = Callable[[DataSource], Pack]


@pytest.mark.slow
def test_digits(load: Load) -> None:
    pack = load(DataSource())
    assert pack.images.shape == (1797, 8, 8, 3)
    assert pack.images.max() == 255
    assert (pack.images[..., 0] == pack.images[..., 2]).all()
    assert pack.classes == tuple("0123456789")
    assert pack.test.sum() == 359
    assert pack.digest == load(DataSource(validation=0.3, split_seed=4)).digest


@pytest.mark.slow
def test_they_are_those_that_scikit_learn_loads() -> None:
    from sklearn.datasets import load_digits

    images, labels = digits.read()
    theirs = load_digits()
    assert np.array_equal(images, theirs.images)
    assert np.array_equal(labels, theirs.target)


@pytest.mark.slow
def test_scikit_learn_is_not_imported() -> None:
    code = (
        "import sys; from tuneoff.trainer.data.sources import digits;"
        "digits.read(); assert 'sklearn' not in sys.modules"
    )
    subprocess.run([sys.executable, "-P", "-c", code], check=True)
