"""One claimed trial: what a worker writes when it owns the trial, and when it does not any more."""

from __future__ import annotations

import threading
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState

from tuneoff.search.errors import LeaseLost
from tuneoff.search.policies.base import Decision, NewTrial
from tuneoff.search.store import attempts
from tuneoff.search.store.attributes import (
    ACCUMULATION,
    ENVIRONMENT,
    RECIPE,
    RECIPE_CHANGES,
    SEED,
    TEST_ERROR,
)
from tuneoff.search.study.state import read_state
from tuneoff.search.study.study import FULL_RUN
from tuneoff.search.study.trial_ref import TrialRef, add_trial
from tuneoff.search.work.claim import Claim, claim
from tuneoff.search.work.outcome import Completed, Failure, Interruption, Paused, Pruned
from tuneoff.search.work.trial import run_trial
from tuneoff.trainer.contract import EpochRecord
from tuneoff.trainer.errors import ModelError
from tuneoff.trainer.recipe import Recipe


def claimed(study: Any, search: Any, worker: Any) -> Claim:
    found = claim(study, search, worker)
    assert isinstance(found, Claim)
    return found


def with_policy(found: Claim, policy: Any) -> Claim:
    search = replace(found.trial.search, policy=policy)
    return replace(found, trial=replace(found.trial, search=search))


def test_a_worker_that_lost_its_trial_writes_nothing(
    age: Any, database: Any, make_study: Any, make_trainer: Any, me: Any, never: Any, reopen: Any,
    check_ledger: Any,
) -> None:  # fmt: skip
    study = make_study(database, budget={"epochs": 3}, workers={"grace_seconds": 60.0})
    search = study.arms[0]
    hanging, go = threading.Event(), threading.Event()

    def hang(folder: Path, epoch: int) -> None:
        if epoch == 2:
            hanging.set()
            assert go.wait(20)

    mine = claimed(study, search, me)
    stalled = replace(study, database=reopen(database))
    stalling = replace(mine, trial=replace(mine.trial, study=stalled))
    outcome: list[Any] = []

    def stall() -> None:
        try:
            outcome.append(run_trial(stalling, make_trainer(during=hang), never))
        except LeaseLost as error:
            outcome.append(error)
        stalled.database.optuna.remove_session()

    thread = threading.Thread(target=stall)
    thread.start()
    assert hanging.wait(20)
    age(database, mine.attempt, 61)
    theirs = claimed(study, search, me)
    assert thread.is_alive()
    assert theirs.attempt.number == 1
    trainer = make_trainer()
    assert isinstance(run_trial(theirs, trainer, never), Completed)
    before = attempts.read(database, [search.name])
    told = study.trials(search)[0]
    go.set()
    thread.join(20)
    assert [type(found) for found in outcome] == [LeaseLost]
    after = attempts.read(database, [search.name])
    assert [replace(r, idle=0.0) for r in after] == [replace(r, idle=0.0) for r in before]
    assert study.trials(search)[0] == told
    check_ledger(study, trainer)


def test_a_hanging_trial_is_taken_over_while_its_worker_lives_but_a_slow_one_is_not(
    database: Any, make_study: Any, make_trainer: Any, me: Any, never: Any
) -> None:
    study = make_study(
        database, trial={"epochs": 1}, budget={"epochs": 1}, workers={"grace_seconds": 2.0}
    )
    search = study.arms[0]
    seen: list[Any] = []

    def slowly(folder: Path, epoch: int) -> None:
        # Long epochs whose batches end: the lease is kept by the tick.
        import time

        for _ in range(8):
            time.sleep(0.3)
            ticks[0]()
        seen.append(attempts.read(database, [search.name])[0].is_stale(2.0))

    trainer = make_trainer(during=slowly)
    train = trainer.train
    ticks: list[Any] = []

    def spy(*arguments: Any) -> Any:
        ticks[:] = [arguments[-1]]
        return train(*arguments)

    trainer.train = spy
    assert isinstance(run_trial(claimed(study, search, me), trainer, never), Completed)
    assert seen == [False]


