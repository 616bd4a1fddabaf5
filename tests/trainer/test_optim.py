"""The optimiser: which L2 strength for which parameter, and its steps against those by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tuneoff import references
from tuneoff.trainer import optim, optimizer_choice
from tuneoff.trainer.errors import ModelError
from tuneoff.trainer.models import factory
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


@pytest.mark.slow
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


def stages_of_proxy(name: str) -> int:
    """How many stages below the head a parameter of the proxy lies."""
    module = name.split(".")
    return 0 if module[0] == "fc" else 3 - int(module[1]) // 3


def test_each_stage_has_its_rate() -> None:
    recipe = Recipe(head_lr_factor=5.0, layer_lr_decay=0.5, frozen_stages=1)
    model = factory.build(recipe, 4, seed=0)
    optimizer = optim.sgd(model, recipe, HyperParams(lr=0.1))
    optim.set_rate(optimizer, 0.2)
    rates = {id(p): g["lr"] for g in optimizer.param_groups for p in g["params"]}
    for name, parameter in model.named_parameters():
        wanted = {0: 1.0, 1: 0.1, 2: 0.05, 3: None}[stages_of_proxy(name)]
        assert rates.get(id(parameter)) == wanted, name
    assert all(group["weight_decay"] == 1e-4 for group in optimizer.param_groups)


def proxy_loss(model: nn.Module, seed: int) -> Tensor:
    images = torch.rand(6, 3, 8, 8, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.cross_entropy(model(images), torch.arange(6) % 4)


@pytest.mark.parametrize(
    "options",
    [
        {"l2_sp": 0.5},
        {"l2_sp": 0.5, "nesterov": True, "layer_decay": {"features.0": 3.0, "fc": 2.0}},
        {"l2_sp": 0.5, "head_lr_factor": 3.0, "layer_lr_decay": 0.5, "decay_norms": False},
    ],
    ids=["alone", "factors", "rates"],
)
def test_l2_sp_is_the_gradient_of_its_penalty(options: dict[str, Any]) -> None:
    """Three steps on cross entropy + alpha/2 ||w_S - w_S0||^2 + beta/2 ||w_H||^2, by autograd."""
    recipe = Recipe(weights="some.pt").override(options)
    params = HyperParams(lr=0.05, momentum=0.9, weight_decay=0.1)
    model, hand = (factory.build(Recipe(), 4, seed=0) for _ in range(2))
    optimizer = optim.sgd(model, recipe, params)
    started = {name: p.detach().clone() for name, p in hand.named_parameters()}
    velocities = {name: torch.zeros_like(p) for name, p in started.items()}
    for step in range(3):
        optim.set_rate(optimizer, params.lr)
        optimizer.zero_grad()
        proxy_loss(model, step).backward()
        optimizer.step()
        loss = proxy_loss(hand, step)
        for name, w in hand.named_parameters():
            factor = optim.decay_factor(recipe, name, w)
            is_head = name.startswith("fc")
            distance = w if is_head else w - started[name]
            strength = params.weight_decay if is_head else recipe.l2_sp
            loss = loss + 0.5 * strength * factor * distance.square().sum()
        hand.zero_grad()
        loss.backward()
        for name, w in hand.named_parameters():
            below, v = stages_of_proxy(name), velocities[name]
            rate = params.lr * (recipe.layer_lr_decay**below if below else recipe.head_lr_factor)
            assert w.grad is not None
            v.mul_(0.9).add_(w.grad)
            with torch.no_grad():
                w.sub_(rate * (w.grad + 0.9 * v if recipe.nesterov else v))
    for (name, ours), its in zip(model.named_parameters(), hand.parameters(), strict=True):
        torch.testing.assert_close(ours, its, atol=1e-6, rtol=1e-5, msg=name)
    assert not optimizer.state_dict()["param_groups"][0].keys() & {"references", "reference"}


OTHERS: dict[str, tuple[dict[str, Any], type[torch.optim.Optimizer], dict[str, Any]]] = {
    "adamw": ({"beta2": 0.9, "eps": 1e-6}, torch.optim.AdamW, {"betas": (0.9, 0.9), "eps": 1e-6}),
    "adam": (
        {"betas": [0.8, 0.95], "amsgrad": True},
        torch.optim.Adam,
        {"betas": (0.8, 0.95), "amsgrad": True},
    ),
    "rmsprop": (
        {"alpha": 0.9, "centered": True},
        torch.optim.RMSprop,
        {"alpha": 0.9, "centered": True, "momentum": 0.7},
    ),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_optimizers_are_torchs_with_rates_of_stages(name: str) -> None:
    options, kind, given = OTHERS[name]
    recipe = Recipe(optimizer=name, optimizer_options=options, head_lr_factor=3.0)
    params = HyperParams(lr=0.01, momentum=0.7, weight_decay=0.1)
    model, hand = (factory.build(Recipe(), 4, seed=0) for _ in range(2))
    ours = optim.optimizer(model, recipe, params)
    head = [p for name, p in hand.named_parameters() if name.startswith("fc")]
    rest = [p for name, p in hand.named_parameters() if not name.startswith("fc")]
    its = [
        kind([{"params": group}], lr=rate, weight_decay=0.1, **given)  # type: ignore[call-arg]
        for group, rate in ((head, 0.03), (rest, 0.01))
    ]
    for step in range(3):
        optim.set_rate(ours, params.lr)
        for one, net_, every in ((model, model, [ours]), (hand, hand, its)):
            one.zero_grad()
            proxy_loss(net_, step).backward()
            for each in every:
                each.step()
    for a, b in zip(model.parameters(), hand.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=2e-6, rtol=1e-4)
    kept = {id(p): state for p, state in ours.state.items()}
    sizes = [t for state in kept.values() for t in state.values() if t.ndim]
    assert len(sizes) / len(kept) in (
        optimizer_choice.buffers(name, options),
        optimizer_choice.buffers(name, options) + (name == "rmsprop"),  # with momentum
    )


def test_lion_by_hand() -> None:
    """Algorithm 2 of Chen et al. (2023)."""
    recipe = Recipe(optimizer="lion", optimizer_options={"beta1": 0.8})
    params = HyperParams(lr=0.01, weight_decay=0.5)
    model, hand = net(), net()
    optimizer = optim.optimizer(model, recipe, params)
    averages = [torch.zeros_like(w) for w in hand.parameters()]
    for _ in range(3):
        optimizer.zero_grad()
        loss_of(model).backward()
        optimizer.step()
        gradients = torch.autograd.grad(loss_of(hand), list(hand.parameters()))
        with torch.no_grad():
            for w, g, m in zip(hand.parameters(), gradients, averages, strict=True):
                w.sub_(0.01 * ((0.8 * m + 0.2 * g).sign() + 0.5 * w))
                m.mul_(0.99).add_(0.01 * g)
    for a, b in zip(model.parameters(), hand.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-6)


@pytest.mark.parametrize("name", ["adamw", "lion"])
def test_l2_sp_is_part_of_the_loss_in_every_optimizer(name: str) -> None:
    recipe = Recipe(weights="some.pt", l2_sp=0.5, optimizer=name)
    model, hand = (factory.build(Recipe(), 4, seed=0) for _ in range(2))
    optimizer = optim.optimizer(model, recipe, HyperParams(lr=0.01, weight_decay=0.0))
    plain = optim.optimizer(hand, Recipe(optimizer=name), HyperParams(lr=0.01, weight_decay=0.0))
    started = {name: p.detach().clone() for name, p in hand.named_parameters()}
    for step in range(3):
        optimizer.zero_grad()
        proxy_loss(model, step).backward()
        optimizer.step()
        loss = proxy_loss(hand, step)
        for key, w in hand.named_parameters():
            if not key.startswith("fc"):
                loss = loss + 0.25 * (w - started[key]).square().sum()
        plain.zero_grad()
        loss.backward()
        plain.step()
    # Adam and Lion divide by the size of the gradient, so that where it is next to nothing,
    # rounding decides the step.
    differing = torch.cat(
        [
            (a - b).abs().flatten()
            for a, b in zip(model.parameters(), hand.parameters(), strict=True)
        ]
    )
    assert float((differing > 1e-4).float().mean()) < 0.02


MODULE = """
import torch

