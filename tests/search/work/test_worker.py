"""Whole studies, run by one worker or by many, that fail, stop and die."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import FrozenTrial, TrialState

from tuneoff.retry import Patience
from tuneoff.search.errors import StorageOutage, TrainingFailed
from tuneoff.search.policies.base import Decision, History, Job, NewTrial, ResumeTrial
from tuneoff.search.results.status import read_status
from tuneoff.search.store import attempts
from tuneoff.search.store.attempts import Worker
from tuneoff.search.store.attributes import DIVERGED, FAILURE, FIXED_INDEX, TEST_ERROR
from tuneoff.search.study.state import read_state
from tuneoff.search.study.trial_ref import TrialRef, add_trial
from tuneoff.search.work import crew
from tuneoff.search.work.claim import Claim, Nothing, claim
from tuneoff.search.work.trial import run_trial
from tuneoff.search.work.worker import Summary, work
from tuneoff.trainer.errors import CheckpointError, DataError

RATES = (0.03, 0.3, 0.001)


@dataclass(frozen=True)
class PauseAll:
    """Every rate until epoch 1, then the best of them to the end, and nothing more."""

    rates: tuple[float, ...] = RATES
    stops: bool = False

    def next(self, history: History) -> Job | None:
        if len(history.trials) < len(self.rates):
            return NewTrial({"lr": self.rates[len(history.trials)]}, 1)
        if any(t.state == TrialState.COMPLETE for t in history.trials) or not history.paused:
            return None
        best = min(history.paused, key=lambda n: history.trials[n].intermediate_values[1])
        return ResumeTrial(best, history.horizon)

    def after(self, history: History, trial: FrozenTrial) -> Decision:
        return Decision.CONTINUE


@dataclass(frozen=True)
class PruneSecond:
    """Two rates; the second is pruned after epoch 1."""

    stops: bool = True

    def next(self, history: History) -> Job | None:
        done = len(history.trials)
        return NewTrial({"lr": RATES[done]}, history.horizon) if done < 2 else None

    def after(self, history: History, trial: FrozenTrial) -> Decision:
        return Decision.PRUNE if trial.number == 1 else Decision.CONTINUE


def snapshot(study: Any, search: Any) -> list[Any]:
    """All that a study has come to, but for times and attempts."""
    return [
        (
            trial.number,
            trial.params,
            trial.state,
            trial.values,
            trial.intermediate_values,
            (DIVERGED.get(trial), TEST_ERROR.get(trial)),
        )
        for trial in study.trials(search)
    ]


@pytest.mark.slow
def test_a_study_runs_to_the_end_of_its_budgets(
    database: Any, make_study: Any, make_trainer: Any, me: Any, never: Any, check_ledger: Any
) -> None:
    arms = {"random": {"sampler": "random"}, "hand": {"configs": [{"lr": 0.03}, {"lr": 0.1}]}}
    study = make_study(database, arms=arms, repeats=2)
    trainer = make_trainer()
    assert work(study, study.arms, trainer, me, never) == Summary(attempts=10, stopped=False)
    check_ledger(study, trainer)
    for search in study.arms:
        trials = study.trials(search)
        assert len(trials) == (3 if search.arm == "random" else 2)
        for trial in trials:
            assert trial.state == TrialState.COMPLETE
            run = TrialRef(study, search, trial).run
            curve = {e: trainer.error(run.params, run.seed, e) for e in (1, 2, 3)}
            assert trial.intermediate_values == curve
            assert trial.value == curve[3]
        seconds = sum(row.seconds for row in attempts.read(database, [search.name]))
        assert seconds == 0.5 * 3 * len(trials)
    # What is told needs no checkpoint any more.
    assert not [path for path in study.folder.rglob("*") if path.is_file()]
    # Nothing is left for another worker.
    assert work(study, study.arms, trainer, me, never).attempts == 0


@pytest.mark.slow
def test_paused_trials_are_resumed_or_told_their_last_value(
    database: Any, make_study: Any, make_trainer: Any, me: Any, never: Any, check_ledger: Any
) -> None:
    study = make_study(database)
    search = replace(study.arms[0], make_policy=PauseAll)
    trainer = make_trainer()
    assert work(study, [search], trainer, me, never).attempts == 4
    check_ledger(study, trainer)
    trials = study.trials(search)
    states = [trial.state for trial in trials]
    assert states == [TrialState.COMPLETE, TrialState.PRUNED, TrialState.PRUNED]
    assert all(t.value == t.intermediate_values[1] for t in trials[1:])
    ends = [(r.trial, r.number, r.end) for r in attempts.read(database, [search.name])]
    assert ends == [(0, 0, "paused"), (1, 0, "paused"), (2, 0, "paused"), (0, 1, "finished")]
    assert not [path for path in study.folder.rglob("*") if path.is_file()]


@pytest.mark.slow
def test_a_pruned_run_stops_and_is_paid_for(
    database: Any, make_study: Any, make_trainer: Any, me: Any, never: Any, check_ledger: Any
) -> None:
    study = make_study(database)
    search = replace(study.arms[0], make_policy=PruneSecond)
    trainer = make_trainer()
    work(study, [search], trainer, me, never)
    check_ledger(study, trainer)
    first, second = study.trials(search)
    assert (first.state, second.state) == (TrialState.COMPLETE, TrialState.PRUNED)
    assert second.value == second.intermediate_values[1]
    assert read_state(study, search).spent == 4


@pytest.mark.slow
def test_a_diverged_run_is_told_at_the_chance_level(
    database: Any, make_study: Any, make_trainer: Any, me: Any, never: Any
) -> None:
    study = make_study(database, arms={"hand": {"configs": [{"lr": 0.03}, {"lr": 0.5}]}})
    trainer = make_trainer(diverges=lambda params, epoch: params.lr > 0.1 and epoch == 2)
    work(study, study.arms, trainer, me, never)
    good, bad = study.trials(study.arms[0])
    assert good.value < 0.5
    assert bad.state == TrialState.COMPLETE
    assert bad.value == bad.intermediate_values[2] == pytest.approx(0.9)
    assert bad.user_attrs == FIXED_INDEX.entry(1) | DIVERGED.entry(2)
    # The epoch in which it diverged was paid for, too.
    assert read_state(study, study.arms[0]).spent == 3 + 2


@pytest.mark.slow
def test_an_arm_whose_every_run_diverges_at_once_still_spends_its_budget(
    sqlite_database: Any, make_study: Any, make_trainer: Any, me: Any, never: Any
) -> None:
    study = make_study(sqlite_database)
    trainer = make_trainer(diverges=lambda params, epoch: True)
    # Nine epochs: seven runs of one epoch leave two, too few for another that may take three.
    assert work(study, study.arms, trainer, me, never).attempts == 7
    assert {trial.value for trial in study.trials(study.arms[0])} == {0.9}


@pytest.mark.slow
def test_a_stopped_worker_leaves_what_the_next_one_goes_on_with(
    database: Any, make_study: Any, make_trainer: Any, me: Any, never: Any, check_ledger: Any
) -> None:
    undisturbed = make_study(database)
    work(undisturbed, undisturbed.arms, make_trainer(), me, never)
    study = make_study(database)
    trainer = make_trainer()
    for ticks in (3, 1, 2, 4):
        heard = iter([False] * ticks)
        stopping: list[bool] = []

        def stop(heard: Any = heard, stopping: Any = stopping) -> bool:
            if next(heard, None) is not False:
                stopping.append(True)
            return bool(stopping)

        assert work(study, study.arms, trainer, me, stop).stopped
    assert not work(study, study.arms, trainer, me, never).stopped
    check_ledger(study, trainer)
    assert snapshot(study, study.arms[0]) == snapshot(undisturbed, undisturbed.arms[0])
    ends = {row.end for row in attempts.read(database, [study.arms[0].name])}
    assert ends == {"released", "finished"}


@pytest.mark.slow
def test_a_drained_study_is_left_after_the_current_trial(
    database: Any, make_study: Any, make_trainer: Any, me: Any, never: Any, check_ledger: Any
) -> None:
    study = make_study(database)
    trainer = make_trainer(during=lambda folder, epoch: study.drain(True))
    assert work(study, study.arms, trainer, me, never) == Summary(attempts=1, stopped=True)
    assert work(study, study.arms, trainer, me, never) == Summary(attempts=0, stopped=True)
    study.drain(False)
    assert work(study, study.arms, make_trainer(), me, never).attempts == 2
    check_ledger(study, trainer)


@pytest.mark.slow
def test_failures_are_tried_again_and_then_told_with_their_reason(
    database: Any, make_study: Any, make_trainer: Any, me: Any, never: Any, check_ledger: Any
) -> None:
    study = make_study(
        database,
        arms={"hand": {"configs": [{"lr": 0.03}, {"lr": 0.1}, {"lr": 0.2}]}},
        workers={"max_attempts": 3},
    )
    search = study.arms[0]
    left: dict[str, list[Exception]] = {
        "00000": [ValueError("odd")] * 2,
        "00001": [KeyError("worse\nmore")] * 9,
        "00002": [],
    }

    def fails(folder: Path, epoch: int) -> None:
        if epoch == 2 and left[folder.name]:
            raise left[folder.name].pop()

    trainer = make_trainer(fails=fails)
    # What is the trial's own fault is no reason for the worker to leave.
    assert work(study, [search], trainer, me, never) == Summary(attempts=7, stopped=False)
    check_ledger(study, trainer)
    good, bad, last = study.trials(search)
    assert good.state == last.state == TrialState.COMPLETE
    assert bad.state == TrialState.FAIL
    assert FAILURE.of(bad).startswith("3 attempts failed; the last: KeyError: ")
    assert "\n" not in FAILURE.of(bad)
    rows = attempts.read(database, [search.name])
    # Other trials come before one that failed here: they show whose fault it is.
    assert [(row.trial, row.end) for row in sorted(rows, key=lambda row: row.started)] == [
        (0, "failed"), (1, "failed"), (2, "finished"),
        (0, "failed"), (0, "finished"),
        (1, "failed"), (1, "failed"),
    ]  # fmt: skip
    # The failed attempts' epochs stay in the ledger, and no more than they trained.
    assert sum(row.epochs for row in rows) == 3 + 1 + 3


OUT_OF_ORDER = "CUDA error: an illegal memory access was encountered"


def out_of_order(folder: Path, epoch: int) -> None:
    raise RuntimeError(OUT_OF_ORDER)


@pytest.fixture
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crew, "FIRST_PAUSE_SECONDS", 0.05)
    monkeypatch.setattr(crew, "LONGEST_PAUSE_SECONDS", 0.2)


@pytest.mark.usefixtures("short_pauses")
class TestASickWorker:
    """One whose every attempt fails, whatever the trial."""

    @pytest.mark.slow
    @pytest.mark.parametrize("restarts", [0, 3])
    @pytest.mark.parametrize("machine", ["this", "other"])
    def test_beside_a_healthy_one_it_changes_nothing(
        self, database: Any, make_study: Any, make_trainer: Any, me: Any, never: Any, reopen: Any,
        doomed: Any, check_ledger: Any, machine: str, restarts: int,
    ) -> None:  # fmt: skip
        study = make_study(
            database,
            budget={"epochs": 24},
            arms={"hand": {"configs": [{"lr": 0.1 + i / 100} for i in range(8)]}},
        )
        here = me.name.rpartition("/")[0]
        place = here if machine == "this" else "sick"
        healthy, at_work = replace(me, name=f"{here}/1"), threading.Event()

        def slowly(folder: Path, epoch: int) -> None:
            at_work.set()
            time.sleep(0.3)

        def be_sick(mine: Any) -> list[str]:
            ends = []
            try:
                for number in range(1 + restarts):
                    # The process of a worker that was started again has ended.
                    process = (me if number == restarts else doomed).process
                    worker = Worker(f"{place}/{100 + number}", process, "cpu")
                    try:
                        work(mine, mine.arms, make_trainer(fails=out_of_order), worker, never)
                    except TrainingFailed as error:
                        ends.append(str(error))
                    else:
                        break  # the other one has finished the study
            finally:
                mine.database.optuna.remove_session()
            return ends

        with ThreadPoolExecutor(1) as pool:
            trainer = make_trainer(during=slowly)
            sick: list[Future[list[str]]] = []

            def start_sick() -> bool:
                if at_work.is_set() and not sick:
                    sick.append(pool.submit(be_sick, replace(study, database=reopen(database))))
                return False

            done = work(study, study.arms, trainer, healthy, start_sick)
            assert not done.stopped
            ends = sick[0].result(60)
        assert {trial.state for trial in study.trials(study.arms[0])} == {TrialState.COMPLETE}
        assert len(study.trials(study.arms[0])) == 8
        assert ends
        assert all(OUT_OF_ORDER in end and "trials in a row failed on" in end for end in ends)
        check_ledger(study, trainer)
        rows = attempts.read(database, [study.arms[0].name])
        assert sum(row.end == "failed" for row in rows) >= 5

    @pytest.mark.slow
    def test_alone_it_stops_before_a_trial_is_lost(
        self, database: Any, make_study: Any, make_trainer: Any, me: Any, never: Any,
        check_ledger: Any,
    ) -> None:  # fmt: skip
        study = make_study(database, budget={"epochs": 9}, workers={"max_attempts": 3})
        sick = replace(me, name="sick/7", device="cuda:0")
        with pytest.raises(TrainingFailed) as caught:
            work(study, study.arms, make_trainer(fails=out_of_order), sick, never)
        assert str(caught.value) == (
            "3 attempts at 3 trials in a row failed on sick/7 (cuda:0); the last: RuntimeError: "
            f"{OUT_OF_ORDER}; look after this machine: others can go on with the trials"
        )
        (failing,) = read_status(study).failing
        assert (failing.worker, failing.device, failing.attempts, failing.trials) == (
            "sick/7", "cuda:0", 3, 3,
        )  # fmt: skip
        assert failing.reason == f"RuntimeError: {OUT_OF_ORDER}"
        # It has recovered when a trial comes to its end on it.
        trainer = make_trainer()
        work(study, study.arms, trainer, sick, never)
        assert [t.state for t in study.trials(study.arms[0])] == [TrialState.COMPLETE] * 3
        check_ledger(study, trainer)
        assert read_status(study).failing == ()

    @pytest.mark.slow
    def test_a_trial_that_waits_for_somebody_else_keeps_its_budget(
        self, database: Any, make_study: Any, make_trainer: Any, me: Any, never: Any
    ) -> None:
        study = make_study(database, budget={"epochs": 9})
        (search,) = study.arms
        sick, other = replace(me, name="sick/1"), replace(me, name="well/1")
        begun = claim(study, search, other)
        found = claim(study, search, sick)
        assert isinstance(begun, Claim)
        assert isinstance(found, Claim)
        run_trial(found, make_trainer(fails=out_of_order), never)
        third = claim(study, search, sick)  # a new one; its own is left to the other worker
        assert isinstance(third, Claim)
        assert third.trial.number == 2
        # All of the budget is promised: the rest of the trial that failed is part of it.
        assert claim(study, search, sick) is Nothing.WAIT
        taken = claim(study, search, other)
        assert isinstance(taken, Claim)
        assert (taken.trial.number, taken.attempt.number) == (1, 1)


@pytest.mark.slow
@pytest.mark.parametrize("error", [CheckpointError("disk full"), DataError("no zip")])
def test_a_worker_that_cannot_train_here_leaves_the_trial_to_others(
    sqlite_database: Any,
    make_study: Any,
    make_trainer: Any,
    me: Any,
    never: Any,
    check_ledger: Any,
    error: Exception,
) -> None:
    study = make_study(sqlite_database, budget={"epochs": 3})

    def fails(folder: Path, epoch: int) -> None:
        if epoch == 2:
            raise error

    for _ in range(6):  # more often than max_attempts: this is no fault of the trial
        with pytest.raises(type(error)):
            work(study, study.arms, make_trainer(fails=fails), me, never)
    trainer = make_trainer()
    assert work(study, study.arms, trainer, me, never).attempts == 1
    check_ledger(study, trainer)
    assert [t.state for t in study.trials(study.arms[0])] == [TrialState.COMPLETE]


@pytest.mark.slow
def test_a_worker_waits_for_the_others_and_advances_when_all_is_done(
    database: Any,
    make_study: Any,
    make_trainer: Any,
    me: Any,
    never: Any,
    reopen: Any,
    wait_for: Any,
    check_ledger: Any,
) -> None:
    study = make_study(database, budget={"epochs": 3})
    started, go = threading.Event(), threading.Event()

    def during(folder: Path, epoch: int) -> None:
        started.set()
        assert go.wait(20)

    slow = make_trainer(during=during)
    done = []
    theirs = replace(study, database=reopen(database))
    thread = threading.Thread(
        target=lambda: done.append(work(theirs, theirs.arms, slow, me, never))
    )
    thread.start()
    assert started.wait(20)
    calls: list[bool] = []

    def advance() -> bool:
        calls.append(done != [] or go.is_set())
        return False

    threading.Timer(0.6, go.set).start()
    assert work(study, study.arms, make_trainer(), me, never, advance).attempts == 0
    thread.join(20)
    assert calls == [True]
    assert done == [Summary(attempts=1, stopped=False)]
    check_ledger(study, slow)


def test_a_worker_that_waits_asks_again_only_when_something_may_have_changed(
    sqlite_database: Any, make_study: Any, make_trainer: Any, me: Any, monkeypatch: Any
) -> None:
    from tuneoff.search.store.attempts import Worker
    from tuneoff.search.work import worker as module
    from tuneoff.search.work.claim import Claim, claim

    study = make_study(sqlite_database, budget={"epochs": 3})
    other = Worker("elsewhere/1", "", "cpu")
    owned = [found for g in study.arms if isinstance(found := claim(study, g, other), Claim)]
    polls = 0
    asked: list[int] = []

    def counted(study: Any, search: Any, worker: Any, again: bool) -> Any:
        asked.append(polls)
        return claim(study, search, worker, again=again)

    def pause(seconds: float) -> None:
        nonlocal polls
        polls += 1
        if polls == 5:
            attempts.close(sqlite_database, owned[0].attempt, "released")

    monkeypatch.setattr(module, "claim", counted)
    monkeypatch.setattr(time, "sleep", pause)
    trainer = make_trainer()
    summary = work(study, study.arms, trainer, me, lambda: polls > 8 or bool(trainer.trained()))
    assert sorted(set(asked)) == [0, 5]  # at first, and when somebody's attempt had ended
    assert summary.attempts == 1


@pytest.mark.slow
def test_many_workers_at_once_spend_every_budget_exactly(
    database: Any, make_study: Any, make_trainer: Any, me: Any, never: Any, reopen: Any,
    check_ledger: Any,
) -> None:  # fmt: skip
    arms = {"random": {"sampler": "random"}, "sobol": {"sampler": "quasi-random"}}
    study = make_study(database, arms=arms, trial={"epochs": 1}, budget={"epochs": 11})
    trainer = make_trainer()
    errors: list[BaseException] = []

    def run(mine: Any) -> None:
        try:
            work(mine, mine.arms, trainer, me, never)
        except BaseException as error:
            errors.append(error)
        finally:
            mine.database.optuna.remove_session()

    threads = [
        threading.Thread(target=run, args=[replace(study, database=reopen(database))])
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == []
    check_ledger(study, trainer)
    for search in study.arms:
        assert [t.state for t in study.trials(search)] == [TrialState.COMPLETE] * 11
        assert read_state(study, search).spent == 11


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 3])
def test_curve_gp_pauses_and_resumes_real_runs(
    sqlite_database: Any,
    make_study: Any,
    make_trainer: Any,
    me: Any,
    never: Any,
    reopen: Any,
    check_ledger: Any,
    workers: int,
) -> None:
    arm = {"sampler": "curve-gp", "startup": 4, "min_epochs": 2, "reduction": 2}
    study = make_study(
        sqlite_database, arms={"model": arm}, trial={"epochs": 9}, budget={"epochs": 54}
    )
    (search,) = study.arms
    trainer = make_trainer(diverges=lambda params, epoch: params.lr > 0.1 and epoch == 2)

    def run(mine: Any) -> Summary:
        try:
            return work(mine, mine.arms, trainer, me, never)
        finally:
            mine.database.optuna.remove_session()

    with ThreadPoolExecutor(workers) as pool:
        studies = [replace(study, database=reopen(sqlite_database)) for _ in range(workers)]
        assert not any(summary.stopped for summary in pool.map(run, studies))
    trials = study.trials(search)
    rows = attempts.read(sqlite_database, [search.name])
    by_trial = {trial.number: [r for r in rows if r.trial == trial.number] for trial in trials}
    diverged = {trial.number for trial in trials if DIVERGED.is_set(trial)}
    for trial in trials:
        mine = by_trial[trial.number]
        # Each attempt goes on where the one before paused, and all but a full run's end at a rung.
        assert [row.from_epoch for row in mine] == [0, *(row.until_epoch for row in mine[:-1])]
        assert [row.end for row in mine[:-1]] == ["paused"] * (len(mine) - 1)
        assert {row.until_epoch for row in mine} <= {2, 4, 9}
        reached = max(trial.intermediate_values)
        assert trial.value == trial.intermediate_values[reached]
        if trial.number in diverged:
            assert (trial.state, mine[-1].end, reached) == (TrialState.COMPLETE, "finished", 2)
            continue
        assert mine[-1].until_epoch == reached
        expected = (
            ("finished", TrialState.COMPLETE) if reached == 9 else ("paused", TrialState.PRUNED)
        )
        assert (mine[-1].end, trial.state) == expected
    assert any(len(mine) > 2 for mine in by_trial.values())
    assert {TrialState.COMPLETE, TrialState.PRUNED} == {trial.state for trial in trials}
    assert 54 - 9 < read_state(study, search).spent <= 54
    assert diverged
    check_ledger(study, trainer)
    best = min(t.value for t in trials if t.state == TrialState.COMPLETE)
    assert best < 0.1  # 0.05 and noise at lr = 0.03


@pytest.mark.slow
def test_a_database_that_stays_away_ends_the_worker(
    sqlite_database: Any,
    make_study: Any,
    make_trainer: Any,
    me: Any,
    never: Any,
    monkeypatch: Any,
    check_ledger: Any,
) -> None:
    import sqlalchemy as sa

    study = make_study(sqlite_database, budget={"epochs": 3})
    impatient = replace(study, database=replace(sqlite_database, patience=Patience(0.1)))

    def gone(*_: Any) -> None:
        raise sa.exc.OperationalError("UPDATE", {}, Exception("server closed the connection"))

    with monkeypatch.context() as patch:
        patch.setattr(attempts, "progress", gone)
        with pytest.raises(StorageOutage, match="server closed the connection"):
            work(impatient, impatient.arms, make_trainer(), me, never)
    # The process goes, and another worker takes over where it was.
    row = attempts.read(sqlite_database, [study.arms[0].name])[0]
    attempts.close(sqlite_database, row, "lost")
    trainer = make_trainer()
    work(study, study.arms, trainer, me, never)
    check_ledger(study, trainer)
    assert [t.state for t in study.trials(study.arms[0])] == [TrialState.COMPLETE]


# Death at every point of a trial's life


class Killed(BaseException):
    """What a worker feels of SIGKILL: nothing of its own runs after."""


@dataclass
class Reaper:
    """Counts the durable writes of the worker that runs now, and kills it right after one."""

    after: int = 0
    seen: int = 0
    last: str = ""

    def __call__(self, name: str) -> None:
        self.seen += 1
        if self.seen == self.after:
            self.last = name
            raise Killed

    def arm(self, after: int) -> None:
        self.after, self.seen, self.last = after, 0, ""


@pytest.fixture
def reaper(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], Reaper]:
    """Makes every write to a database, ours and Optuna's, one after which a worker may die."""

    def install(database: Any) -> Reaper:
        reaper = Reaper()

        def wrap(owner: Any, name: str) -> None:
            write = getattr(owner, name)

            def wrapped(*args: Any, **kwargs: Any) -> Any:
                answer = write(*args, **kwargs)
                reaper(name)
                return answer

            monkeypatch.setattr(owner, name, wrapped)

        for name in ("insert", "resumed_from", "progress", "touch", "diverged", "close"):
            wrap(attempts, name)
        for name in (
            "create_new_trial",
            "set_trial_state_values",
            "set_trial_intermediate_value",
            "set_trial_user_attr",
            "set_trial_system_attr",
        ):
            wrap(database.optuna, name)
        return reaper

    return install


