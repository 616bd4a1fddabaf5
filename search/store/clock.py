"""The database's clock: the only clock that leases use, so that machines need not agree on time."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement


class db_now(FunctionElement[float]):
    """The database's clock, in seconds since 1970 UTC."""

    type = sa.Float()
    inherit_cache = True


@compiles(db_now, "sqlite")  # type: ignore[no-untyped-call, untyped-decorator, unused-ignore]
def _sqlite_now(element: Any, compiler: Any, **kw: Any) -> str:
    return "((julianday('now') - 2440587.5) * 86400.0)"


@compiles(db_now, "postgresql")  # type: ignore[no-untyped-call, untyped-decorator, unused-ignore]
def _postgres_now(element: Any, compiler: Any, **kw: Any) -> str:
    return "EXTRACT(EPOCH FROM clock_timestamp())::double precision"


class db_started(FunctionElement[float]):
    """When the database came up, on its own clock; 0 on SQLite, which is never down."""

    type = sa.Float()
    inherit_cache = True


@compiles(db_started, "sqlite")  # type: ignore[no-untyped-call, untyped-decorator, unused-ignore]
def _sqlite_started(element: Any, compiler: Any, **kw: Any) -> str:
    return "0.0"


@compiles(db_started, "postgresql")  # type: ignore[no-untyped-call, untyped-decorator, unused-ignore]
def _postgres_started(element: Any, compiler: Any, **kw: Any) -> str:
    return "EXTRACT(EPOCH FROM pg_postmaster_start_time())::double precision"
