"""One database for two schemas: URLs, versions, locks, the clock, and patience."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy as sa
from optuna.exceptions import StorageInternalError

from tuneoff.retry import Patience
from tuneoff.search.errors import StorageError, StorageOutage
from tuneoff.search.store import attempts, dialects
from tuneoff.search.store.attempts import Worker
from tuneoff.search.store.clock import db_now
from tuneoff.search.store.database import Database, open_database
from tuneoff.search.store.locks import Locks
from tuneoff.search.store.migrations import HEAD, VERSION_TABLE
from tuneoff.search.store.shown import shown
from tuneoff.search.study.study import Study
from tuneoff.testing.clock import FakeClock

SECRET = "hunter2"


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("", "cannot be read"),
        ("tuneoff.db", "cannot be read; write it as sqlite:///FILE"),
        (f"postgresql://me:{SECRET}@host:port/db", "cannot be read"),
        ("sqlite://", "in memory cannot be shared"),
        ("sqlite:///:memory:", "in memory cannot be shared"),
        (f"mysql://me:{SECRET}@host/db", "mysql databases are not supported"),
        ("sqlite:////nowhere/at/all/tuneoff.db", "no such file; run `tuneoff create`"),
        ("sqlite:///file:tuneoff.db?uri=true", "file: URLs are not supported"),
        (f"postgresql://me:{SECRET}@no.invalid/db", "check the address, the user"),
        (f"postgres://me:{SECRET}@no.invalid/db", "cannot be used"),
        (f"postgresql+psycopg2://me:{SECRET}@no.invalid/db", "cannot be used"),
        (f"postgresql://no.invalid/db?user=me&password={SECRET}", "cannot be used"),
        (f"postgresql://me:{SECRET}@127.0.0.1:1/db?connect_timeout=soon", "connect_timeout"),
        (f"postgresql://me:{SECRET}@127.0.0.1:1/db?speed=high", "speed"),
        (f"postgresql://me:p@ss-{SECRET}@host/db", "write one that belongs to the password as %40"),
        (f"postgresql://me:p@s/{SECRET}@host/db", "as %40"),
        (f"postgresql://me:p@host/db?user=me@{SECRET}", "as %40"),
        (f"postgresql://me@host/db?pasword={SECRET}", "did you mean 'password'?"),
        (f"postgresql://host/db?key={SECRET}", "Postgres knows no option 'key'"),
    ],
)
def test_a_bad_url_gets_one_line_without_the_password(url: str, message: str) -> None:
    with pytest.raises(StorageError) as caught:
        open_database(url)
    assert message in str(caught.value)
    assert SECRET not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_server_that_is_away_gets_one_line_without_the_password() -> None:
    with pytest.raises(StorageOutage) as caught:
        open_database(f"postgresql://me:{SECRET}@127.0.0.1:1/db", patience=0)
    assert "could not be reached for 0 s" in str(caught.value)
    assert "refused" in str(caught.value)
    assert SECRET not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_bad_place_gets_one_line(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"the folder .*/missing does not exist"):
        open_database(f"sqlite:///{tmp_path}/missing/tuneoff.db", create=True)
    with pytest.raises(StorageError, match=r"cannot be used .*; check the file"):
        open_database(f"sqlite:///{tmp_path}", create=True)
    text = tmp_path / "notes.txt"
    text.write_text("not a database\n" * 100)
    for create in (False, True):
        with pytest.raises(StorageError, match="file is not a database"):
            open_database(f"sqlite:///{text}", create=create)
    with pytest.raises(StorageError, match=r"cannot be used .*soon.*; check the file"):
        open_database(f"sqlite:///{tmp_path}/new.db?timeout=soon", create=True)


def test_a_file_whose_path_is_not_utf8_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    with pytest.raises(StorageError, match="is not UTF-8, so that it cannot stand in a URL"):
        open_database(f"sqlite:///{folder}/tuneoff.db", create=True)
    monkeypatch.chdir(folder)
    with pytest.raises(StorageError, match="name a file elsewhere with --storage"):
        open_database("sqlite:///tuneoff.db", create=True)
    assert not list(folder.iterdir())


def test_a_database_without_our_tables_is_not_touched(tmp_path: Path) -> None:
    file = tmp_path / "other.db"
    connection = sqlite3.connect(file)
    connection.execute("CREATE TABLE theirs (x INTEGER)")
    connection.close()
    before = file.read_bytes()
    with pytest.raises(StorageError, match="holds no tuneoff study; run `tuneoff create`"):
        open_database(f"sqlite:///{file}")
    assert file.read_bytes() == before


@pytest.mark.slow
def test_a_newer_version_is_refused(sqlite_url: str) -> None:
    open_database(sqlite_url, create=True).close()
    open_database(sqlite_url, create=True).close()  # again is a no-op
    open_database(sqlite_url).close()
    newer = f"{int(HEAD) + 1:04d}"
    engine = sa.create_engine(sqlite_url)
    with engine.begin() as connection:
        connection.exec_driver_sql(f"UPDATE {VERSION_TABLE} SET version_num = '{newer}'")
    for create in (False, True):
        with pytest.raises(StorageError, match=f"a newer tuneoff .schema {int(newer)}, this one"):
            open_database(sqlite_url, create=create)
    # So is an Optuna of another age, by whatever needs it.
    with engine.begin() as connection:
        connection.exec_driver_sql(f"UPDATE {VERSION_TABLE} SET version_num = '{HEAD}'")
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = 'v0.9.0.a'")
    for create in (False, True):
        database = open_database(sqlite_url, create=create)
        with pytest.raises(StorageError, match="cannot be used"):
            _ = database.optuna
        database.close()
    engine.dispose()


def test_the_password_is_never_shown(sqlite_database: Database) -> None:
    url = sa.make_url(f"postgresql://me:{SECRET}@host/db?password={SECRET}&sslmode=require")
    text = str(replace(sqlite_database, url=url))
    assert SECRET not in text
    assert text == "postgresql://me:***@host/db?sslmode=require"


def test_of_a_url_only_what_is_harmless_is_shown() -> None:
    secrets = ("pasword", "sslpassword", "oauth_client_secret", "anything")
    url = sa.make_url("postgresql://host/db?" + "&".join(f"{key}={SECRET}" for key in secrets))
    assert shown(url) == "postgresql://host/db"
    kept = "sqlite:///file.db?mode=ro&timeout=9"
    assert shown(sa.make_url(kept)) == kept


def test_an_at_sign_that_is_encoded_is_taken() -> None:
    url = dialects.parse_url("postgresql://me@corp:p%40ss@host/db")
    assert (url.username, url.password, url.host) == ("me@corp", "p@ss", "host")


def test_the_clock_is_the_databases(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    real = time.time()
    monkeypatch.setattr(time, "time", lambda: 0.0)
    with database.engine.connect() as connection:
        first, second = (connection.execute(sa.select(db_now())).scalar_one() for _ in range(2))
    assert abs(first - real) < 60
    assert first <= second


# Locks


@pytest.mark.slow
def test_the_lock_lets_in_one_at_a_time(database: Database, reopen: Any) -> None:
    inside: list[int] = []
    most: list[int] = []

    def enter(mine: Any) -> None:
        for _ in range(3):
            with mine.lock("search"):
                inside.append(1)
                most.append(len(inside))
                time.sleep(0.005)
                inside.pop()

    threads = [threading.Thread(target=enter, args=[reopen(database)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert most == [1] * 12


def test_the_lock_is_freed_when_what_it_guards_fails(database: Database, reopen: Any) -> None:
    with pytest.raises(KeyError), database.lock("search"):
        raise KeyError
    with reopen(database).lock("search"), pytest.raises(ZeroDivisionError):
        raise ZeroDivisionError


@pytest.mark.parametrize("database", ["postgres"], indirect=True)
def test_locks_of_other_names_do_not_wait_on_postgres(database: Database, reopen: Any) -> None:
    with database.lock("one"), reopen(database).lock("two"):
        pass


HOLD = """
import sys, time
from tuneoff.search.store.database import open_database
with open_database(sys.argv[1]).lock("search"):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.mark.slow
def test_the_lock_is_freed_when_its_holder_is_killed(database: Database) -> None:
    url = database.url.render_as_string(hide_password=False)
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, url],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).resolve().parents[3],
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    entered = threading.Event()

    def enter() -> None:
        with database.lock("search"):
            entered.set()

    thread = threading.Thread(target=enter)
    thread.start()
    assert not entered.wait(0.3)
    holder.kill()
    holder.wait()
    holder.stdout.close()
    assert entered.wait(20)
    thread.join()


