"""What differs between SQLite and Postgres: URLs, connections, transactions, indexes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from tuneoff.messages import how_to_install
from tuneoff.search.errors import StorageError
from tuneoff.search.store.shown import check_no_password_is_astray, shown

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
            "postgresql://USER@HOST/DATABASE"
        ) from None
    if backend == "sqlite":
        if not parsed.database or parsed.database == ":memory:":
            raise StorageError("sqlite in memory cannot be shared; write sqlite:///FILE")
        if parsed.database.startswith("file:"):
            raise StorageError("SQLite's own file: URLs are not supported; write sqlite:///FILE")
        _refuse_unless_utf8(Path(parsed.database).absolute())
        return parsed.set(drivername="sqlite")
    if backend in ("postgresql", "postgres"):
        try:
            import psycopg  # noqa: F401
        except ImportError:
            raise StorageError(
                f"Postgres needs its driver; install it: {how_to_install('postgres')}"
            ) from None
        check_no_password_is_astray(url, parsed)
        return parsed.set(drivername="postgresql+psycopg")
    raise StorageError(f"{backend} databases are not supported; use sqlite:/// or postgresql://")


def _refuse_unless_utf8(file: Path) -> None:
    """StorageError if a file's path cannot stand in the URL that workers are given."""
    try:
        str(file).encode()
    except UnicodeEncodeError:
        raise StorageError(
            f"the path {file} is not UTF-8, so that it cannot stand in a URL; "
            "name a file elsewhere with --storage"
        ) from None


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
    if is_sqlite(url):
        return url.set(database=str(sqlite_file(url).absolute()))
    return url


def lock_file(url: sa.URL) -> Path:
    """The file beside an SQLite database that its processes lock.

    It is the same for every path that leads to the database: through symbolic links, relative or
    absolute, and through every mount of its folder. ``check_one_name`` refuses other ways.
    """
    file = sqlite_file(url).resolve()
    return file.with_name(f"{file.name}.lock")


def check_one_name(url: sa.URL) -> None:
    """Make sure that nobody can use an SQLite file by a name in another folder.

    SQLite keeps changes that are not in the file yet in others beside it, as our lock is. Under a
    hard link, or where the file is mounted without its folder, these are other files: two
    processes would not see each other, and ruin the database.

    Raises:
        StorageError: they could.
    """
    file = sqlite_file(url).resolve()
    links = file.stat().st_nlink if file.is_file() else 1
    if links > 1:
        raise StorageError(
            f"{shown(url)}: the file has {links} names (hard links), and SQLite may be used by one "
            "alone; delete the others, or make copies of them"
        )
    if _is_mounted_alone(file):
        raise StorageError(
            f"{shown(url)}: the file is mounted without its folder, where SQLite keeps what is not "
            "in the file yet; mount the folder"
        )


def _is_mounted_alone(file: Path) -> bool:
    try:
        mounts = Path("/proc/self/mountinfo").read_bytes().splitlines()
    except OSError:
        return False
    escaped = bytes(file)
    for character in b"\\ \t\n":  # the backslash first: it begins what stands for the others
        escaped = escaped.replace(bytes([character]), b"\\%03o" % character)
    return any(mount.split()[4] == escaped for mount in mounts)


def how_to_fix(url: sa.URL) -> str:
    """What to do about a database that cannot be used."""
    if is_sqlite(url):
        return "check the file, and that you may write to it and to its folder"
    return "check the address, the user and that it runs"


_SETTINGS = {
    "tcp_keepalives_idle": "30",
    "tcp_keepalives_interval": "10",
    "tcp_keepalives_count": "3",
    "idle_in_transaction_session_timeout": f"{FROZEN_SECONDS}s",
}
"""Of a session on Postgres, where neither the user nor the role nor the database has others.

Whoever is cut off is noticed on the server within a minute or two, not in two hours; and whoever
is stopped within a transaction keeps nobody waiting for its rows."""
_CLIENT_SETTINGS = {
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}
"""The same for the client's side, in the words of libpq."""


def connect(url: sa.URL) -> sa.Engine:
    """An engine with our settings; nothing is asked of the database yet."""
    engine = sa.create_engine(url, **engine_options(url))
    set_up(engine)
    return engine


def engine_options(url: sa.URL) -> dict[str, Any]:
    """Arguments of ``sqlalchemy.create_engine``; the URL's own settings go before ours."""
    if is_sqlite(url):
        return {"connect_args": {} if "timeout" in url.query else {"timeout": 60}}
    theirs = {*url.query, *_from_environment()}
    ours = {name: value for name, value in _CLIENT_SETTINGS.items() if name not in theirs}
    return {"pool_size": 1, "max_overflow": 2, "connect_args": ours}


def _from_environment() -> set[str]:
    """What variables such as PGCONNECT_TIMEOUT, or the service that PGSERVICE names, say."""
    from psycopg import pq

    defaults = pq.Conninfo.get_defaults()
    return {d.keyword.decode() for d in defaults if d.val is not None and d.val != d.compiled}


def set_up(engine: sa.Engine) -> None:
    """Have each new connection of an engine to Postgres begin with our settings.

    They are no part of the connection's ``options``, which are the user's.
    """
    if not is_sqlite(engine.url):
        sa.event.listen(engine, "connect", _begin_session)


def _begin_session(connection: Any, _: Any) -> None:
    before, connection.autocommit = connection.autocommit, True
    connection.execute(_SET)
    connection.autocommit = before


# Time zones are no matter of taste: stored times are in UTC.
_SET = (
    "SELECT set_config('TimeZone', 'UTC', false), (SELECT count(set_config(name, ours, false))"
    f" FROM (VALUES {', '.join(f'({n!r}, {v!r})' for n, v in _SETTINGS.items())}) AS t (name, ours)"
    " JOIN pg_settings USING (name)"
    " WHERE source NOT IN ('client', 'user', 'database', 'database user', 'global'))"
)


@contextmanager
def whole_transaction(url: sa.URL) -> Iterator[sa.Connection]:
    """A transaction that keeps other writers out and in which changes of tables are undone too.

    Python's SQLite driver begins no transaction before a change of a table, unless it is told to
    leave transactions to us.
    """
    engine = connect(url)
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
