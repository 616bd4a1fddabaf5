"""Our tables as they are now. How an older database comes to have them: ``migrations``."""

from __future__ import annotations

import sqlalchemy as sa

from tuneoff.search.store.dialects import partial_index

metadata = sa.MetaData()

studies_table = sa.Table(
    "tuneoff_studies",
    metadata,
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("uid", sa.String(16), nullable=False),
    sa.Column("spec", sa.Text, nullable=False),
    sa.Column("task", sa.Text, nullable=False),
    sa.Column("created", sa.Float, nullable=False),
    sa.Column("draining", sa.Boolean, nullable=False),
    sa.Column("repeats", sa.Integer, nullable=False, server_default="0"),
)

attempts_table = sa.Table(
    "tuneoff_attempts",
    metadata,
    sa.Column("search", sa.String(200), primary_key=True),
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

# Who is at work is asked before each claim, however many attempts have ended.
partial_index("tuneoff_attempts_live", attempts_table.c.search, attempts_table.c.end.is_(None))
