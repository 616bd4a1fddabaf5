"""A report of a study that goes on while it is read: whatever it says agrees with the rest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from optuna.trial import TrialState

from tuneoff.search.policies.base import NewTrial
from tuneoff.search.results.predictions.read import read_predictions
from tuneoff.search.results.read import read_results
from tuneoff.search.results.status import read_status
from tuneoff.search.results.trials import trial_curves
from tuneoff.search.store import attempts
from tuneoff.search.store.attributes import DIVERGED, ENSEMBLE, StoredEnsemble
from tuneoff.search.study.snapshot import Snapshot
from tuneoff.search.study.study import Study
from tuneoff.search.study.trial_ref import add_trial
from tuneoff.search.work.claim import Claim, claim
from tuneoff.search.work.outcome import Completed, Divergence, Failure, Outcome, Paused, record

EPOCHS = 3


@dataclass
class Another:
    """A worker that trains a bit whenever it is told to."""

    study: Study
    me: Any
    work: list[Claim] = field(default_factory=list)

    def begin(self) -> None:
        found = claim(self.study, self.study.arms[0], self.me)
        assert isinstance(found, Claim)
        self.work.append(found)

    def train(self, epochs: int) -> None:
        mine = self.work[-1]
        for epoch in range(1, epochs + 1):
            reached = mine.attempt.from_epoch + epoch
            attempts.progress(self.study.database, mine.attempt, epoch, float(epoch))
            mine.trial.report(reached, error(reached))

    def end(self, outcome: Outcome) -> None:
        mine = self.work[-1]
        record(mine.trial, mine.attempt, outcome)

    def finish(self) -> None:
        self.train(EPOCHS - self.work[-1].attempt.from_epoch)
        self.end(Completed(error(EPOCHS)))

    def finish_but_not_close(self) -> None:
        self.train(EPOCHS - self.work[-1].attempt.from_epoch)
        self.work[-1].trial.tell(TrialState.COMPLETE, error(EPOCHS))

    def diverge(self) -> None:
        self.end(Divergence(self.work[-1].attempt.from_epoch + 1))

    def pause(self) -> None:
        self.train(1)
        self.end(Paused())

    def fail(self) -> None:
        self.train(1)
        self.end(Failure("odd"))


def error(epoch: int) -> float:
    return 0.5 - 0.1 * epoch


def check(now: Snapshot) -> None:
    """All parts of a report say the same."""
    (search,) = now.study.arms
    results, curves = read_results(now), trial_curves(now)
    (run,) = results.runs
    state = now.state(search)
    rows = [row for rows in state.attempts.values() for row in rows]
    assert run.spent == sum(row.epochs for row in rows)
    assert run.states == dict(Counter(curve.state for curve in curves))
    for curve in curves:
        mine = state.attempts.get(curve.number, [])
        assert max(curve.errors, default=0) <= max((row.reached for row in mine), default=0)
        ends = {"complete": "finished", "diverged": "finished", "paused": "paused"}
        if curve.state in ends:
            assert mine[-1].end == ends[curve.state]
    ended = sum(row.end is not None and row.epochs > 0 for row in rows)
    assert len(run.steps) == ended
    # What is recommended is the best of the steps that are shown.
    full = [step for step in run.steps if step.full]
    assert (run.recommendation is not None) == bool(full or run.states.get("diverged"))
    if full and run.recommendation is not None:
        assert run.recommendation.validation_error == min(step.error for step in full)
    assert sum(row.live for row in rows) <= run.states.get("running", 0)
    read_predictions(now)


def check_status(now: Snapshot) -> None:
    """At rest, ``status`` says the same."""
    (run,), status = read_results(now).runs, read_status(now.study)
    assert (status.arms[0].spent, status.arms[0].seconds) == (run.spent, run.seconds)
    states = Counter(status.arms[0].states)
    states["running"] += states.pop("interrupted", 0)  # to Optuna, and in a report, they run
    assert +states == run.states


MOVES: dict[str, Callable[[Another], None]] = {
    "nothing": lambda worker: None,
    "a trial begins": Another.begin,
    "an epoch ends": lambda worker: worker.train(1),
    "a trial ends": Another.finish,
    "a trial is told, and not closed": Another.finish_but_not_close,
    "a trial diverges": Another.diverge,
    "a trial is paused": Another.pause,
    "an attempt fails": Another.fail,
}


@pytest.mark.slow
@pytest.mark.parametrize("move", MOVES)
@pytest.mark.parametrize("when", ["before the attempts are read", "after the attempts are read"])
def test_a_study_that_goes_on_is_reported_as_of_one_moment(
    database: Any, make_study: Any, me: Any, monkeypatch: pytest.MonkeyPatch, move: str, when: str
) -> None:
    arm = {"model": {"sampler": "curve-gp", "startup": 2, "min_epochs": 1}}
    # A model-based search takes one run at a time by default; this one has a run going on, and
    # another that begins, at once.
    study = make_study(
        database,
        arms=arm,
        trial={"epochs": EPOCHS},
        budget={"epochs": 30},
        workers={"per_search": 2},
    )
    worker = Another(study, me)
    for _ in range(2):
        worker.begin()
        worker.pause()
    worker.begin()
    read = attempts.read_at
    moved: list[bool] = []

    def interrupted(*arguments: Any) -> Any:
        first = not moved
        moved.append(True)
        if first and when.startswith("before"):
            MOVES[move](worker)
        rows = read(*arguments)
        if first and when.startswith("after"):
            MOVES[move](worker)
        return rows

    monkeypatch.setattr(attempts, "read_at", interrupted)
    now = Snapshot.of(study)
    monkeypatch.undo()
    assert moved
    check(now)
    # At rest again, nothing is left out.
    later = Snapshot.of(study)
    check(later)
    check_status(later)
    stored = study.trials(study.arms[0])
    closed = [t for t in stored if not (t.state.is_finished() and worker_is_at(worker, t))]
    assert [later.trials(study.arms[0])[t.number] for t in closed] == closed


def worker_is_at(worker: Another, trial: Any) -> bool:
    """True if the trial was told, and its attempt is live all the same."""
    rows = attempts.read(worker.study.database, [worker.study.arms[0].name], {trial.number})
    return any(row.live for row in rows)


def test_a_trial_that_was_stored_whole_has_no_attempts(
    sqlite_database: Any, make_study: Any
) -> None:
    study = make_study(sqlite_database)
    made = add_trial(study, study.arms[0], TrialState.RUNNING, NewTrial({"lr": 0.1}, 3))
    made.report(1, 0.3)
    made.tell(TrialState.COMPLETE, 0.3)
    (trial,) = Snapshot.of(study).trials(study.arms[0])
    assert (trial.state, trial.value) == (TrialState.COMPLETE, 0.3)


@pytest.mark.slow
def test_what_a_trial_became_later_is_left_out(
    database: Any, make_study: Any, me: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = make_study(database)
    worker = Another(study, me)
    worker.begin()
    worker.train(1)
    read = attempts.read_at

    def diverging(*arguments: Any) -> Any:
        rows = read(*arguments)
        worker.end(Divergence(2))
        return rows

    with monkeypatch.context() as patch:
        patch.setattr(attempts, "read_at", diverging)
        (then,) = Snapshot.of(study).trials(study.arms[0])
    (now,) = Snapshot.of(study).trials(study.arms[0])
    assert (then.state, then.value, then.intermediate_values) == (
        TrialState.RUNNING,
        None,
        {1: 0.4},
    )
    assert not DIVERGED.is_set(then)
    assert (now.state, DIVERGED.of(now)) == (TrialState.COMPLETE, 2)


def test_the_ensemble_is_no_newer_than_its_members(
    sqlite_database: Any, make_study: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = make_study(sqlite_database)
    read = attempts.read_at

    def combining(*arguments: Any) -> Any:
        rows = read(*arguments)
        ensemble = StoredEnsemble("mean", (), 0.1, ())
        study.optuna_study(study.ensemble).set_user_attr(*ENSEMBLE.item(ensemble))
        return rows

    with monkeypatch.context() as patch:
        patch.setattr(attempts, "read_at", combining)
        assert Snapshot.of(study).ensemble is None
    assert Snapshot.of(study).ensemble is not None
