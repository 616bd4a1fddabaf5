"""The attempts table: who owns a trial, by the database's clock, and what it cost."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import psutil
import pytest
import sqlalchemy as sa

from tuneoff.search.errors import LeaseLost
from tuneoff.search.store import attempts, processes
from tuneoff.search.store.attempts import Attempt, Worker
from tuneoff.search.store.clock import db_now, db_started
from tuneoff.search.store.database import Database
from tuneoff.search.store.processes import process_is_gone

_numbers = itertools.count()


@pytest.fixture
def search() -> str:
    """A search that nobody has used."""
    return f"attempts/{next(_numbers)}"


def row(database: Database, search: str, number: int = 0) -> Attempt:
    return next(r for r in attempts.read(database, [search]) if r.number == number)


def test_what_is_inserted_is_read(database: Database, search: str, me: Worker) -> None:
    made = attempts.insert(database, me, search, 3, 0, 2, 9)
    found = row(database, search)
    assert replace(found, idle=0.0) == made
    assert (made.search, made.trial, made.number) == (search, 3, 0)
    assert (made.worker, made.process, made.device) == (me.name, me.process, "cpu")
    assert (made.from_epoch, made.until_epoch, made.epochs, made.seconds) == (2, 9, 0, 0.0)
    assert made.live
    assert made.started <= made.progressed
    assert made.ended is None
    assert 0 <= found.idle < 10
    assert attempts.read(database, ["another"]) == []
    assert attempts.read(database, []) == []


def test_to_insert_is_to_own(database: Database, search: str, me: Worker) -> None:
    attempts.insert(database, me, search, 0, 0, 0, 9)
    with pytest.raises(sa.exc.IntegrityError):
        attempts.insert(database, me, search, 0, 0, 0, 9)
    for trial, number in ((0, 1), (1, 0)):
        attempts.insert(database, me, search, trial, number, 0, 9)
    attempts.insert(database, me, f"{search}/other", 0, 0, 0, 9)
    assert len(attempts.read(database, [search])) == 3


@pytest.mark.slow
def test_one_of_many_inserts_wins(database: Database, search: str, me: Worker, reopen: Any) -> None:
    barrier = threading.Barrier(6)
    outcomes: list[str] = []

    def insert(mine: Any) -> None:
        barrier.wait()
        try:
            attempts.insert(mine, me, search, 0, 0, 0, 9)
            outcomes.append("owner")
        except sa.exc.IntegrityError:
            outcomes.append("refused")

    threads = [threading.Thread(target=insert, args=[reopen(database)]) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(outcomes) == ["owner"] + ["refused"] * 5


def test_progress_is_the_ledger(database: Database, search: str, me: Worker) -> None:
    first = attempts.insert(database, me, search, 0, 0, 0, 9)
    assert first.reserved == 9
    attempts.progress(database, first, 1, 2.5)
    attempts.progress(database, first, 2, 5.0)
    attempts.progress(database, first, 2, 5.0)  # said twice, entered once
    found = row(database, search)
    assert (found.epochs, found.seconds, found.reached, found.reserved) == (2, 5.0, 2, 7)
    attempts.close(database, first, "released", "asked to")
    closed = row(database, search)
    assert (closed.end, closed.reason, closed.live, closed.reserved) == (
        "released", "asked to", False, 0,
    )  # fmt: skip
    assert closed.ended is not None
    assert closed.ended >= closed.started
    second = attempts.insert(database, me, search, 0, 1, 2, 9)
    attempts.progress(database, second, 4, 9.0)
    rows = attempts.read(database, [search])
    assert attempts.spent(rows) == 6
    assert [r.reserved for r in rows] == [0, 3]


def test_totals_are_those_of_the_ledger(database: Database, search: str, me: Worker) -> None:
    other = f"{search}/other"
    assert attempts.totals(database, [search, other]) == {}
    for trial, epochs in ((0, 3), (1, 4)):
        made = attempts.insert(database, me, search, trial, 0, 0, 9)
        attempts.progress(database, made, epochs, 0.5)
    attempts.close(database, made, "paused")
    assert attempts.totals(database, [search, other]) == {search: attempts.Totals(2, 1, 7)}


def test_a_lost_lease_can_write_nothing(database: Database, search: str, me: Worker) -> None:
    mine = attempts.insert(database, me, search, 0, 0, 0, 9)
    attempts.progress(database, mine, 1, 1.0)
    attempts.close(database, mine, "lost", "no sign of life")
    theirs = attempts.insert(database, me, search, 0, 1, 1, 9)
    before = attempts.read(database, [search])
    writes: list[Callable[[], object]] = [
        lambda: attempts.progress(database, mine, 5, 5.0),
        lambda: attempts.touch(database, mine),
        lambda: attempts.diverged(database, mine, 5),
        lambda: attempts.resumed_from(database, mine, 3, None),
        lambda: attempts.resumed_from(database, mine, 3, theirs),
        lambda: attempts.close(database, mine, "finished"),
    ]
    for write in writes:
        with pytest.raises(LeaseLost, match="attempt 0 was taken over"):
            write()
    after = attempts.read(database, [search])
    assert [replace(r, idle=0.0) for r in after] == [replace(r, idle=0.0) for r in before]
    attempts.progress(database, theirs, 1, 1.0)


@pytest.mark.parametrize(
    ("entered", "resumed", "corrected"),
    [
        (1, 2, 2),  # killed after a checkpoint that is not in the ledger
        (2, 2, 2),  # killed between epochs
        (3, 1, 3),  # the checkpoint is gone: what was trained was trained
        (0, 0, 0),
    ],
)
def test_a_checkpoint_corrects_the_ledger(
    database: Database, search: str, me: Worker, entered: int, resumed: int, corrected: int
) -> None:
    first = attempts.insert(database, me, search, 0, 0, 0, 9)
    attempts.progress(database, first, entered, 1.0)
    attempts.close(database, first, "lost")
    before = row(database, search)
    second = attempts.insert(database, me, search, 0, 1, entered, 9)
    for _ in range(2):  # again is a no-op
        attempts.resumed_from(database, second, resumed, before)
        assert row(database, search, 0).epochs == corrected
        assert row(database, search, 1).from_epoch == resumed


def test_the_epoch_of_a_divergence_is_paid_for(database: Database, search: str, me: Worker) -> None:
    attempt = attempts.insert(database, me, search, 0, 0, 2, 9)
    attempts.progress(database, attempt, 1, 1.0)
    for _ in range(2):
        attempts.diverged(database, attempt, 4)
        assert row(database, search).epochs == 2


def test_a_long_reason_is_cut(database: Database, search: str, me: Worker) -> None:
    attempt = attempts.insert(database, me, search, 0, 0, 0, 9)
    attempts.close(database, attempt, "failed", "x" * 2000)
    assert row(database, search).reason == "x" * 500


def test_only_the_databases_clock_counts(
    database: Database, search: str, me: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: 0.0)
    monkeypatch.setenv("TZ", "Pacific/Auckland")
    monkeypatch.setenv("PGTZ", "Pacific/Auckland")
    attempt = attempts.insert(database, me, search, 0, 0, 0, 9)
    attempts.touch(database, attempt)
    found = row(database, search)
    assert abs(found.started - now) < 60
    assert found.started <= found.progressed
    assert 0 <= found.idle < 10


def test_silence_beyond_the_grace_period_is_stale(
    age: Any, database: Database, search: str, me: Worker
) -> None:
    attempt = attempts.insert(database, me, search, 0, 0, 0, 9)
    assert not row(database, search).is_stale(60)
    age(database, attempt, 61)
    assert row(database, search).is_stale(60)
    assert not row(database, search).is_stale(120)
    attempts.touch(database, attempt)
    assert not row(database, search).is_stale(60)
    age(database, attempt, 61)
    attempts.close(database, attempt, "finished")
    assert not row(database, search).is_stale(60)


# Processes


@pytest.mark.slow
def test_nobody_can_show_progress_while_the_database_is_down(
    age: Any,
    postgres_database: Any,
    postgres_server: Any,
    search: str,
    me: Worker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(attempts, "db_started", db_started)
    mine = attempts.insert(postgres_database, me, search, 0, 0, 0, 3)
    with postgres_database.engine.connect() as connection:
        up = connection.scalar(sa.select(db_now() - db_started()))
    age(postgres_database, mine, up + 1000)
    assert row(postgres_database, search).idle == pytest.approx(up, abs=10)
    postgres_database.close()
    postgres_server.restart()
    assert row(postgres_database, search).idle < up
    postgres_database.close()


def test_a_process_is_known_until_it_has_gone(me: Worker) -> None:
    assert not process_is_gone(me.process)
    sleeper = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    assert sleeper.stdin is not None
    machine = me.process.rsplit("/", 2)[0]
    process = f"{machine}/{sleeper.pid}/{processes._started(sleeper.pid)}"
    assert not process_is_gone(process)
    sleeper.stdin.close()
    os.waitid(os.P_PID, sleeper.pid, os.WEXITED | os.WNOWAIT)
    assert process_is_gone(process), "a zombie runs no more"
    sleeper.wait()
    assert process_is_gone(process)


def test_a_number_used_again_is_another_process(me: Worker) -> None:
    machine, pid, started = me.process.rsplit("/", 2)
    assert process_is_gone(f"{machine}/{pid}/{int(started) - 1}")


def test_processes_elsewhere_are_never_gone(me: Worker) -> None:
    _, pid, started = me.process.rsplit("/", 2)
    for machine in ("another-boot/pid:[1]", "x", ""):
        assert not process_is_gone(f"{machine}/{pid}/{int(started) - 1}")
    for unknown in ("", "/", "nonsense", "a/b"):
        assert not process_is_gone(unknown)


def test_setting_the_clock_kills_nobody(me: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    # The start of a process in seconds since 1970 moves with the machine's clock.
    boot = psutil.boot_time()
    monkeypatch.setattr("psutil._pslinux.boot_time", lambda: boot + 7)
    assert not process_is_gone(me.process)
    assert Worker.here("cpu").process == me.process


def test_a_command_with_brackets_and_blanks_is_no_riddle(tmp_path: Any, me: Worker) -> None:
    odd = tmp_path / "a) R (b 1 2"
    odd.symlink_to(sys.executable)
    sleeper = subprocess.Popen([odd, "-c", "input()"], stdin=subprocess.PIPE)
    started = processes._started(sleeper.pid)
    assert int(started) >= int(processes._started(os.getpid()))
    sleeper.kill()
    sleeper.communicate()


def test_where_the_system_does_not_tell_only_silence_counts(
    me: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "_machine", lambda: "")
    assert Worker.here("cpu").process == ""
    assert not process_is_gone(me.process)
