"""Named locks between processes: a lock file beside SQLite, advisory locks on Postgres."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import filelock
import sqlalchemy as sa

from tuneoff.search.store.dialects import FROZEN_SECONDS, is_sqlite, lock_file
from tuneoff.search.store.outages import OUTAGES


class Locks:
    """The locks of one database. They do not nest."""

    def __init__(self, engine: sa.Engine, frozen_seconds: float = FROZEN_SECONDS) -> None:
        """
        Args:
            engine: whose writing transactions are checked while a lock is held.
            frozen_seconds: Postgres frees the lock of a holder that is silent for so long.
        """
        self.fence = Fence()
        self._engine, self._frozen_seconds = engine, frozen_seconds
        if not is_sqlite(engine.url):
            sa.event.listen(engine, "before_cursor_execute", self.fence.look)
            sa.event.listen(engine, "commit", self.fence.check)

    @contextmanager
    def hold(self, name: str) -> Iterator[None]:
        """Hold the named lock, against every other process on this database.

        The lock is freed when its holder dies. On SQLite one lock file serves all names. Postgres
        frees it also when its holder is stopped, or cut off, for ``frozen_seconds``; whoever lost
        the lock in that way can commit nothing more under it: that is an outage.
        """
        if is_sqlite(self._engine.url):
            with filelock.FileLock(lock_file(self._engine.url)):
                yield
            return
        key = sa.func.hashtextextended(f"tuneoff:{name}", 0)
        connection = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        try:
            # Waiting in the server keeps the one connection that a worker has anyway. Two hundred
            # that ask again and again leave no time for the one that holds the lock.
            timeout = f"{round(self._frozen_seconds * 1000)}ms"
            alert = sa.func.set_config("idle_session_timeout", timeout, False)
            connection.execute(sa.select(alert, sa.func.pg_advisory_lock(key)))
            self.fence.gate = f"tuneoff:{name}"
            self.fence.session = connection.scalar(_WAIT_AT_GATE, {"gate": self.fence.gate})
            yield
        finally:
            self.fence.session = 0
            try:
                awake = sa.func.set_config("idle_session_timeout", "0", False)
                connection.execute(sa.select(sa.func.pg_advisory_unlock(key), awake))
            except (*OUTAGES, sa.exc.PendingRollbackError):
                # Postgres frees a lock with the connection that held it.
                connection.invalidate()
            connection.close()


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


_WAIT_AT_GATE = sa.text(
    "SELECT pg_backend_pid(), pg_advisory_lock(key), pg_advisory_unlock(key)"
    " FROM hashtextextended(:gate, 1) AS key"
)
# OFFSET keeps Postgres from merging the two steps: the gate must come before the question.
_STILL_HOLDS = sa.text(
    "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND pid = :session"
    " AND mode = 'ExclusiveLock' AND granted)"
    " FROM (SELECT pg_advisory_xact_lock_shared(hashtextextended(:gate, 1)) OFFSET 0) AS gate"
)


@contextmanager
def schema_lock(engine: sa.Engine) -> Iterator[None]:
    """Be the only process that makes or changes the tables of this database."""
    if is_sqlite(engine.url):
        with filelock.FileLock(lock_file(engine.url)):
            yield
        return
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sa.select(sa.func.pg_advisory_lock(_SCHEMA_KEY)))
        try:
            yield
        finally:
            connection.execute(sa.select(sa.func.pg_advisory_unlock(_SCHEMA_KEY)))


# The version before migrations had this number too: it and this one keep each other out.
_SCHEMA_KEY = 7_813_320_177