def complete(study: Any) -> Any:
    return replace(study.arms[0], make_policy=lambda: PauseAll(RATES[:1]))


def paused(study: Any) -> Any:
    return replace(study.arms[0], make_policy=lambda: PauseAll(RATES[:2]))


def pruned(study: Any) -> Any:
    return replace(study.arms[0], make_policy=PruneSecond)


def promoted(study: Any) -> Any:
    from tuneoff.search.store.attributes import RECIPE_CHANGES, REPLICA, SEED
    from tuneoff.search.study.study import FULL_RUN

    note = REPLICA.entry(0) | SEED.entry((7, FULL_RUN, 0)) | RECIPE_CHANGES.entry({"epochs": 2})
    add_trial(study, study.full, TrialState.WAITING, NewTrial({"lr": 0.1}, 0, note))
    return study.full


def first_arm(study: Any) -> Any:
    return study.arms[0]


CURVE_GP = {"arms": {"model": {"sampler": "curve-gp", "startup": 2, "min_epochs": 1}}}

SCENARIOS: dict[str, tuple[Callable[[Any], Any], dict[str, Any]]] = {
    "complete": (complete, {"trial": {"epochs": 3}, "budget": {"epochs": 3}}),
    "paused": (paused, {"trial": {"epochs": 2}, "budget": {"epochs": 4}}),
    "pruned": (pruned, {"trial": {"epochs": 2}, "budget": {"epochs": 4}}),
    "curve-gp": (first_arm, {"trial": {"epochs": 2}, "budget": {"epochs": 4}, **CURVE_GP}),
    "diverged": (
        first_arm,
        {
            "trial": {"epochs": 2},
            "budget": {"epochs": 2},
            "arms": {"hand": {"configs": [{"lr": 0.9}]}},
        },
    ),
    "promoted": (promoted, {"promote": {"epochs": 2}}),
}


