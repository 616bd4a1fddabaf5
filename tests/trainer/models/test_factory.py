"""Models built and checked: seeds, sizes of images, bf16, layers, DenseNet's memory."""

from __future__ import annotations

import copy

import pytest
import torch

from tuneoff.trainer.errors import ModelError
from tuneoff.trainer.models import factory, heads
from tuneoff.trainer.models.registry import MODELS
from tuneoff.trainer.recipe import Recipe


@pytest.mark.slow
def test_every_model_can_be_checked() -> None:
    for name in MODELS:
        factory.check(Recipe(model=name), 32, 32)
    with torch.device("meta"):
        for name in MODELS:
            assert heads.head(factory.skeleton(Recipe(model=name), 7)).weight.shape[0] == 7


def test_norms_that_are_not_there_cannot_be_frozen() -> None:
    def notes(model: str) -> tuple[str, ...]:
        recipe = Recipe(model=model, weights="some.pt", frozen_norms=True)
        return factory.norms_note(recipe, factory.skeleton(recipe, 4))

    assert notes("proxy") == ()
    said = "frozen_norms = true has no effect: squeezenet1_1 has no batch normalisation"
    assert notes("squeezenet1_1") == (said,)


def test_equal_seeds_give_equal_weights_and_leave_the_global_generator_alone() -> None:
    before = torch.random.get_rng_state()
    a, b, c = (factory.build(Recipe(model="proxy"), 3, seed) for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(a.fc.weight, b.fc.weight)  # type: ignore[arg-type]
    assert not torch.equal(a.fc.weight, c.fc.weight)  # type: ignore[arg-type]


@pytest.mark.slow
def test_images_too_small_for_a_model_are_refused() -> None:
    factory.check(Recipe(model="resnet18"), 8, 8)
    with pytest.raises(ModelError, match=r"densenet121 cannot take images of 8 x 8 pixels; set im"):
        factory.check(Recipe(model="densenet121"), 8, 8)


@pytest.mark.slow
@pytest.mark.parametrize("size", [17, 24, 32])
def test_bf16_gradients_are_right_where_we_train_in_bf16(size: int) -> None:
    device = torch.device("cpu")
    assert factory.trains_in_bf16("resnet18", size, size, device)
    assert not factory.trains_in_bf16("resnet18", 16, 16, device)
    net = factory.build(Recipe(model="resnet18"), 5, seed=0).to(memory_format=torch.channels_last)
    images = torch.rand(8, 3, size, size, generator=torch.Generator().manual_seed(0))
    gradients = []
    for _ in range(2):
        junk = [torch.full((2**20,), 1e30) for _ in range(8)]
        del junk  # what is not initialised now shows
        net.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            loss = net(images).float().square().mean()
        loss.backward()
        gradients.append(
            {name: p.grad.clone() for name, p in net.named_parameters() if p.grad is not None}
        )
        assert len(gradients[-1]) == len(list(net.parameters()))
    for name, gradient in gradients[0].items():
        assert torch.equal(gradient, gradients[1][name]), name
        assert gradient.abs().max() < 1e3, name


@pytest.mark.slow
def test_a_layer_that_is_not_there() -> None:
    factory.check(Recipe(model="resnet18", layer_decay={"layer4.1": 2.0, "fc": 10.0}), 64, 64)
    factory.check(Recipe(model="proxy", layer_decay={"features.0": 2.0}), 8, 8)
    for model, wrong, there in (
        ("resnet18", "layer5", "conv1, bn1, relu, maxpool, layer1, layer2, layer3, layer4, .*, fc"),
        ("resnet18", "laye", "conv1"),
        ("densenet121", "fc", "features, classifier"),
        ("proxy", "", "features, fc"),
    ):
        with pytest.raises(ModelError, match=f"{model} has no layer '{wrong}'; it has: {there}"):
            factory.check(Recipe(model=model, layer_decay={wrong: 2.0}), 64, 64)


@pytest.mark.slow
def test_memory_efficient_is_the_plain_densenet() -> None:
    tried = [
        factory.build(Recipe(model="densenet121", memory_efficient=again), 5, seed=3)
        for again in (False, True)
    ]
    images = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    plain, efficient = tried
    efficient.load_state_dict(copy.deepcopy(plain.state_dict()))
    found = []
    for net in tried:
        loss = net(images).square().mean()
        loss.backward()
        found.append(loss.detach())
    assert torch.allclose(found[0], found[1])
    for (name, a), b in zip(plain.named_parameters(), efficient.parameters(), strict=True):
        assert a.grad is not None
        assert b.grad is not None
        assert torch.allclose(a.grad, b.grad, rtol=1e-3, atol=1e-5), name
    # The second pass over its layers must not count twice in their statistics.
    for (name, c), d in zip(plain.named_buffers(), efficient.buffers(), strict=True):
        if not name.endswith("num_batches_tracked"):
            assert torch.allclose(c, d, rtol=1e-3, atol=1e-6), name
