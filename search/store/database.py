"""One database for Optuna's tables and ours, and patience with it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import optuna
import sqlalchemy as sa
from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, RDBStorage

from tuneoff.retry import Patience
from tuneoff.search.errors import StorageError, StorageOutage
from tuneoff.search.store import dialects
from tuneoff.search.store.dialects import DEFAULT_URL
from tuneoff.search.store.locks import Locks
from tuneoff.search.store.outages import OUTAGES, reason
from tuneoff.search.store.schema import bring_up_to_date

__all__ = ["DEFAULT_URL", "OUTAGES", "PATIENCE_SECONDS", "Database", "open_database"]

log = logging.getLogger(__name__)

PATIENCE_SECONDS = 600.0

T = TypeVar("T")


@dataclass(frozen=True)
class Database:
    """An open database that holds both schemas.

    Attributes:
        url: with the password; never print it, print ``str(database)``.
        optuna: Optuna's storage on it, cached.
        engine: the connection pool that both share.
        locks: between processes.
        patience: with which ``patiently`` waits for a lost database.
    """

    url: sa.URL
    optuna: BaseStorage
    engine: sa.Engine
    locks: Locks
    patience: Patience

    def __str__(self) -> str:
        return dialects.shown(self.url)

    @contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """Hold the named lock, against every other process on this database; see ``Locks``."""
        with self.locks.hold(name):
            yield

    def patiently(self, action: Callable[[], T]) -> T:
        """Do something that may be done twice, again and again while the database is away.

        The time that ``action`` takes counts, too: a server that is cut off may take minutes to
        be found away.

        Raises:
            StorageOutage: it stayed away until patience was over.
        """
        retry = self.patience.begin()
        while True:
            try:
                return action()
            except OUTAGES as error:
                if retry.is_over:
                    raise StorageOutage(
                        f"the database {self} could not be reached for {retry.waited:.0f} s "
                        f"({reason(error)}); start the worker again when it is back"
                    ) from None
                log.warning("database %s: %s; trying again", self, reason(error))
                retry.pause()

    def close(self) -> None:
        """Give back every connection."""
        self.optuna.remove_session()
        self.engine.dispose()


def open_database(
    url: str, *, create: bool = False, patience: float = PATIENCE_SECONDS
) -> Database:
    """Open the database behind a URL.

    One that an older tuneoff wrote is upgraded, unless workers of that version are running.

    Args:
        url: "sqlite:///FILE" or "postgresql://USER:PASSWORD@HOST/DATABASE".
        create: make the tables, Optuna's and ours, if they are missing; safe when many processes
            do so at once.
        patience: seconds to wait for a database that is lost later on.

    Raises:
        StorageError: a bad URL, a database out of reach, one without our tables, one that a newer
            tuneoff wrote, or one that cannot be upgraded. The password is never part of the
            message.
    """
    parsed = dialects.parse_url(url)
    shown = dialects.shown(parsed)
    if dialects.is_sqlite(parsed):
        file = dialects.sqlite_file(parsed)
        if not create and not file.exists():
            raise StorageError(f"{shown}: there is no such file; run `tuneoff create` first")
        if not file.parent.is_dir():
            raise StorageError(f"{shown}: the folder {file.parent} does not exist; make it first")
    try:
        bring_up_to_date(parsed, create=create)
        storage = RDBStorage(
            parsed.render_as_string(hide_password=False),
            engine_kwargs=dialects.engine_options(parsed),
            skip_table_creation=True,
        )
    except (sa.exc.DBAPIError, StorageInternalError, RuntimeError, OSError) as error:
        raise StorageError(
            f"{shown}: cannot be used ({reason(error)}); {dialects.how_to_fix(parsed)}"
        ) from None
    cached = optuna.storages.get_storage(storage)
    return Database(parsed, cached, storage.engine, Locks(storage.engine), Patience(patience))
