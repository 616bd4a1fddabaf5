"""What it costs to show how a study goes, and what is shown."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field
from io import StringIO
from typing import Any

import pytest
import sqlalchemy as sa
from optuna.trial import TrialState

from tuneoff.search.cli.console import PlainConsole
from tuneoff.search.cli.following import LINE_SECONDS, POLL_SECONDS, SCREEN_SECONDS, follow
from tuneoff.search.policies.base import NewTrial
from tuneoff.search.results.progress import ArmProgress
from tuneoff.search.store import attempts
from tuneoff.search.store.attempts import Worker
from tuneoff.search.store.database import Database
from tuneoff.search.store.tables import attempts_table
from tuneoff.search.study.opening import open_repeats, open_study
from tuneoff.search.study.study import Study
from tuneoff.search.study.trial_ref import add_trial
from tuneoff.testing import FakeClock


@dataclass
class FakeWorkers:
    """Workers that are at work for so many polls, or until they are drained."""

    polls: int
    meanwhile: Callable[[int], None] = lambda poll: None
    drained: bool = False
    polled: int = 0
    lines: list[str] = field(default_factory=list)

    def __enter__(self) -> FakeWorkers:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def poll(self) -> bool:
        self.polled += 1
        self.meanwhile(self.polled)
        return self.polled <= self.polls and not self.drained

    def news(self) -> list[str]:
        lines, self.lines = self.lines, []
        return lines

    def drain(self) -> None:
        self.drained = True


@dataclass
class Counts:
    """What was asked of a database."""

    statements: int = 0
    rows: int = 0


def count(database: Database) -> Counts:
    """Count what is asked of an SQLite database from now on."""
    counts = Counts()

    class Cursor(sqlite3.Cursor):
        def execute(self, *args: Any) -> Any:
            counts.statements += 1
            return super().execute(*args)

        def fetchone(self) -> Any:
            row = super().fetchone()
            counts.rows += row is not None
            return row

        def fetchmany(self, *args: Any) -> Any:
            rows = super().fetchmany(*args)
            counts.rows += len(rows)
            return rows

        def fetchall(self) -> Any:
            rows = super().fetchall()
            counts.rows += len(rows)
            return rows

    class Connection(sqlite3.Connection):
        def cursor(self, *_: Any) -> Any:
            return super().cursor(Cursor)

    @sa.event.listens_for(database.engine, "do_connect")
    def _(dialect: Any, record: Any, args: Any, options: dict[str, Any]) -> None:
        options["factory"] = Connection

    database.close()  # those to come are counted
    return counts


def console_lines(text: str) -> list[str]:
    """As a console of eighty columns wraps it."""
    file = StringIO()
    PlainConsole(file=file, width=80).print(text)
    return file.getvalue().splitlines()


def add_ended_attempts(study: Study, search: int, me: Worker, number: int) -> None:
    """A finished trial that took so many attempts of one epoch each."""
    job = NewTrial({"lr": 0.1}, number)
    trial = add_trial(study, study.arms[search], TrialState.RUNNING, job)
    first = attempts.insert(study.database, me, study.arms[search].name, trial.number, 0, 0, 9)
    study.database.optuna.set_trial_state_values(
        study.trial_id(study.arms[search], trial.number), TrialState.COMPLETE, [0.25]
    )
    attempts.progress(study.database, first, 1, 0.5)
    attempts.close(study.database, first, "finished")
    with study.database.engine.begin() as connection:
        row = connection.execute(
            sa.select(attempts_table).where(attempts_table.c.token == first.token)
        ).one()
        others = [{**row._mapping, "number": i, "token": f"{i}"} for i in range(1, number)]
        if others:
            connection.execute(attempts_table.insert(), others)


@pytest.mark.slow
@pytest.mark.parametrize("terminal", [False, True])
def test_costs_the_same_however_many_attempts_have_ended(
    terminal: bool,
    sqlite_database: Database,
    reopen: Callable[[Database], Database],
    make_study: Callable[..., Study],
    me: Worker,
    never: Callable[[], bool],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Launchers once read every attempt of their study once a second."""
    monkeypatch.setattr("tuneoff.search.cli.following.console._force_terminal", terminal)
    costs = []
    for number in (3, 3000):
        study = make_study(sqlite_database, repeats=2)
        add_ended_attempts(study, 0, me, number)
        watched = open_study(reopen(sqlite_database), study.name, study.work)
        counts = count(watched.database)
        clock = FakeClock()
        follow(watched, FakeWorkers(polls=300), never, clock, clock.sleep)
        costs.append((counts.statements, counts.rows))
    assert costs[0] == costs[1]
    seconds = SCREEN_SECONDS if terminal else LINE_SECONDS
    readings = 300 * POLL_SECONDS / seconds
    # Each reading is a few queries in a transaction, with a few rows for each search that has any.
    assert costs[0][0] < 8 * readings + 60
    assert costs[0][1] < 8 * readings + 60


