"""One database for Optuna's tables and ours: URLs, dialects, locks, the clock, and patience."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import filelock
import optuna
import sqlalchemy as sa
from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, RDBStorage
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from tuneoff.search.errors import StorageError, StorageOutage

log = logging.getLogger(__name__)

SCHEMA_VERSION = 2
DEFAULT_URL = "sqlite:///tuneoff.db"
PATIENCE_SECONDS = 600.0
FROZEN_SECONDS = 120  # without a word from who holds a lock or a transaction on Postgres
OUTAGES = (
    sa.exc.OperationalError,
    sa.exc.InterfaceError,
    sa.exc.TimeoutError,
    StorageInternalError,
)

metadata = sa.MetaData()
version_table = sa.Table(
    "tuneoff_schema",
    metadata,
    sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
)

T = TypeVar("T")


class db_now(FunctionElement[float]):
    """The database's clock, in seconds since 1970 UTC: the only clock that leases use."""

    type = sa.Float()
    inherit_cache = True


@compiles(db_now, "sqlite")  # type: ignore[no-untyped-call, untyped-decorator, unused-ignore]
def _sqlite_now(element: Any, compiler: Any, **kw: Any) -> str:
    return "((julianday('now') - 2440587.5) * 86400.0)"


@compiles(db_now, "postgresql")  # type: ignore[no-untyped-call, untyped-decorator, unused-ignore]
def _postgres_now(element: Any, compiler: Any, **kw: Any) -> str:
    return "EXTRACT(EPOCH FROM clock_timestamp())::double precision"


class db_started(FunctionElement[float]):
    """When the database came up, on its own clock; 0 on SQLite, which is never down."""

    type = sa.Float()
    inherit_cache = True


@compiles(db_started, "sqlite")  # type: ignore[no-untyped-call, untyped-decorator, unused-ignore]
def _sqlite_started(element: Any, compiler: Any, **kw: Any) -> str:
    return "0.0"


@compiles(db_started, "postgresql")  # type: ignore[no-untyped-call, untyped-decorator, unused-ignore]
def _postgres_started(element: Any, compiler: Any, **kw: Any) -> str:
    return "EXTRACT(EPOCH FROM pg_postmaster_start_time())::double precision"


class _Fence(threading.local):
    """Lets a thread that holds a lock on Postgres commit only while it does hold it.

    Postgres frees a lock with the session that held it, and nobody tells the holder, who would go
    on in sessions that still live. So each of its commits takes part in the lock's gate, shared,
    and then makes sure of the lock; whoever gets the lock next passes the gate alone, and so waits
    for the commits of those before.

    Attributes:
        session: the process number of the session that holds this thread's lock; 0 without one.
        gate: the name of the lock.
    """

    session = 0
    gate = ""
    _wrote = False

    def look(self, connection: sa.Connection, cursor: Any, statement: str, *_: Any) -> None:
        """To be called before each statement: a transaction that only reads needs no check."""
        self._wrote |= not statement.startswith("SELECT")

    def check(self, connection: sa.Connection) -> None:
        """To be called before each commit; an outage if the lock is gone."""
        wrote, self._wrote = self._wrote, False
        if not (self.session and wrote):
            return
        if not connection.scalar(_STILL_HOLDS, {"session": self.session, "gate": self.gate}):
            reason = Exception("the lock went with the connection that held it")
            raise sa.exc.OperationalError("COMMIT", {}, reason)


_PASS_ALONE = sa.text(
    "SELECT pg_backend_pid(), pg_advisory_lock(key), pg_advisory_unlock(key)"
    " FROM hashtextextended(:gate, 1) AS key"
)
# The gate comes first: OFFSET keeps it a step of its own.
_STILL_HOLDS = sa.text(
    "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND pid = :session"
    " AND mode = 'ExclusiveLock' AND granted)"
    " FROM (SELECT pg_advisory_xact_lock_shared(hashtextextended(:gate, 1)) OFFSET 0) AS gate"
)


