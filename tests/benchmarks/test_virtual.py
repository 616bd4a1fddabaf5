"""The virtual clock: an arm's run on given learning curves, to the epoch."""

from __future__ import annotations

import importlib
import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import FrozenTrial

from tuneoff.search.policies.arm import Arm
from tuneoff.search.policies.base import Decision, History, Job, NewTrial, Policy, ResumeTrial
from tuneoff.search.policies.pruning import Pruning
from tuneoff.search.spec.arm_section import ArmSpec
from tuneoff.search.spec.registry import SAMPLERS
from tuneoff.search.spec.space import SearchSpace
from tuneoff.trainer.recipe import HyperParams, Recipe

HORIZON = 9
SPACE = SearchSpace(
    {"lr": FloatDistribution(1e-4, 1.0, log=True), "momentum": FloatDistribution(0.5, 0.99)},
    Recipe(),
    HyperParams(),
)


@pytest.fixture
def virtual() -> ModuleType:
    return importlib.import_module("virtual")


def curve(params: Mapping[str, Any]) -> list[float]:
    floor = 0.1 + 0.05 * (math.log10(params["lr"]) + 2) ** 2 + 0.1 * (params["momentum"] - 0.9) ** 2
    return [floor + 0.3 / epoch for epoch in range(1, HORIZON + 1)]


def policy_of(name: str) -> Policy:
    sampler, _, pruner = name.partition("+")
    settings = ArmSpec(sampler=sampler, pruner=pruner or "none")
    arm = Arm(settings, SPACE, (7, 0), Pruning.of(settings, HORIZON), 10 * HORIZON)
    policy: Policy = SAMPLERS.load(sampler)(arm)
    return policy


def run(virtual: ModuleType, policy: Any, budget: int, workers: int = 1) -> Any:
    return virtual.simulate(policy, SPACE.distributions, curve, HORIZON, budget, workers)


def epochs_by_trial(simulation: Any) -> dict[int, list[int]]:
    epochs = defaultdict(list)
    for step in simulation.steps:
        epochs[step.trial].append(step.epoch)
    return dict(epochs)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize("name", ["random", "tpe+successive-halving"])
def test_every_epoch_of_the_budget_is_accounted_for(
    virtual: ModuleType, name: str, workers: int
) -> None:
    budget = 20 * HORIZON
    spent: list[int] = []
    simulation = virtual.simulate(
        policy_of(name), SPACE.distributions, curve, HORIZON, budget, workers, spent.append
    )
    # A sampler starts no run that may not be paid for to its end.
    assert budget - HORIZON < len(simulation.steps) <= budget
    assert [step.epochs for step in simulation.steps] == spent
    assert spent == list(range(1, len(spent) + 1))
    epochs = epochs_by_trial(simulation)
    assert all(seen == list(range(1, len(seen) + 1)) for seen in epochs.values())
    complete = sum(seen[-1] == HORIZON for seen in epochs.values())
    pruned = len(epochs) - complete
    assert simulation.states == {"complete": complete, **({"pruned": pruned} if pruned else {})}
    assert bool(pruned) is ("+" in name)
    assert simulation.suggestions == len(epochs)
    assert simulation.seconds > 0


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize("name", ["random", "tpe+successive-halving"])
def test_the_same_run_twice_is_the_same(virtual: ModuleType, name: str, workers: int) -> None:
    one, other = (run(virtual, policy_of(name), 90, workers) for _ in range(2))
    assert one.steps == other.steps
    assert one.states == other.states


def test_without_a_pruner_four_workers_train_as_much_as_one(virtual: ModuleType) -> None:
    one, four = (run(virtual, policy_of("random"), 90, workers) for workers in (1, 4))
    assert len(one.steps) == len(four.steps) == 90
    assert {step.final for step in one.steps} == {step.final for step in four.steps}


def test_workers_train_side_by_side(virtual: ModuleType) -> None:
    steps = run(virtual, policy_of("random"), 4 * HORIZON, workers=4).steps
    assert [(step.trial, step.epoch) for step in steps[:8]] == [
        (trial, epoch) for epoch in (1, 2) for trial in range(4)
    ]