@pytest.fixture
def life(
    make_study: Any,
    make_trainer: Any,
    reaper: Any,
    doomed: Any,
    me: Any,
    never: Any,
    check_ledger: Any,
    tmp_path: Path,
) -> Callable[..., tuple[Any, int, list[str]]]:
    """Runs a scenario with workers that die after the given numbers of writes, then a survivor.

    Returns what it came to, the writes of the survivor, and after what the others died.
    """
    installed: dict[int, Reaper] = {}

    def run(database: Any, scenario: str, deaths: tuple[int, ...]) -> tuple[Any, int, list[str]]:
        if id(database) not in installed:
            installed[id(database)] = reaper(database)
        grim = installed[id(database)]
        grim.arm(0)
        choose, changes = SCENARIOS[scenario]
        study = make_study(database, **changes)
        search = choose(study)
        trainer = make_trainer(
            step=lambda name: grim(name) if name == "checkpoint written" else None,
            diverges=lambda params, epoch: params.lr == 0.9 and epoch == 2,
        )
        causes = []
        for death in deaths:
            grim.arm(death)
            try:
                work(study, [search], trainer, doomed, never)
            except Killed:
                database.optuna.remove_session()
                causes.append(grim.last)
        grim.arm(0)
        work(study, [search], trainer, me, never)
        writes = grim.seen
        grim.arm(0)

        assert claim(study, search, me) is Nothing.DONE
        if scenario == "diverged":  # its second epoch may be begun more than once, and is paid once
            rows = attempts.read(database, [search.name])
            assert [sum(row.epochs for row in rows), any(row.live for row in rows)] == [2, False]
        else:
            check_ledger(study, trainer)
            assert set(trainer.trained().values()) == {1}
        trainer.log.unlink()
        return snapshot(study, search), writes, causes

    return run


@pytest.mark.slow
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_death_after_any_write_changes_nothing(
    sqlite_database: Any, life: Any, scenario: str
) -> None:
    undisturbed, writes, _ = life(sqlite_database, scenario, ())
    assert writes > 8
    for death in range(1, writes + 1):
        found, _, causes = life(sqlite_database, scenario, (death,))
        assert found == undisturbed, f"killed after write {death}, {causes}"


@pytest.mark.slow
@pytest.mark.parametrize("database", ["postgres"], indirect=True)
def test_death_after_any_write_changes_nothing_on_postgres(database: Any, life: Any) -> None:
    undisturbed, writes, _ = life(database, "paused", ())
    for death in range(1, writes + 1, 3):
        found, _, causes = life(database, "paused", (death,))
        assert found == undisturbed, f"killed after write {death}, {causes}"


@pytest.mark.slow
def test_death_after_death_changes_nothing(sqlite_database: Any, life: Any) -> None:
    undisturbed, writes, _ = life(sqlite_database, "complete", ())
    for first in range(3, writes - 1, 2):
        for second in (2, 3, 4):
            found, _, causes = life(sqlite_database, "complete", (first, second))
            assert found == undisturbed, f"killed after writes {first} and {second}, {causes}"