# Sixteen at once


def _create(url: str, barrier: Any, results: Any) -> None:
    barrier.wait()
    try:
        database = open_database(url, create=True)
        database.optuna.get_all_studies()
        database.close()
        results.put("")
    except BaseException as error:
        results.put(repr(error))


@pytest.mark.slow
def test_sixteen_processes_may_create_at_once(storage_url: str) -> None:
    context = multiprocessing.get_context("fork")
    barrier, results = context.Barrier(16), context.Queue()
    workers = [
        context.Process(target=_create, args=[storage_url, barrier, results]) for _ in range(16)
    ]
    for worker in workers:
        worker.start()
    found = [results.get(timeout=120) for _ in workers]
    for worker in workers:
        worker.join(30)
    results.close()
    assert found == [""] * 16
    database = open_database(storage_url)
    with database.engine.connect() as connection:
        rows = connection.exec_driver_sql(f"SELECT version_num FROM {VERSION_TABLE}").all()
    assert rows == [(HEAD,)]
    database.close()


# Patience

OUTAGES = [
    sa.exc.OperationalError("SELECT 1", {}, Exception("server closed the connection\nin detail")),
    sa.exc.InterfaceError("SELECT 1", {}, Exception("connection already closed")),
    sa.exc.TimeoutError("QueuePool limit"),
    StorageInternalError("An exception is raised during the commit."),
]


