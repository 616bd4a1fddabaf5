"""Trials and attempts counted by the database, so that few rows are read however many there are."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from tuneoff.search.store import optuna_tables as tables
from tuneoff.search.store.attempts import Attempt, live_at
from tuneoff.search.store.attributes import DIVERGED, FAILURE, RECIPE_CHANGES
from tuneoff.search.store.tables import attempts_table

_a = attempts_table.c
_s, _t, _v = tables.studies.c, tables.trials.c, tables.values.c
_u = tables.user_attributes.c
_joined = _s.study_id == _t.study_id

WORDS = {
    "COMPLETE": "complete",
    "PRUNED": "pruned",
    "FAIL": "failed",
    "WAITING": "waiting",
    "RUNNING": "running",
}
"""Optuna's states as people read them."""


@dataclass
class Counts:
    """A search's trials and attempts, counted.

    Attributes:
        states: number of trials by state: one of ``WORDS``; "diverged" of complete ones; "paused"
            and "interrupted" of running ones that nobody owns, which differ in how their last
            attempt ended.
        best: lowest value of complete trials that did not diverge; None if there is none.
        spent, seconds: epochs and device seconds of all attempts.
        lost: attempts that were lost or failed.
        live: live attempts, oldest first.
    """

    states: Counter[str] = field(default_factory=Counter)
    best: float | None = None
    spent: int = 0
    seconds: float = 0.0
    lost: int = 0
    live: list[Attempt] = field(default_factory=list)


def count(
    connection: sa.Connection, searches: Iterable[str], shares: bool = True
) -> dict[str, Counts]:
    """The counts of each of these searches that has an Optuna study, as this connection sees them.

    A trial with a live attempt is running, whatever its owner has told it already.
    """
    there = sa.select(_s.study_name).where(_s.study_name.in_(list(searches)))
    found = {name: Counts() for name in connection.scalars(there)}
    names = list(found)
    for attempt in live_at(connection, names):
        found[attempt.search].live.append(attempt)
    owned = _trials_of(connection, [a for counts in found.values() for a in counts.live])
    for search in owned.values():
        found[search].states["running"] += 1
    mine = sa.and_(_s.study_name.in_(names), _t.trial_id.not_in(list(owned)))
    _count_states(connection, mine, found, shares)
    _count_ownerless(connection, mine, found)
    query = (
        sa.select(
            _a.search,
            sa.func.sum(_a.epochs),
            sa.func.sum(_a.seconds),
            sa.func.sum(sa.case((_a.end.in_(("lost", "failed")), 1), else_=0)),
        )
        .where(_a.search.in_(names))
        .group_by(_a.search)
    )
    for name, spent, seconds, lost in connection.execute(query):
        found[name].spent, found[name].seconds, found[name].lost = spent, seconds, lost
    return found


def _trials_of(connection: sa.Connection, rows: list[Attempt]) -> dict[int, str]:
    """By the ids of the trials that these attempts are at: the names of their searches."""
    query = sa.select(_t.trial_id).join_from(tables.studies, tables.trials, _joined)
    numbers: dict[str, list[int]] = {}
    for row in rows:
        numbers.setdefault(row.search, []).append(row.trial)
    found: dict[int, str] = {}
    for name, some in numbers.items():
        of = query.where(_s.study_name == name, _t.number.in_(some))
        found |= dict.fromkeys(connection.scalars(of), name)
    return found


def _count_states(
    connection: sa.Connection,
    mine: sa.ColumnElement[bool],
    found: Mapping[str, Counts],
    shares: bool,
) -> None:
    """The states of trials, and the best value.

    One that is infinite counts as diverged, and, where values are shares, one that is none, below 0
    or above 1, as failed.
    """
    infinite = tables.value_type.in_(("INF_POS", "INF_NEG"))
    diverges = sa.case((sa.or_(_u.key.is_not(None), infinite), 1), else_=0).label("diverges")
    wrong = sa.not_(_v.value.between(0, 1)) if shares else sa.false()
    impossible = sa.case((wrong, 1), else_=0).label("impossible")
    query = (
        sa.select(
            _s.study_name,
            tables.state,
            diverges,
            impossible,
            sa.func.count(),
            sa.func.min(_v.value),
        )
        .select_from(
            tables.studies.join(tables.trials, _joined)
            .outerjoin(tables.values, sa.and_(_v.trial_id == _t.trial_id, _v.objective == 0))
            .outerjoin(
                tables.user_attributes,
                sa.and_(_u.trial_id == _t.trial_id, _u.key == DIVERGED.name),
            )
        )
        .where(mine)
        .group_by(_s.study_name, tables.state, diverges, impossible)
    )
    for name, state, diverged, failed, number, best in connection.execute(query):
        if failed:
            found[name].states["failed"] += number
        elif state != "COMPLETE":
            found[name].states[WORDS[state]] += number
        elif diverged:
            found[name].states["diverged"] += number
        else:
            found[name].states["complete"] += number
            found[name].best = best


