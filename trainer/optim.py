"""The optimiser and its learning-rate schedules: pure functions and one plain state."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from tuneoff.trainer import models
from tuneoff.trainer.recipe import HyperParams, Recipe

# A validation error must fall by more than this to count as better (torch's own threshold).
LEAST_IMPROVEMENT = 1e-4


def sgd(model: nn.Module, recipe: Recipe, params: HyperParams) -> torch.optim.SGD:
    """SGD with momentum, a parameter group for each strength of L2 regularisation.

    The loss of the paper's eq. 4 is the cross entropy + sum over layers l of lambda_l ||w_l||,
    the norm being squared in all implementations. With torch's convention lambda_l is half of
    ``params.weight_decay * decay_factor(recipe, name, w_l)``: every parameter's factor is 1, those
    of batch normalisation and biases too, unless the recipe says otherwise.
    """
    groups: dict[float, list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        groups.setdefault(decay_factor(recipe, name, parameter), []).append(parameter)
    optimizer = torch.optim.SGD(
        [
            {"params": group, "weight_decay": params.weight_decay * factor}
            for factor, group in groups.items()
        ],
        lr=params.lr,
        momentum=params.momentum,
        nesterov=recipe.nesterov and params.momentum > 0,  # without momentum there is no such form
        fused=True,
    )
    # SGD makes a momentum with a parameter's first gradient, and its fused form cannot when some
    # have one already: those of a head, as the rest thaws. Of zeros, the first step is the same.
    for parameter in model.parameters() if params.momentum else ():
        optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return optimizer


def decay_factor(recipe: Recipe, name: str, parameter: Tensor) -> float:
    """By what the weight decay of a parameter is multiplied: by ``recipe.layer_decay``'s longest
    prefix of its name, and by 0 for norms and biases, which have one dimension, if they are not
    to decay."""
    if parameter.ndim < 2 and not recipe.decay_norms:
        return 0.0
    prefixes = [prefix for prefix in recipe.layer_decay if models.starts_with(name, prefix)]
    return recipe.layer_decay[max(prefixes, key=len)] if prefixes else 1.0


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Makes ``rate`` the learning rate of the next step."""
    for group in optimizer.param_groups:
        group["lr"] = rate


@dataclass(frozen=True, slots=True)
class ScheduleState:
    """What the plateau schedule remembers; the other schedules need nothing.

    Attributes:
        factor: product of all drops so far.
        best: lowest validation error so far.
        stale: epochs since it improved or the rate dropped.
    """

    factor: float = 1.0
    best: float = math.inf
    stale: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, for the checkpoint."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ScheduleState:
        """The state that ``to_dict`` wrote."""
        return cls(**values)


def after_epoch(
    recipe: Recipe, state: ScheduleState, epoch: int, validation_error: float
) -> ScheduleState:
    """The state after an epoch (1-based) with this validation error.

    After ``patience`` epochs in a row without improvement the rate is multiplied by ``drop``. A
    NaN says nothing and is not counted; nor is an epoch that began in warm-up.
    """
    if recipe.schedule != "plateau" or math.isnan(validation_error):
        return state
    if validation_error < state.best - LEAST_IMPROVEMENT:
        return replace(state, best=validation_error, stale=0)
    if epoch - 1 < recipe.warmup_epochs:
        return state
    if state.stale + 1 < recipe.patience:
        return replace(state, stale=state.stale + 1)
    return replace(state, stale=0, factor=state.factor * recipe.drop)


def rate(
    recipe: Recipe, params: HyperParams, state: ScheduleState, step: int, steps_per_epoch: int
) -> float:
    """The learning rate of one optimiser step.

    The rate rises linearly over ``warmup_epochs`` to what the schedule asks for. With t from 0
    to 1 over the steps after warm-up, "cosine" then follows lr (1 + cos(pi t)) / 2 (Loshchilov
    and Hutter 2017, without restarts) and "linear" lr (1 - t).

    Args:
        recipe: names the schedule.
        params: ``lr`` is the rate at its height.
        state: of the plateau schedule.
        step: 0-based number of the step, counted over the whole run.
        steps_per_epoch: optimiser steps in each epoch.
    """
    warmup = recipe.warmup_epochs * steps_per_epoch
    rising = min(1.0, (step + 1) / warmup) if warmup else 1.0
    return params.lr * rising * _shape(recipe, state, step, steps_per_epoch, warmup)


def _shape(
    recipe: Recipe, state: ScheduleState, step: int, steps_per_epoch: int, warmup: float
) -> float:
    if recipe.schedule == "plateau":
        return state.factor
    if recipe.schedule == "step":
        drops = step // (steps_per_epoch * recipe.step_epochs)
        return float(recipe.drop**drops)
    if recipe.schedule in ("cosine", "linear"):
        left = recipe.epochs * steps_per_epoch - warmup
        t = min(1.0, max(0.0, step - warmup) / left) if left > 0 else 0.0
        return 1 - t if recipe.schedule == "linear" else 0.5 * (1 + math.cos(math.pi * t))
    return 1.0
