"""Importance of hyperparameters: found where it is, and its sentence true in every case."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.trial import TrialState

from tuneoff.search.policies.base import NewTrial
from tuneoff.search.report.data import ReportData
from tuneoff.search.report.figures.importance import counting, finding, importance_panels
from tuneoff.search.results.importance import LEAST_RUNS, Importance, read_importance
from tuneoff.search.results.records import TrialCurve
from tuneoff.search.study.snapshot import Snapshot
from tuneoff.search.study.trial_ref import add_trial

SPACE = {
    "lr": {"low": 1e-4, "high": 1.0, "log": True},
    "momentum": {"low": 0.5, "high": 0.99},
}


def search_runs(
    study: Any, count: int, error: Callable[[float, float], float], searches: Any = None
) -> None:
    random = np.random.default_rng(0)
    for search in searches or study.arms:
        for _ in range(count):
            lr, momentum = 10 ** random.uniform(-4, 0), random.uniform(0.5, 0.99)
            job = NewTrial({"lr": lr, "momentum": momentum}, 3)
            trial = add_trial(study, search, TrialState.RUNNING, job)
            study.database.optuna.set_trial_state_values(
                study.trial_id(search, trial.number), TrialState.COMPLETE, [error(lr, momentum)]
            )


@pytest.mark.slow
def test_what_decides_the_error_is_found_in_every_repeat(
    sqlite_database: Any, make_study: Any
) -> None:
    study = make_study(sqlite_database, space=SPACE, repeats=3)
    search_runs(study, 60, lambda lr, _: abs(np.log10(lr) + 2) / 4)
    found = read_importance(Snapshot.of(study))
    assert [one.name for one in found] == ["lr", "momentum"]
    assert len(found[0].shares) == 3
    assert found[0].mean > 0.8
    for i in range(3):
        assert sum(one.shares[i] for one in found) == pytest.approx(1)


@pytest.mark.slow
def test_a_repeat_that_cannot_be_judged_keeps_its_number(
    sqlite_database: Any, make_study: Any, make_data: Callable[..., ReportData]
) -> None:
    study = make_study(sqlite_database, space=SPACE, repeats=2)
    later = [search for search in study.arms if search.repeat == 1]
    search_runs(study, 40, lambda lr, _: lr, later)
    found = read_importance(Snapshot.of(study))
    assert [one.repeats for one in found] == [(1,), (1,)]
    (panels,) = importance_panels(make_data(importance=found))
    assert "repeat 1" in panels.figures[0].to_json()
    assert "repeat 0" not in panels.figures[0].to_json()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("count", "error"),
    [(LEAST_RUNS - 1, lambda lr, _: lr), (LEAST_RUNS, lambda lr, _: 0.5), (0, lambda lr, _: lr)],
)
def test_where_too_little_is_known_nothing_is_said(
    sqlite_database: Any, make_study: Any, count: int, error: Any
) -> None:
    study = make_study(sqlite_database, space=SPACE)
    search_runs(study, count, error)
    assert read_importance(Snapshot.of(study)) == []


@pytest.mark.slow
def test_one_hyperparameter_has_no_rank(sqlite_database: Any, make_study: Any) -> None:
    study = make_study(sqlite_database)
    for i in range(30):
        job = NewTrial({"lr": 10 ** (-i / 10)}, 3)
        trial = add_trial(study, study.arms[0], TrialState.RUNNING, job)
        number = study.trial_id(study.arms[0], trial.number)
        study.database.optuna.set_trial_state_values(number, TrialState.COMPLETE, [i / 30])
    assert read_importance(Snapshot.of(study)) == []


@given(
    shares=st.integers(1, 5).flatmap(
        lambda n: st.lists(
            st.lists(st.integers(1, 100), min_size=n, max_size=n), min_size=2, max_size=5
        )
    )
)
def test_the_sentence_is_true(shares: list[list[int]]) -> None:
    found = sorted(
        (
            Importance(f"p{i}", tuple(x / 500 for x in one), tuple(range(len(one))))
            for i, one in enumerate(shares)
        ),
        key=lambda one: -one.mean,
    )
    said = finding(found)
    assert said.startswith(f"{found[0].name} matters most: ")
    repeats = len(found[0].shares)
    leads = sum(all(found[0].shares[i] >= one.shares[i] for one in found) for i in range(repeats))
    if repeats > 1:
        assert ("another may lead" in said) == (leads < repeats)
        assert leads == repeats or f"in {leads} of {repeats} repeats" in said


def test_hostile_names_are_mere_text(make_data: Callable[..., ReportData]) -> None:
    found = [
        Importance("<img src=x onerror=alert(1)>", (0.7,), (0,)),
        Importance("b", (0.3,), (0,)),
    ]
    (panels,) = importance_panels(make_data(importance=found))
    assert "<img" not in panels.figures[0].to_json()


STATES = ("complete", "pruned", "diverged", "failed", "paused", "running", "waiting")


@given(runs=st.lists(st.tuples(st.integers(0, 2), st.sampled_from(STATES)), max_size=30))
def test_it_is_said_how_many_runs_count(runs: list[tuple[int, str]]) -> None:
    trials = [
        TrialCurve("bayes", repeat, i, state, {}, {}) for i, (repeat, state) in enumerate(runs)
    ]
    said = counting(trials, (0, 2))
    judged = [state for repeat, state in runs if repeat != 1]
    full = sum(state in ("complete", "diverged") for state in judged)
    partial = sum(state in ("pruned", "paused") for state in judged)
    assert (said == "") == (partial == 0)
    if partial:
        assert f"Only full runs count: {full} of {full + partial}. The other {partial}," in said


def test_the_figure_says_which_runs_count(make_data: Callable[..., ReportData]) -> None:
    found = [Importance("lr", (0.7,), (0,)), Importance("b", (0.3,), (0,))]
    trials = [
        TrialCurve("bayes", 0, i, state, {}, {}) for i, state in enumerate(("complete", "pruned"))
    ]
    (panels,) = importance_panels(make_data(importance=found, trials=trials))
    assert "Only full runs count: 1 of 2." in panels.caption
