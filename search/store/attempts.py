"""The attempts table: lease, fencing token and cost ledger of every trial.

One row is one worker's attempt at one trial. (search, trial, number) is unique, so to insert a row
is to own the trial, on SQLite as on Postgres. A row without an ``end`` is live. All times are the
database's clock, in seconds since 1970 UTC.
"""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import sqlalchemy as sa

from tuneoff.messages import printable
from tuneoff.search.errors import LeaseLost
from tuneoff.search.store.clock import db_now, db_started
from tuneoff.search.store.processes import name_of_this_process, process_is_gone
from tuneoff.search.store.tables import attempts_table

if TYPE_CHECKING:
    from tuneoff.search.store.database import Database

MOST_NAMED = 1000
"""More trials than these are not named in a query: their whole search is read."""

End = Literal["finished", "pruned", "paused", "released", "lost", "failed"]

_t = attempts_table.c


@dataclass(frozen=True, slots=True)
class Worker:
    """Who makes an attempt.

    Attributes:
        name: for people: HOST/PID.
        process: names one operating-system process for ever, or "" where that is not known.
        device: "cpu", "cuda:0"...
    """

    name: str
    process: str
    device: str

    @classmethod
    def here(cls, device: str) -> Worker:
        """This process."""
        return cls(f"{socket.gethostname()}/{os.getpid()}", name_of_this_process(), device)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One row, and how long ago it last showed progress.

    Attributes:
        from_epoch: completed epochs at its start; until_epoch: where it is to stop.
        epochs: epochs that it has trained; seconds: device time that took.
        idle: seconds since its last sign of progress, or since the database came up if that was
            later, by the database's clock.
    """

    search: str
    trial: int
    number: int
    token: str
    worker: str
    process: str
    device: str
    started: float
    progressed: float
    ended: float | None
    end: End | None
    reason: str | None
    from_epoch: int
    until_epoch: int
    epochs: int
    seconds: float
    idle: float

    @property
    def live(self) -> bool:
        """True while its worker owns the trial."""
        return self.end is None

    @property
    def reached(self) -> int:
        """The epoch to which it has brought its trial."""
        return self.from_epoch + self.epochs

    @property
    def reserved(self) -> int:
        """Epochs that it may still train."""
        return max(0, self.until_epoch - self.reached) if self.live else 0

    def is_stale(self, grace_seconds: float) -> bool:
        """True if its worker is gone, or has shown no progress for the grace period."""
        return self.live and (self.idle > grace_seconds or process_is_gone(self.process))


def read(
    database: Database, searches: Iterable[str], trials: Collection[int] | None = None
) -> list[Attempt]:
    """Attempts at trials of these searches, oldest first: at all, or at those of these numbers."""
    with database.engine.connect() as connection:
        if trials is None:
            return read_at(connection, searches)
        if len(trials) <= MOST_NAMED:
            return _select(connection, searches, _t.trial.in_(trials))
        return [row for row in read_at(connection, searches) if row.trial in trials]


def read_at(connection: sa.Connection, searches: Iterable[str]) -> list[Attempt]:
    """All attempts at trials of these searches, oldest first, as this connection sees them."""
    return _select(connection, searches, sa.true())


def read_trials_attempts(
    connection: sa.Connection, search: str, trials: Collection[int]
) -> list[Attempt]:
    """Attempts at these trials of a search, at most ``MOST_NAMED``, oldest first."""
    return _select(connection, [search], _t.trial.in_(trials))


def live(database: Database, searches: Iterable[str]) -> list[Attempt]:
    """The live attempts at trials of these searches, oldest first."""
    with database.engine.connect() as connection:
        return live_at(connection, searches)


def live_at(connection: sa.Connection, searches: Iterable[str]) -> list[Attempt]:
    """As ``live``, as this connection sees them."""
    return _select(connection, searches, _t.end.is_(None))


def _select(
    connection: sa.Connection, searches: Iterable[str], which: sa.ColumnElement[bool]
) -> list[Attempt]:
    query = (
        sa.select(*_t, (db_now() - last_sign()).label("idle"))
        .where(_t.search.in_(list(searches)), which)
        .order_by(_t.started, _t.trial, _t.number)
    )
    return [Attempt(**row._mapping) for row in connection.execute(query)]


def last_sign() -> sa.ColumnElement[float]:
    """When an attempt last showed progress. While the database was down nobody could do so: that
    time counts for nobody."""
    return sa.case((_t.progressed < db_started(), db_started()), else_=_t.progressed)


@dataclass(frozen=True, slots=True)
class Totals:
    """How many attempts were made at a search's trials, how many ended, and their epochs."""

    made: int
    ended: int
    epochs: int


def totals(database: Database, searches: Iterable[str]) -> dict[str, Totals]:
    """The totals of each of these searches that has attempts, counted by the database."""
    query = (
        sa.select(_t.search, sa.func.count(), sa.func.count(_t.end), sa.func.sum(_t.epochs))
        .where(_t.search.in_(list(searches)))
        .group_by(_t.search)
    )
    with database.engine.connect() as connection:
        return {search: Totals(*numbers) for search, *numbers in connection.execute(query)}


