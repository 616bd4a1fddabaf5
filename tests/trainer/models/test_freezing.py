"""Which stages train in which epoch, and that the others stay as they are."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from tuneoff.trainer import fine_tuning, losses, optim
from tuneoff.trainer.data.augment import Targets
from tuneoff.trainer.distributed import ALONE
from tuneoff.trainer.models import factory, stages
from tuneoff.trainer.models.freezing import freeze, trained
from tuneoff.trainer.models.registry import MODELS
from tuneoff.trainer.recipe import HyperParams, Recipe
from tuneoff.trainer.step import Stepper


def frozen(**fields: Any) -> list[int]:
    """How many of the proxy's three stages are frozen in each epoch."""
    recipe = Recipe(**fields)
    return [fine_tuning.frozen_in(recipe, epoch) for epoch in range(1, recipe.epochs + 1)]


def test_which_stages_are_frozen_in_which_epoch() -> None:
    assert frozen(epochs=2) == [0, 0]
    assert frozen(epochs=3, frozen_epochs=2) == [3, 3, 0]
    assert frozen(epochs=2, frozen_epochs=2) == [3, 3]
    assert frozen(epochs=2, frozen_stages=2) == [2, 2]
    assert frozen(epochs=2, frozen_stages=3) == [3, 3]
    assert frozen(epochs=3, frozen_stages=1, frozen_epochs=1) == [3, 1, 1]
    assert frozen(epochs=5, unfreeze_every=1) == [3, 2, 1, 0, 0]
    assert frozen(epochs=8, unfreeze_every=2) == [3, 3, 2, 2, 1, 1, 0, 0]
    assert frozen(epochs=5, unfreeze_every=1, frozen_stages=2) == [3, 2, 2, 2, 2]
    assert frozen(epochs=6, unfreeze_every=2, frozen_epochs=1) == [3, 2, 2, 1, 1, 0]
    assert frozen(epochs=6, unfreeze_every=1, frozen_epochs=3) == [3, 3, 3, 2, 1, 0]
    assert frozen(epochs=4, unfreeze_every=1, frozen_epochs=4) == [3, 3, 3, 3]


@given(st.integers(0, 9), st.integers(0, 9), st.integers(0, 3))
def test_stages_thaw_from_the_head_downwards_and_none_freezes_again(
    epochs: int, every: int, kept: int
) -> None:
    found = frozen(frozen_epochs=epochs, unfreeze_every=every, frozen_stages=kept)
    assert found == sorted(found, reverse=True)
    assert kept <= found[-1] <= found[0] <= 3
    assert all(count == 3 for count in found[:epochs])


IMAGES = torch.randn(6, 3, 16, 16, generator=torch.Generator().manual_seed(0))
TARGETS = Targets(torch.arange(6) % 4)


def stages_of(model: nn.Module, name: str) -> list[dict[str, torch.Tensor]]:
    return [copy.deepcopy(stage.state_dict()) for stage in stages.chain(model, name).values()]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["proxy", "proxy-residual", "proxy-dense", "resnet18"])
def test_frozen_stages_keep_every_bit_and_the_others_move(name: str) -> None:
    backbone = len(stages_of(factory.build(Recipe(model=name), 4, seed=0), name)) - 1
    for count in (1, backbone):
        recipe = Recipe(model=name, frozen_stages=count, precision="fp32", ema=0.5, clip=0.1)
        model = factory.build(recipe, 4, seed=0).to(memory_format=torch.channels_last)
        before = stages_of(model, name)
        optimizer = optim.sgd(model, recipe, HyperParams(lr=0.1, weight_decay=0.1))
        made = Stepper(model, optimizer, recipe, 1, ALONE)
        for number in range(3):
            made.freeze(count)
            made.step(IMAGES, TARGETS, whole=6, rate=0.1, number=number)
            made.evaluated.eval()
        for net in (made.model, made.evaluated):
            for i, (old, new) in enumerate(zip(before, stages_of(net, name), strict=True)):
                same = [torch.equal(old[key], new[key]) for key in old]
                assert all(same) if i < count else not any(same)


@pytest.mark.slow
def test_a_model_without_a_table_of_stages_has_a_backbone_and_a_head(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bare = replace(MODELS.entry("resnet18"), stages=())
    monkeypatch.setitem(MODELS._entries, "bare", bare)
    recipe = Recipe(model="bare", frozen_stages=1, head_lr_factor=10, precision="fp32")
    model = factory.build(recipe, 4, seed=0).to(memory_format=torch.channels_last)
    before = copy.deepcopy(model.state_dict())
    made = Stepper(model, optim.sgd(model, recipe, HyperParams(lr=0.1)), recipe, 1, ALONE)
    made.freeze(1)
    made.step(IMAGES, TARGETS, whole=6, rate=0.1, number=0)
    changed = {
        name for name, old in before.items() if not torch.equal(old, model.state_dict()[name])
    }
    assert changed == {"fc.weight", "fc.bias"}
    assert [group["lr"] for group in made.optimizer.param_groups] == [1.0]
    with pytest.raises(ValueError, match="frozen_stages = 2: below its head, bare has 1 stage "):
        replace(recipe, frozen_stages=2)


def test_frozen_stages_have_no_gradients_and_no_momentum() -> None:
    recipe = Recipe(frozen_stages=2)
    model = factory.build(recipe, 4, seed=0)
    freeze(model, recipe, 2)
    names = {name for name, _ in trained(model, recipe)}
    assert names == {name for name, p in model.named_parameters() if p.requires_grad}
    assert {name.partition(".")[2][:1] for name in names if name.startswith("features")} == {"6"}
    optimizer = optim.sgd(model, recipe, HyperParams())
    assert len(optimizer.state) == len(names)


def test_frozen_statistics_are_used_as_in_evaluation_and_weights_train() -> None:
    recipe = Recipe(frozen_norms=True, weights="some.pt", precision="fp32")
    model = factory.build(Recipe(), 4, seed=0).to(memory_format=torch.channels_last)
    with torch.no_grad():
        for norm in model.modules():
            if isinstance(norm, nn.BatchNorm2d):
                assert norm.running_mean is not None
                norm.running_mean.add_(0.1)
    reference = copy.deepcopy(model)
    params = HyperParams(lr=0.1)
    made = Stepper(model, optim.sgd(model, recipe, params), recipe, 1, ALONE)
    made.freeze(0)
    loss = made.step(IMAGES, TARGETS, whole=6, rate=0.1, number=0)
    # Evaluation's function, trained by hand.
    reference.eval()
    wanted = TARGETS.loss(reference(IMAGES), losses.loss_of(Recipe()))
    wanted.backward()
    assert float(loss) == pytest.approx(6 * float(wanted.detach()), rel=1e-6)
    with torch.no_grad():
        for w in reference.parameters():
            assert w.grad is not None
            w.sub_(0.1 * (w.grad + params.weight_decay * w))
    ours, its = model.state_dict(), reference.state_dict()
    for key, tensor in its.items():
        torch.testing.assert_close(ours[key], tensor, atol=1e-6, rtol=1e-6)
    assert all("running" not in k or torch.equal(ours[k], its[k]) for k in its)
