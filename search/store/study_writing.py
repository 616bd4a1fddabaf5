"""An Optuna study that is a copy: made, and given attributes, in one transaction each.

``search.store.trial_writing`` says why not by Optuna's storage.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa

from tuneoff.search.store import optuna_tables as tables
from tuneoff.search.store.dialects import is_sqlite

_directions = sa.table(
    "study_directions",
    sa.column("study_id", sa.Integer),
    sa.column("objective", sa.Integer),
    sa.column("direction", sa.Enum("NOT_SET", "MINIMIZE", "MAXIMIZE", name="studydirection")),
)


@contextmanager
def writing(engine: sa.Engine) -> Iterator[sa.Connection]:
    """A transaction that will write: all of it is done, or nothing.

    On SQLite it has the database from its first statement on, so it must be short.
    """
    with engine.connect() as connection:
        if is_sqlite(engine.url):
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        yield connection
        connection.commit()


def find_study(connection: sa.Connection, name: str) -> int | None:
    """The id of the Optuna study of this name."""
    s = tables.studies.c
    found: int | None = connection.scalar(sa.select(s.study_id).where(s.study_name == name))
    return found


def lock_study(connection: sa.Connection, study_id: int) -> bool:
    """Keep others from adding trials to a study until the transaction ends.

    Optuna takes the same lock where it numbers a trial.

    Returns:
        False if the study was deleted.
    """
    s = tables.studies.c
    query = sa.select(s.study_id).where(s.study_id == study_id).with_for_update()
    return connection.scalar(query) is not None


def add_study(
    connection: sa.Connection, name: str, user: Mapping[str, Any], system: Mapping[str, Any]
) -> int:
    """Make a study that is minimised, with these attributes; its id.

    Raises:
        sqlalchemy.exc.IntegrityError: there is one of this name.
    """
    connection.execute(tables.studies.insert().values(study_name=name))
    made = find_study(connection, name)
    assert made is not None
    connection.execute(
        _directions.insert().values(study_id=made, objective=0, direction="MINIMIZE")
    )
    write_attributes(connection, tables.study_attributes, made, user)
    write_attributes(connection, tables.study_system_attributes, made, system)
    return made


def write_attributes(
    connection: sa.Connection, table: sa.TableClause, study_id: int, values: Mapping[str, Any]
) -> None:
    """Store attributes of a study, of which some may be there; those that do not change stay.

    Args:
        table: ``optuna_tables.study_attributes`` or ``study_system_attributes``.
    """
    a = table.c
    of = a.study_id == study_id
    texts = {key: json.dumps(value) for key, value in values.items()}
    query = sa.select(a.key, a.value_json).where(of, a.key.in_(list(texts))).with_for_update()
    there: dict[str, str] = {row.key: row.value_json for row in connection.execute(query)}
    changed = [{"k": k, "v": v} for k, v in texts.items() if k in there and there[k] != v]
    if changed:
        update = table.update().where(of, a.key == sa.bindparam("k"))
        connection.execute(update.values(value_json=sa.bindparam("v")), changed)
    missing = [
        {"study_id": study_id, "key": key, "value_json": text}
        for key, text in texts.items()
        if key not in there
    ]
    if missing:
        connection.execute(table.insert(), missing)


def read_system_attributes(
    connection: sa.Connection, study_id: int, prefix: str = ""
) -> dict[str, Any]:
    """The system attributes of a study whose names begin in this way."""
    a = tables.study_system_attributes.c
    query = sa.select(a.key, a.value_json).where(
        a.study_id == study_id, a.key.startswith(prefix, autoescape=True)
    )
    return {key: json.loads(text) for key, text in connection.execute(query)}


def delete_system_attributes(connection: sa.Connection, study_id: int, keys: list[str]) -> None:
    """Delete some system attributes of a study."""
    table = tables.study_system_attributes
    connection.execute(table.delete().where(table.c.study_id == study_id, table.c.key.in_(keys)))
