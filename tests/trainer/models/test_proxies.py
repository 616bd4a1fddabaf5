"""The small networks."""

from __future__ import annotations

import pytest
import torch

from tuneoff.trainer.models import factory
from tuneoff.trainer.recipe import Recipe

PROXIES = ("proxy", "proxy-residual", "proxy-dense")


@pytest.mark.parametrize("model", PROXIES)
@pytest.mark.parametrize("size", [8, 9, 32])
def test_proxies_are_small_and_map_images_to_classes(model: str, size: int) -> None:
    net = factory.build(Recipe(model=model), 7, seed=0)
    assert 60_000 < sum(p.numel() for p in net.parameters()) < 100_000
    assert net(torch.rand(2, 3, size, size)).shape == (2, 7)