def test_a_step_tells_the_curve(virtual: ModuleType) -> None:
    for step in run(virtual, policy_of("random"), 2 * HORIZON).steps:
        assert step.error == pytest.approx(step.final - 0.3 / HORIZON + 0.3 / step.epoch)


def test_recommended_is_the_best_full_run_or_else_the_best_of_the_deepest(
    virtual: ModuleType,
) -> None:
    final = {0: 0.40, 1: 0.60, 2: 0.05}
    seen = [  # trial, epoch, error there, final error of what is recommended from then on
        (0, 1, 0.50, 0.40),
        (1, 1, 0.30, 0.60),  # better as deep
        (0, 2, 0.45, 0.40),  # deeper, though worse
        (1, 2, 0.50, 0.40),
        (1, 3, 0.60, 0.60),  # the only full run
        (0, 3, 0.40, 0.40),
        (2, 1, 0.10, 0.40),  # no full run yet, however good
        (2, 2, 0.07, 0.40),
        (2, 3, 0.05, 0.05),
    ]
    steps = tuple(
        virtual.Step(epochs, trial, epoch, error, final[trial])
        for epochs, (trial, epoch, error, _) in enumerate(seen, start=1)
    )
    simulation = virtual.Simulation(steps, {"complete": 3}, 0.0, 3)
    recommended = [simulation.recommended(epochs, 3) for epochs in range(len(seen) + 1)]
    assert recommended == [math.inf, *(wanted for *_, wanted in seen)]


def test_from_the_first_full_run_on_recommendations_only_improve(virtual: ModuleType) -> None:
    simulation = run(virtual, policy_of("tpe+successive-halving"), 15 * HORIZON, workers=4)
    first = next(step.epochs for step in simulation.steps if step.epoch == HORIZON)
    later = [
        simulation.recommended(epochs, HORIZON)
        for epochs in range(first, len(simulation.steps) + 1)
    ]
    assert later == sorted(later, reverse=True)
    assert later[-1] < later[0]


@dataclass(frozen=True)
class Pausing:
    """Three runs of two epochs, then each of them to its end, the oldest first.

    Attributes:
        by_decision: stop by ``after``, not by ``until_epoch``.
    """

    by_decision: bool

    def next(self, history: History) -> Job | None:
        number = len(history.trials)
        if number < 3:
            params = {"lr": 10.0 ** -(1 + number), "momentum": 0.9}
            return NewTrial(params, HORIZON if self.by_decision else 2)
        return ResumeTrial(min(history.paused), HORIZON) if history.paused else None

    def after(self, history: History, trial: FrozenTrial) -> Decision:
        at_pause = max(trial.intermediate_values) == 2
        return Decision.PAUSE if self.by_decision and at_pause else Decision.CONTINUE


@pytest.mark.parametrize("by_decision", [True, False])
@pytest.mark.parametrize("workers", [1, 2])
def test_a_paused_run_is_resumed_where_it_stopped(
    virtual: ModuleType, by_decision: bool, workers: int
) -> None:
    simulation = run(virtual, Pausing(by_decision), 100, workers)
    whole = list(range(1, HORIZON + 1))
    assert epochs_by_trial(simulation) == {0: whole, 1: whole, 2: whole}
    assert simulation.states == {"complete": 3}
    assert simulation.suggestions == 6
    if workers == 1:
        order = [step.trial for step in simulation.steps]
        assert order == [0, 0, 1, 1, 2, 2, *[0] * 7, *[1] * 7, *[2] * 7]


@pytest.mark.parametrize("by_decision", [True, False])
def test_a_run_that_was_paused_at_the_end_says_so(virtual: ModuleType, by_decision: bool) -> None:
    simulation = run(virtual, Pausing(by_decision), 20)
    assert len(simulation.steps) == 20
    assert simulation.states == {"complete": 2, "paused": 1}


def test_a_job_that_the_budget_cannot_pay_for_is_not_started(virtual: ModuleType) -> None:
    simulation = run(virtual, Pausing(by_decision=False), 19)
    assert len(simulation.steps) == 13
    assert simulation.states == {"complete": 1, "paused": 2}
