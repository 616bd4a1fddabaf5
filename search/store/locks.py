"""Named locks between processes: a lock file beside SQLite, advisory locks on Postgres."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from tuneoff.lockfile import SAY_SECONDS, StillLocked, Wait, locked
from tuneoff.retry import Patience
from tuneoff.search.errors import StorageError, StorageOutage
from tuneoff.search.store import outages
from tuneoff.search.store.dialects import FROZEN_SECONDS, is_sqlite, lock_file, sqlite_file
from tuneoff.search.store.outages import FULL_ERRNOS
from tuneoff.search.store.sessions import pooled
from tuneoff.search.store.shown import shown

LEAST_PATIENCE = 60.0
"""Seconds that a lock is waited for by those, too, who wait for a lost database for less: an honest
holder may compute for a few seconds, and several may be first."""


class Locks:
    """The locks of one database. They do not nest.

    Whoever waits for one says so in the log after some seconds.
    """

    def __init__(
        self,
        engine: sa.Engine,
        patience: Patience | None = None,
        frozen_seconds: float = FROZEN_SECONDS,
    ) -> None:
        """
        Args:
            engine: whose writing transactions are checked while a lock is held.
            patience: with other holders, for at least ``LEAST_PATIENCE``.
            frozen_seconds: Postgres frees the lock of a holder that is silent for so long.
        """
        self.fence = Fence()
        self._engine, self._frozen_seconds = engine, frozen_seconds
        patience = patience or Patience(LEAST_PATIENCE)
        self._patience = replace(patience, seconds=max(patience.seconds, LEAST_PATIENCE))
        if is_sqlite(engine.url):
            self._identity = _identity(engine.url)
        else:
            sa.event.listen(engine, "before_cursor_execute", self.fence.look)
            sa.event.listen(engine, "commit", self.fence.check)

    @contextmanager
    def hold(self, name: str) -> Iterator[None]:
        """Hold the named lock, against every other process on this database.

        The lock is freed when its holder dies. On SQLite one lock file serves all names. Postgres
        frees it also when its holder is stopped, or cut off, for ``frozen_seconds``; whoever lost
        the lock in that way can commit nothing more under it: that is an outage.

        Raises:
            StorageOutage: another holder did not free it until patience was over.
            StorageError: the lock would not keep others out: see ``_acquire`` for Postgres. On
                SQLite the database's file is not the one that was opened.
        """
        if is_sqlite(self._engine.url):
            with _file_locked(self._engine.url, self._patience):
                if _identity(self._engine.url) != self._identity:
                    raise StorageError(
                        f"{shown(self._engine.url)}: the file was deleted or replaced while it was "
                        "in use; start again"
                    )
                yield
            return
        connection = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        values = {"name": f"tuneoff:{name}"}
        try:
            values["idle"] = self._acquire(connection, values["name"])
            try:
                yield
            finally:
                self.fence.session = 0
                try:
                    connection.execute(_RELEASE, values)
                except (*outages.OUTAGES, sa.exc.PendingRollbackError):
                    # Postgres frees a lock with the connection that held it.
                    connection.invalidate()
        finally:
            connection.close()

    def _acquire(self, connection: sa.Connection, name: str) -> str:
        """Take the lock for this connection's session, and give the fence its number.

        Returns:
            How long the session may be idle while it holds no lock, as the user has it.

        Raises:
            StorageError: consecutive statements reach different sessions, or a standby server.
        """
        url, values = self._engine.url, {"name": name}

        def wait(statement: sa.TextClause, **more: str) -> Any:
            what = f"the lock {name} of {shown(url)}"
            return _wait_in_server(
                connection, statement, values | more, self._patience, what, _HOLDER
            )

        try:
            held = wait(_ACQUIRE, idle=f"{round(self._frozen_seconds * 1000)}ms")
            session = wait(_PASS_GATE).session
            if held.session != session:
                raise StorageError(pooled(url))
            if held.standby:
                raise StorageError(
                    f"{shown(url)}: is a standby server, which can only be read; name the primary "
                    "server (among several hosts, target_session_attrs=read-write finds it)"
                )
        except BaseException:
            connection.invalidate()  # whatever part of it was had goes with the session
            raise
        self.fence.gate, self.fence.session = name, session
        return str(held.idle)


def _wait_in_server(
    connection: sa.Connection,
    statement: sa.TextClause,
    values: dict[str, str],
    patience: Patience,
    what: str,
    holder: sa.TextClause | None = None,
) -> Any:
    """The row of a statement that waits for an advisory lock, for ``SAY_SECONDS`` at a time.

    Waiting in the server keeps the one connection that a worker has anyway. Two hundred that ask
    again and again leave no time for the one that holds the lock.

    Args:
        values: of the statement's parameters but ``slice``, how long it waits.
        what: is waited for, for people.
        holder: asks who has it, with the same parameters.

    Raises:
        StorageOutage: patience was over.
    """

    def describe() -> str:
        row = None if holder is None else connection.execute(holder, values).first()
        if row is None:
            return what
        return f"{what}, which the session of process {row.pid}, from {row.host}, holds"

    wait = Wait(patience, describe)
    while True:
        try:
            return connection.execute(statement, values | {"slice": f"{SAY_SECONDS}s"}).one()
        except sa.exc.OperationalError as error:
            if getattr(error.orig, "sqlstate", None) != _LOCK_NOT_AVAILABLE:
                raise
        if wait.is_over():
            raise StorageOutage(_in_vain(wait.given_up()))


def _in_vain(error: StillLocked) -> str:
    return f"{error}; end that process, or start again when it is done"


@contextmanager
def _file_locked(url: sa.URL, patience: Patience) -> Iterator[None]:
    """Hold the lock file of an SQLite database (errors as ``Locks.hold``)."""
    file = lock_file(url)
    with ExitStack() as stack:
        try:
            stack.enter_context(locked(file, patience, shown(url)))
        except StillLocked as error:
            raise StorageOutage(_in_vain(error)) from None
        except OSError as error:
            if error.errno in FULL_ERRNOS:
                raise sa.exc.OperationalError("LOCK", {}, error) from None
            raise StorageError(
                f"{shown(url)}: its lock {file} cannot be written ({error.strerror}); give this "
                "user the right to write there"
            ) from None
        yield


def _identity(url: sa.URL) -> tuple[int, int] | None:
    """What makes an SQLite file the same file under any name; None if it is not there."""
    try:
        # Only its entry is read: whoever opens and closes the file frees SQLite's own locks on it.
        found = sqlite_file(url).stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


_LOCK_NOT_AVAILABLE = "55P03"
_ACQUIRE = sa.text(
    "SELECT pg_backend_pid() AS session, pg_is_in_recovery() AS standby,"
    " current_setting('idle_session_timeout') AS idle,"
    " set_config('lock_timeout', :slice, true),"
    " set_config('idle_session_timeout', :idle, false),"
    " pg_advisory_lock(hashtextextended(:name, 0))"
)
_PASS_GATE = sa.text(
    "SELECT pg_backend_pid() AS session, set_config('lock_timeout', :slice, true),"
    " pg_advisory_lock(key), pg_advisory_unlock(key) FROM hashtextextended(:name, 1) AS key"
)
_RELEASE = sa.text(
    "SELECT pg_advisory_unlock(hashtextextended(:name, 0)),"
    " set_config('idle_session_timeout', :idle, false)"
)
_HOLDER = sa.text(
    "SELECT pid, coalesce(host(client_addr), 'this machine') AS host"
    " FROM pg_locks JOIN pg_stat_activity USING (pid), hashtextextended(:name, 0) AS key"
    " WHERE locktype = 'advisory' AND mode = 'ExclusiveLock' AND granted AND objsubid = 1"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    " AND (classid::bigint << 32) | objid::bigint = key"
)


class Fence(threading.local):
    """Lets a thread that holds a lock on Postgres commit only while it still holds it.

    An advisory lock belongs to the session that took it. When that session ends, because its
    connection broke or was silent for too long, Postgres frees the lock and tells nobody: the
    holder could go on to write through its other connections while somebody else has the lock. Two
    steps keep that from happening:

    * Just before a holder commits, it asks Postgres whether its session still has the lock.
    * It asks this behind a second lock, the gate, which it takes shared and keeps until the commit
      is through. Whoever gets the first lock next takes the gate alone for a moment, and so waits
      until the commits that were found right before are through too.

    Attributes:
        session: the process number of the session that holds this thread's lock; 0 without one.
        gate: the name of the lock, which names its gate too.
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


# OFFSET keeps Postgres from merging the two steps: the gate must come before the question.
_STILL_HOLDS = sa.text(
    "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND pid = :session"
    " AND mode = 'ExclusiveLock' AND granted)"
    " FROM (SELECT pg_advisory_xact_lock_shared(hashtextextended(:gate, 1)) OFFSET 0) AS gate"
)


@contextmanager
def schema_lock(engine: sa.Engine, patience: Patience) -> Iterator[None]:
    """Be the only process that makes or changes the tables of this database.

    Raises:
        StorageOutage: another process did so until patience was over.
    """
    if is_sqlite(engine.url):
        with _file_locked(engine.url, patience):
            yield
        return
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        what = f"the lock of the tables of {shown(engine.url)}"
        _wait_in_server(connection, _ACQUIRE_SCHEMA, {}, patience, what)
        try:
            yield
        finally:
            connection.execute(sa.select(sa.func.pg_advisory_unlock(_SCHEMA_KEY)))


# The version before migrations had this number too: it and this one keep each other out.
_SCHEMA_KEY = 7_813_320_177
_ACQUIRE_SCHEMA = sa.text(
    f"SELECT set_config('lock_timeout', :slice, true), pg_advisory_lock({_SCHEMA_KEY})"
)
