"""The settings of a connection: the user's own, and ours where the user has none."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tuneoff.search.errors import StorageError
from tuneoff.search.store.database import Database, open_database
from tuneoff.search.store.dialects import engine_options, lock_file, parse_url

OURS = {
    "TimeZone": "UTC",
    "idle_in_transaction_session_timeout": "2min",
}


def settings_of(database: Database, *names: str) -> dict[str, str]:
    """What a new session of the database has."""
    with database.engine.connect() as connection:
        return {name: connection.scalar(sa.text(f"SHOW {name}")) for name in names}


def schemas_of(database: Database) -> set[str]:
    """Where its tables are."""
    query = "SELECT schemaname FROM pg_tables WHERE schemaname NOT LIKE 'pg_%' AND schemaname <> "
    with database.engine.connect() as connection:
        return set(connection.scalars(sa.text(query + "'information_schema'")))


@pytest.fixture
def opened() -> Iterator[Callable[[str | sa.URL], Database]]:
    """Opens a database, and makes its tables; it is closed after the test."""
    found: list[Database] = []

    def open_it(url: str | sa.URL) -> Database:
        text = url if isinstance(url, str) else url.render_as_string(hide_password=False)
        found.append(open_database(text, create=True, patience=5))
        return found[-1]

    yield open_it
    for database in found:
        database.close()


class TestPostgres:
    """Options of the URL, the environment, the role and the database."""

    @pytest.mark.slow
    def test_ours_without_others(self, opened: Any, postgres_url: str) -> None:
        assert settings_of(opened(postgres_url), *OURS) == OURS

    @pytest.mark.slow
    @pytest.mark.parametrize("place", ["url", "environment", "service", "role"])
    def test_tables_are_where_the_user_wants_them(
        self,
        place: str,
        opened: Any,
        postgres_url: str,
        postgres_server: Any,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """Our options replaced the user's, so that they were made in "public"."""
        url = sa.make_url(postgres_url)
        options = "-c search_path=team -c idle_in_transaction_session_timeout=7min"
        options += " -c TimeZone=Asia/Tokyo"
        with sa.create_engine(url).connect() as connection:
            connection.execute(sa.text("CREATE SCHEMA team"))
            connection.commit()
        connection.engine.dispose()
        if place == "url":
            url = url.update_query_dict({"options": options})
        elif place == "environment":
            monkeypatch.setenv("PGOPTIONS", options)
        elif place == "service":
            file = tmp_path / "services"
            file.write_text(f"[team]\noptions={options}\n")
            monkeypatch.setenv("PGSERVICEFILE", str(file))
            url = url.update_query_dict({"service": "team"})
        else:
            role = f"member_of_{url.database}"
            postgres_server.execute(f"CREATE ROLE {role} LOGIN SUPERUSER")
            postgres_server.execute(f"ALTER ROLE {role} SET search_path = team")
            postgres_server.execute(
                f"ALTER ROLE {role} SET idle_in_transaction_session_timeout = '7min'"
            )
            url = url.set(username=role)
        database = opened(url)
        assert schemas_of(database) == {"team"}
        assert settings_of(database, *OURS, "search_path") == {
            "TimeZone": "UTC",  # stored times are
            "idle_in_transaction_session_timeout": "7min",
            "search_path": "team",
        }

    @pytest.mark.slow
    def test_a_role_that_may_write_in_its_schema_alone_can_use_it(
        self, opened: Any, postgres_url: str, postgres_server: Any
    ) -> None:
        url = sa.make_url(postgres_url)
        role = f"guest_of_{url.database}"
        postgres_server.execute(f"CREATE ROLE {role} LOGIN")
        with sa.create_engine(url).connect() as connection:
            connection.execute(sa.text(f"CREATE SCHEMA theirs AUTHORIZATION {role}"))
            connection.commit()
        connection.engine.dispose()
        guest = url.set(username=role)
        with pytest.raises(StorageError, match="permission denied for schema public"):
            open_database(guest.render_as_string(), create=True)
        database = opened(guest.update_query_dict({"options": "-csearch_path=theirs"}))
        assert schemas_of(database) == {"theirs"}
        database.close()
        postgres_server.execute(f"DROP DATABASE {url.database} WITH (FORCE)")
        postgres_server.execute(f"DROP ROLE {role}")

    def test_timeouts_of_the_client(
        self, postgres_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        url = sa.make_url(postgres_url)
        ours = engine_options(url)["connect_args"]
        assert ours["connect_timeout"] == 10
        assert ours["keepalives_idle"] == 30
        theirs = {"connect_timeout": "3", "keepalives_idle": "5", "tcp_user_timeout": "100"}
        theirs |= {"keepalives_interval": "1", "keepalives_count": "2"}
        engine = sa.create_engine(url.update_query_dict(theirs), **engine_options(
            url.update_query_dict(theirs)
        ))  # fmt: skip
        with engine.connect() as connection:
            found = connection.connection.driver_connection
            assert found is not None
            assert theirs.items() <= found.info.get_parameters().items()
        engine.dispose()
        monkeypatch.setenv("PGCONNECT_TIMEOUT", "4")
        assert "connect_timeout" not in engine_options(url)["connect_args"]


@pytest.mark.slow
def test_the_timeout_of_sqlite(sqlite_url: str, opened: Any) -> None:
    for url, milliseconds in ((sqlite_url, 60_000), (f"{sqlite_url}?timeout=2", 2000)):
        with opened(url).engine.connect() as connection:
            assert connection.scalar(sa.text("PRAGMA busy_timeout")) == milliseconds


class TestNames:
    """Several names of one SQLite file: one lock, or a refusal."""

    def excludes(self, one: Database, other: Database) -> bool:
        """Does the lock of the one keep out the other?"""
        entered = threading.Event()

        def enter() -> None:
            with other.lock("x"):
                entered.set()

        thread = threading.Thread(target=enter)
        with one.lock("x"):
            thread.start()
            kept_out = not entered.wait(0.3)
        thread.join(30)
        assert entered.is_set()
        return kept_out

    @pytest.mark.slow
    def test_links_and_relative_paths_share_the_lock(
        self, opened: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Each name had a lock of its own, and a budget was overspent."""
        (tmp_path / "real").mkdir()
        (tmp_path / "folder").symlink_to(tmp_path / "real")
        (tmp_path / "link.db").symlink_to(tmp_path / "real" / "x.db")  # before there is a file
        first = opened(f"sqlite:///{tmp_path}/link.db")
        assert (tmp_path / "real" / "x.db").is_file()
        monkeypatch.chdir(tmp_path / "real")
        names = ["x.db", "../real/x.db", "../link.db", f"{tmp_path}/folder/x.db"]
        assert {lock_file(parse_url(f"sqlite:///{name}")) for name in names} == {
            tmp_path / "real" / "x.db.lock"
        }
        for name in names:
            assert self.excludes(first, opened(f"sqlite:///{name}")), name
        assert sorted(path.name for path in tmp_path.rglob("*.lock")) == ["x.db.lock"]

    @pytest.mark.slow
    def test_hard_links_are_refused(self, sqlite_url: str, opened: Any, tmp_path: Path) -> None:
        opened(sqlite_url)
        (tmp_path / "other.db").hardlink_to(tmp_path / "tuneoff.db")
        for url in (sqlite_url, f"sqlite:///{tmp_path}/other.db"):
            for create in (True, False):
                with pytest.raises(StorageError, match=r"2 names \(hard links\).*delete"):
                    open_database(url, create=create)
        (tmp_path / "other.db").unlink()
        opened(sqlite_url)

    @pytest.mark.slow
    def test_a_file_that_was_replaced_is_noticed(
        self, sqlite_url: str, opened: Any, tmp_path: Path
    ) -> None:
        database = opened(sqlite_url)
        (tmp_path / "tuneoff.db").rename(tmp_path / "old.db")

        def lock(database: Database) -> None:
            with database.lock("x"):
                pytest.fail("the lock of another file")

        with pytest.raises(StorageError, match="deleted or replaced while it was in use"):
            lock(database)
        again = opened(sqlite_url)  # a new, empty one
        with pytest.raises(StorageError, match="deleted or replaced while it was in use"):
            lock(database)
        with again.lock("x"):
            pass

    @pytest.mark.slow
    def test_a_lock_that_cannot_be_written(
        self, sqlite_url: str, opened: Any, tmp_path: Path
    ) -> None:
        database = opened(sqlite_url)
        (tmp_path / "tuneoff.db.lock").unlink()
        (tmp_path / "tuneoff.db.lock").mkdir()
        refusal = pytest.raises(StorageError, match=r"its lock .* cannot be written \(Is a dir")
        with refusal, database.lock("x"):
            pytest.fail("no lock")

    PROGRAM = """
import sys
from tuneoff.search.errors import UserError
from tuneoff.search.store.database import open_database
try:
    with open_database(sys.argv[1], create=True).lock("x"):
        print("held", flush=True)
        sys.stdin.read()
except UserError as error:
    print(error)
"""

    @pytest.mark.slow
    @pytest.mark.skipif(os.getuid() != 0, reason="only root may mount")
    def test_mounts(self, opened: Any, tmp_path: Path) -> None:
        """Two mounts of a folder share the lock; a file that is mounted alone is refused."""
        for name in ("real", "mount here", "elsewhere"):
            (tmp_path / name).mkdir()
        database = opened(f"sqlite:///{tmp_path}/real/x.db")
        mount = 'mount --bind "$1" "$2" || exit 77; shift 2; exec "$@"'
        python = [sys.executable, "-c", self.PROGRAM]

        def within(source: Path, target: Path, file: Path) -> subprocess.Popen[str]:
            return subprocess.Popen(
                ["unshare", "-m", "sh", "-c", mount, "sh", source, target, *python,
                 f"sqlite:///{file}"],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            )  # fmt: skip

        folder = tmp_path / "mount here"
        with within(tmp_path / "real", folder, folder / "x.db") as process:
            assert process.stdout is not None
            first = process.stdout.readline()
            if process.poll() == 77:
                pytest.skip("nothing can be mounted here")
            assert first == "held\n"
            entered = threading.Event()

            def enter() -> None:
                with database.lock("x"):
                    entered.set()

            thread = threading.Thread(target=enter)
            thread.start()
            assert not entered.wait(0.3)
            process.communicate("")
            assert entered.wait(30)
            thread.join()
        alone = tmp_path / "elsewhere" / "a file.db"
        alone.touch()
        with within(tmp_path / "real" / "x.db", alone, alone) as process:
            out, _ = process.communicate("", timeout=60)
        assert "mounted without its folder" in out
