"""The number of open repeats of each study, which may grow beyond that of its study file."""

from __future__ import annotations

import json

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

schema = sa.table("tuneoff_schema", sa.column("version"))
studies = sa.table(
    "tuneoff_studies", sa.column("name"), sa.column("spec"), sa.column("repeats", sa.Integer)
)


def upgrade() -> None:
    # SQLite adds no column without a default to rows that must have a value.
    repeats = sa.Column("repeats", sa.Integer, nullable=False, server_default="0")
    op.add_column("tuneoff_studies", repeats)
    connection = op.get_bind()
    for name, spec in connection.execute(sa.select(studies.c.name, studies.c.spec)).all():
        opened = json.loads(spec)["repeats"]
        connection.execute(studies.update().where(studies.c.name == name).values(repeats=opened))
    connection.execute(schema.update().values(version=3))