def _count_ownerless(
    connection: sa.Connection, mine: sa.ColumnElement[bool], found: Mapping[str, Counts]
) -> None:
    """Of the running trials, those that nobody owns, by how the last attempt ended."""
    later = attempts_table.alias().c
    last = ~sa.exists().where(
        later.search == _a.search, later.trial == _a.trial, later.number > _a.number
    )
    query = (
        sa.select(_s.study_name, _a.end, sa.func.count())
        .select_from(
            tables.studies.join(tables.trials, _joined).outerjoin(
                attempts_table,
                sa.and_(_a.search == _s.study_name, _a.trial == _t.number, last),
            )
        )
        .where(mine, tables.state == "RUNNING")
        .group_by(_s.study_name, _a.end)
    )
    for name, end, number in connection.execute(query):
        states = found[name].states
        states["running"] -= number
        states["paused" if end == "paused" else "interrupted"] += number
    for counts in found.values():
        counts.states = +counts.states  # without those of which there are none


def count_epochs(connection: sa.Connection, searches: Iterable[str], epochs: int) -> dict[str, int]:
    """Epochs that the trials of each of these searches take which did not fail.

    Args:
        epochs: of a trial whose recipe is the short trial's in this.
    """
    found: dict[str, int] = {}
    query = (
        sa.select(_s.study_name, _u.value_json)
        .select_from(
            tables.studies.join(tables.trials, _joined).outerjoin(
                tables.user_attributes,
                sa.and_(_u.trial_id == _t.trial_id, _u.key == RECIPE_CHANGES.name),
            )
        )
        .where(_s.study_name.in_(list(searches)), tables.state != "FAIL")
    )
    for name, text in connection.execute(query):
        changes: Mapping[str, Any] = json.loads(text) if text else {}
        found[name] = found.get(name, 0) + changes.get("epochs", epochs)
    return found


def full_run_errors(
    connection: sa.Connection, searches: Iterable[str], shares: bool = True
) -> dict[str, tuple[list[float], int]]:
    """By search: the values of complete trials that did not diverge, and how many did.

    Args:
        shares: values outside of 0 to 1 are left out.
    """
    found: dict[str, tuple[list[float], int]] = {}
    query = (
        sa.select(_s.study_name, _v.value, _u.key)
        .select_from(
            tables.studies.join(tables.trials, _joined)
            .join(tables.values, sa.and_(_v.trial_id == _t.trial_id, _v.objective == 0))
            .outerjoin(
                tables.user_attributes,
                sa.and_(_u.trial_id == _t.trial_id, _u.key == DIVERGED.name),
            )
        )
        .where(
            _s.study_name.in_(list(searches)),
            tables.state == "COMPLETE",
            sa.or_(_v.value.is_(None), _v.value.between(0, 1)) if shares else sa.true(),
        )
    )
    for name, value, diverged in connection.execute(query):
        errors, count = found.get(name, ([], 0))
        if diverged is None and value is not None:  # an infinite value is stored as NULL
            errors.append(value)
        else:
            count += 1
        found[name] = errors, count
    return found


def failures(connection: sa.Connection, searches: Iterable[str], most: int) -> list[str]:
    """The newest trials that were told FAIL with a reason, newest last: "SEARCH#TRIAL: REASON"."""
    query = (
        sa.select(_s.study_name, _t.number, _u.value_json)
        .select_from(
            tables.studies.join(tables.trials, _joined).join(
                tables.user_attributes, _u.trial_id == _t.trial_id
            )
        )
        .where(_s.study_name.in_(list(searches)), _u.key == FAILURE.name, tables.state == "FAIL")
        .order_by(_t.datetime_complete.desc(), _t.trial_id.desc())
        .limit(most)
    )
    rows = connection.execute(query).all()
    return [f"{name}#{number}: {json.loads(text)}" for name, number, text in reversed(rows)]
