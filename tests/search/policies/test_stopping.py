"""A search that ends once it is expected to gain too little."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.trial import FrozenTrial, TrialState, create_trial

from tuneoff.search.policies.base import Decision, History, NewTrial
from tuneoff.search.policies.build import build_policy
from tuneoff.search.policies.fixed import FixedConfigurations
from tuneoff.search.policies.gain import LEAST_RUNS, Kind, forecast
from tuneoff.search.policies.pruning import Pruning
from tuneoff.search.policies.stopping import Stopping, full_runs
from tuneoff.search.spec.file import StudySpec
from tuneoff.search.spec.space import SearchSpace
from tuneoff.search.spec.stop_rule import StopRule
from tuneoff.search.store.attributes import DIVERGED

HORIZON = 4
JOB = NewTrial({}, HORIZON)
KIND = Kind(learns=True, selects=False)


@dataclass(frozen=True)
class Endless:
    """A policy that has always one more run."""

    stops: bool = True

    def next(self, history: History) -> NewTrial:
        return JOB

    def after(self, history: History, trial: FrozenTrial) -> Decision:
        return Decision.PRUNE


def complete(error: float, diverged: bool = False) -> FrozenTrial:
    return create_trial(value=error, user_attrs=DIVERGED.entry(1) if diverged else {})


def history(trials: list[FrozenTrial], paused: int = 0, remaining: int = 1000) -> History:
    """What a policy sees of these trials, numbered in order; the last ``paused`` ones are paused.

    Each has been trained for a full run, but the running ones.
    """
    for number, trial in enumerate(trials):
        trial.number = number
    numbers = frozenset(range(len(trials) - paused, len(trials)))
    done = sum(t.state.is_finished() for t in trials)
    study = optuna.create_study(study_name="small")
    return History(study, tuple(trials), numbers, HORIZON, remaining, HORIZON * done)


def running() -> FrozenTrial:
    return create_trial(state=TrialState.RUNNING)


def stopping(points: float, epochs: int = 12, startup: int = 0) -> Stopping:
    return Stopping(Endless(), StopRule(points, epochs), startup, KIND)


errors = st.lists(st.floats(0.01, 0.9), min_size=1, max_size=30)
thresholds = st.floats(1e-3, 50.0)


@given(errors, thresholds, thresholds)
def test_a_smaller_threshold_never_stops_earlier(
    found: list[float], one: float, other: float
) -> None:
    low, high = sorted((one, other))
    for count in range(1, len(found) + 1):
        seen = history([complete(error) for error in found[:count]])
        if stopping(low).next(seen) is None:
            assert stopping(high).next(seen) is None


@given(errors, thresholds, st.randoms())
def test_the_answer_depends_on_what_is_stored_alone(
    found: list[float], points: float, shuffled: Any
) -> None:
    """Asked twice it is the same, and in whatever order trials of one time are numbered."""
    others = list(found)
    shuffled.shuffle(others)
    answers = {
        stopping(points).next(history([complete(error) for error in some])) is None
        for some in (found, found, others)
    }
    assert len(answers) == 1


@given(errors, thresholds)
def test_it_stops_where_the_forecast_is_below_the_threshold(
    found: list[float], points: float
) -> None:
    seen = history([complete(error) for error in found])
    policy, runs = stopping(points), full_runs(seen, 1.0)
    if len(found) < LEAST_RUNS:
        assert policy.stopped(seen) is None
        assert policy.next(seen) is JOB
        return
    gain = forecast(runs, 12, KIND)
    assert (policy.next(seen) is None) == (100 * gain.mean < points)
    assert policy.stopped(seen) == (gain if 100 * gain.mean < points else None)


def test_not_before_the_trials_to_begin_with_have_ended() -> None:
    trials = [complete(0.5) for _ in range(LEAST_RUNS)]
    seen = history([*trials, running(), running()], paused=1)
    assert stopping(1.0, startup=LEAST_RUNS + 1).next(seen) is None  # a paused one has ended
    assert stopping(1.0, startup=LEAST_RUNS + 2).next(seen) is JOB  # a running one has not


def test_runs_that_diverged_are_no_full_runs_to_begin_with() -> None:
    few = [complete(0.9, diverged=True) for _ in range(9)] + [complete(0.5)] * (LEAST_RUNS - 1)
    assert stopping(99.0).next(history(few)) is JOB
    assert stopping(99.0).next(history([*few, complete(float("inf"))])) is JOB
    assert stopping(99.0).next(history([*few, complete(0.5)])) is None


def test_a_spent_budget_and_the_end_of_a_list_are_no_early_stops() -> None:
    seen = history([complete(0.5) for _ in range(9)])
    policy = stopping(1.0)
    assert policy.stopped(seen) is not None
    assert policy.stopped(replace(seen, remaining=HORIZON - 1)) is None
    over = replace(policy, inner=FixedConfigurations((), Pruning.never(HORIZON)))
    assert over.stopped(seen) is None
    more = replace(policy, inner=FixedConfigurations(({"lr": 0.1},), Pruning.never(HORIZON)))
    assert more.stopped(seen) is not None


def test_running_trials_are_ended_as_the_policy_says() -> None:
    policy, seen = stopping(1.0), history([running()])
    assert policy.stops
    assert policy.after(seen, seen.trials[0]) is Decision.PRUNE


@pytest.mark.parametrize(
    ("arm", "startup", "learns"),
    [
        ({"sampler": "curve-gp"}, 8, True),
        ({"sampler": "tpe"}, 5, True),
        ({"sampler": "gp", "startup": 7}, 7, True),
        ({"sampler": "random"}, 5, False),
        ({"sampler": "grid"}, 0, False),
    ],
)
def test_each_sampler_has_the_rule_of_the_study_file(
    spec_values: Any, arm: dict[str, Any], startup: int, learns: bool
) -> None:
    budget = {"epochs": 90, "stop_when": "gain < 0.1 within 50 epochs"}
    spec = StudySpec.parse(spec_values(budget=budget, arms={"arm": arm}), "test")
    policy = build_policy(spec, SearchSpace.of(spec), "arm", 0)
    assert isinstance(policy, Stopping)
    assert (policy.rule, policy.startup, policy.kind.learns) == (StopRule(0.1, 50), startup, learns)


def test_a_list_is_run_to_its_end_and_without_a_rule_nothing_changes(spec_values: Any) -> None:
    arms = {"hand": {"configs": [{"lr": 0.1}]}, "random": {"sampler": "random"}}
    rule = {"epochs": 90, "stop_when": "gain < 0.1 within 50 epochs"}
    for budget, arm in ((rule, "hand"), ({"epochs": 90}, "random")):
        spec = StudySpec.parse(spec_values(budget=budget, arms=arms), "test")
        assert not isinstance(build_policy(spec, SearchSpace.of(spec), arm, 0), Stopping)


def test_runs_that_guess_say_nothing_of_what_others_would_gain() -> None:
    """They lie close together, as those of a search that is at its end do."""
    policy = replace(stopping(1.0), chance_error=0.9)
    guesses = [complete(0.9 - 0.001 * i) for i in range(20)]
    assert policy.next(history(guesses)) is JOB
    assert policy.next(history([*guesses, *(complete(0.2) for _ in range(LEAST_RUNS))])) is None
