"""Learning-rate schedules: pure functions and one plain state. No torch import."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from tuneoff.trainer.recipe import HyperParams, Recipe
from tuneoff.trainer.registry import SCHEDULES

# A validation error must fall by more than this to count as better (torch's own threshold).
LEAST_IMPROVEMENT = 1e-4


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


@dataclass(frozen=True, slots=True)
class Moment:
    """Where in its run a step is.

    Attributes:
        step: 0-based number of the step, counted over the whole run.
        steps_per_epoch: optimiser steps in each epoch.
        state: of the plateau schedule.
    """

    step: int
    steps_per_epoch: int
    state: ScheduleState

    def warmup_steps(self, recipe: Recipe) -> float:
        """Steps of linear warm-up at the start of the run; may be fractional."""
        return recipe.warmup_epochs * self.steps_per_epoch

    def after_warmup(self, recipe: Recipe) -> float:
        """The share of the steps after warm-up that lie before this one, 0 to 1."""
        warmup = self.warmup_steps(recipe)
        left = recipe.epochs * self.steps_per_epoch - warmup
        return min(1.0, max(0.0, self.step - warmup) / left) if left > 0 else 0.0


def rate(
    recipe: Recipe, params: HyperParams, state: ScheduleState, step: int, steps_per_epoch: int
) -> float:
    """The learning rate of one optimiser step.

    The rate rises linearly over ``warmup_epochs`` to what the schedule asks for.

    Args:
        recipe: names the schedule.
        params: ``lr`` is the rate at its height.
        state: of the plateau schedule.
        step: 0-based number of the step, counted over the whole run.
        steps_per_epoch: optimiser steps in each epoch.
    """
    moment = Moment(step, steps_per_epoch, state)
    warmup = moment.warmup_steps(recipe)
    rising = min(1.0, (step + 1) / warmup) if warmup else 1.0
    return params.lr * rising * float(SCHEDULES.load(recipe.schedule)(recipe, moment))


def after_epoch(
    recipe: Recipe, state: ScheduleState, epoch: int, validation_error: float
) -> ScheduleState:
    """The state after an epoch (1-based) with this validation error.

    After ``patience`` epochs in a row without improvement the rate is multiplied by ``drop``. An
    error that is NaN, and an epoch that began in warm-up, are not counted.
    """
    if not SCHEDULES.entry(recipe.schedule).follows_error or math.isnan(validation_error):
        return state
    if validation_error < state.best - LEAST_IMPROVEMENT:
        return replace(state, best=validation_error, stale=0)
    if epoch - 1 < recipe.warmup_epochs:
        return state
    if state.stale + 1 < recipe.patience:
        return replace(state, stale=state.stale + 1)
    return replace(state, stale=0, factor=state.factor * recipe.drop)


# The schedules: by what ``HyperParams.lr`` is multiplied, warm-up aside.


def plateau(recipe: Recipe, moment: Moment) -> float:
    """All drops so far; see ``after_epoch``."""
    return moment.state.factor


def cosine(recipe: Recipe, moment: Moment) -> float:
    """(1 + cos(pi t)) / 2, t going from 0 to 1 over the steps after warm-up (Loshchilov and
    Hutter 2017, without restarts)."""
    return 0.5 * (1 + math.cos(math.pi * moment.after_warmup(recipe)))


def linear(recipe: Recipe, moment: Moment) -> float:
    """1 - t, t going from 0 to 1 over the steps after warm-up."""
    return 1 - moment.after_warmup(recipe)


def step(recipe: Recipe, moment: Moment) -> float:
    """``drop`` to the power of how often ``step_epochs`` have passed."""
    drops = moment.step // (moment.steps_per_epoch * recipe.step_epochs)
    return float(recipe.drop**drops)


def constant(recipe: Recipe, moment: Moment) -> float:
    """1 throughout."""
    return 1.0
