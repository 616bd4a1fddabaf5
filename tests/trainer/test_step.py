"""One optimiser step: its parts, its clipping, its average, its frozen layers, its capture."""

from __future__ import annotations

import copy
import logging
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from tuneoff.trainer import capture, fine_tuning, optim
from tuneoff.trainer.data.augment import Targets
from tuneoff.trainer.distributed import ALONE
from tuneoff.trainer.losses import loss_of
from tuneoff.trainer.models import factory, heads
from tuneoff.trainer.recipe import HyperParams, Recipe
from tuneoff.trainer.step import MovingAverage, Stepper

PARAMS = HyperParams(lr=0.05, momentum=0.9, weight_decay=1e-3)
RECIPE = Recipe(precision="fp32", schedule="constant")


class Linear(nn.Module):
    """No batch normalisation, so that parts of a batch know nothing of each other."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(3 * 8 * 8, 16)
        self.fc = nn.Linear(16, 4)

    def forward(self, images: Tensor) -> Tensor:
        found: Tensor = self.fc(self.body(images.flatten(1)).tanh())
        return found


def linear() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Linear()


def proxy() -> nn.Module:
    return build("proxy").to(memory_format=torch.channels_last)


def build(name: str) -> nn.Module:
    return factory.build(Recipe(model=name), 4, seed=0)


def stepper(
    recipe: Recipe, model: nn.Module, params: HyperParams = PARAMS, parts: int = 1
) -> Stepper:
    return Stepper(model, optim.sgd(model, recipe, params), recipe, parts, ALONE)


def batch(count: int = 12, seed: int = 0, mixed: bool = False) -> tuple[Tensor, Targets]:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(count, 3, 8, 8, generator=generator)
    labels = torch.randint(0, 4, (count,), generator=generator)
    others = labels.flip(0) if mixed else None
    share = torch.tensor(0.3) if mixed else None
    return images.contiguous(memory_format=torch.channels_last), Targets(labels, others, share)


def gradients(made: Stepper) -> list[Tensor]:
    return [p.grad.clone() for p in made.model.parameters() if p.grad is not None]


def close(a: list[Tensor], b: list[Tensor], tolerance: float) -> bool:
    return all(torch.allclose(x, y, atol=tolerance) for x, y in zip(a, b, strict=True))


# Parts


@pytest.mark.slow
@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize("count", [12, 13])
@pytest.mark.parametrize("parts", [2, 3, 5, 100])
def test_the_parts_gradients_add_up_to_the_batchs(count: int, parts: int, mixed: bool) -> None:
    recipe = Recipe(precision="fp32", label_smoothing=0.1)
    images, targets = batch(count, mixed=mixed)
    whole, divided = stepper(recipe, linear()), stepper(recipe, linear(), parts=parts)
    losses = [float(made.backward(images, targets, count)) for made in (whole, divided)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
    assert close(gradients(whole), gradients(divided), 1e-7)
    expected = targets.loss(linear()(images), loss_of(Recipe(label_smoothing=0.1))) * count
    assert losses[0] == pytest.approx(float(expected.detach()), rel=1e-6)


def test_every_part_has_two_images() -> None:
    sizes: list[int] = []
    model = linear()
    model.register_forward_hook(lambda module, given, out: sizes.append(len(given[0])))
    images, targets = batch(7)
    stepper(RECIPE, model, parts=64).backward(images, targets, 7)
    assert sum(sizes) == 7
    assert min(sizes) == 2


# Clipping


@pytest.mark.parametrize("parts", [1, 3])
def test_long_gradients_are_scaled_down_and_short_ones_left(parts: int) -> None:
    images, targets = batch()
    free = stepper(RECIPE, linear())
    free.backward(images, targets, 12)
    norm = math.sqrt(sum(float(g.square().sum()) for g in gradients(free)))
    for limit in (norm / 7, norm * 2):
        clipped = stepper(Recipe(precision="fp32", clip=limit), linear(), parts=parts)
        clipped.backward(images, targets, 12)
        scale = min(1.0, limit / norm)
        assert close(gradients(clipped), [g * scale for g in gradients(free)], 1e-6)


# The moving average


def test_the_average_is_that_of_all_steps() -> None:
    made = stepper(Recipe(precision="fp32", ema=0.3), proxy())
    assert made.average is not None
    by_hand = {name: t.clone() for name, t in made.model.state_dict().items()}
    made.freeze(0)
    for number in range(6):
        made.step(*batch(seed=number), whole=12, rate=0.05, number=number)
        decay = min(0.3, (1 + number) / (10 + number))
        for name, tensor in made.model.state_dict().items():
            if tensor.is_floating_point():
                by_hand[name] = decay * by_hand[name] + (1 - decay) * tensor
            else:
                by_hand[name] = tensor.clone()
    for name, tensor in made.average.model.state_dict().items():
        assert torch.allclose(tensor, by_hand[name], atol=1e-6), name
    weight = "features.0.0.weight"
    assert not torch.allclose(made.model.state_dict()[weight], by_hand[weight], atol=1e-6)


class Operators(TorchDispatchMode):
    """Counts operators that get as far as a device, each of which is a kernel on a GPU or more."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.count = 0

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        self.count += func is not torch.ops.aten.detach.default
        return func(*args, **(kwargs or {}))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["proxy", "proxy-dense", "resnet18"])
