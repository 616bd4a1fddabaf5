"""What is read from a study: the order of its runs, and which one an arm recommends."""

from __future__ import annotations

from typing import Any

import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial

from tuneoff.search.results.anytime import incumbent
from tuneoff.search.results.read import read_results
from tuneoff.search.store.attributes import DIVERGED
from tuneoff.search.study.selection import error_of, recommend
from tuneoff.search.study.snapshot import Snapshot
from tuneoff.search.work.worker import work

CURVE_GP = {"bayes": {"sampler": "curve-gp", "startup": 3}}
CHANCE = 0.9


def a_trial(number: int, state: TrialState, errors: list[float]) -> FrozenTrial:
    """One that diverged in its last epoch has the error of guessing there."""
    made = create_trial(
        state=state,
        value=errors[-1] if state.is_finished() else None,
        intermediate_values=dict(enumerate(errors, start=1)),
        user_attrs=DIVERGED.entry(len(errors)) if errors[-1] == CHANCE else {},
    )
    made.number = number
    return made


class TestRecommend:
    DIVERGED = a_trial(0, TrialState.COMPLETE, [0.3, CHANCE])
    SHORT = a_trial(1, TrialState.PRUNED, [0.4])
    SHORTER_BUT_DEEPER = a_trial(2, TrialState.PRUNED, [0.6, 0.5])
    PAUSED = a_trial(3, TrialState.RUNNING, [0.6, 0.45])
    FULL = a_trial(4, TrialState.COMPLETE, [0.99, 0.99, 0.99])

    def test_a_full_run_goes_before_any_that_diverged(self) -> None:
        """Even if it came to more than the error of guessing."""
        assert recommend((self.DIVERGED, self.FULL)) is self.FULL

    def test_where_all_full_runs_diverged_it_is_the_best_of_the_deepest(self) -> None:
        trials = (self.DIVERGED, self.SHORT, self.SHORTER_BUT_DEEPER, self.PAUSED)
        found = recommend(trials)
        assert found is self.PAUSED
        assert error_of(found) == 0.45
        assert recommend(trials[:3]) is self.SHORTER_BUT_DEEPER

    def test_one_that_diverged_only_where_there_is_nothing_else(self) -> None:
        assert recommend((self.DIVERGED,)) is self.DIVERGED

    def test_nothing_before_a_run_has_come_to_its_end(self) -> None:
        assert recommend((self.SHORT, self.PAUSED)) is None


@pytest.fixture
def searched(sqlite_database: Any, make_study: Any, make_trainer: Any, me: Any, never: Any) -> Any:
    """Runs a curve-gp arm to its end: searched(diverges)."""

    def make(diverges: Any) -> Any:
        study = make_study(
            sqlite_database,
            arms=CURVE_GP,
            trial={"epochs": 9},
            budget={"epochs": 63},
            space={"lr": {"low": 1e-4, "high": 1.0, "log": True}},
        )
        work(study, study.arms, make_trainer(diverges=diverges), me, never)
        return study

    return make


@pytest.mark.slow
def test_a_short_run_that_diverges_does_not_become_the_incumbent(searched: Any) -> None:
    study = searched(lambda params, epoch: params.lr < 2e-3)
    (run,) = read_results(Snapshot.of(study)).runs
    trials = study.trials(study.arms[0])
    curve = [error for _, error in incumbent(run)]
    first_full = next(i for i, step in enumerate(run.steps) if step.full)
    diverged = [i for i, s in enumerate(run.steps) if DIVERGED.is_set(trials[s.trial])]
    early = [i for i in diverged if 0 < i < first_full]
    assert early
    for i in early:
        assert curve[i] == curve[i - 1] < CHANCE


@pytest.mark.slow
def test_a_run_that_diverges_later_is_the_incumbent_no_more(searched: Any) -> None:
    """What it had reached before goes for nothing: its configuration is known to diverge."""
    study = searched(lambda params, epoch: epoch == 9)
    (run,) = read_results(Snapshot.of(study)).runs
    trials = study.trials(study.arms[0])
    curve = [error for _, error in incumbent(run)]
    healthy: dict[int, tuple[int, float]] = {}
    for i, step in enumerate(run.steps):
        if step.diverged:
            healthy.pop(step.trial, None)
        else:
            healthy[step.trial] = (-step.epoch, step.error)
        assert curve[i] == min(healthy.values(), default=(0, CHANCE))[1]
    assert any(step.diverged for step in run.steps)
    assert run.recommendation is not None
    assert not DIVERGED.is_set(trials[run.recommendation.trial])
    assert run.recommendation.validation_error == curve[-1]
