"""A budget in seconds: what is begun, what is stopped, what counts, and what the ledger has."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from threading import Thread
from typing import Any

import pytest
from optuna.trial import TrialState

from tuneoff.search.results.read import read_results
from tuneoff.search.results.status import read_status
from tuneoff.search.store import attempts
from tuneoff.search.store.attempts import Attempt, Worker
from tuneoff.search.store.database import Database
from tuneoff.search.study.selection import recommend
from tuneoff.search.study.snapshot import Snapshot
from tuneoff.search.study.state import history, read_state
from tuneoff.search.study.study import Study
from tuneoff.search.work.claim import Claim, Nothing, claim
from tuneoff.search.work.done import is_searched
from tuneoff.search.work.manual import enqueue_by_hand
from tuneoff.search.work.worker import work

MakeStudy = Callable[..., Study]
HALF = 0.5
"""Seconds of each epoch here; a full run has three."""
TIME = {"epochs": None, "seconds": 4.2}
"""Two full runs, and half a second of the second epoch of a third one."""


def never() -> bool:
    return False


def rows(study: Study) -> list[Attempt]:
    return attempts.read(study.database, [study.arms[0].name])


@pytest.mark.slow
def test_a_run_that_would_end_after_the_budget_does_not_count(
    database: Database, make_study: MakeStudy, make_trainer: Any, me: Worker
) -> None:
    study = make_study(database, budget=TIME)
    (search,) = study.arms
    assert not work(study, study.arms, make_trainer(), me, never).stopped
    one, two, last = study.trials(search)
    assert [one.state, two.state, last.state] == [TrialState.COMPLETE] * 2 + [TrialState.PRUNED]
    # The epoch in which the time ran out is paid for, and is not known of the run.
    assert sorted(last.intermediate_values) == [1, 2]
    assert [(row.epochs, row.seconds, row.end) for row in rows(study)] == [
        (3, 1.5, "finished"),
        (3, 1.5, "finished"),
        (3, 1.5, "pruned"),
    ]
    assert rows(study)[-1].reason == "the budget of 4.2 s ran out in epoch 3"
    assert is_searched(study)
    assert claim(study, search, me) is Nothing.DONE
    assert recommend(study.trials(search)) in (one, two)


@pytest.mark.slow
def test_it_is_shown_in_both_currencies(
    sqlite_database: Database, make_study: MakeStudy, make_trainer: Any, me: Worker
) -> None:
    study = make_study(sqlite_database, budget=TIME)
    (arm,) = read_status(study).arms
    assert (arm.spent, arm.seconds, arm.budget_seconds) == (0, 0.0, 4.2)
    assert (arm.budget, arm.about) == (3, True)  # at least a full run
    work(study, study.arms, make_trainer(), me, never)
    status, results = read_status(study), read_results(Snapshot.of(study))
    (arm,), (run,) = status.arms, results.runs
    assert (arm.spent, arm.budget, arm.seconds, arm.about) == (9, 9, 4.5, False)
    assert not status.overruns
    assert results.budget_seconds == 4.2
    assert (run.spent, run.budget, run.seconds) == (9, 9, 4.5)
    assert [step.seconds for step in run.steps] == [1.5, 3.0, 4.5]


@pytest.mark.slow
def test_what_is_left_is_about_what_it_will_be(
    sqlite_database: Database, make_study: MakeStudy, make_trainer: Any, me: Worker
) -> None:
    study = make_study(sqlite_database, budget=TIME | {"seconds": 10.0})
    (search,) = study.arms

    def left() -> int:
        return history(study, search, read_state(study, search)).remaining

    assert left() == 3
    trainer = make_trainer(during=lambda folder, epoch: seen.append(left()))
    seen: list[int] = []
    work(study, study.arms, trainer, me, never)
    # 20 epochs in all; those that the run at work will train are claimed.
    assert seen[3] == 20 - 3 - 3
    assert min(seen[:-2]) == 3
    assert left() == 0


@pytest.mark.slow
def test_what_a_lost_worker_leaves_is_gone_on_with_only_in_time(
    database: Database, make_study: MakeStudy, make_trainer: Any, me: Worker, age: Any
) -> None:
    study = make_study(database, budget=TIME | {"seconds": 3.0})
    (search,) = study.arms
    mine = claim(study, search, me)
    assert isinstance(mine, Claim)
    attempts.progress(database, mine.attempt, 2, 2.0)
    age(database, mine.attempt, 1e6)
    other = claim(study, search, replace(me, name="other"))
    assert isinstance(other, Claim)  # there is a second left
    assert other.attempt.trial == mine.attempt.trial
    attempts.progress(database, other.attempt, 1, 1.0)
    age(database, other.attempt, 1e6)
    assert claim(study, search, me) is Nothing.DONE
    (trial,) = study.trials(search)
    assert trial.state == TrialState.PRUNED
    assert [(row.end, row.epochs, row.seconds) for row in rows(study)] == [
        ("lost", 2, 2.0),
        ("lost", 1, 1.0),
    ]


@pytest.mark.slow
def test_epochs_that_only_a_checkpoint_has_are_entered_with_their_seconds(
    database: Database, make_study: MakeStudy, make_trainer: Any, me: Worker, age: Any
) -> None:
    """A worker dies between its checkpoint and its entry in the ledger."""

    class Killed(BaseException):
        pass

    def die(point: str) -> None:
        if point == "checkpoint written" and len(rows(study)) == 1 and rows(study)[0].epochs == 1:
            raise Killed

    study = make_study(database, budget=TIME)
    with pytest.raises(Killed):
        work(study, study.arms, make_trainer(step=die), me, never)
    (first,) = rows(study)
    assert (first.epochs, first.seconds) == (1, 0.5)
    age(database, first, 1e6)
    work(study, study.arms, make_trainer(), replace(me, name="other"), never)
    first, second, *_ = rows(study)
    assert (first.epochs, first.seconds, first.end) == (2, 1.0, "lost")
    assert (second.from_epoch, second.epochs, second.seconds) == (2, 1, 0.5)
    assert all(row.seconds == HALF * row.epochs for row in rows(study))


@pytest.mark.slow
def test_runs_that_diverge_cost_time(
    sqlite_database: Database, make_study: MakeStudy, make_trainer: Any, me: Worker
) -> None:
    study = make_study(sqlite_database, budget=TIME)
    trainer = make_trainer(diverges=lambda params, epoch: True)
    work(study, study.arms, trainer, me, never)
    assert [(row.epochs, row.seconds) for row in rows(study)] == [(1, HALF)] * 9


@pytest.mark.slow
def test_several_workers_end_within_an_epoch_each_of_the_budget(
    sqlite_database: Database, make_study: MakeStudy, make_trainer: Any, me: Worker, reopen: Any
) -> None:
    study = make_study(sqlite_database, budget=TIME | {"seconds": 10.0})

    def one(number: int) -> None:
        other = replace(study, database=reopen(sqlite_database))
        work(other, other.arms, make_trainer(), replace(me, name=f"w{number}"), never)

    threads = [Thread(target=one, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    spent = sum(row.seconds for row in rows(study))
    assert 10 <= spent <= 10 + 3 * HALF
    assert sum(row.epochs for row in rows(study)) == spent / HALF
    assert not any(row.live for row in rows(study))
    assert all(trial.state.is_finished() for trial in study.trials(study.arms[0]))


@pytest.mark.slow
@pytest.mark.parametrize(
    "arm",
    [
        {"sampler": "tpe", "pruner": "median"},
        {"sampler": "random", "pruner": "hyperband"},
        {"sampler": "one-at-a-time"},
        {"sampler": "curve-gp"},
    ],
    ids=lambda arm: arm["sampler"],
)
def test_every_way_of_searching_ends(
    sqlite_database: Database, make_study: MakeStudy, make_trainer: Any, me: Worker, arm: Any
) -> None:
    study = make_study(sqlite_database, trial={"epochs": 4}, budget=TIME | {"seconds": 9.2},
                       arms={"arm": arm})  # fmt: skip
    work(study, study.arms, make_trainer(), me, never)
    spent = sum(row.seconds for row in rows(study))
    assert 9.2 <= spent <= 9.2 + HALF
    assert all(trial.state.is_finished() for trial in study.trials(study.arms[0]))


@pytest.mark.slow
def test_a_run_by_hand_fits_as_long_as_there_is_time(
    sqlite_database: Database, make_study: MakeStudy, make_trainer: Any, me: Worker
) -> None:
    hand = {"hand": {"configs": [{"lr": 0.1}]}}
    study = make_study(sqlite_database, budget=TIME, arms=hand)
    for _ in range(2):
        enqueue_by_hand(study, {"lr": 0.2}, None, None, None)
    work(study, study.arms, make_trainer(), me, never)
    assert len(study.trials(study.arms[0])) == 3
