"""The digits of scikit-learn."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tuneoff.trainer.data.pack import Pack
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
