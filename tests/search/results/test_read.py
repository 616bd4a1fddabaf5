"""What is read from a study: the order of its runs, and which one an arm recommends."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial

from tuneoff.search.policies.base import NewTrial
from tuneoff.search.results.anytime import incumbent
from tuneoff.search.results.compare import compare
from tuneoff.search.results.plain import plain
from tuneoff.search.results.read import read_results
from tuneoff.search.results.records import Recommendation
from tuneoff.search.results.status import read_status
from tuneoff.search.store.attributes import DIVERGED, REPLICA, TEST_ERROR
from tuneoff.search.store.counts import full_run_errors
from tuneoff.search.store.leaders import leaders
from tuneoff.search.study.keys import key_of
from tuneoff.search.study.selection import error_of, recommend
from tuneoff.search.study.snapshot import Snapshot
from tuneoff.search.study.state import read_state
from tuneoff.search.study.trial_ref import add_trial
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


def train_in_full(study: Any, lr: float, replica: int, error: float, test: float | None) -> None:
    """A finished full training; without a test error, one that diverged."""
    note = REPLICA.entry(replica) | ({} if test is None else TEST_ERROR.entry(test))
    trial = add_trial(study, study.full, TrialState.RUNNING, NewTrial({"lr": lr}, 3, note))
    if test is None:
        trial.tell_diverged(1)
    else:
        trial.report(3, error)
        trial.tell(TrialState.COMPLETE, error)


class TestRecommendationsHaveTheErrorsOfAllSeeds:
    @pytest.fixture
    def study(self, sqlite_database: Any, make_study: Any) -> Any:
        """Two arms that recommend the same rate, written in another order of trials."""
        study = make_study(
            sqlite_database,
            arms={"a": {"sampler": "random"}, "b": {"sampler": "random"}},
            promote={"epochs": 3},
        )
        for search in study.arms:
            trial = add_trial(study, search, TrialState.RUNNING, NewTrial({"lr": 0.1}, 3))
            trial.report(3, 0.5)
            trial.tell(TrialState.COMPLETE, 0.5)
        return study

    def recommendations(self, study: Any) -> list[Recommendation]:
        return [r.recommendation for r in read_results(Snapshot.of(study)).runs if r.recommendation]

    def test_by_seed_for_every_arm_that_recommends_it(self, study: Any) -> None:
        train_in_full(study, 0.1, 1, 0.4, 0.44)
        train_in_full(study, 0.1, 0, 0.2, 0.22)
        train_in_full(study, 0.3, 0, 0.9, 0.9)  # somebody else's
        add_trial(study, study.full, TrialState.WAITING, NewTrial({"lr": 0.1}, 3, REPLICA.entry(2)))
        ours, theirs = self.recommendations(study)
        assert ours.full_validation_errors == theirs.full_validation_errors == (0.2, 0.4)
        assert ours.test_errors == theirs.test_errors == (0.22, 0.44)
        assert ours.full_validation_error == pytest.approx(0.3)
        assert ours.test_error == pytest.approx(0.33)
        assert ours.key == theirs.key

    def test_one_that_diverged_counts_as_guessing(self, study: Any) -> None:
        train_in_full(study, 0.1, 0, 0.2, 0.22)
        train_in_full(study, 0.1, 1, CHANCE, None)
        results = read_results(Snapshot.of(study))
        found = results.runs[0].recommendation
        assert found is not None
        chance = results.chance_error
        assert found.full_validation_errors == (0.2, chance)
        assert found.test_errors == (0.22, chance)
        assert results.confirmed[0].test_errors == (0.22, chance)

    def test_without_a_test_split_there_is_no_test_error(self, study: Any) -> None:
        train_in_full(study, 0.1, 0, CHANCE, None)
        untested = replace(study, task=replace(study.task, sizes={"train": 80, "validation": 20}))
        found = self.recommendations(untested)[0]
        assert len(found.full_validation_errors) == 1
        assert found.test_errors == ()
        assert found.test_error is None

    def test_before_full_training_there_are_none(self, study: Any) -> None:
        found = self.recommendations(study)[0]
        assert (found.full_validation_errors, found.test_errors) == ((), ())
        assert found.full_validation_error is None

    def test_one_is_finished_once_all_its_seeds_are_in(self, study: Any) -> None:
        seeds = study.spec.promote.seeds
        assert seeds > 1
        marks = []
        for replica in range(seeds):
            marks.append([pick.finished for pick in self.recommendations(study)])
            train_in_full(study, 0.1, replica, 0.2, None if replica else 0.22)
        assert marks == [[False, False]] * seeds
        # A further seed narrows what is known, and is not waited for.
        more = NewTrial({"lr": 0.1}, 3, REPLICA.entry(seeds))
        add_trial(study, study.full, TrialState.WAITING, more)
        assert [pick.finished for pick in self.recommendations(study)] == [True, True]

    def test_one_of_a_failed_training_is_finished(self, study: Any) -> None:
        for replica in range(study.spec.promote.seeds):
            note = REPLICA.entry(replica)
            trial = add_trial(study, study.full, TrialState.RUNNING, NewTrial({"lr": 0.1}, 3, note))
            trial.tell(TrialState.FAIL)
        assert [pick.finished for pick in self.recommendations(study)] == [True, True]

    def test_none_of_a_repeat_that_is_searched_on_is_finished(self, study: Any) -> None:
        """Not even where another repeat had the same pick trained."""
        for replica in range(study.spec.promote.seeds):
            train_in_full(study, 0.1, replica, 0.2, 0.22)
        trial = add_trial(study, study.arms[0], TrialState.RUNNING, NewTrial({"lr": 0.3}, 3))
        assert [pick.finished for pick in self.recommendations(study)] == [False, False]
        trial.report(3, 0.6)
        trial.tell(TrialState.COMPLETE, 0.6)
        assert [pick.finished for pick in self.recommendations(study)] == [True, True]

    def test_json_has_the_means_too(self, study: Any) -> None:
        train_in_full(study, 0.1, 0, 0.2, 0.22)
        train_in_full(study, 0.1, 1, 0.4, 0.44)
        shown = plain(read_results(Snapshot.of(study)))["runs"][0]["recommendation"]
        assert shown["test_errors"] == [0.22, 0.44]
        assert shown["test_error"] == pytest.approx(0.33)
        assert shown["full_validation_error"] == pytest.approx(0.3)
        assert shown["key"] == key_of({"lr": 0.1})


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
    study = searched(lambda params, epoch: epoch == 9 and params.lr > 0.01)
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


def test_values_that_are_no_errors_are_left_out_with_one_warning(
    make_study: Any, sqlite_database: Any, caplog: Any
) -> None:
    """Somebody else may add trials to the Optuna study of a search."""
    study = make_study(sqlite_database, repeats=1)
    (search,) = study.arms
    for reported, told in ((-5.0, -5.0), (7.0, 7.0), (0.3, 0.3), (-2.0, 0.4), (1.0, 1.0)):
        trial = add_trial(study, search, TrialState.RUNNING, NewTrial({"lr": 0.1}, 3))
        trial.report(2, reported)
        trial.tell(TrialState.COMPLETE, told)
    now = Snapshot.of(study)
    (run,) = read_results(now).runs
    assert run.states == {"complete": 3, "failed": 2}
    assert run.recommendation is not None
    assert (run.recommendation.trial, run.recommendation.validation_error) == (2, 0.3)
    worker = read_state(study, search)
    for trials in (now.trials(search), worker.trials):
        assert [t.value for t in trials] == [None, None, 0.3, 0.4, 1.0]
        assert [dict(t.intermediate_values) for t in trials] == [{}, {}, {2: 0.3}, {}, {2: 1.0}]
    assert [record.message for record in caplog.records] == [
        f"{search.name}#{number} has an error outside 0 to 1, which is left out"
        for number in (0, 1, 3)
    ]
    (status, *_) = read_status(study).arms
    assert (status.best, status.states) == (0.3, {"complete": 3, "failed": 2})
    with study.database.engine.connect() as connection:
        assert leaders(connection, [search.name])[search.name].value == 0.3
        assert full_run_errors(connection, [search.name])[search.name] == ([0.3, 0.4, 1.0], 0)


def test_infinite_values_that_someone_else_told_count_as_diverged(
    make_study: Any, sqlite_database: Any
) -> None:
    """A study's own runs that diverge are told the error of guessing."""
    study = make_study(sqlite_database, repeats=2)
    for search in study.arms:
        for error in (math.inf, -math.inf, 0.3):
            trial = add_trial(study, search, TrialState.RUNNING, NewTrial({"lr": 0.1}, 3))
            trial.report(3, error)
            trial.tell(TrialState.COMPLETE, error)
    results = read_results(Snapshot.of(study))
    assert {run.states["diverged"] for run in results.runs} == {2}
    assert {run.recommendation.validation_error for run in results.runs if run.recommendation} == {
        0.3
    }
    assert compare(results).arms
