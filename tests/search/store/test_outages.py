"""A database that is away when it is opened is waited for; one that refuses is refused at once."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa

from tuneoff.search.errors import StorageError, StorageOutage
from tuneoff.search.spec.file import StudySpec
from tuneoff.search.store.database import Database, open_database
from tuneoff.search.study.opening import create_study, open_study
from tuneoff.testing.curve_trainer import TEN_CLASSES


@pytest.fixture
def later() -> Iterator[Callable[[float, Callable[[], object]], None]]:
    """Does something after some seconds; the test waits for its end."""
    threads: list[threading.Thread] = []

    def start(seconds: float, action: Callable[[], object]) -> None:
        def run() -> None:
            time.sleep(seconds)
            action()

        threads.append(threading.Thread(target=run))
        threads[-1].start()

    yield start
    for thread in threads:
        thread.join(60)


@pytest.fixture
def guest(postgres_url: str, postgres_server: Any) -> Iterator[sa.URL]:
    """The URL of a role that owns an empty database, and is no superuser."""
    url = sa.make_url(postgres_url)
    role = f"owner_of_{url.database}"
    postgres_server.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'right'")
    postgres_server.execute(f"ALTER DATABASE {url.database} OWNER TO {role}")
    yield url.set(username=role)
    postgres_server.start()
    postgres_server.drop_database(url.database)
    postgres_server.execute(f"DROP ROLE {role}")


def opened(url: str | sa.URL, patience: float = 20) -> Database:
    text = url if isinstance(url, str) else url.render_as_string(hide_password=False)
    return open_database(text, create=True, patience=patience)


class TestWaitedFor:
    """Each was exit code 2, or a traceback, and ended a whole launch."""

    @pytest.mark.slow
    def test_a_server_that_is_not_there_yet(
        self, postgres_url: str, postgres_server: Any, later: Any, caplog: Any
    ) -> None:
        postgres_server.stop()
        with pytest.raises(StorageOutage, match="could not be reached"):
            opened(postgres_url, patience=0)
        later(1, postgres_server.start)
        opened(postgres_url).close()
        assert "waiting for database" in caplog.messages[0]
        assert len(caplog.messages) < 4  # not a line for each try

    @pytest.mark.slow
    def test_a_server_that_is_starting(
        self, postgres_url: str, postgres_server: Any, later: Any
    ) -> None:
        opened(postgres_url).close()
        postgres_server.stop("immediate")
        seen: list[str] = []
        later(0, postgres_server.start)  # it recovers from the crash
        while True:
            try:
                psycopg.connect(postgres_url.replace("+psycopg", "")).close()
                break
            except psycopg.OperationalError as error:
                seen.append(str(error))
        opened(postgres_url).close()
        assert seen

    @pytest.mark.slow
    def test_too_many_connections(self, guest: sa.URL, postgres_server: Any, later: Any) -> None:
        postgres_server.execute(f"ALTER ROLE {guest.username} CONNECTION LIMIT 0")
        with pytest.raises(StorageOutage, match="too many connections"):
            opened(guest, patience=0)
        free = f"ALTER ROLE {guest.username} CONNECTION LIMIT -1"
        later(1, lambda: postgres_server.execute(free))
        opened(guest).close()

    @pytest.mark.slow
    @pytest.mark.parametrize("fresh", [True, False])
    def test_sessions_that_are_ended(
        self, fresh: bool, postgres_url: str, postgres_server: Any, tmp_path: Path
    ) -> None:
        """At any moment between the first connection and the opened study."""
        values = {
            "name": "small",
            "data": {"name": "digits"},
            "trial": {"epochs": 3},
            "space": {"lr": {"low": 1e-4, "high": 1.0, "log": True}},
            "budget": {"epochs": 9},
            "arms": {"random": {"sampler": "random"}},
        }
        spec, left, url = StudySpec.parse(values, "test"), [0], postgres_url

        def end_all(*_: object) -> None:
            left[0] -= 1
            if left[0] == 0:
                postgres_server.execute(
                    "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                    f" WHERE datname = '{sa.make_url(url).database}'"
                )

        sa.event.listen(sa.Engine, "before_cursor_execute", end_all)
        try:
            for moment in range(1, 1000, 13 if fresh else 2):
                if fresh:
                    url = postgres_server.url(postgres_server.create_database())
                left[0] = moment
                database = opened(url)
                create_study(database, spec, TEN_CLASSES, tmp_path)
                assert open_study(database, "small", tmp_path).spec == spec
                database.close()
                if left[0] > 0:
                    break
            else:
                pytest.fail("there are more statements than that")
        finally:
            sa.event.remove(sa.Engine, "before_cursor_execute", end_all)
        assert moment > (100 if fresh else 20)

    @pytest.mark.slow
    def test_another_program_that_locks_sqlite(
        self, sqlite_url: str, make_study: Any, later: Any, tmp_path: Path
    ) -> None:
        database = opened(f"{sqlite_url}?timeout=0.1", patience=0)
        study = make_study(database)
        other = sqlite3.connect(tmp_path / "tuneoff.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageOutage, match=r"could not be used .*database is locked"):
            study.ledger.step(study.drain, True)
        patient = opened(f"{sqlite_url}?timeout=0.1")
        asked = threading.Event()
        later(1, asked.set)

        def drain() -> None:
            if asked.is_set() and other.in_transaction:
                other.execute("COMMIT")
            study.drain(True)

        patient.patiently(drain)
        assert study.is_draining()
        other.close()
        patient.close()
        database.close()

    @pytest.mark.slow
    def test_whoever_is_asked_to_leave_does(
        self, postgres_url: str, postgres_server: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("tuneoff.retry.LEAVING_SECONDS", 0.2)
        postgres_server.stop()
        with pytest.raises(StorageOutage, match="could not be reached for 0 s"):
            open_database(postgres_url, patience=600, stop=lambda: True)


class TestRefused:
    """No waiting would help."""

    @pytest.fixture
    def with_password(self, guest: sa.URL, postgres_server: Any) -> Iterator[sa.URL]:
        """A role that needs its password."""
        file = postgres_server.folder / "pg_hba.conf"
        before = file.read_text()
        file.write_text(f"local all {guest.username} scram-sha-256\n{before}")
        postgres_server.execute("SELECT pg_reload_conf()")
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            try:
                psycopg.connect(guest.set(drivername="postgresql").render_as_string()).close()
            except psycopg.OperationalError:
                break
        yield guest
        file.write_text(before)
        postgres_server.execute("SELECT pg_reload_conf()")

    @pytest.mark.slow
    def test_a_wrong_password(self, with_password: sa.URL) -> None:
        for password in ("wrong", None):
            with pytest.raises(StorageError, match=r"password.*check the address, the user"):
                opened(with_password.set(password=password))
        opened(with_password.set(password="right")).close()

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ({"username": "nobody_knows"}, 'role "nobody_knows" does not exist'),
            ({"database": "nowhere"}, 'database "nowhere" does not exist'),
            ({"query": {"host": "no.invalid"}}, "no.invalid"),
            ({"query": {"options": "-cno_such=1"}}, "no_such"),
        ],
    )
    def test_a_wrong_address(self, change: Any, words: str, postgres_url: str) -> None:
        url = sa.make_url(postgres_url)
        query = dict(url.query) | change.get("query", {})
        with pytest.raises(StorageError, match=words):
            opened(url.set(**{**change, "query": query}))

    @pytest.mark.slow
    def test_a_user_who_may_only_read(
        self, guest: sa.URL, postgres_url: str, postgres_server: Any, make_study: Any
    ) -> None:
        """It was a traceback, or was tried again for ten minutes."""
        owner = opened(postgres_url)
        study = make_study(owner)
        tables = "GRANT SELECT ON ALL TABLES IN SCHEMA public TO"
        with owner.engine.begin() as connection:
            connection.execute(sa.text(f"{tables} {guest.username}"))
        reader = opened(guest)
        again = open_study(reader, study.name, study.work)
        assert again.ledger.live([search.name for search in again.arms]) == []
        with pytest.raises(StorageError, match=r"permission denied for table .*; check"):
            again.ledger.step(again.drain, True)
        read_only = guest.update_query_dict({"options": "-cdefault_transaction_read_only=on"})
        strict = opened(read_only.set(username="postgres"))
        with pytest.raises(StorageError, match="read-only transaction"):
            open_study(strict, study.name, study.work).ledger.step(study_drain(strict, study))
        for database in (owner, reader, strict):
            database.close()

    @pytest.mark.slow
    def test_an_sqlite_file_that_may_only_be_read(self, sqlite_url: str, make_study: Any) -> None:
        database = opened(sqlite_url)
        study = make_study(database)
        with database.engine.connect() as connection:
            connection.execute(sa.text("PRAGMA query_only = 1"))
            connection.commit()
        with pytest.raises(StorageError, match=r"readonly database.*check the file"):
            study.ledger.step(study.drain, True)
        database.close()


def study_drain(database: Database, study: Any) -> Callable[[], None]:
    return lambda: open_study(database, study.name, study.work).drain(True)
