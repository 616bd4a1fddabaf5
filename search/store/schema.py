"""Which tables a database has, and how it gets those of this version."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import sqlalchemy as sa

from tuneoff.once import made_once
from tuneoff.retry import Patience
from tuneoff.search.errors import StorageError
from tuneoff.search.store import migrations, outages
from tuneoff.search.store.clock import db_now, db_started
from tuneoff.search.store.dialects import (
    connect,
    engine_options,
    is_sqlite,
    whole_transaction,
)
from tuneoff.search.store.locks import schema_lock
from tuneoff.search.store.outages import is_refusal, reason
from tuneoff.search.store.processes import process_is_gone
from tuneoff.search.store.shown import shown

log = logging.getLogger(__name__)

SCHEMA_VERSION = int(migrations.HEAD)
"""The version that this program reads and writes; revisions are numbered from 1."""
LOCK_SECONDS = 60
"""How long a migration waits on Postgres for readers of a table to be done."""
NAMED_WORKERS = 3
"""A message names no more workers than these."""

_revisions = sa.table(migrations.VERSION_TABLE, sa.column("version_num", sa.String))
_old_versions = sa.table("tuneoff_schema", sa.column("version", sa.Integer))


def bring_up_to_date(url: sa.URL, *, create: bool, patience: Patience) -> None:
    """Make sure that a database has the tables of this version.

    Safe when many processes do so at once; what one of them leaves when it is killed in the middle
    is as it was before, and the next one starts again.

    Args:
        create: make the tables if there are none.
        patience: with another process that makes or changes them.

    Raises:
        StorageOutage: another process did so until patience was over.
        StorageError: there are none and none are to be made; they are of a newer version; workers
            of an older version are at work on them; or they cannot be changed by this user.
        sqlalchemy.exc.DBAPIError, optuna.exceptions.StorageInternalError, RuntimeError: the
            database is out of reach, or Optuna's tables are of another version.
    """
    engine = connect(url)

    def find() -> int | None:
        found = _version(engine)
        if found is None and not create:
            raise StorageError(f"{shown(url)}: holds no tuneoff study; run `tuneoff create` first")
        if found is not None and found > SCHEMA_VERSION:
            raise StorageError(
                f"{shown(url)}: was written by a newer tuneoff (schema {found}, this one has "
                f"{SCHEMA_VERSION}); use that version, or another database"
            )
        return found if found == SCHEMA_VERSION else None

    def make() -> int:
        found = _version(engine)
        if found is None:
            _create(engine, url)
        else:
            _upgrade(url, found)
        return SCHEMA_VERSION

    try:
        made_once(find, make, schema_lock(engine, patience))
    finally:
        engine.dispose()


def _version(engine: sa.Engine) -> int | None:
    """The version of our tables; None if they are not there, or not whole."""
    with engine.connect() as connection:
        tables = sa.inspect(connection)
        if tables.has_table(migrations.VERSION_TABLE):
            found = connection.scalar(sa.select(_revisions.c.version_num))
            return None if found is None else int(found)
        # Before there were migrations, this table held the version.
        if tables.has_table(_old_versions.name):
            return connection.scalar(sa.select(_old_versions.c.version))
        return None


def _create(engine: sa.Engine, url: sa.URL) -> None:
    if is_sqlite(url):
        with engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA journal_mode=WAL")
    from optuna.storages import RDBStorage

    # Optuna creates its tables when a storage is made; on an empty database sixteen at once crash
    # (tests/contract), so only the holder of the lock does.
    plain = url.render_as_string(hide_password=False)
    options = {"connect_args": engine_options(url)["connect_args"], "poolclass": sa.pool.NullPool}
    RDBStorage(plain, engine_kwargs=options).engine.dispose()  # no pool: it may fail, and stay open
    with whole_transaction(url) as connection:
        _migrate(connection)


def _upgrade(url: sa.URL, found: int) -> None:
    try:
        with whole_transaction(url) as connection:
            if not is_sqlite(url):
                connection.execute(sa.text(f"SET LOCAL lock_timeout = '{LOCK_SECONDS}s'"))
                # No worker may begin an attempt between the look for live ones and the commit.
                connection.execute(sa.text("LOCK TABLE tuneoff_attempts"))
            grace = _longest_grace(connection)
            if workers := _live_workers(connection, grace):
                others = len(workers) - NAMED_WORKERS
                raise StorageError(
                    f"{shown(url)}: was written by an older tuneoff whose workers still run ("
                    f"{', '.join(workers[:NAMED_WORKERS])}{f' and {others} more' * (others > 0)}); "
                    f"stop them, or wait {grace:.0f} s if they are dead, then run this again to "
                    "upgrade the database"
                )
            _migrate(connection)
    except (sa.exc.DBAPIError, OSError) as error:
        if (
            isinstance(error, outages.OUTAGES)
            and not is_refusal(error)
            and not _is_lock_timeout(error)
        ):
            raise
        raise StorageError(
            f"{shown(url)}: was written by an older tuneoff (schema {found}, this one has "
            f"{SCHEMA_VERSION}) and could not be upgraded ({reason(error)}); run `tuneoff status` "
            "once as a user who may change its tables"
        ) from None
    log.warning("database %s: upgraded from schema %d to %d", shown(url), found, SCHEMA_VERSION)


def _is_lock_timeout(error: sa.exc.DBAPIError) -> bool:
    return getattr(error.orig, "sqlstate", None) == "55P03"


def _migrate(connection: sa.Connection) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _longest_grace(connection: sa.Connection) -> float:
    """The longest time, in seconds, for which any study lets an attempt show no progress."""
    specs = connection.scalars(sa.text("SELECT spec FROM tuneoff_studies"))
    return max((json.loads(spec)["workers"]["grace_seconds"] for spec in specs), default=0.0)


def _live_workers(connection: sa.Connection, grace: float) -> list[str]:
    """The names of workers that may go on with their attempts, whatever the schema's version.

    One whose process has ended on this machine is not among them, nor one that has shown no
    progress for ``grace`` seconds.
    """
    attempts = sa.table(
        "tuneoff_attempts", *map(sa.column, ("worker", "process", "progressed", "end"))
    )
    since = sa.case(
        (attempts.c.progressed < db_started(), db_started()), else_=attempts.c.progressed
    )
    rows = connection.execute(
        sa.select(attempts.c.worker, attempts.c.process)
        .where(attempts.c.end.is_(None), db_now() - since <= grace)
        .order_by(attempts.c.worker)
    )
    return [worker for worker, process in rows if not process_is_gone(process)]
