"""TensorFlow's padding: where the windows of a convolution lie, and that nothing else changes."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from tuneoff.trainer import memory
from tuneoff.trainer.models import factory
from tuneoff.trainer.models.padding import SameConv2d, pad_same
from tuneoff.trainer.recipe import Recipe


@pytest.mark.parametrize("size", [3, 5])
@pytest.mark.parametrize("side", range(1, 12))
def test_the_first_window_lies_where_tensorflow_puts_it(side: int, size: int) -> None:
    """As TensorFlow documents "SAME": ceil(side / stride) windows, and half of the zeros that they
    need, rounded down, above and on the left."""
    convolution = nn.Conv2d(1, 1, size, 2, size // 2, bias=False)
    model = nn.Sequential(convolution)
    pad_same(model)
    with torch.no_grad():
        found = model(torch.arange(1.0, side + 1).expand(1, 1, side, side))[0, 0]
    count = (side + 1) // 2
    above = max((count - 1) * 2 + size - side, 0) // 2
    kernel = convolution.weight[0, 0].detach()
    for row in range(count):
        inside_rows = [i for i in range(size) if 0 <= 2 * row - above + i < side]
        for column in range(count):
            wanted = sum(
                float(kernel[i, j]) * (2 * column - above + j + 1)
                for i in inside_rows
                for j in range(size)
                if 0 <= 2 * column - above + j < side
            )
            assert float(found[row, column]) == pytest.approx(wanted, abs=1e-4)
    assert found.shape == (count, count)


@pytest.mark.slow
@pytest.mark.parametrize("model", ["mobilenet_v2", "efficientnet-lite0"])
def test_only_strided_convolutions_change_and_all_tensors_stay(model: str) -> None:
    plain = factory.build(Recipe(model=model, padding="symmetric"), 3, seed=1)
    same = factory.build(Recipe(model=model, padding="same"), 3, seed=1)
    changed = [module for module in same.modules() if isinstance(module, SameConv2d)]
    assert len(changed) == 5
    assert all(max(module.stride) == 2 for module in changed)
    before, after = plain.state_dict(), same.state_dict()
    assert list(before) == list(after)
    assert all(torch.equal(before[name], after[name]) for name in before)
    first = next(module for module in plain.modules() if isinstance(module, nn.Conv2d))
    odd, even = torch.randn(2, 3, 33, 33), torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        # 33, 17, 9, 5, 3 pixels: odd at each convolution, where both kinds pad alike.
        torch.testing.assert_close(same.eval()(odd), plain.eval()(odd))
        assert not torch.allclose(changed[0](even), first(even))
        torch.testing.assert_close(copy.deepcopy(changed[0])(even), changed[0](even))


@pytest.mark.slow
def test_its_memory_is_counted_in_bf16_too() -> None:
    recipe = Recipe(model="mobilenet_v2", padding="same", precision="bf16")
    assert memory.footprint(recipe, 5, 32, 32).peak(2) > 0


def test_a_model_that_pads_in_one_way_only() -> None:
    Recipe(model="resnet18", padding="symmetric")
    with pytest.raises(ValueError, match=r'padding = "same" is not for resnet18, but for: mobi'):
        Recipe(model="resnet18", padding="same")
