"""The first claim of a worker that comes to a search with a long past."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy as sa
from optuna.trial import TrialState

from tuneoff.search.policies.base import NewTrial
from tuneoff.search.store import attempts
from tuneoff.search.store.attempts import Worker
from tuneoff.search.store.database import Database
from tuneoff.search.store.locks import Locks
from tuneoff.search.study.opening import open_study
from tuneoff.search.study.study import Study
from tuneoff.search.study.trial_ref import add_trial
from tuneoff.search.work.claim import Claim, claim

EPOCHS = 3


def finish_some(study: Study, me: Worker, number: int) -> None:
    """Finished trials with an attempt each."""
    (search,) = study.arms
    for _ in range(number):
        made = add_trial(study, search, TrialState.RUNNING, NewTrial({"lr": 0.1}, EPOCHS))
        row = attempts.insert(study.database, me, search.name, made.number, 0, 0, EPOCHS)
        made.report(1, 0.5)
        made.tell(TrialState.COMPLETE, 0.5)
        attempts.close(study.database, row, "finished")


@pytest.mark.slow
def test_reads_the_past_without_the_lock(
    sqlite_database: Database,
    reopen: Callable[[Database], Database],
    make_study: Callable[..., Study],
    me: Worker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Others wait for the lock, on SQLite those of all searches; with 20,000 trials for seconds."""
    held = False
    rows = {True: 0, False: 0}

    class Cursor(sqlite3.Cursor):
        def fetchone(self) -> Any:
            row = super().fetchone()
            rows[held] += row is not None
            return row

        def fetchmany(self, *args: Any) -> Any:
            found = super().fetchmany(*args)
            rows[held] += len(found)
            return found

        def fetchall(self) -> Any:
            found = super().fetchall()
            rows[held] += len(found)
            return found

    class Connection(sqlite3.Connection):
        def cursor(self, *_: Any) -> Any:
            return super().cursor(Cursor)

    hold = Locks.hold

    @contextmanager
    def noticed(self: Locks, name: str) -> Iterator[None]:
        nonlocal held
        with hold(self, name):
            held = True
            yield
            held = False

    read = []
    for number in (3, 40):
        study = make_study(sqlite_database, budget={"epochs": 1000})
        finish_some(study, me, number)
        database = reopen(sqlite_database)

        @sa.event.listens_for(database.engine, "do_connect")
        def _(dialect: Any, record: Any, args: Any, options: dict[str, Any]) -> None:
            options["factory"] = Connection

        database.close()  # connections to come are counted
        newcomer = open_study(database, study.name, study.work)
        rows.update({True: 0, False: 0})
        with monkeypatch.context() as patch:
            patch.setattr(Locks, "hold", noticed)
            assert isinstance(claim(newcomer, newcomer.arms[0], me), Claim)
        read.append(dict(rows))
    assert read[0][True] == read[1][True]
    assert read[1][False] > read[0][False] + 37  # those were read, before
