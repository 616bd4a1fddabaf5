"""What a database raises while it is away, and the reason in one line."""

from __future__ import annotations

import sqlalchemy as sa
from optuna.exceptions import StorageInternalError

from tuneoff.messages import first_line

OUTAGES = (
    sa.exc.OperationalError,
    sa.exc.InterfaceError,
    sa.exc.TimeoutError,
    StorageInternalError,
)


def reason(error: BaseException) -> str:
    """The driver's own first line, which names no password."""
    root: BaseException = error
    while isinstance(root, StorageInternalError) and root.__cause__ is not None:
        root = root.__cause__
    return first_line(getattr(root, "orig", None) or root)
