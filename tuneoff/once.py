"""Things that are made once, however many processes ask for them together."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TypeVar

from tuneoff.lockfile import locked
from tuneoff.retry import Patience

T = TypeVar("T")


def made_once(
    find: Callable[[], T | None],
    make: Callable[[], T],
    lock: Path | AbstractContextManager[object],
) -> T:
    """What ``find`` finds or, where it finds nothing, what ``make`` makes.

    Of several processes that ask together one makes it, and the others wait for that one and then
    find what it made. If it fails or is killed, the next one tries.

    Args:
        find: returns None while the thing is not there. It is called without the lock first, so
            that asking for a thing that is there writes nothing.
        make: called with the lock held, and only if ``find`` then still finds nothing.
        lock: what only one process at a time can enter; or the path of a file to lock, which
            stays, and whose folder is made if missing.

    Raises:
        OSError: the lock's file cannot be written.
        Exception: whatever ``find`` or ``make`` raises.
    """
    found = find()
    if found is not None:
        return found
    if isinstance(lock, Path):
        lock.parent.mkdir(parents=True, exist_ok=True)
        lock = locked(lock, Patience(math.inf))  # what takes others hours may be a download
    with lock:
        found = find()  # made by another process while this one waited?
        return make() if found is None else found
