"""Trials of a copy written whole, many by a few statements of one transaction.

Optuna's storage takes a transaction for each trial, and reads back what it wrote: for 20,000 trials
minutes. It alone may write the trials that are searched with; what is written here is a copy.
``tests/contract`` pins that Optuna and optuna-dashboard read these rows as their own.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from optuna.distributions import distribution_to_json
from optuna.trial import FrozenTrial

from tuneoff.search.store import optuna_tables as tables

_STATES = ("RUNNING", "COMPLETE", "PRUNED", "FAIL", "WAITING")
_KINDS = ("FINITE", "INF_POS", "INF_NEG", "NAN")


def _column(name: str, kind: type[sa.types.TypeEngine[Any]] | sa.types.TypeEngine[Any]) -> Any:
    return sa.column(name, kind)


# Types of their own on Postgres, which takes no text for them.
_trials = sa.table(
    "trials",
    _column("trial_id", sa.Integer),
    _column("study_id", sa.Integer),
    _column("number", sa.Integer),
    _column("state", sa.Enum(*_STATES, name="trialstate")),
    _column("datetime_start", sa.DateTime),
    _column("datetime_complete", sa.DateTime),
)
_values = sa.table(
    "trial_values",
    _column("trial_id", sa.Integer),
    _column("objective", sa.Integer),
    _column("value", sa.Double),
    _column("value_type", sa.Enum(*_KINDS, name="trialvaluetype")),
)
_reported = sa.table(
    "trial_intermediate_values",
    _column("trial_id", sa.Integer),
    _column("step", sa.Integer),
    _column("intermediate_value", sa.Double),
    _column("intermediate_value_type", sa.Enum(*_KINDS, name="trialintermediatevaluetype")),
)
_params = sa.table(
    "trial_params",
    _column("trial_id", sa.Integer),
    _column("param_name", sa.String),
    _column("param_value", sa.Double),
    _column("distribution_json", sa.Text),
)


def add_trials(
    connection: sa.Connection, study_id: int, trials: Sequence[FrozenTrial]
) -> list[int]:
    """Add trials to a study, whose row the transaction has locked; their ids.

    Their ``number`` and id are given here, as Optuna numbers them.
    """
    t = _trials.c
    mine = t.study_id == study_id
    first = connection.scalar(sa.select(sa.func.count()).select_from(_trials).where(mine)) or 0
    rows = [
        {"study_id": study_id, "number": number, **_own(trial)}
        for number, trial in enumerate(trials, first)
    ]
    if not rows:
        return []
    connection.execute(_trials.insert(), rows)
    query = sa.select(t.trial_id).where(mine, t.number >= first).order_by(t.number)
    ids = list(connection.scalars(query))
    _add_parts(connection, ids, trials)
    return ids


def replace_trials(
    connection: sa.Connection,
    ids: Sequence[int],
    trials: Sequence[FrozenTrial],
    keys: Collection[str],
) -> None:
    """Write unfinished trials anew.

    Args:
        ids: of the trials that are there.
        keys: attributes that are replaced; others stay as they are.
    """
    if not ids:
        return
    keys = list(keys)
    for table in (_values, _reported, _params):
        connection.execute(table.delete().where(table.c.trial_id.in_(ids)))
    for attributes in (tables.user_attributes, tables.system_attributes):
        a = attributes.c
        connection.execute(attributes.delete().where(a.trial_id.in_(ids), a.key.in_(keys)))
    changed = _trials.update().where(_trials.c.trial_id == sa.bindparam("of"))
    connection.execute(
        changed.values({name: sa.bindparam(name) for name in _OWN}),
        [{"of": trial_id, **_own(trial)} for trial_id, trial in zip(ids, trials, strict=True)],
    )
    _add_parts(connection, ids, trials)


_OWN = ("state", "datetime_start", "datetime_complete")


def _own(trial: FrozenTrial) -> dict[str, Any]:
    moments = (trial.datetime_start, trial.datetime_complete)
    return dict(zip(_OWN, (trial.state.name, *map(_utc, moments)), strict=True))


def _utc(moment: datetime | None) -> datetime | None:
    """A time in this machine's zone, as Optuna has it, as it is stored."""
    return moment and moment.astimezone(UTC).replace(tzinfo=None)


def _add_parts(
    connection: sa.Connection, ids: Sequence[int], trials: Sequence[FrozenTrial]
) -> None:
    """Add what belongs to trials that are there."""
    pairs = list(zip(ids, trials, strict=True))

    def add(table: sa.TableClause, rows: list[dict[str, Any]]) -> None:
        if rows:
            connection.execute(table.insert(), rows)

    add(
        _params,
        [
            {
                "trial_id": trial_id,
                "param_name": name,
                "param_value": trial.distributions[name].to_internal_repr(value),
                "distribution_json": distribution_to_json(trial.distributions[name]),
            }
            for trial_id, trial in pairs
            for name, value in trial.params.items()
        ],
    )
    add(
        _values,
        [
            {"trial_id": i, "objective": 0, **_number(trial.value, "value")}
            for i, trial in pairs
            if trial.value is not None
        ],
    )
    add(
        _reported,
        [
            {"trial_id": i, "step": step, **_number(value, "intermediate_value")}
            for i, trial in pairs
            for step, value in trial.intermediate_values.items()
        ],
    )
    for table, name in (
        (tables.user_attributes, "user_attrs"),
        (tables.system_attributes, "system_attrs"),
    ):
        add(
            table,
            [
                {"trial_id": i, "key": key, "value_json": json.dumps(value)}
                for i, trial in pairs
                for key, value in getattr(trial, name).items()
            ],
        )


def _number(value: float, name: str) -> dict[str, Any]:
    """A number as Optuna stores it: the kind of one that not every database knows beside it."""
    if math.isfinite(value):
        return {name: value, f"{name}_type": "FINITE"}
    kinds = {repr(number): kind for kind, number in tables.NUMBERS.items()}
    return {name: None, f"{name}_type": kinds[repr(float(value))]}
