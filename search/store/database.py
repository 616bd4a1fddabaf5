"""One database for Optuna's tables and ours, and patience with it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

import sqlalchemy as sa

from tuneoff.lockfile import SAY_SECONDS
from tuneoff.retry import Patience
from tuneoff.search.errors import StorageError, StorageOutage
from tuneoff.search.store import dialects, outages
from tuneoff.search.store.defaults import DEFAULT_URL, PATIENCE_SECONDS
from tuneoff.search.store.locks import Locks
from tuneoff.search.store.outages import is_bad_address, is_refusal, reason
from tuneoff.search.store.schema import bring_up_to_date
from tuneoff.search.store.sessions import check_sessions
from tuneoff.search.store.shown import shown

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

__all__ = ["DEFAULT_URL", "PATIENCE_SECONDS", "Database", "open_database"]

log = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True)
class Database:
    """An open database that holds both schemas.

    Attributes:
        url: with the password; never print it, print ``str(database)``.
        engine: the connection pool, which Optuna's storage shares.
        locks: between processes.
        patience: with which ``patiently`` waits for a lost database.
    """

    url: sa.URL
    engine: sa.Engine
    locks: Locks
    patience: Patience

    @cached_property
    def optuna(self) -> BaseStorage:
        """Optuna's storage on it, with a cache; made when it is first asked for.

        To import Optuna takes longer than to look at a study. From here on it says no more than
        warnings: that a sampler of ours has made another study in memory is no news to anybody.

        Raises:
            StorageError: Optuna's tables are of another version.
        """
        from optuna import logging as news
        from optuna.storages import RDBStorage, get_storage
        from sqlalchemy.orm import scoped_session, sessionmaker

        news.set_verbosity(max(news.get_verbosity(), news.WARNING))
        options = dialects.engine_options(self.url)
        try:
            storage = RDBStorage(
                self.url.render_as_string(hide_password=False),
                # No pool: it may fail, and stay open.
                engine_kwargs={"connect_args": options["connect_args"], "poolclass": sa.NullPool},
                skip_table_creation=True,
            )
        except (RuntimeError, TypeError, ValueError) as error:
            raise StorageError(_unusable(self.url, error)) from None
        # It makes an engine of its own, but a lock holds for what is written through ours.
        storage.engine.dispose()
        storage.engine = self.engine
        storage.scoped_session = scoped_session(sessionmaker(bind=self.engine))
        return get_storage(storage)

    def __str__(self) -> str:
        return shown(self.url)

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
            StorageError: it is there, and refuses.
        """
        return _patiently(action, self.patience, self.url, is_refusal)

    def close(self) -> None:
        """Give back every connection."""
        if "optuna" in self.__dict__:
            self.optuna.remove_session()
        self.engine.dispose()


def open_database(
    url: str,
    *,
    create: bool = False,
    patience: float = PATIENCE_SECONDS,
    stop: Callable[[], bool] = lambda: False,
) -> Database:
    """Open the database behind a URL, and wait for one that is away.

    One that an older tuneoff wrote is upgraded, unless workers of that version are running.

    Args:
        url: "sqlite:///FILE" or "postgresql://USER:PASSWORD@HOST/DATABASE".
        create: make the tables, Optuna's and ours, if they are missing; safe when many processes
            do so at once.
        patience: seconds to wait for a database that is away, from this call on.
        stop: True once this process was asked to leave; then nothing is waited for much longer.

    Raises:
        StorageError: a bad URL, a wrong password, a database without our tables, one that a newer
            tuneoff wrote, one that cannot be upgraded, or one whose locks would keep nobody out.
            The password is never part of the message.
        StorageOutage: it stayed away until patience was over.
    """
    parsed = dialects.parse_url(url)
    where = shown(parsed)
    if dialects.is_sqlite(parsed):
        file = dialects.sqlite_file(parsed)
        if not create and not file.exists():
            raise StorageError(f"{where}: there is no such file; run `tuneoff create` first")
        if not file.parent.is_dir():
            raise StorageError(f"{where}: the folder {file.parent} does not exist; make it first")
        dialects.check_one_name(parsed)
    wait = Patience(patience, stop=stop)
    return _patiently(lambda: _open(parsed, create, wait), wait, parsed, is_bad_address)


def _patiently(
    action: Callable[[], T],
    patience: Patience,
    url: sa.URL,
    is_lasting: Callable[[BaseException], bool],
) -> T:
    """See ``Database.patiently``.

    Args:
        is_lasting: True for an error of the database that waiting would not end.
    """
    where = shown(url)
    retry, due = patience.begin(), 0.0
    while True:
        try:
            return action()
        except outages.DATABASE_ERRORS as error:
            if is_lasting(error):
                raise StorageError(_unusable(url, error)) from None
            if not isinstance(error, outages.OUTAGES):
                raise
            if retry.is_over:
                away = "used" if dialects.is_sqlite(url) else "reached"
                raise StorageOutage(
                    f"the database {where} could not be {away} for {retry.waited:.0f} s "
                    f"({reason(error)}); start again when it can be"
                ) from None
            if retry.waited >= due:
                log.warning(
                    "waiting for database %s, for up to %.0f s: %s",
                    where,
                    patience.seconds,
                    reason(error),
                )
                due = max(SAY_SECONDS, 2 * retry.waited)
            retry.pause()


def _unusable(url: sa.URL, error: BaseException) -> str:
    why = reason(error)
    return f"{shown(url)}: cannot be used ({why}); {dialects.how_to_fix(url)}"


def _open(url: sa.URL, create: bool, patience: Patience) -> Database:
    """Open it at once (errors as ``open_database``; one of ``outages.OUTAGES`` if it is away)."""
    try:
        check_sessions(url)
        bring_up_to_date(url, create=create, patience=patience)
        engine = sa.create_engine(url, **dialects.engine_options(url))
    except outages.OUTAGES:
        raise
    except (sa.exc.DBAPIError, RuntimeError, OSError, TypeError, ValueError) as error:
        raise StorageError(_unusable(url, error)) from None
    dialects.set_up(engine)
    return Database(url, engine, Locks(engine, patience), patience)
