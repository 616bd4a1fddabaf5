"""The optimiser and its learning-rate schedules: pure functions and one plain state."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch

from trainer.contract import HyperParams, Recipe

# A validation error must fall by more than this to count as better (torch's own threshold).
LEAST_IMPROVEMENT = 1e-4


def sgd(model: torch.nn.Module, params: HyperParams) -> torch.optim.SGD:
    """SGD with momentum. As in the paper (eq. 4), every parameter decays: those of batch
    normalisation and biases too."""
    return torch.optim.SGD(
        model.parameters(),
        lr=params.lr,
        momentum=params.momentum,
        weight_decay=params.weight_decay,
        fused=True,
    )


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
