"""Who has made attempts at a study's trials, and on whom one after another fails."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from tuneoff.search.store.attempts import End, last_sign
from tuneoff.search.store.clock import db_now
from tuneoff.search.store.database import Database
from tuneoff.search.store.tables import attempts_table

WELL: tuple[End, ...] = ("finished", "pruned", "paused")
"""How attempts end on a worker that is well."""

_t = attempts_table.c


@dataclass(frozen=True, slots=True)
class Seen:
    """A worker that has made attempts.

    Attributes:
        name, process: see ``Worker``.
        idle: seconds since its last sign of progress.
        well: how many of its attempts have ended well.
    """

    name: str
    process: str
    idle: float
    well: int


def workers(database: Database, searches: Iterable[str]) -> list[Seen]:
    """Everybody who has made an attempt at a trial of these searches, counted by the database."""
    query = (
        sa.select(
            _t.worker,
            _t.process,
            db_now() - sa.func.max(last_sign()),
            sa.func.sum(sa.case((_t.end.in_(WELL), 1), else_=0)),
        )
        .where(_t.search.in_(list(searches)))
        .group_by(_t.worker, _t.process)
    )
    with database.engine.connect() as connection:
        return [Seen(*row) for row in connection.execute(query)]


@dataclass(frozen=True, slots=True)
class Failing:
    """A worker whose latest attempts all failed, at several trials.

    Attributes:
        worker, device: see ``Attempt``.
        attempts, trials: how many in a row, and at how many trials.
        reason: of the last failure.
    """

    worker: str
    device: str
    attempts: int
    trials: int
    reason: str


def failing(database: Database, searches: Iterable[str]) -> list[Failing]:
    """The workers whose latest attempts at trials of these searches all failed, by name."""
    there = _t.search.in_(list(searches))
    well = (
        sa.select(_t.worker, sa.func.max(_t.ended).label("at"))
        .where(there, _t.end.in_(WELL))
        .group_by(_t.worker)
    )
    failed = (
        sa.select(_t.worker, _t.device, _t.ended, _t.search, _t.trial, _t.reason)
        .where(there, _t.end == "failed")
        .order_by(_t.ended)
    )
    with database.engine.connect() as connection:
        rows = connection.execute(failed).all()
        last_well = {row.worker: row.at for row in connection.execute(well)} if rows else {}
    by_worker: dict[str, list[Any]] = {}
    for row in rows:
        if row.ended > last_well.get(row.worker, 0.0):
            by_worker.setdefault(row.worker, []).append(row)
    counted = [
        Failing(
            name, own[-1].device, len(own), len({(r.search, r.trial) for r in own}), own[-1].reason
        )
        for name, own in sorted(by_worker.items())
    ]
    return [worker for worker in counted if worker.trials > 1]