@dataclass(frozen=True)
class Database:
    """An open database that holds both schemas.

    Attributes:
        url: with the password; never print it, print ``str(database)``.
        optuna: Optuna's storage on it, cached.
        engine: the connection pool that both share.
        patience: seconds for which ``patiently`` waits for a lost database.
    """

    url: sa.URL
    optuna: BaseStorage
    engine: sa.Engine
    patience: float
    _fence: _Fence = field(default_factory=_Fence, repr=False, compare=False)

    def __str__(self) -> str:
        return _shown(self.url)

    @contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """Hold the named lock, against every other process on this database.

        The lock is freed when its holder dies. On SQLite one lock file serves all names. On
        Postgres also when its holder is stopped, or cut off, for ``FROZEN_SECONDS``; and whoever
        lost the lock with its connection can commit nothing more under it: that is an outage.
        Locks do not nest.
        """
        if self.url.get_backend_name() == "sqlite":
            with filelock.FileLock(f"{self.url.database}.lock"):
                yield
            return
        key = sa.func.hashtextextended(f"tuneoff:{name}", 0)
        connection = self._autocommit()
        try:
            # Waiting in the server keeps the one connection that a worker has anyway. Two hundred
            # that ask again and again leave no time for the one that holds the lock.
            alert = sa.func.set_config("idle_session_timeout", f"{FROZEN_SECONDS}s", False)
            connection.execute(sa.select(alert, sa.func.pg_advisory_lock(key)))
            self._fence.gate = f"tuneoff:{name}"
            self._fence.session = connection.scalar(_PASS_ALONE, {"gate": self._fence.gate})
            yield
        finally:
            self._fence.session = 0
            try:
                awake = sa.func.set_config("idle_session_timeout", "0", False)
                connection.execute(sa.select(sa.func.pg_advisory_unlock(key), awake))
            except (*OUTAGES, sa.exc.PendingRollbackError):
                # Postgres frees a lock with the connection that held it.
                connection.invalidate()
            connection.close()

    def _autocommit(self) -> sa.Connection:
        return self.engine.connect().execution_options(isolation_level="AUTOCOMMIT")

    def patiently(self, action: Callable[[], T]) -> T:
        """Do something that may be done twice, again and again while the database is away.

        Raises:
            StorageOutage: it stayed away for longer than ``patience`` seconds.
        """
        waited, pause = 0.0, 0.05
        while True:
            try:
                return action()
            except OUTAGES as error:
                if waited >= self.patience:
                    raise StorageOutage(
                        f"the database {self} could not be reached for {waited:.0f} s "
                        f"({_reason(error)}); start the worker again when it is back"
                    ) from None
                log.warning("database %s: %s; trying again", self, _reason(error))
                time.sleep(pause * random.uniform(0.5, 1.5))
                waited += pause
                pause = min(pause * 2, 15.0)

    def close(self) -> None:
        """Give back every connection."""
        self.optuna.remove_session()
        self.engine.dispose()