class Half(torch.optim.SGD):
    def __init__(self, params, lr, scale=0.5):
        super().__init__(params, lr=lr * scale)

class Heedless(torch.optim.Optimizer):
    def __init__(self, params, lr):
        super().__init__(params, {"lr": lr})

    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                p.data -= group["lr"] * p.grad

class Forgetful(torch.optim.SGD):
    def load_state_dict(self, state_dict):
        raise KeyError("momentum")

class Odd(torch.optim.SGD):
    def step(self, closure=None):
        super().step(closure)
        for group in self.param_groups:
            for p in group["params"]:
                self.state[p]["odd"] = object

class Broken(torch.optim.SGD):
    def step(self, closure=None):
        raise RuntimeError("no such luck")

def nothing(params, lr):
    return None

word = "sgd"
"""


@pytest.fixture
def module(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(references, "_allowed", set())
    monkeypatch.syspath_prepend(str(tmp_path))
    name = f"optimizers_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(MODULE)
    references.allow([name])
    return name


def test_an_optimizer_of_your_own(module: str) -> None:
    recipe = Recipe(optimizer=f"{module}:Half", optimizer_options={"scale": 0.25})
    assert optim.check_optimizer(recipe) == ()
    (note,) = optim.check_optimizer(Recipe(optimizer=f"{module}:Heedless"))
    assert "does not heed weight_decay" in note
    made = optim.optimizer(net(), recipe, HyperParams(lr=1.0, weight_decay=0.5))
    assert [(g["lr"], g["weight_decay"]) for g in made.param_groups] == [(0.25, 0.5)]


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("Half", {"size": 1}, "cannot be made with lr=0.01, size=1 (TypeError: "),
        ("Odd", {}, "keeps more than tensors, numbers and words in its state_dict"),
        ("Broken", {}, "fails in its first step: RuntimeError: no such luck"),
        ("Forgetful", {}, "does not go on from its state_dict: KeyError: 'momentum'"),
        ("nothing", {}, "is no torch.optim.Optimizer, but makes a NoneType"),
        ("word", {}, "is no class or function, but a str"),
        ("Absent", {}, "has no Absent"),
    ],
)
def test_what_is_no_optimizer_gets_one_line(
    module: str, name: str, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(ModelError) as caught:
        optim.check_optimizer(Recipe(optimizer=f"{module}:{name}", optimizer_options=options))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("adamv", {}, "unknown optimizer 'adamv'; did you mean 'adam'?"),
        (
            "adamw",
            {"alph": 0.9},
            "options.alph is not an option of adamw: adamw's are beta1, beta2",
        ),
        ("adamw", {"alpha": 0.9}, 'alpha is an option of rmsprop; with optimizer = "adamw" leave'),
        ("sgd", {"beta2": 0.9}, "options.beta2 is an option of adamw, adam and lion; with"),
        ("sgd", {"betas": [0.9, 0.9]}, "options.betas is an option of adamw, adam and lion; with"),
        ("sgd", {"beta": 0.9}, "optimizer_options.beta is not an option of sgd: sgd has none"),
        ("adamw", {"beta2": 1.0}, "beta2 = 1.0 must be at least 0 and below 1"),
        ("adam", {"beta1": float("nan")}, "beta1 = nan must be at least 0 and below 1"),
        ("adam", {"beta1": "high"}, "beta1 = 'high' must be a number"),
        ("adam", {"amsgrad": 1}, "amsgrad = 1 must be true or false"),
        ("lion", {"betas": [0.9]}, "betas = [0.9] must be two numbers, as in [0.9, 0.999]"),
        ("lion", {"betas": [0.9, 0.9], "beta1": 0.9}, "has betas and beta1; take one of them out"),
        ("my:Opt", {"lr": 0.1}, "optimizer_options.lr is not to be set: the recipe decides it"),
        ("my:", {}, 'optimizer = "my:" is no reference'),
        ("my:Opt", {"x": {"y": 1}}, "optimizer_options.x = {'y': 1} must be a number, a word"),
    ],
)
def test_options_that_cannot_be(name: str, options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError) as caught:
        Recipe(optimizer=name, optimizer_options=options)
    assert said in str(caught.value)