def test_the_average_takes_as_many_operators_for_any_number_of_tensors(name: str) -> None:
    average = MovingAverage(build(name))
    with Operators() as operators:
        average.follow(0.1)
    assert operators.count == 2


@pytest.mark.slow
@pytest.mark.parametrize("weight", [0.9, 0.5, 0.1, 1e-4])
def test_the_average_is_bit_for_bit_that_of_each_tensor_by_itself(weight: float) -> None:
    model = build("resnet18")
    average = MovingAverage(model)
    with torch.no_grad():
        for tensor in model.state_dict().values():
            tensor.add_(1) if tensor.ndim == 0 else tensor.add_(torch.randn_like(tensor))
    one_by_one = copy.deepcopy(average.model.state_dict())
    for ours, its in zip(one_by_one.values(), model.state_dict().values(), strict=True):
        ours.lerp_(its, weight) if ours.is_floating_point() else ours.copy_(its)
    average.follow(weight)
    for (key, a), b in zip(average.model.state_dict().items(), one_by_one.values(), strict=True):
        assert torch.equal(a, b), key


def test_the_average_goes_on_after_other_weights_were_loaded() -> None:
    """It keeps hold of the model's tensors, which must stay the same."""
    made = stepper(Recipe(precision="fp32", ema=0.5), proxy())
    other = proxy()
    with torch.no_grad():
        for tensor in other.parameters():
            tensor.fill_(2.0)
    made.begin(other, optim.sgd(other, RECIPE, PARAMS))
    assert made.average is not None
    made.model.load_state_dict({k: v + 1 for k, v in other.state_dict().items()})
    made.average.follow(0.5)
    for tensor in made.average.model.parameters():
        assert tensor.unique().tolist() == [2.5]
    assert made.average.model.state_dict()["features.0.1.num_batches_tracked"] == 1


# Frozen epochs


@pytest.mark.slow
@pytest.mark.parametrize("model", ["proxy", "proxy-dense", "resnet18", "densenet121"])
def test_frozen_layers_keep_weights_and_statistics_until_they_thaw(model: str) -> None:
    net = factory.build(Recipe(model=model), 4, seed=0).to(memory_format=torch.channels_last)
    made = stepper(replace(RECIPE, model=model), net)
    side = 32 if model == "densenet121" else 8
    images = torch.randn(6, 3, side, side, generator=torch.Generator().manual_seed(0))
    targets = batch(6)[1]
    head = {id(t) for t in heads.head(net).state_dict(keep_vars=True).values()}
    rest = [t for t in net.state_dict(keep_vars=True).values() if id(t) not in head]
    before = [t.detach().clone() for t in rest]
    weight = heads.head(net).weight.detach().clone()
    for number in range(2):
        made.freeze(fine_tuning.frozen_in(Recipe(model=model, frozen_epochs=1), 1))
        made.step(images, targets, whole=6, rate=0.05, number=number)
        net.eval()  # as validation leaves it
    assert all(torch.equal(a, b) for a, b in zip(rest, before, strict=True))
    assert not torch.equal(heads.head(net).weight, weight)
    made.freeze(0)
    made.step(images, targets, whole=6, rate=0.05, number=2)
    changed = [not torch.equal(a, b) for a, b in zip(rest, before, strict=True)]
    assert sum(changed) > 0.95 * len(changed)
    assert all(module.training for module in net.modules())


def test_a_frozen_head_learns_as_on_fixed_features() -> None:
    made = stepper(RECIPE, proxy())
    images, targets = batch()
    features = copy.deepcopy(made.model).eval().get_submodule("features")
    fc = copy.deepcopy(heads.head(made.model))
    alone = torch.optim.SGD(fc.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-3)
    made.freeze(3)
    for number in range(4):
        made.step(images, targets, whole=12, rate=0.05, number=number)
        alone.zero_grad()
        with torch.no_grad():
            found = features(images).mean((2, 3))
        targets.loss(fc(found), loss_of(Recipe())).backward()
        alone.step()
    assert torch.allclose(heads.head(made.model).weight, fc.weight, atol=1e-6)


# Capture, with stand-ins for CUDA's


def again(work: Callable[[], None]) -> Callable[[], None]:
    """What a recorder does: runs the work, and gives what runs it again."""
    work()
    return work


