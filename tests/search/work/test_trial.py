"""One claimed trial: what a worker writes when it owns the trial, and when it does not any more."""

from __future__ import annotations

import logging
import shutil
import threading
from collections.abc import Generator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState

from tuneoff.search.errors import LeaseLost
from tuneoff.search.policies.base import Decision, NewTrial, ResumeTrial
from tuneoff.search.report.data import ReportData
from tuneoff.search.report.wording import how_to_read
from tuneoff.search.results.compare import compare
from tuneoff.search.results.read import read_results
from tuneoff.search.results.status import read_status
from tuneoff.search.store import attempts
from tuneoff.search.store.attributes import (
    ACCUMULATION,
    ENVIRONMENT,
    FAILURE,
    RECIPE,
    RECIPE_CHANGES,
    SEED,
    TEST_ERROR,
)
from tuneoff.search.study.snapshot import Snapshot
from tuneoff.search.study.state import read_state
from tuneoff.search.study.study import FULL_RUN
from tuneoff.search.study.trial_ref import TrialRef, add_trial
from tuneoff.search.work.claim import Claim, claim
from tuneoff.search.work.outcome import Completed, Divergence, Failure, Interruption, Paused, Pruned
from tuneoff.search.work.trial import run_trial
from tuneoff.search.work.worker import work
from tuneoff.trainer.contract import EpochRecord
from tuneoff.trainer.errors import ModelError
from tuneoff.trainer.recipe import Recipe


def claimed(study: Any, search: Any, worker: Any) -> Claim:
    found = claim(study, search, worker)
    assert isinstance(found, Claim)
    return found


def with_policy(found: Claim, policy: Any) -> Claim:
    search = replace(found.trial.search, make_policy=lambda: policy)
    return replace(found, trial=replace(found.trial, search=search))


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_search_trials_never_see_the_test_split(
    database: Any, make_study: Any, make_trainer: Any, me: Any, never: Any
) -> None:
    study = make_study(database)
    trainer = make_trainer()
    run_trial(claimed(study, study.arms[0], me), trainer, never)
    assert trainer.evaluated == []


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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


class TestACheckpointIsGone:
    """A run starts lower than the ledger says: the budget is looked at again."""

    @pytest.fixture
    def cut_off(self, make_study: Any, make_trainer: Any, doomed: Any, database: Any) -> Any:
        """Makes a study whose first trial lost its worker, or was paused, after two epochs."""

        def make(budget: int, end: Any) -> Any:
            study = make_study(database, budget={"epochs": budget})
            mine = claimed(study, study.arms[0], doomed)
            policy: Any = PauseAfter(2) if end == "paused" else mine.trial.search.policy

            def die(folder: Path, epoch: int) -> None:
                if epoch == 3:
                    raise Killed

            with suppress(Killed):
                run_trial(with_policy(mine, policy), make_trainer(fails=die), lambda: False)
            shutil.rmtree(study.folder)
            return study

        return make

    def spent(self, study: Any) -> int:
        return read_state(study, study.arms[0]).spent

    @pytest.mark.slow
    @pytest.mark.parametrize("budget", [5, 8])
    def test_what_the_budget_allows_is_trained_again_and_paid_for(
        self, cut_off: Any, make_trainer: Any, me: Any, never: Any, caplog: Any, budget: int
    ) -> None:
        study = cut_off(budget, "lost")
        mine = claimed(study, study.arms[0], me)
        assert isinstance(run_trial(mine, make_trainer(), never), Completed)
        assert self.spent(study) == 5
        assert "is gone" in caplog.text
        assert "2 epochs are trained again" in caplog.text
        assert "beyond" not in caplog.text
        assert read_status(study).overruns == ()
        # What is left is no more than the budget allows.
        work(study, study.arms, make_trainer(), me, never)
        assert self.spent(study) == budget

    @pytest.mark.slow
    def test_a_run_that_was_cut_off_comes_to_its_end_and_it_is_said_what_that_cost(
        self, cut_off: Any, make_trainer: Any, me: Any, never: Any, caplog: Any
    ) -> None:
        study = cut_off(4, "lost")
        work(study, study.arms, make_trainer(), me, never)
        assert [t.state for t in study.trials(study.arms[0])] == [TrialState.COMPLETE]
        assert self.spent(study) == 5
        assert "2 epochs are trained again, 1 of them beyond the budget" in caplog.text
        name = study.arms[0].name
        (sentence,) = read_status(study).overruns
        assert sentence.startswith(f"{name} has trained 5 epochs, 1 more than its budget: ")
        results = read_results(Snapshot.of(study))
        said = how_to_read(ReportData(results, compare(results), [], []))
        assert any(line.startswith("random/0 has trained 5 epochs, 1 more") for line in said)

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("budget", "state"), [(4, TrialState.PRUNED), (5, TrialState.COMPLETE)]
    )
    def test_a_paused_run_is_resumed_only_within_the_budget(
        self, cut_off: Any, make_trainer: Any, me: Any, never: Any, budget: int, state: Any
    ) -> None:
        study = cut_off(budget, "paused")
        (search,) = study.arms
        resuming = replace(search, make_policy=ResumeFirst)
        work(study, [resuming], make_trainer(), me, never)
        (trial,) = study.trials(search)
        assert trial.state == state
        assert self.spent(study) == (5 if state == TrialState.COMPLETE else 2)
        assert not any(row.live for row in attempts.read(study.database, [search.name]))

    @pytest.mark.slow
    def test_a_run_that_diverges_before_its_first_tick_is_counted_from_where_it_starts(
        self, cut_off: Any, make_trainer: Any, me: Any, never: Any
    ) -> None:
        study = cut_off(9, "lost")
        mine = claimed(study, study.arms[0], me)
        trainer = make_trainer(diverges=lambda params, epoch: epoch == 1)
        assert run_trial(mine, trainer, never) == Divergence(1, 0.5)
        assert self.spent(study) == 3


class Killed(BaseException):
    """What SIGKILL does: nothing more is written."""


@dataclass(frozen=True)
class PauseAfter:
    """Pauses every run after an epoch."""

    epoch: int
    stops: bool = True

    def after(self, history: Any, trial: Any) -> Decision:
        return Decision.PAUSE if max(trial.intermediate_values) == self.epoch else Decision.CONTINUE


@dataclass(frozen=True)
class ResumeFirst:
    """Resumes the first trial, and knows no other."""

    stops: bool = False

    def next(self, history: Any) -> Any:
        return ResumeTrial(0, history.horizon) if 0 in history.paused else None

    def after(self, history: Any, trial: Any) -> Decision:
        return Decision.CONTINUE


@pytest.mark.slow
def test_an_error_that_is_no_text_is_stored_as_text(
    database: Any, make_study: Any, make_trainer: Any, me: Any, never: Any,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    """A file's name may be any bytes, and Postgres takes no NUL."""
    # pytest-xdist cannot send what is logged to its main process, as that is no text either.
    caplog.set_level(logging.CRITICAL)

    def broken(folder: Path, epoch: int) -> None:
        raise FileNotFoundError("no images/\udcff\x00.png")

    study = make_study(database, workers={"max_attempts": 1})
    search = study.arms[0]
    outcome = run_trial(claimed(study, search, me), make_trainer(fails=broken), never)
    assert isinstance(outcome, Failure)
    said = "FileNotFoundError: no images/\\udcff\\x00.png"
    assert attempts.read(database, [search.name])[-1].reason == said
    (trial,) = study.trials(search)
    assert trial.user_attrs[FAILURE.name].endswith(said)
