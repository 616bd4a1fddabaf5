"""A model some of whose first stages stay as they are, and which parameters are in which stage."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from tuneoff.trainer.models import stages
from tuneoff.trainer.recipe import Recipe


def freeze(model: nn.Module, recipe: Recipe, count: int) -> None:
    """Puts a model into training mode, but for its first ``count`` stages.

    These get no gradients, and work as in evaluation: their batch normalisation uses its statistics
    and leaves them. With ``frozen_norms`` all batch normalisation below the head does the latter.
    """
    model.train()
    *backbone, head = stages.parts(model, recipe.model).values()
    for parameter in head.parameters:
        parameter.requires_grad_(True)
    for i, stage in enumerate(backbone):
        for parameter in stage.parameters:
            parameter.requires_grad_(i >= count)
        for module in stage.modules:
            kept = recipe.frozen_norms and isinstance(module, _BatchNorm)
            module.training = i >= count and not kept


def trained(model: nn.Module, recipe: Recipe) -> Iterator[tuple[str, nn.Parameter]]:
    """The parameters with their names, but for those of the first ``frozen_stages``, which no epoch
    trains."""
    if not recipe.frozen_stages:
        yield from model.named_parameters()
        return
    parts = list(stages.parts(model, recipe.model).values())
    frozen = {id(p) for part in parts[: recipe.frozen_stages] for p in part.parameters}
    yield from ((name, p) for name, p in model.named_parameters() if id(p) not in frozen)


def below_the_head(model: nn.Module, recipe: Recipe) -> dict[nn.Parameter, int]:
    """For each parameter, how many stages it lies below the head, whose own have 0."""
    parts = reversed(stages.parts(model, recipe.model).values())
    return {p: below for below, part in enumerate(parts) for p in part.parameters}
