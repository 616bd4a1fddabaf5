"""The table of studies: one row for each, with its settings and what was known of its data."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import sqlalchemy as sa

from tuneoff.search.spec.file import StudySpec
from tuneoff.search.store.clock import db_now
from tuneoff.search.store.database import Database
from tuneoff.search.store.tables import studies_table
from tuneoff.trainer.contract import Task

_t = studies_table.c


@dataclass(frozen=True)
class Standing:
    """What may change of a study while its workers run.

    Attributes:
        draining: workers were asked to finish what they have and leave.
        repeats: how many repeats are open; it only grows.
        age: seconds since the study was created, on the database's clock.
    """

    draining: bool
    repeats: int
    age: float = field(default=0.0, compare=False)


def find(database: Database, name: str) -> Mapping[str, Any] | None:
    """A study's row; None if there is no study of this name."""
    with database.engine.connect() as connection:
        row = connection.execute(sa.select(studies_table).where(_t.name == name)).one_or_none()
    return None if row is None else dict(row._mapping)


def names(database: Database) -> list[str]:
    """The names of all studies, oldest first."""
    with database.engine.connect() as connection:
        return list(connection.scalars(sa.select(_t.name).order_by(_t.created)))


def insert(database: Database, spec: StudySpec, task: Task) -> None:
    """Store a new study's row, with a random ``uid`` that no other study has."""
    with database.engine.begin() as connection:
        connection.execute(
            studies_table.insert().values(
                name=spec.name,
                uid=secrets.token_hex(4),
                spec=spec.model_dump_json(),
                task=json.dumps(asdict(task)),
                created=db_now(),
                draining=False,
                repeats=spec.repeats,
            )
        )


def replace_spec(database: Database, spec: StudySpec) -> None:
    """Store other settings in the row of the study of that name."""
    _update(database, spec.name, spec=spec.model_dump_json())


def spec_of(row: Mapping[str, Any]) -> StudySpec:
    """The settings in a row (SpecError if they are damaged)."""
    return StudySpec.parse(json.loads(row["spec"]), f"stored study {row['name']}")


def task_of(row: Mapping[str, Any]) -> Task:
    """What was known of the data when the study was created."""
    stored = json.loads(row["task"])
    return Task(
        tuple(stored["classes"]),
        stored["sizes"],
        stored["digest"],
        chance=stored.get("chance"),  # earlier versions knew of top-1 errors alone
        predicts=stored.get("predicts", True),
    )


def standing(connection: sa.Connection, name: str) -> Standing:
    """How a study stands, as this connection sees it; one that is gone has no repeats."""
    query = sa.select(_t.draining, _t.repeats, db_now() - _t.created).where(_t.name == name)
    row = connection.execute(query).one_or_none()
    return Standing(False, 0) if row is None else Standing(bool(row[0]), int(row[1]), float(row[2]))


def raise_repeats(database: Database, name: str, repeats: int) -> None:
    """Store that so many repeats are open; a higher number stays."""
    with database.engine.begin() as connection:
        connection.execute(
            studies_table.update()
            .where(_t.name == name, _t.repeats < repeats)
            .values(repeats=repeats)
        )


def drain(database: Database, name: str, on: bool) -> None:
    """Ask workers to finish what they have and leave, or take that back."""
    _update(database, name, draining=on)


def _update(database: Database, name: str, **values: Any) -> None:
    with database.engine.begin() as connection:
        connection.execute(studies_table.update().where(_t.name == name).values(values))
