"""The optimiser: which L2 strength for which parameter, and its steps against those by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from tuneoff.trainer import optim
from tuneoff.trainer.recipe import HyperParams, Recipe


class Net(nn.Module):
    """Layers whose names begin alike; ``fc`` is the head."""

    def __init__(self) -> None:
        super().__init__()
        self.layer1 = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
        self.layer10 = nn.Conv2d(4, 4, 1)
        self.fc2 = nn.Linear(4, 4)
        self.fc = nn.Linear(4, 2)

    def forward(self, images: Tensor) -> Tensor:
        x = self.layer10(self.layer1(images).relu()).mean((2, 3))
        found: Tensor = self.fc(self.fc2(x).relu())
        return found


def net() -> Net:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Net()


def decays(recipe: Recipe) -> dict[str, float]:
    """The weight decay of each parameter, by name, for a strength of 0.5."""
    model = net()
    optimizer = optim.sgd(model, recipe, HyperParams(weight_decay=0.5))
    of = {id(p): g["weight_decay"] for g in optimizer.param_groups for p in g["params"]}
    assert len(of) == len(list(model.parameters()))
    return {name: of[id(p)] for name, p in model.named_parameters()}


def test_the_papers_decay_is_for_everything() -> None:
    assert set(decays(Recipe()).values()) == {0.5}


def test_norms_and_biases_may_be_spared() -> None:
    found = decays(Recipe(decay_norms=False, layer_decay={"layer1": 2.0}))
    spared = {name for name, decay in found.items() if decay == 0}
    assert spared == {
        *("layer1.0.bias", "layer1.1.weight", "layer1.1.bias", "layer10.bias"),
        *("fc2.bias", "fc.bias"),
    }
    assert found["layer1.0.weight"] == 1.0


def test_the_longest_prefix_counts_and_is_of_whole_names() -> None:
    factors = {"layer1": 2.0, "layer1.0": 3.0, "layer1.0.bias": 0.0, "fc": 10.0}
    found = decays(Recipe(layer_decay=factors))
    assert found == {
        "layer1.0.weight": 1.5,
        "layer1.0.bias": 0.0,
        "layer1.1.weight": 1.0,
        "layer1.1.bias": 1.0,
        "layer10.weight": 0.5,
        "layer10.bias": 0.5,
        "fc2.weight": 0.5,
        "fc2.bias": 0.5,
        "fc.weight": 5.0,
        "fc.bias": 5.0,
    }


def loss_of(model: nn.Module) -> Tensor:
    images = torch.rand(6, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    return torch.nn.functional.cross_entropy(model(images), torch.arange(6) % 2)


def test_one_step_follows_the_gradient_of_equation_4() -> None:
    factors = {"layer1": 2.0, "fc": 10.0}
    params = HyperParams(lr=0.1, momentum=0.9, weight_decay=0.01)
    by_hand = net()
    loss = loss_of(by_hand)
    for name, w in by_hand.named_parameters():
        factor = factors.get(name.split(".")[0], 1.0)
        loss = loss + 0.5 * params.weight_decay * factor * w.square().sum()  # lambda_l ||w_l||^2
    loss.backward()

    model = net()
    optimizer = optim.sgd(model, Recipe(layer_decay=factors), params)
    loss_of(model).backward()
    optimizer.step()
    for ours, hand in zip(model.parameters(), by_hand.parameters(), strict=True):
        assert hand.grad is not None
        assert torch.allclose(ours, hand - params.lr * hand.grad, atol=1e-7)


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
def test_three_steps_by_hand(nesterov: bool, momentum: float) -> None:
    """v <- m v + g; w <- w - lr (g + m v), or w - lr v without Nesterov."""
    params = HyperParams(lr=0.05, momentum=momentum, weight_decay=0.1)
    model, hand = net(), net()
    optimizer = optim.sgd(model, Recipe(nesterov=nesterov), params)
    velocities = [torch.zeros_like(w) for w in hand.parameters()]
    for _ in range(3):
        optimizer.zero_grad()
        loss_of(model).backward()
        optimizer.step()
        gradients = torch.autograd.grad(loss_of(hand), list(hand.parameters()))
        with torch.no_grad():
            for w, g, v in zip(hand.parameters(), gradients, velocities, strict=True):
                g = g + 0.1 * w
                v.mul_(momentum).add_(g)
                w.sub_(0.05 * (g + momentum * v if nesterov else v))
    for a, b in zip(model.parameters(), hand.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-6)


def test_a_layer_that_thaws_joins_the_others() -> None:
    model = net()
    optimizer = optim.sgd(model, Recipe(), HyperParams(lr=0.1))
    model.get_submodule("layer1").requires_grad_(False)
    loss_of(model).backward()
    optimizer.step()
    model.get_submodule("layer1").requires_grad_(True)
    weight = model.get_parameter("layer1.0.weight")
    before = weight.detach().clone()
    optimizer.zero_grad()
    loss_of(model).backward()
    gradient = weight.grad
    assert gradient is not None
    wanted = before - 0.1 * (gradient + 1e-4 * before)
    optimizer.step()
    assert torch.allclose(weight, wanted, atol=1e-7)
