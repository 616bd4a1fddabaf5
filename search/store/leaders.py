"""The best trial of each search, found by the database, however many trials there are."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import sqlalchemy as sa

from tuneoff.search.store import optuna_tables as tables
from tuneoff.search.store.attributes import DIVERGED


@dataclass(frozen=True)
class Leader:
    """The complete trial of a search with the lowest value that did not diverge.

    Attributes:
        value: what it was told.
        key: equal for equal parameters, as Optuna stores them.
    """

    value: float
    key: str


def leaders(connection: sa.Connection, searches: Iterable[str]) -> dict[str, Leader]:
    """The leader of each of these searches that has one; the earlier one of equals."""
    s, t, v, p = tables.studies.c, tables.trials.c, tables.values.c, tables.params.c
    diverged = sa.exists().where(
        tables.user_attributes.c.trial_id == t.trial_id,
        tables.user_attributes.c.key == DIVERGED.name,
    )
    place = sa.func.row_number().over(partition_by=t.study_id, order_by=(v.value, t.number))
    ranked = (
        sa.select(s.study_name, t.trial_id, v.value, place.label("place"))
        .select_from(
            tables.studies.join(tables.trials, s.study_id == t.study_id).join(
                tables.values, v.trial_id == t.trial_id
            )
        )
        .where(
            s.study_name.in_(list(searches)),
            tables.state == "COMPLETE",
            tables.value_type == "FINITE",
            v.objective == 0,
            v.value.between(0, 1),  # else it is no error
            ~diverged,
        )
        .subquery()
    )
    first = ranked.c.place == 1
    found = {
        trial: (name, value)
        for name, trial, value in connection.execute(
            sa.select(ranked.c.study_name, ranked.c.trial_id, ranked.c.value).where(first)
        )
    }
    params: dict[int, list[tuple[str, float]]] = defaultdict(list)
    query = sa.select(p.trial_id, p.param_name, p.param_value).where(p.trial_id.in_(list(found)))
    for trial, param, stored in connection.execute(query):
        params[trial].append((param, stored))
    return {
        name: Leader(value, repr(sorted(params[trial]))) for trial, (name, value) in found.items()
    }