@pytest.mark.slow
@pytest.mark.parametrize("error", OUTAGES)
def test_an_action_is_tried_again_until_it_succeeds(
    sqlite_database: Database, error: Exception
) -> None:
    left = [error] * 3

    def action() -> str:
        if left:
            raise left.pop()
        return "done"

    assert sqlite_database.patiently(action) == "done"


def patient(database: Database, clock: FakeClock, seconds: float) -> Any:
    """The database, with patience by that clock."""
    patience = Patience(seconds, clock=clock, sleep=clock.sleep, jitter=lambda: 1.0)
    return replace(database, patience=patience)


def test_patience_ends(sqlite_database: Database) -> None:
    clock = FakeClock()
    tries: list[float] = []

    def action() -> None:
        tries.append(clock())
        raise OUTAGES[0]

    with pytest.raises(StorageOutage) as caught:
        patient(sqlite_database, clock, 0.4).patiently(action)
    assert tries == pytest.approx([0.0, 0.05, 0.15, 0.35, 0.4])
    assert "could not be used for 0 s (server closed the connection)" in str(caught.value)
    assert "in detail" not in str(caught.value)
    assert "start again" in str(caught.value)


def test_the_time_within_a_try_counts(sqlite_database: Database) -> None:
    """A server that is cut off answers no try: each ends after the driver's own timeout."""
    clock = FakeClock()
    tries: list[float] = []

    def action() -> None:
        tries.append(clock())
        clock.now += 100.0
        raise OUTAGES[0]

    with pytest.raises(StorageOutage, match=r"could not be used for 6\d\d s"):
        patient(sqlite_database, clock, 600.0).patiently(action)
    assert len(tries) == 6
    assert 600 <= clock() < 720


@pytest.mark.parametrize(
    "error", [KeyError("x"), sa.exc.IntegrityError("INSERT", {}, Exception("twice"))]
)
def test_what_is_no_outage_passes_at_once(sqlite_database: Database, error: Exception) -> None:
    tries = []

    def action() -> None:
        tries.append(1)
        raise error

    with pytest.raises(type(error)):
        sqlite_database.patiently(action)
    assert len(tries) == 1


@pytest.mark.slow
def test_a_restart_of_postgres_is_waited_out(postgres_url: str, postgres_server: Any) -> None:
    database = open_database(postgres_url, create=True, patience=20)
    optuna.create_study(storage=database.optuna, study_name="there")
    thread = threading.Thread(target=lambda: postgres_server.restart(0.3, "immediate"))
    thread.start()
    while thread.is_alive():
        names = database.patiently(lambda: optuna.get_all_study_names(database.optuna))
        assert names == ["there"]
    with database.lock("after"):
        assert database.patiently(lambda: len(database.optuna.get_all_studies())) == 1
    database.close()


