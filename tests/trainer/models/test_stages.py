"""Every model is the chain of its stages."""

from __future__ import annotations

import pytest
import torch

from tuneoff.trainer.models import factory, stages
from tuneoff.trainer.models.registry import MODELS
from tuneoff.trainer.recipe import Recipe

SMALL = ("proxy", "proxy-residual", "proxy-dense", "resnet18")


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS.names)
def test_every_parameter_is_in_one_stage_and_the_head_in_the_last(name: str) -> None:
    with torch.device("meta"):
        model = factory.skeleton(Recipe(model=name), 7)
    chain = stages.chain(model, name)
    assert tuple(chain) == MODELS.entry(name).stage_names
    held = [id(parameter) for stage in chain.values() for parameter in stage.parameters()]
    assert sorted(held) == sorted(map(id, model.parameters()))
    *_, head = chain.values()
    last = model.get_submodule(MODELS.entry(name).head)
    assert set(map(id, head.parameters())) == set(map(id, last.parameters()))
    x = torch.empty(2, 3, 64, 64, device="meta")
    for stage in chain.values():
        x = stage(x)
    assert x.shape == (2, 7)


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
def test_the_stages_compute_what_the_model_does_and_leave_their_inputs(name: str) -> None:
    model = factory.build(Recipe(model=name), 5, seed=3).eval()
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        outputs = images
        for stage in stages.chain(model, name).values():
            inputs, before = outputs, outputs.clone()
            outputs = stage(inputs)
            assert torch.equal(inputs, before)
        torch.testing.assert_close(outputs, model(images))