def test_a_promoted_run_is_scored_once_it_is_done(
    database: Any, make_study: Any, make_trainer: Any, me: Any, never: Any
) -> None:
    study = make_study(database, promote={"epochs": 4, "schedule": "cosine"})
    note = SEED.entry((7, FULL_RUN, 2)) | RECIPE_CHANGES.entry(study.spec.promote.changes())
    add_trial(study, study.full, TrialState.WAITING, NewTrial({"lr": 0.1}, 0, note))
    trainer = make_trainer()
    assert isinstance(run_trial(claimed(study, study.full, me), trainer, never), Completed)
    (trial,) = study.trials(study.full)
    assert trial.state == TrialState.COMPLETE
    assert sorted(trial.intermediate_values) == [1, 2, 3, 4]
    assert ENVIRONMENT.of(trial) == {"device": "cpu", "trainer": "curves"}
    recipe = Recipe.from_dict(RECIPE.of(trial))
    assert (recipe.epochs, recipe.schedule, recipe.precision) == (4, "cosine", "fp32")
    assert TEST_ERROR.of(trial) == pytest.approx(trial.value, abs=1 / 30)
    folder = TrialRef(study, study.full, trial).folder
    assert [split for _, split in trainer.evaluated] == ["validation", "test"]
    assert {p.name for p in folder.glob("*.npz")} == {"validation.npz", "test.npz"}
    # Its checkpoints stay: predictions are made with them.
    assert trainer.newest(folder) == folder / "000004-00000000.json"


def test_search_trials_never_see_the_test_split(
    database: Any, make_study: Any, make_trainer: Any, me: Any, never: Any
) -> None:
    study = make_study(database)
    trainer = make_trainer()
    run_trial(claimed(study, study.arms[0], me), trainer, never)
    assert trainer.evaluated == []


def test_a_trial_says_that_it_went_on_in_smaller_parts(
    database: Any, make_study: Any, make_trainer: Any, me: Any, never: Any
) -> None:
    study = make_study(database, budget={"epochs": 99})
    search = study.arms[0]
    trainer = make_trainer()
    plain = trainer.train
    run_trial(claimed(study, search, me), trainer, never)
    trainer.train = lambda *of: (replace(record, accumulation=4) for record in plain(*of))
    run_trial(claimed(study, search, me), trainer, never)
    first, second = study.trials(search)
    assert not ACCUMULATION.is_set(first)
    assert ACCUMULATION.of(second) == 4


def no_records() -> Generator[EpochRecord, None, None]:
    """What a trainer yields that ends before its first epoch."""
    yield from ()


def test_every_way_to_end(
    sqlite_database: Any, make_study: Any, make_trainer: Any, me: Any, never: Any
) -> None:
    study = make_study(sqlite_database, budget={"epochs": 99})
    search = study.arms[0]

    def row() -> Any:
        rows = attempts.read(sqlite_database, [search.name])
        return max(rows, key=lambda r: (r.trial, r.number))

    outcome = run_trial(claimed(study, search, me), make_trainer(), lambda: True)
    assert isinstance(outcome, Interruption)
    assert outcome.fatal is None
    assert (row().end, row().reason) == ("released", "stopped on request after 0 completed epochs")

    def broken(folder: Path, epoch: int) -> None:
        raise ModelError("no such weights")

    outcome = run_trial(claimed(study, search, me), make_trainer(fails=broken), never)
    assert isinstance(outcome, Interruption)
    assert isinstance(outcome.fatal, ModelError)
    assert (row().end, row().reason) == ("released", "no such weights")

    short = make_trainer()
    short.train = lambda *_: no_records()
    outcome = run_trial(claimed(study, search, me), short, never)
    assert outcome == Failure("RuntimeError: the trainer ended before epoch 3 of its recipe")
    assert row().end == "failed"

    class Stop:
        decision = Decision.PAUSE
        stops = True

        def after(self, history: Any, trial: Any) -> Decision:
            assert history.trials[trial.number] is trial
            assert history.horizon == 3
            return self.decision

    mine = claimed(study, search, me)
    policy: Any = Stop()
    mine = with_policy(mine, policy)
    assert run_trial(mine, make_trainer(), never) == Paused()
    assert row().end == "paused"
    assert [t.number for t in read_state(study, search).paused] == [0]
    folder = mine.trial.folder
    assert folder.exists()

    mine = claimed(study, search, me)
    policy.decision = Decision.PRUNE
    mine = with_policy(mine, policy)
    assert run_trial(mine, make_trainer(), never) == Pruned()
    assert row().end == "pruned"
    assert study.trials(search)[1].state == TrialState.PRUNED
    assert not mine.trial.folder.exists()
    assert folder.exists()


def test_an_interruption_after_an_epoch_pays_for_it(
    database: Any, make_study: Any, make_trainer: Any, me: Any, never: Any, check_ledger: Any
) -> None:
    study = make_study(database, budget={"epochs": 3})
    asked = iter([False, True])
    trainer = make_trainer()
    outcome = run_trial(claimed(study, study.arms[0], me), trainer, lambda: next(asked, True))
    assert isinstance(outcome, Interruption)
    # The checkpoint has an epoch that was not yet read; the next attempt enters it.
    assert set(trainer.trained()) == {(next(iter(trainer.trained()))[0], 1)}
    outcome = run_trial(claimed(study, study.arms[0], me), trainer, never)
    assert isinstance(outcome, Completed)
    check_ledger(study, trainer)
