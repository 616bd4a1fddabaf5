"""One moment of a database: several queries that see the same, while others write."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa

from tuneoff.search.store.dialects import is_sqlite


@contextmanager
def moment(engine: sa.Engine) -> Iterator[sa.Connection]:
    """A connection whose queries all see the database as the first of them saw it.

    Nobody waits for it, and nothing can be written through it.
    """
    with engine.connect() as connection:
        if is_sqlite(engine.url):
            # Python's driver begins no transaction for a query.
            connection.exec_driver_sql("BEGIN")
        else:
            connection = connection.execution_options(  # undone when the connection goes back
                isolation_level="REPEATABLE READ", postgresql_readonly=True
            )
        yield connection
