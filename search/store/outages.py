"""What a database raises while it is away or refuses, and the reason in one line."""

from __future__ import annotations

import errno
import sys
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from tuneoff.messages import first_line

if TYPE_CHECKING:
    from optuna.exceptions import StorageInternalError

OUTAGES: tuple[
    type[sa.exc.OperationalError],
    type[sa.exc.InterfaceError],
    type[sa.exc.TimeoutError],
    type[StorageInternalError],
]
"""They may pass, unless ``is_refusal``."""
DATABASE_ERRORS: tuple[
    type[sa.exc.DBAPIError], type[sa.exc.TimeoutError], type[StorageInternalError]
]
"""Everything that a database, or the driver in front of it, says no with."""
FULL_ERRNOS = (errno.ENOSPC, errno.EDQUOT)
"""Of a full disk, on which somebody may make room."""

_REFUSING_STATES = ("25006", "42501")  # a transaction that may only read; no such privilege
_REFUSALS = (
    "attempt to write a readonly database",
    "unable to open database file",
    "file is not a database",
    "malformed",
)
"""Of SQLite."""
_BAD_ADDRESSES = (
    "authentication failed",
    "no password supplied",
    "does not exist",
    "no pg_hba.conf entry",
    "name or service not known",
    "no address associated with hostname",
    "no such database",
    "no such user",
    "not permitted to log in",
    "permission denied",
    "does not support ssl",
    "certificate",
    "unrecognized configuration parameter",
    "requires a value",
    "invalid value for parameter",
    "unsupported startup parameter",
    "pooling mode",
)
"""What is wrong with a URL. When a connection is made, Postgres says so by words alone; a server
that says it in another language than English is waited for."""


def reason(error: BaseException) -> str:
    """The driver's own first line, which names no password."""
    return first_line(_cause(error))


def is_refusal(error: BaseException) -> bool:
    """True if a database that is there refuses what this user asks: waiting would not help."""
    cause = _cause(error)
    return getattr(cause, "sqlstate", None) in _REFUSING_STATES or any(
        words in str(cause) for words in _REFUSALS
    )


def is_bad_address(error: BaseException) -> bool:
    """True if an error of a first connection will not pass: a wrong password, an unknown host."""
    said = str(_cause(error)).casefold()
    return is_refusal(error) or any(words in said for words in _BAD_ADDRESSES)


def _cause(error: BaseException) -> BaseException:
    """What the driver raised, where it was the driver."""
    optuna = sys.modules.get("optuna.exceptions")  # else it has raised nothing
    while optuna and isinstance(error, optuna.StorageInternalError) and error.__cause__:
        error = error.__cause__
    return getattr(error, "orig", None) or error


def __getattr__(name: str) -> Any:
    """``OUTAGES`` and ``DATABASE_ERRORS``: one of them is Optuna's, whose import takes a second.

    Modules that only look at a study name them where they are needed, ``outages.OUTAGES``.
    """
    kinds: dict[str, tuple[type[Exception], ...]] = {
        "OUTAGES": (sa.exc.OperationalError, sa.exc.InterfaceError, sa.exc.TimeoutError),
        "DATABASE_ERRORS": (sa.exc.DBAPIError, sa.exc.TimeoutError),
    }
    if name not in kinds:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from optuna.exceptions import StorageInternalError

    globals()[name] = (*kinds[name], StorageInternalError)
    return globals()[name]