def open_database(
    url: str, *, create: bool = False, patience: float = PATIENCE_SECONDS
) -> Database:
    """Open the database behind a URL, making both schemas first if asked to.

    Args:
        url: "sqlite:///FILE" or "postgresql://USER:PASSWORD@HOST/DATABASE".
        create: make what is missing; safe when many processes do so at once.
        patience: see Database.

    Raises:
        StorageError: a bad URL, a database out of reach, one without our tables, or one that
            another version of tuneoff wrote. The password is never part of the message.
    """
    parsed = _parse(url)
    shown = _shown(parsed)
    sqlite = parsed.get_backend_name() == "sqlite"
    if sqlite:
        file = Path(parsed.database or "")
        if not create and not file.exists():
            raise StorageError(f"{shown}: there is no such file; run `tuneoff create` first")
        if not file.parent.is_dir():
            raise StorageError(f"{shown}: the folder {file.parent} does not exist; make it first")
    try:
        if create:
            _make_schema(parsed)
        found = _schema_version(parsed)
    except (sa.exc.DBAPIError, StorageInternalError, RuntimeError) as error:
        raise StorageError(f"{shown}: cannot be used ({_reason(error)}); {_fix(sqlite)}") from None
    if found is None:
        raise StorageError(f"{shown}: holds no tuneoff study; run `tuneoff create` first")
    if found != SCHEMA_VERSION:
        age = "an older" if found < SCHEMA_VERSION else "a newer"
        raise StorageError(
            f"{shown}: was written by {age} tuneoff (schema {found}, this one has "
            f"{SCHEMA_VERSION}); use that version, or another database"
        )
    try:
        storage = RDBStorage(
            parsed.render_as_string(hide_password=False),
            engine_kwargs=_engine_options(parsed),
            skip_table_creation=True,
        )
    except (StorageInternalError, RuntimeError) as error:
        raise StorageError(f"{shown}: cannot be used ({_reason(error)}); {_fix(sqlite)}") from None
    fence = _Fence()
    if not sqlite:
        sa.event.listen(storage.engine, "before_cursor_execute", fence.look)
        sa.event.listen(storage.engine, "commit", fence.check)
    return Database(parsed, optuna.storages.get_storage(storage), storage.engine, patience, fence)


def _schema_version(url: sa.URL) -> int | None:
    """The version of our tables; None if they are not there. A database out of reach raises."""
    engine = sa.create_engine(url, **_engine_options(url))
    try:
        with engine.connect() as connection:
            if not sa.inspect(connection).has_table(version_table.name):
                return None
            return connection.scalar(sa.select(version_table.c.version))
    finally:
        engine.dispose()


def _parse(url: str) -> sa.URL:
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


def _shown(url: sa.URL) -> str:
    """The URL without its password, wherever that stands."""
    return url.difference_update_query(["password"]).render_as_string(hide_password=True)


def _engine_options(url: sa.URL) -> dict[str, Any]:
    if url.get_backend_name() == "sqlite":
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


def _make_schema(url: sa.URL) -> None:
    engine = sa.create_engine(url, **_engine_options(url))
    plain = url.render_as_string(hide_password=False)
    try:
        with engine.connect() as connection, _schema_lock(connection):
            if url.get_backend_name() == "sqlite":
                connection.exec_driver_sql("PRAGMA journal_mode=WAL")
            # Optuna creates its tables when a storage is made; on an empty database sixteen at
            # once crash (tests/contract), so only the holder of the lock does.
            RDBStorage(plain, engine_kwargs=_engine_options(url)).engine.dispose()
            with engine.begin() as writer:
                metadata.create_all(writer)
                for table in metadata.tables.values():
                    for index in table.indexes:
                        index.create(writer, checkfirst=True)  # it may be younger than its table
                if writer.scalar(sa.select(sa.func.count()).select_from(version_table)) == 0:
                    writer.execute(version_table.insert().values(version=SCHEMA_VERSION))
    finally:
        engine.dispose()


@contextmanager
def _schema_lock(connection: sa.Connection) -> Iterator[None]:
    if connection.dialect.name == "sqlite":
        with filelock.FileLock(f"{connection.engine.url.database}.lock"):
            yield
    else:
        connection = connection.execution_options(isolation_level="AUTOCOMMIT")
        connection.execute(sa.select(sa.func.pg_advisory_lock(7_813_320_177)))
        try:
            yield
        finally:
            connection.execute(sa.select(sa.func.pg_advisory_unlock(7_813_320_177)))


def _reason(error: BaseException) -> str:
    """The driver's own first line, which names no password."""
    root: BaseException = error
    while isinstance(root, StorageInternalError) and root.__cause__ is not None:
        root = root.__cause__
    text = str(getattr(root, "orig", None) or root).strip()
    return text.splitlines()[0] if text else type(root).__name__


def _fix(sqlite: bool) -> str:
    return "check the file" if sqlite else "check the address, the user and that it runs"
