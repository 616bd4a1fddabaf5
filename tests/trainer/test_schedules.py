"""The schedules: what rate at which step."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuneoff.trainer import schedules
from tuneoff.trainer.recipe import HyperParams, Recipe
from tuneoff.trainer.registry import SCHEDULES
from tuneoff.trainer.schedules import ScheduleState

LR = HyperParams(lr=0.5)


def run(recipe: Recipe, errors: list[float]) -> list[float]:
    """The rate of each epoch's last step, 10 steps an epoch."""
    state, rates = ScheduleState(), []
    for epoch, error in enumerate(errors, 1):
        rates.append(schedules.rate(recipe, LR, state, epoch * 10 - 1, 10))
        state = schedules.after_epoch(recipe, state, epoch, error)
    return rates


def test_plateau_drops_after_patience_epochs_without_improvement() -> None:
    recipe = Recipe(schedule="plateau", patience=2)
    rates = run(recipe, [0.9, 0.5, 0.6, 0.5, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4])
    assert rates == pytest.approx([0.5] * 4 + [0.05] * 3 + [0.005] * 2 + [0.0005])


def test_plateau_asks_for_a_real_improvement() -> None:
    recipe = Recipe(schedule="plateau", patience=1)
    assert run(recipe, [0.5, 0.49999, 0.4])[2] == pytest.approx(0.05)


def test_plateau_does_not_count_nan() -> None:
    recipe = Recipe(schedule="plateau", patience=2)
    assert run(recipe, [0.5, math.nan, math.nan, math.nan, 0.4]) == [0.5] * 5


def test_plateau_does_not_drop_in_warm_up() -> None:
    recipe = Recipe(schedule="plateau", patience=1, warmup_epochs=3)
    assert run(recipe, [0.5, 0.9, 0.9, 0.9, 0.9])[3:] == pytest.approx([0.5, 0.05])


def test_step_drops_every_step_epochs() -> None:
    recipe = Recipe(schedule="step", step_epochs=2, drop=0.5)
    assert run(recipe, [0.5] * 6) == pytest.approx([0.5, 0.5, 0.25, 0.25, 0.125, 0.125])


def test_constant_stays() -> None:
    assert run(Recipe(schedule="constant"), [0.5] * 4) == [0.5] * 4


def test_linear_starts_at_the_rate_and_falls_by_equal_steps_to_near_zero() -> None:
    rates = run(Recipe(schedule="linear", epochs=10, warmup_epochs=2), [0.5] * 10)
    assert rates[2:] == pytest.approx([0.5 * (1 - (10 * i + 9) / 80) for i in range(8)])


def test_cosine_starts_at_the_rate_halves_midway_and_ends_near_zero() -> None:
    recipe = Recipe(schedule="cosine", epochs=10)
    rates = [schedules.rate(recipe, LR, ScheduleState(), step, 10) for step in range(100)]
    assert rates[0] == 0.5
    assert rates[50] == pytest.approx(0.25)
    assert 0 < rates[99] < 1e-3
    assert rates == sorted(rates, reverse=True)


@pytest.mark.parametrize("schedule", SCHEDULES.names)
def test_warm_up_rises_linearly_to_the_rate(schedule: str) -> None:
    recipe = Recipe(schedule=schedule, warmup_epochs=1.5)
    rates = [schedules.rate(recipe, LR, ScheduleState(), step, 10) for step in range(16)]
    assert rates[:15] == pytest.approx([0.5 * (i + 1) / 15 for i in range(15)])
    assert rates[15] == pytest.approx(0.5)


@settings(deadline=None)
@given(
    st.sampled_from(SCHEDULES.names),
    st.integers(1, 12),
    st.floats(0, 15),
    st.integers(1, 7),
    st.lists(st.floats(0, 1), min_size=12, max_size=12),
)
def test_rates_stay_between_zero_and_lr(
    schedule: str, epochs: int, warmup: float, steps: int, errors: list[float]
) -> None:
    warmup = min(warmup, epochs)
    recipe = Recipe(schedule=schedule, epochs=epochs, warmup_epochs=warmup, patience=1)
    state = ScheduleState()
    for epoch in range(epochs):
        for step in range(epoch * steps, (epoch + 1) * steps):
            assert 0 <= schedules.rate(recipe, LR, state, step, steps) <= LR.lr
        state = schedules.after_epoch(recipe, state, epoch + 1, errors[epoch])


def test_state_survives_json() -> None:
    state = ScheduleState(factor=0.1, best=0.25, stale=1)
    assert ScheduleState.from_dict(json.loads(json.dumps(state.to_dict()))) == state
    assert replace(state, stale=0) != state
