"""Dropout: the share that it drops, the scale of what it keeps, and where it is torch's own."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tuneoff.trainer.models.dropout import Dropout, replace_dropout


@pytest.mark.parametrize("p", [0.1, 0.2, 0.5])
@pytest.mark.parametrize("shape", [(7, 301), (20, 16, 5, 5)])
def test_it_drops_that_share_and_keeps_the_mean(p: float, shape: tuple[int, ...]) -> None:
    torch.manual_seed(5)
    x = torch.rand(shape) + 1
    if len(shape) == 4:
        x = x.to(memory_format=torch.channels_last)
    x.requires_grad_()
    y = Dropout(p)(x)
    assert y.stride() == x.stride()
    dropped = y == 0
    # Five standard deviations of the share among so many values.
    assert dropped.double().mean().item() == pytest.approx(
        p, abs=5 * (p * (1 - p) / x.numel()) ** 0.5
    )
    torch.testing.assert_close(y[~dropped], x[~dropped] / (1 - p), rtol=1e-4, atol=0)
    y.sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad == 0, dropped)
    # Neighbours are dropped independently of each other, within a draw of 64 bits, too.
    flat = dropped.detach().flatten().double()
    for lag in (1, 2, 3, 4):
        together = (flat[lag:] * flat[:-lag]).mean().item()
        assert together == pytest.approx(p * p, abs=0.03)


def test_a_seed_repeats_it_and_evaluation_leaves_all() -> None:
    x = torch.ones(100)
    dropout = Dropout(0.5)
    results = []
    for _ in range(2):
        torch.manual_seed(1)
        results.append(dropout(x))
    assert torch.equal(*results)
    assert not torch.equal(results[0], dropout(x))
    assert torch.equal(dropout.eval()(x), x)


@pytest.mark.parametrize("p", [0.0, 1.0])
def test_none_and_all(p: float) -> None:
    assert torch.equal(Dropout(p)(torch.ones(9)), torch.full((9,), 1 - p))


def test_it_takes_the_place_of_torch_s_own() -> None:
    model = nn.Sequential(nn.Dropout(0.3), nn.Sequential(nn.ReLU(), nn.Dropout(0.2)))
    replace_dropout(model)
    found = [m.p for m in model.modules() if isinstance(m, Dropout)]
    assert found == [0.3, 0.2]