class Spent(NamedTuple):
    """What attempts have taken: epochs that they have trained, and the seconds of these."""

    epochs: int = 0
    seconds: float = 0.0


def spent(attempts: Iterable[Attempt]) -> int:
    """Epochs that these attempts have trained: the ledger's sum."""
    return sum(attempt.epochs for attempt in attempts)


def taken(attempts: Iterable[Attempt]) -> Spent:
    """The ledger's sums over these attempts."""
    rows = list(attempts)
    return Spent(sum(row.epochs for row in rows), sum(row.seconds for row in rows))


def insert(
    database: Database,
    worker: Worker,
    search: str,
    trial: int,
    number: int,
    from_epoch: int,
    until_epoch: int,
) -> Attempt:
    """Own the trial from here on (sqlalchemy.exc.IntegrityError if another does)."""
    values: dict[str, Any] = {
        "search": search,
        "trial": trial,
        "number": number,
        "token": secrets.token_hex(16),
        "worker": worker.name,
        "process": worker.process,
        "device": worker.device,
        "from_epoch": from_epoch,
        "until_epoch": until_epoch,
        "epochs": 0,
        "seconds": 0.0,
    }
    with database.engine.begin() as connection:
        times = {"started": db_now(), "progressed": db_now()}
        connection.execute(attempts_table.insert().values({**values, **times}))
        row = connection.execute(
            sa.select(*_t, sa.literal(0.0).label("idle")).where(_t.token == values["token"])
        ).one()
    return Attempt(**row._mapping)


def progress(database: Database, attempt: Attempt, epochs: int, seconds: float) -> None:
    """Show progress: ``epochs`` trained by this attempt so far, in ``seconds``.

    Raises:
        LeaseLost: the trial belongs to another worker by now.
    """
    _update(database, attempt, {"epochs": epochs, "seconds": seconds, "progressed": db_now()})


def touch(database: Database, attempt: Attempt) -> None:
    """Show progress within an epoch (LeaseLost as in ``progress``)."""
    _update(database, attempt, {"progressed": db_now()})


def resumed_from(
    database: Database,
    attempt: Attempt,
    epoch: int,
    before: Attempt | None,
    seconds: float | None = None,
) -> None:
    """Put the ledger right when a checkpoint says where an attempt really starts.

    A worker that was killed between its checkpoint and its next entry here trained epochs that
    the ledger does not have yet; the checkpoint proves them, so they are entered now, for the
    attempt ``before`` that trained them.

    Args:
        seconds: that ``before`` took in all if it trained such epochs; None: as entered.

    Raises:
        LeaseLost: the trial belongs to another worker by now.
    """
    with database.engine.begin() as connection:
        _write(connection, attempt, {"from_epoch": epoch, "progressed": db_now()})
        if before is not None and before.reached < epoch:
            connection.execute(
                attempts_table.update()
                .where(_t.token == before.token)
                .values(
                    epochs=epoch - before.from_epoch,
                    seconds=before.seconds if seconds is None else seconds,
                )
            )


def diverged(
    database: Database, attempt: Attempt, epoch: int, seconds: float | None = None
) -> None:
    """Enter the epoch in which a run diverged: it is paid for as any other.

    Were it free, an arm that diverges in every first epoch would never spend its budget.

    Args:
        seconds: that the attempt took with that epoch; None: as entered.

    Raises:
        LeaseLost: the trial belongs to another worker by now.
    """
    mine = _t.from_epoch < epoch  # else an earlier attempt has paid for it
    own = sa.case((mine, epoch - _t.from_epoch), else_=_t.epochs)
    taken = _t.seconds if seconds is None else sa.case((mine, seconds), else_=_t.seconds)
    _update(database, attempt, {"epochs": own, "seconds": taken, "progressed": db_now()})


def close(database: Database, attempt: Attempt, end: End, reason: str | None = None) -> None:
    """End an attempt, and with it the ownership of the trial (LeaseLost as in ``progress``)."""
    # An error message may hold what a database does not take for text.
    values = {"end": end, "ended": db_now(), "reason": reason and printable(reason)[:500]}
    _update(database, attempt, values)


def _update(database: Database, attempt: Attempt, values: Mapping[str, Any]) -> None:
    with database.engine.begin() as connection:
        _write(connection, attempt, values)


def _write(connection: sa.Connection, attempt: Attempt, values: Mapping[str, Any]) -> None:
    done = connection.execute(
        attempts_table.update()
        .where(_t.token == attempt.token, _t.end.is_(None))
        .values(dict(values))
    )
    if done.rowcount == 0:
        raise LeaseLost(
            f"{attempt.search}#{attempt.trial}: attempt {attempt.number} was taken over"
        )
