"""The words of the field: "search" for "group", and attributes that say whose they are.

An attribute named "seed" could be anybody's; optuna-dashboard shows "tuneoff/seed" beside those of
other programs.
"""

from __future__ import annotations

import json

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

TRIAL_USER_KEYS = {
    "accumulation for want of memory": "tuneoff/accumulation",
    "chosen by": "tuneoff/chosen by",
    "diverged in epoch": "tuneoff/diverged epoch",
    "entered": "tuneoff/entered",
    "environment": "tuneoff/environment",
    "failure": "tuneoff/failure",
    "listed": "tuneoff/fixed configuration",
    "member": "tuneoff/member",
    "note": "tuneoff/note",
    "recipe": "tuneoff/recipe",
    "recipe changes": "tuneoff/recipe changes",
    "replica": "tuneoff/replica",
    "seed": "tuneoff/seed",
    "test error": "tuneoff/test error",
}
TRIAL_SYSTEM_KEYS = {"tuneoff:until_epoch": "tuneoff/until epoch"}
STUDY_USER_KEYS = {"ensemble": "tuneoff/ensemble"}
CHOSEN_BY_VALUES = {"doubt": "given full runs only"}

schema = sa.table("tuneoff_schema", sa.column("version"))
our_studies = sa.table("tuneoff_studies", sa.column("name"), sa.column("spec"))
optuna_studies = sa.table("studies", sa.column("study_id"), sa.column("study_name"))
optuna_trials = sa.table("trials", sa.column("trial_id"), sa.column("study_id"))


def attributes(table: str, owner: str) -> sa.TableClause:
    """One of Optuna's tables of attributes, whose rows belong to ``owner``."""
    return sa.table(table, sa.column(owner), sa.column("key"), sa.column("value_json"))


def upgrade() -> None:
    op.alter_column("tuneoff_attempts", "group", new_column_name="search")
    connection = op.get_bind()
    trial_user = attributes("trial_user_attributes", "trial_id")
    trial_system = attributes("trial_system_attributes", "trial_id")
    study_user = attributes("study_user_attributes", "study_id")
    for name, spec in connection.execute(sa.select(our_studies.c.name, our_studies.c.spec)).all():
        studies = sa.select(optuna_studies.c.study_id).where(
            optuna_studies.c.study_name.in_(names_of_searches(name, spec))
        )
        trials = sa.select(optuna_trials.c.trial_id).where(optuna_trials.c.study_id.in_(studies))
        rename(connection, trial_user, trial_user.c.trial_id.in_(trials), TRIAL_USER_KEYS)
        rename(connection, trial_system, trial_system.c.trial_id.in_(trials), TRIAL_SYSTEM_KEYS)
        rename(connection, study_user, study_user.c.study_id.in_(studies), STUDY_USER_KEYS)
        for old, new in CHOSEN_BY_VALUES.items():
            connection.execute(
                trial_user.update()
                .where(
                    trial_user.c.trial_id.in_(trials),
                    trial_user.c.key == TRIAL_USER_KEYS["chosen by"],
                    trial_user.c.value_json == json.dumps(old),
                )
                .values(value_json=json.dumps(new))
            )
    connection.execute(schema.update().values(version=2))


def names_of_searches(name: str, spec: str) -> list[str]:
    """The Optuna studies of a study of ours; any other in this database is somebody else's."""
    values = json.loads(spec)
    arms = [f"{name}/{arm}/{i}" for arm in values["arms"] for i in range(values["repeats"])]
    return [*arms, f"{name}/full", f"{name}/ensemble"]


def rename(
    connection: sa.Connection,
    table: sa.TableClause,
    which: sa.ColumnElement[bool],
    keys: dict[str, str],
) -> None:
    """Give the attributes of some rows their new names, one statement a name."""
    for old, new in keys.items():
        connection.execute(table.update().where(which, table.c.key == old).values(key=new))