def test_lines_have_best_and_time_left_and_are_printed_only_if_something_changed(
    sqlite_database: Database,
    make_study: Callable[..., Study],
    me: Worker,
    never: Callable[[], bool],
    capsys: pytest.CaptureFixture[str],
) -> None:
    study = make_study(sqlite_database)

    def work(poll: int) -> None:
        if poll == 50:  # it took so long to start
            add_ended_attempts(study, 0, me, 3)
        if poll == 100:
            add_ended_attempts(study, 0, me, 1)

    clock = FakeClock()
    workers = FakeWorkers(polls=290, meanwhile=work, lines=["a worker died (signal 9)"])
    follow(study, workers, never, clock, clock.sleep)
    assert capsys.readouterr().out.splitlines() == [
        "a worker died (signal 9)",
        "epochs: random 0/9",
        *console_lines(
            f"{study.name}: workers are starting; the first epoch takes up to a minute. The answer"
            " comes when the only repeat is in: 9 more epochs."
        ),
        "epochs: random 3/9 (best error 25.00% ± 9.68)",
        "epochs: random 4/9 (best error 25.00% ± 9.68); about 5 min left",
    ]


def test_repeats_that_are_added_between_two_lines_are_told(
    sqlite_database: Database,
    make_study: Callable[..., Study],
    never: Callable[[], bool],
    capsys: pytest.CaptureFixture[str],
) -> None:
    study = make_study(sqlite_database, repeats=2, compare={"until": "decided", "max_repeats": 8})

    def work(poll: int) -> None:
        if poll in (10, 20):
            open_repeats(study, 2 + poll // 10)

    clock = FakeClock()
    polls = int(LINE_SECONDS / POLL_SECONDS) // 2
    follow(study, FakeWorkers(polls=polls, meanwhile=work), never, clock, clock.sleep)
    said = capsys.readouterr().out
    assert "not decided yet; 3 repeats are open" in said
    assert "not decided yet; 4 repeats are open" in said


def test_workers_are_drained_once_when_asked_to_stop(
    sqlite_database: Database, make_study: Callable[..., Study], capsys: pytest.CaptureFixture[str]
) -> None:
    clock = FakeClock()
    workers = FakeWorkers(polls=90)
    follow(make_study(sqlite_database), workers, lambda: clock.now > 10, clock, clock.sleep)
    assert workers.drained
    assert workers.polled < 20
    assert capsys.readouterr().out.count("Stopping: workers checkpoint and leave") == 1


def test_an_outage_of_the_database_keeps_nobody_from_looking_after_the_workers(
    sqlite_database: Database,
    make_study: Callable[..., Study],
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A launcher waited for the database for up to ten minutes, deaf to Ctrl-C."""

    def read(study: Study, promote: bool) -> list[ArmProgress]:
        raise sa.exc.OperationalError("SELECT", {}, Exception("the server went away"))

    clock = FakeClock()
    workers = FakeWorkers(polls=290)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tuneoff.search.cli.following.read_progress", read)
        follow(make_study(sqlite_database), workers, lambda: clock.now > 130, clock, clock.sleep)
    assert workers.drained
    assert workers.polled == 132
    assert [record.message for record in caplog.records] == [
        f"database {sqlite_database}: the server went away; trying again"
    ] * 3 + [f"database {sqlite_database}: the server went away; how it ended is not shown"]
