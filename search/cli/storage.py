"""The database of a command, and how long it is waited for."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from tuneoff.search.errors import UserError
from tuneoff.search.store.defaults import COMMAND_PATIENCE_SECONDS, PATIENCE_SECONDS

if TYPE_CHECKING:
    from tuneoff.search.store.database import Database

PATIENCE_VARIABLE = "TUNEOFF_PATIENCE"


def open_storage(
    url: str,
    *,
    create: bool = False,
    patience: float = COMMAND_PATIENCE_SECONDS,
    stop: Callable[[], bool] = lambda: False,
) -> Database:
    """As ``store.database.open_database``.

    The database is closed when the command ends that is being run.
    """
    from tuneoff.search.store.database import open_database

    database = open_database(url, create=create, patience=patience, stop=stop)
    if command := click.get_current_context(silent=True):
        command.call_on_close(database.close)
    return database


def patience_of_workers() -> float:
    """How many seconds workers wait for a database that is away, and commands that start them.

    Raises:
        UserError: the variable for it holds something else.
    """
    text = os.environ.get(PATIENCE_VARIABLE) or str(PATIENCE_SECONDS)
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not seconds >= 0:
        raise UserError(f"{PATIENCE_VARIABLE} = {text!r}: write a number of seconds, as in 600")
    return seconds
