"""Is a connection to Postgres one session? Our locks belong to sessions."""

from __future__ import annotations

import sqlalchemy as sa

from tuneoff.search.errors import StorageError
from tuneoff.search.store.dialects import engine_options, is_sqlite
from tuneoff.search.store.shown import shown

_SESSION = sa.text("SELECT pg_backend_pid()")


def check_sessions(url: sa.URL) -> None:
    """Make sure that all statements of a connection reach one session, and no other connection's.

    A pooler such as Pgbouncer may hand each transaction to another session of the server. Then a
    lock is left behind with the session that took it, where nobody can free it any more.

    Raises:
        StorageError: a pooler does so.
        sqlalchemy.exc.DBAPIError: the database is out of reach, or refuses.
    """
    if is_sqlite(url):
        return
    # Without settings of ours, which would stay with the session that a pooler lends us.
    engine = sa.create_engine(url, **engine_options(url))
    try:
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as one:
            first = one.scalar(_SESSION)
            # What the server said when the connection was made; a pooler says a number of its own.
            if first == one.connection.driver_connection.info.backend_pid:  # type: ignore[union-attr]
                return
            with engine.connect() as other:
                # A transaction keeps a session to itself, so that ours must be another one.
                if other.scalar(_SESSION) == first or one.scalar(_SESSION) != first:
                    raise StorageError(pooled(url))
    finally:
        engine.dispose()


def pooled(url: sa.URL) -> str:
    """What to say of a connection whose statements reach more than one session."""
    return (
        f"{shown(url)}: a connection pooler hands each statement to another session, so that locks "
        "keep nobody out; connect to Postgres itself, or set pool_mode = session in Pgbouncer"
    )
