"""What differs between SQLite and Postgres: URLs, connections, transactions, indexes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from tuneoff.search.errors import StorageError

DEFAULT_URL = "sqlite:///tuneoff.db"
FROZEN_SECONDS = 120
"""Postgres ends a session that holds a lock or a transaction and is silent for so long."""


def parse_url(url: str) -> sa.URL:
    """A storage URL with the driver that we use.

    Raises:
        StorageError: it cannot be read, or names a database that we do not support. The message
            holds no password.
    """
    try:
        parsed = sa.make_url(url)
        backend = parsed.get_backend_name()
    except (sa.exc.ArgumentError, ValueError):
        raise StorageError(
            "the storage URL cannot be read; write it as sqlite:///FILE or "
            "postgresql://USER:PASSWORD@HOST/DATABASE"
        ) from None
    if backend == "sqlite":
        if not parsed.database or parsed.database == ":memory:":
            raise StorageError("sqlite in memory cannot be shared; write sqlite:///FILE")
        return parsed.set(drivername="sqlite")
    if backend in ("postgresql", "postgres"):
        try:
            import psycopg  # noqa: F401
        except ImportError:
            raise StorageError(
                'Postgres needs its driver; install it with pip install "tuneoff[postgres]"'
            ) from None
        return parsed.set(drivername="postgresql+psycopg")
    raise StorageError(f"{backend} databases are not supported; use sqlite:/// or postgresql://")


def is_sqlite(url: sa.URL) -> bool:
    """True for SQLite, False for Postgres."""
    return url.get_backend_name() == "sqlite"


def sqlite_file(url: sa.URL) -> Path:
    """The file of an SQLite database."""
    return Path(url.database or "")


def is_yet_to_be_made(url: sa.URL) -> bool:
    """True for an SQLite file that is not there, in a folder that is."""
    file = sqlite_file(url)
    return is_sqlite(url) and not file.exists() and file.parent.is_dir()


def from_any_folder(url: sa.URL) -> sa.URL:
    """The same database, whatever folder a process runs in."""
    if is_sqlite(url) and url.database and not url.database.startswith("file:"):
        return url.set(database=str(sqlite_file(url).absolute()))
    return url


def lock_file(url: sa.URL) -> str:
    """The file beside an SQLite database that its processes lock."""
    return f"{url.database}.lock"


def shown(url: sa.URL) -> str:
    """The URL without its password, wherever that stands."""
    return url.difference_update_query(["password"]).render_as_string(hide_password=True)


def how_to_fix(url: sa.URL) -> str:
    """What to do about a database that cannot be used."""
    return "check the file" if is_sqlite(url) else "check the address, the user and that it runs"


def engine_options(url: sa.URL) -> dict[str, Any]:
    """Arguments of ``sqlalchemy.create_engine``."""
    if is_sqlite(url):
        return {"connect_args": {"timeout": 60}}
    return {
        "pool_size": 1,
        "max_overflow": 2,
        # Whoever is cut off is noticed on both sides within a minute or two, not in two hours;
        # and whoever is stopped within a transaction keeps nobody waiting for its rows.
        "connect_args": {
            "options": "-c timezone=UTC -c tcp_keepalives_idle=30 -c tcp_keepalives_interval=10"
            f" -c tcp_keepalives_count=3 -c idle_in_transaction_session_timeout={FROZEN_SECONDS}s",
            "connect_timeout": 10,
            "keepalives_idle": 30,
            "keepalives_interval": 10,
            "keepalives_count": 3,
            "tcp_user_timeout": 60_000,
        },
    }


@contextmanager
def whole_transaction(url: sa.URL) -> Iterator[sa.Connection]:
    """A transaction that keeps other writers out and in which changes of tables are undone too.

    Python's SQLite driver begins no transaction before a change of a table, unless it is told to
    leave transactions to us.
    """
    engine = sa.create_engine(url, **engine_options(url))
    if is_sqlite(url):

        @sa.event.listens_for(engine, "connect")
        def leave_transactions_to_us(connection: Any, _: Any) -> None:
            connection.isolation_level = None

        @sa.event.listens_for(engine, "begin")
        def begin(connection: sa.Connection) -> None:
            connection.exec_driver_sql("BEGIN IMMEDIATE")

    try:
        with engine.begin() as connection:
            yield connection
    finally:
        engine.dispose()


def partial_index(name: str, column: sa.Column[Any], where: sa.ColumnElement[bool]) -> sa.Index:
    """An index of the rows for which a condition holds."""
    return sa.Index(name, column, sqlite_where=where, postgresql_where=where)
