"""Optuna's tables as far as our own queries read them; ``tests/contract`` pins what is relied on.

Nothing here imports Optuna, which takes longer than most of the queries.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import sqlalchemy as sa

studies = sa.table("studies", sa.column("study_id", sa.Integer), sa.column("study_name", sa.String))

study_attributes = sa.table(
    "study_user_attributes",
    sa.column("study_id", sa.Integer),
    sa.column("key", sa.String),
    sa.column("value_json", sa.Text),
)

study_system_attributes = sa.table(
    "study_system_attributes",
    sa.column("study_id", sa.Integer),
    sa.column("key", sa.String),
    sa.column("value_json", sa.Text),
)

trials = sa.table(
    "trials",
    sa.column("trial_id", sa.Integer),
    sa.column("study_id", sa.Integer),
    sa.column("number", sa.Integer),
    sa.column("state"),  # an enumeration of its own on Postgres: compare ``state``
    sa.column("datetime_start", sa.DateTime),
    sa.column("datetime_complete", sa.DateTime),
)
state = sa.cast(trials.c.state, sa.String)
"""The name of a trial's state: "RUNNING", "COMPLETE", "PRUNED", "FAIL" or "WAITING"."""

params = sa.table(
    "trial_params",
    sa.column("param_id", sa.Integer),
    sa.column("trial_id", sa.Integer),
    sa.column("param_name", sa.String),
    sa.column("param_value", sa.Float),
    sa.column("distribution_json", sa.Text),
)

values = sa.table(
    "trial_values",
    sa.column("trial_id", sa.Integer),
    sa.column("objective", sa.Integer),
    sa.column("value", sa.Float),
    sa.column("value_type"),
)
value_type = sa.cast(values.c.value_type, sa.String)
"""The name of the kind of number; ``NUMBERS`` has those whose ``value`` is NULL."""

reported = sa.table(
    "trial_intermediate_values",
    sa.column("trial_id", sa.Integer),
    sa.column("step", sa.Integer),
    sa.column("intermediate_value", sa.Float),
    sa.column("intermediate_value_type"),
)
reported_type = sa.cast(reported.c.intermediate_value_type, sa.String)
"""As ``value_type``."""

user_attributes = sa.table(
    "trial_user_attributes",
    sa.column("trial_id", sa.Integer),
    sa.column("key", sa.String),
    sa.column("value_json", sa.Text),
)

system_attributes = sa.table(
    "trial_system_attributes",
    sa.column("trial_id", sa.Integer),
    sa.column("key", sa.String),
    sa.column("value_json", sa.Text),
)

NUMBERS = {"INF_POS": float("inf"), "INF_NEG": float("-inf"), "NAN": float("nan")}
"""Numbers that not every database stores: by the name of their kind."""


def read_attribute(
    connection: sa.Connection, names: Iterable[str], key: str
) -> dict[str, Mapping[str, Any]]:
    """One user attribute of several Optuna studies: by study, {key: value} where it is set."""
    s, a = studies.c, study_attributes.c
    query = (
        sa.select(s.study_name, a.value_json)
        .join_from(studies, study_attributes, s.study_id == a.study_id)
        .where(s.study_name.in_(list(names)), a.key == key)
    )
    return {name: {key: json.loads(text)} for name, text in connection.execute(query)}


def read_study_attributes(connection: sa.Connection, name: str) -> Mapping[str, Any]:
    """The user attributes of an Optuna study; none if there is no such study."""
    s, a = studies.c, study_attributes.c
    query = (
        sa.select(a.key, a.value_json)
        .join_from(studies, study_attributes, s.study_id == a.study_id)
        .where(s.study_name == name)
    )
    return {key: json.loads(text) for key, text in connection.execute(query)}