def test_signals_do_not_end_the_wait(sqlite_database: Database) -> None:
    heard: list[int] = []
    before = signal.signal(signal.SIGUSR2, lambda number, _: heard.append(number))
    left = [OUTAGES[0]] * 2

    def action() -> str:
        if left:
            os.kill(os.getpid(), signal.SIGUSR2)
            raise left.pop()
        return "done"

    assert sqlite_database.patiently(action) == "done"
    signal.signal(signal.SIGUSR2, before)
    assert len(heard) == 2


@pytest.mark.slow
@pytest.mark.parametrize("database", ["postgres"], indirect=True)
def test_whoever_lost_the_lock_commits_nothing(
    database: Database, postgres_server: Any, make_study: Callable[..., Study], me: Worker
) -> None:
    """Its session is gone, and with it the lock; its other connections live."""
    study = make_study(database)
    search, storage = study.arms[0], database.optuna
    number = storage.get_study_id_from_name(search.name)

    def insert() -> None:
        attempts.insert(database, me, search.name, 0, 0, 0, 3)

    def robbed(write: Callable[[], object]) -> None:
        with database.lock("x"):
            postgres_server.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_locks WHERE locktype = 'advisory'"
            )
            write()

    with pytest.raises(sa.exc.OperationalError, match="the lock went with the connection"):
        robbed(insert)
    with pytest.raises(StorageInternalError):
        robbed(lambda: storage.create_new_trial(number))
    assert attempts.read(database, [search.name]) == []
    assert study.trials(search) == ()
    with database.lock("x"):
        insert()
        storage.create_new_trial(number)
    assert len(attempts.read(database, [search.name])) == len(study.trials(search)) == 1


@pytest.mark.slow
@pytest.mark.parametrize("database", ["postgres"], indirect=True)
def test_a_lock_is_had_only_when_the_last_holders_commits_are_through(
    database: Database, postgres_server: Any, reopen: Any
) -> None:
    other = reopen(database)
    gone, got = threading.Event(), threading.Event()

    def follow() -> None:
        assert gone.wait(60)
        with other.lock("x"):
            got.set()

    thread = threading.Thread(target=follow)
    thread.start()
    with contextlib.suppress(sa.exc.OperationalError), database.lock("x"):
        with database.engine.connect() as committing:
            database.locks.fence.look(committing, None, "INSERT")
            database.locks.fence.check(committing)
            (holder,) = postgres_server.execute(
                "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND mode = 'ExclusiveLock'"
            )
            postgres_server.execute(f"SELECT pg_terminate_backend({holder[0]}, 5000)")
            gone.set()
            assert not got.wait(1)
            committing.rollback()
        assert got.wait(60)
    thread.join(60)


@pytest.mark.slow
@pytest.mark.parametrize("database", ["postgres"], indirect=True)
def test_a_holder_that_is_frozen_loses_the_lock(
    database: Database, make_study: Callable[..., Study], me: Worker, reopen: Any
) -> None:
    database = replace(database, locks=Locks(database.engine, frozen_seconds=1))
    search, other, got = make_study(database).arms[0], reopen(database), threading.Event()

    def follow() -> None:
        with other.lock("x"):
            got.set()

    def freeze() -> None:
        with database.lock("x"):
            thread.start()
            assert got.wait(60)  # nothing is heard of us meanwhile
            attempts.insert(database, me, search.name, 0, 0, 0, 3)

    thread = threading.Thread(target=follow)
    with pytest.raises(sa.exc.OperationalError, match="the lock went with the connection"):
        freeze()
    thread.join(60)
    assert attempts.read(database, [search.name]) == []
    with database.lock("x"):  # and it is none the worse for it
        attempts.insert(database, me, search.name, 0, 0, 0, 3)
    with database.engine.connect() as connection:
        query = sa.text("SHOW idle_session_timeout")
        assert connection.scalar(query) == "0"
