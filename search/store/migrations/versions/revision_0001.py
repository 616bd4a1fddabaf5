"""Studies and attempts.

A database of the version before migrations has these tables already, and is left as it is; what
a crash left out while it made them is made now.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

metadata = sa.MetaData()
# Older programs read this table to learn that they are too old.
schema = sa.Table(
    "tuneoff_schema",
    metadata,
    sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
)
studies = sa.Table(
    "tuneoff_studies",
    metadata,
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("uid", sa.String(16), nullable=False),
    sa.Column("spec", sa.Text, nullable=False),
    sa.Column("task", sa.Text, nullable=False),
    sa.Column("created", sa.Float, nullable=False),
    sa.Column("draining", sa.Boolean, nullable=False),
)
attempts = sa.Table(
    "tuneoff_attempts",
    metadata,
    sa.Column("group", sa.String(200), primary_key=True),
    sa.Column("trial", sa.Integer, primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("token", sa.String(32), nullable=False),
    sa.Column("worker", sa.String(200), nullable=False),
    sa.Column("process", sa.String(200), nullable=False),
    sa.Column("device", sa.String(100), nullable=False),
    sa.Column("started", sa.Float, nullable=False),
    sa.Column("progressed", sa.Float, nullable=False),
    sa.Column("ended", sa.Float),
    sa.Column("end", sa.String(20)),
    sa.Column("reason", sa.String(500)),
    sa.Column("from_epoch", sa.Integer, nullable=False),
    sa.Column("until_epoch", sa.Integer, nullable=False),
    sa.Column("epochs", sa.Integer, nullable=False),
    sa.Column("seconds", sa.Float, nullable=False),
)
live = attempts.c.end.is_(None)
index = sa.Index(
    "tuneoff_attempts_live", attempts.c.group, sqlite_where=live, postgresql_where=live
)


def upgrade() -> None:
    connection = op.get_bind()
    metadata.create_all(connection)
    index.create(connection, checkfirst=True)  # it is younger than its table
    if connection.scalar(sa.select(sa.func.count()).select_from(schema)) == 0:
        connection.execute(schema.insert().values(version=1))
