"""Trials read whole, by a few queries for all of them.

Optuna's storage makes several objects of each row first: of 20,000 trials, which takes it ten
seconds, this takes one.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any

import sqlalchemy as sa
from optuna.distributions import json_to_distribution
from optuna.trial import FrozenTrial, TrialState

from tuneoff.search.store import optuna_tables as tables
from tuneoff.search.store.trial_ids import id_of

MOST_NAMED = 500
"""No query names more trials than these."""

_Rows = sa.Select[*tuple[Any, ...]]


def read_trials(
    connection: sa.Connection, names: Iterable[str]
) -> dict[str, tuple[FrozenTrial, ...]]:
    """The trials of these Optuna studies, by study and number, as Optuna's storage reads them.

    A study that does not exist is left out.
    """
    s = tables.studies.c
    rows = connection.execute(
        sa.select(s.study_id, s.study_name).where(s.study_name.in_(list(names)))
    )
    studies: dict[int, str] = {row.study_id: row.study_name for row in rows}
    found: dict[str, list[FrozenTrial]] = {name: [] for name in studies.values()}
    which = tables.trials.c.study_id.in_(list(studies))
    for study_id, trial in _read(connection, which):
        found[studies[study_id]].append(trial)
    return {name: tuple(trials) for name, trials in found.items()}


def read_trials_of(connection: sa.Connection, ids: Sequence[int]) -> dict[int, FrozenTrial]:
    """The trials of these ids, of whatever studies; those that do not exist are left out."""
    found: dict[int, FrozenTrial] = {}
    for start in range(0, len(ids), MOST_NAMED):
        which = tables.trials.c.trial_id.in_(ids[start : start + MOST_NAMED])
        found |= {id_of(trial): trial for _, trial in _read(connection, which)}
    return found


def _read(
    connection: sa.Connection, which: sa.ColumnElement[bool]
) -> Iterator[tuple[int, FrozenTrial]]:
    """Some trials, each with its study's id, by number."""
    t, parts = tables.trials.c, _Parts(connection, which)
    query: _Rows = (
        sa.select(
            t.trial_id, t.study_id, t.number, tables.state, t.datetime_start, t.datetime_complete
        )
        .where(which)
        .order_by(t.number)
    )
    for trial_id, study_id, number, state, begun, ended in connection.execute(query):
        yield (
            study_id,
            FrozenTrial(
                number=number,
                trial_id=trial_id,
                state=TrialState[state],
                value=parts.values.get(trial_id),
                datetime_start=_here(begun),
                datetime_complete=_here(ended),
                params=parts.params[trial_id],
                distributions=parts.distributions[trial_id],
                user_attrs=parts.user_attrs[trial_id],
                system_attrs=parts.system_attrs[trial_id],
                intermediate_values=parts.reported[trial_id],
            ),
        )


class _Parts:
    """What belongs to each of some trials, by the trial's id."""

    def __init__(self, connection: sa.Connection, which: sa.ColumnElement[bool]) -> None:
        def rows(
            table: sa.TableClause, *columns: sa.ColumnElement[Any]
        ) -> sa.CursorResult[*tuple[Any, ...]]:
            trials = tables.trials.c
            query: _Rows = (
                sa.select(table.c.trial_id, *columns)
                .join_from(tables.trials, table, trials.trial_id == table.c.trial_id)
                .where(which)
            )
            if table is tables.params:
                query = query.order_by(table.c.param_id)
            return connection.execute(query)

        distribution = cache(json_to_distribution)
        self.params: dict[int, dict[str, Any]] = defaultdict(dict)
        self.distributions: dict[int, dict[str, Any]] = defaultdict(dict)
        p = tables.params.c
        for trial, name, value, text in rows(
            tables.params, p.param_name, p.param_value, p.distribution_json
        ):
            of = distribution(text)
            self.params[trial][name] = of.to_external_repr(value)
            self.distributions[trial][name] = of

        v, r = tables.values.c, tables.reported.c
        self.values: dict[int, float] = {
            trial: tables.NUMBERS.get(kind, value)
            for trial, value, kind in rows(tables.values, v.value, tables.value_type)
        }
        self.reported: dict[int, dict[int, float]] = defaultdict(dict)
        for trial, step, value, kind in rows(
            tables.reported, r.step, r.intermediate_value, tables.reported_type
        ):
            self.reported[trial][step] = tables.NUMBERS.get(kind, value)

        self.user_attrs: dict[int, dict[str, Any]] = defaultdict(dict)
        self.system_attrs: dict[int, dict[str, Any]] = defaultdict(dict)
        for table, found in (
            (tables.user_attributes, self.user_attrs),
            (tables.system_attributes, self.system_attrs),
        ):
            for trial, key, text in rows(table, table.c.key, table.c.value_json):
                found[trial][key] = json.loads(text)


def _here(moment: datetime | None) -> datetime | None:
    """A stored time, which is UTC, as Optuna hands it out: in the machine's own time zone."""
    return moment and moment.replace(tzinfo=UTC).astimezone().replace(tzinfo=None)
