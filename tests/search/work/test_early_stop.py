"""A search that ends by the study file's rule, as workers and those who look at it see it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from optuna.trial import TrialState

from tuneoff.search.policies.base import NewTrial
from tuneoff.search.policies.gain import LEAST_RUNS
from tuneoff.search.store import attempts
from tuneoff.search.store.attempts import Worker
from tuneoff.search.store.attributes import STOPPED
from tuneoff.search.store.database import Database
from tuneoff.search.study.snapshot import Snapshot
from tuneoff.search.study.state import read_state
from tuneoff.search.study.study import Study
from tuneoff.search.study.trial_ref import add_trial
from tuneoff.search.work.claim import Nothing, claim
from tuneoff.search.work.done import is_searched
from tuneoff.search.work.worker import work

EPOCHS = 3
RULE = {"epochs": 120, "stop_when": "gain < 5 within 12 epochs"}


def run(study: Study, trainer: Any, me: Worker) -> None:
    assert not work(study, study.arms, trainer, me, lambda: False).stopped


@pytest.mark.slow
def test_a_search_stops_and_every_worker_agrees(
    database: Database,
    make_study: Callable[..., Study],
    make_trainer: Any,
    me: Worker,
    reopen: Any,
    check_ledger: Any,
) -> None:
    study, trainer = make_study(database, budget=RULE), make_trainer()
    (search,) = study.arms
    run(study, trainer, me)
    now = read_state(study, search)
    assert LEAST_RUNS * EPOCHS <= now.spent < 120 - EPOCHS
    stop = Snapshot.of(study).stops[search.name]
    assert stop.spent == now.spent
    assert 0 <= 100 * stop.gain < 5
    assert is_searched(study)
    check_ledger(study, trainer)
    # Another worker, that has seen nothing yet, finds the same, and changes nothing.
    other = Study(reopen(database), study.spec, study.uid, study.task, study.work, study.repeats)
    assert claim(other, other.arms[0], me) is Nothing.DONE
    assert Snapshot.of(other).stops == {search.name: stop}
    assert read_state(other, search).spent == now.spent


@pytest.mark.slow
def test_it_stops_where_replaying_the_runs_says_so(
    sqlite_database: Database, make_study: Callable[..., Study], make_trainer: Any, me: Worker
) -> None:
    """The same seeds without a rule do the same runs, and go on after them."""
    ruled, free = (make_study(sqlite_database, budget=budget) for budget in (RULE, {"epochs": 120}))
    errors = []
    for study in (ruled, free):
        run(study, make_trainer(), me)
        errors.append([trial.value for trial in study.trials(study.arms[0])])
    assert errors[1][: len(errors[0])] == errors[0]
    assert len(errors[1]) == 120 // EPOCHS > len(errors[0])
    assert Snapshot.of(free).stops == {}


@pytest.mark.slow
def test_paused_trials_are_told_as_at_a_spent_budget(
    sqlite_database: Database, make_study: Callable[..., Study], make_trainer: Any, me: Worker
) -> None:
    study = make_study(
        sqlite_database,
        trial={"epochs": 9},
        budget={"epochs": 400, "stop_when": "gain < 9 within 20 epochs"},
        arms={"bayes": {"sampler": "curve-gp"}},
    )
    (search,) = study.arms
    run(study, make_trainer(), me)
    now = read_state(study, search)
    assert Snapshot.of(study).stops[search.name].spent == now.spent < 391
    states = [trial.state for trial in now.trials]
    assert now.paused == ()
    assert TrialState.PRUNED in states
    assert TrialState.RUNNING not in states


@pytest.mark.slow
def test_a_search_that_goes_on_has_not_stopped(
    sqlite_database: Database, make_study: Callable[..., Study], make_trainer: Any, me: Worker
) -> None:
    """Somebody enters one more configuration by hand: it is run, whatever the rule says."""
    study, trainer = make_study(sqlite_database, budget=RULE), make_trainer()
    (search,) = study.arms
    run(study, trainer, me)
    before = Snapshot.of(study).stops[search.name]
    add_trial(study, search, TrialState.WAITING, NewTrial({"lr": 0.02}, EPOCHS))
    claimed = claim(study, search, me)
    assert not isinstance(claimed, Nothing)
    run_on = claimed.trial
    run_on.tell(TrialState.COMPLETE, 0.5)
    attempts.progress(study.database, claimed.attempt, EPOCHS, 1.0)
    assert Snapshot.of(study).stops == {}
    attempts.close(study.database, claimed.attempt, "finished")
    run(study, trainer, me)
    after = Snapshot.of(study).stops[search.name]
    assert after.spent > before.spent
    assert STOPPED.get(study.optuna_study(search)) == after
