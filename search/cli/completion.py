"""Names of studies for the shell's Tab key: at once, or none."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing, suppress
from urllib.parse import quote, unquote

import click

from tuneoff.search.store.defaults import DEFAULT_URL

_QUERY = "SELECT name FROM tuneoff_studies ORDER BY name"
_WAIT_SECONDS = 2
"""Nobody waits longer for a Tab."""


def complete_name(context: click.Context, parameter: click.Parameter, begun: str) -> list[str]:
    """The names of the studies in the database that is meant, of those that begin like this.

    None where anything is wrong with it: the command itself will say what.
    """
    url = context.params.get("storage") or os.environ.get("TUNEOFF_STORAGE") or DEFAULT_URL
    with suppress(Exception):
        return [name for name in _names(url) if name.startswith(begun)]
    return []


def _names(url: str) -> list[str]:
    # By the drivers alone: SQLAlchemy takes longer to import than anybody waits for a Tab.
    scheme, _, rest = url.partition("://")
    if scheme.startswith("sqlite"):
        file = unquote(rest.partition("?")[0].removeprefix("/"))
        address = f"file:{quote(file)}?mode=ro"
        with closing(sqlite3.connect(address, timeout=_WAIT_SECONDS, uri=True)) as database:
            return [name for (name,) in database.execute(_QUERY)]
    import psycopg

    with psycopg.connect(f"postgresql://{rest}", connect_timeout=_WAIT_SECONDS) as server:
        return [name for (name,) in server.execute(_QUERY)]