def captured(
    made: Stepper, images: Tensor, targets: Targets, record: capture.Recorder
) -> capture.Captured | None:
    def backward(images: Tensor, targets: Targets) -> Tensor:
        return made.backward(images, targets, len(images))

    assert isinstance(made.optimizer, optim.Sgd)
    return capture.captured(backward, made.model, made.optimizer, images, targets, record)


@pytest.mark.slow
@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize(
    ("options", "params"),
    [
        ({}, PARAMS),
        ({"nesterov": True}, PARAMS),
        ({"decay_norms": False, "layer_decay": {"fc": 30.0}}, PARAMS),
        ({"clip": 0.5, "label_smoothing": 0.1}, PARAMS),
        ({}, HyperParams(lr=0.05, momentum=0.0, weight_decay=0.0)),
        ({"nesterov": True, "ema": 0.9}, HyperParams(lr=5.0, momentum=0.5, weight_decay=0.1)),
        (
            {"head_lr_factor": 5.0, "layer_lr_decay": 0.5, "l2_sp": 0.5, "weights": "some.pt"},
            PARAMS,
        ),
        ({"frozen_stages": 1, "frozen_norms": True, "l2_sp": 0.5, "weights": "some.pt"}, PARAMS),
    ],
)
def test_captured_steps_are_those_of_sgd(
    options: dict[str, object], params: HyperParams, mixed: bool
) -> None:
    recipe = Recipe(precision="fp32").override(options)
    plain, fast = stepper(recipe, proxy(), params), stepper(recipe, proxy(), params)
    for made in (plain, fast):
        made.freeze(recipe.frozen_stages)
        for number in range(2):  # so that there are momenta to restore
            made.step(*batch(seed=50 + number), whole=12, rate=0.01, number=number)
    found = captured(fast, *batch(seed=99, mixed=mixed), again)
    assert found is not None
    for number in range(10):
        images, targets = batch(seed=number, mixed=mixed)
        rate = 0.02 * (1 + number % 3)
        optim.set_rate(fast.optimizer, rate)
        assert found.takes(images, targets)
        theirs = plain.step(images, targets, whole=12, rate=rate, number=2 + number)
        assert float(found.replay(images, targets)) == pytest.approx(float(theirs), rel=1e-5)
    pairs = zip(plain.model.state_dict().items(), fast.model.state_dict().values(), strict=True)
    for (name, a), b in pairs:
        assert torch.allclose(a, b, atol=1e-5), name


def doing_nothing(work: Callable[[], None]) -> Callable[[], None]:
    work()
    return lambda: None


def twice(work: Callable[[], None]) -> Callable[[], None]:
    def run() -> None:
        work()
        work()

    run()
    return run


def failing(work: Callable[[], None]) -> Callable[[], None]:
    work()
    raise RuntimeError("CUDA error: operation not permitted when stream is capturing\nand more")


@pytest.mark.slow
@pytest.mark.parametrize("rate", [1e-6, 0.05, 5.0])
@pytest.mark.parametrize("record", [again, doing_nothing, twice, failing])
def test_capture_leaves_everything_as_it_was_and_a_wrong_one_is_dropped(
    record: capture.Recorder, rate: float, caplog: pytest.LogCaptureFixture
) -> None:
    made = stepper(RECIPE, proxy(), HyperParams(lr=rate, momentum=0.9, weight_decay=1e-3))
    made.freeze(0)
    made.step(*batch(), whole=12, rate=rate, number=0)
    model = copy.deepcopy(made.model.state_dict())
    optimizer = copy.deepcopy(made.optimizer.state_dict())
    with caplog.at_level(logging.WARNING):
        found = captured(made, *batch(seed=5), record)
    assert (found is not None) == (record is again)
    assert ("steps are not captured as a CUDA graph, so" in caplog.text) == (record is not again)
    for name, tensor in made.model.state_dict().items():
        assert torch.equal(tensor, model[name]), name
    now = made.optimizer.state_dict()
    assert now["param_groups"] == optimizer["param_groups"]
    for key, state in optimizer["state"].items():
        assert torch.equal(now["state"][key]["momentum_buffer"], state["momentum_buffer"])
    assert all(p.grad is None for p in made.model.parameters())


def test_a_capture_short_of_memory_says_so() -> None:
    def full(work: Callable[[], None]) -> Callable[[], None]:
        raise torch.OutOfMemoryError("CUDA out of memory")

    made = stepper(RECIPE, proxy())
    made.freeze(0)
    with pytest.raises(torch.OutOfMemoryError):
        captured(made, *batch(), full)


def test_batches_of_another_shape_are_not_taken() -> None:
    made = stepper(RECIPE, proxy())
    made.freeze(0)
    found = captured(made, *batch(12), again)
    assert found is not None
    assert found.takes(*batch(12, seed=1))
    assert not found.takes(*batch(11))
    assert not found.takes(*batch(12, mixed=True))
    images, targets = batch(12)
    assert not found.takes(nn.functional.interpolate(images, 16), targets)
